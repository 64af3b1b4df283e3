"""One film from file to file: look, track, decide, replace, join; nothing has its final name before it is whole."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from understudy.errors import (
    ConfigError,
    GenerationError,
    OutputError,
    RefusedImageError,
    StateMismatchError,
    UnderstudyError,
)
from understudy.generate.base import Generator
from understudy.imaging import write_atomic
from understudy.pipeline import Pipeline
from understudy.types import AnonymizedImage, Outcome, OutcomeKind
from understudy.video.decide import (
    Role,
    as_source,
    decide,
    detections_of,
    one_attempt,
    roles_as_json,
    roles_from_json,
)
from understudy.video.encode import SegmentWriter, check_encoder, join
from understudy.video.look import Cast, look, track
from understudy.video.settings import VideoSettings
from understudy.video.source import Film, Frame, frames, open_film
from understudy.video.workplace import Workplace

WORKPLACE = ".understudy-video"
ROLES = "roles.json"
RECORD = "film.json"
FRAMES = "frames.jsonl"
VOICES = "sound was copied: a voice identifies, too (video.audio=drop leaves it out)"
Status = Literal["done", "failed", "refused", "quarantined"]
Report = Callable[[str, int], object]
"""Called with a stage and the frame that it has come to."""


def _ignore(stage: str, frame: int) -> None:
    """No report."""


@dataclass
class FilmResult:
    """What became of a film."""

    status: Status
    error: str = ""
    n_frames: int = 0
    n_tracks: int = 0
    n_tracks_filled: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    """Regions over all frames, by outcome."""
    notes: list[str] = field(default_factory=list)
    resumed: bool = False
    """An earlier run had finished it."""

    @property
    def exit_code(self) -> int:
        """0 where the film was written, else 3."""
        return 0 if self.status == "done" else 3


class FilmJob:
    """Anonymises one film.

    Parameters
    ----------
    pipeline : Pipeline
    settings : VideoSettings
    max_pixels : int
        Films with larger frames are refused.
    mark : bool
        Say in the file's comment that faces were replaced.
    fingerprint : mapping
        What results depend on besides the film: settings, weights, versions.
    report : callable, optional
    """

    def __init__(
        self,
        pipeline: Pipeline,
        settings: VideoSettings,
        *,
        max_pixels: int,
        mark: bool,
        fingerprint: Mapping[str, object],
        report: Report = _ignore,
    ) -> None:
        self.pipeline = pipeline
        self.settings = settings
        self.max_pixels = max_pixels
        self.mark = mark
        self.fingerprint = fingerprint
        self.report = report
        self._scanning = one_attempt(pipeline, scan=True)

    def __call__(self, path: Path, output: Path, *, restart: bool = False) -> FilmResult:
        """Write ``output/images/NAME``, ``film.json`` and ``frames.jsonl``, or say why there is no film.

        Raises
        ------
        OutputError
            Nothing can be written; finished segments stay for the next run.
        StateMismatchError
            An earlier run on this output was made with other settings or another film.
        """
        work = Workplace(output / WORKPLACE)
        target = output / "images" / path.name
        try:
            film = open_film(path, max_pixels=self.max_pixels)
            fingerprint = {**self.fingerprint, "film": film.digest.hex()}
            earlier = self._earlier(output, target, fingerprint, restart=restart)
            if earlier is not None:
                work.remove()
                return earlier
            check_encoder(film, self.settings)
            work.match(fingerprint, restart=restart)
            target.unlink(missing_ok=True)
            result = self._make(film, work, target, output)
        except (ConfigError, OutputError, StateMismatchError, KeyboardInterrupt):
            raise
        except OSError as error:
            raise OutputError(f"{error.filename or output}: {error.strerror}; then start again") from error
        except Exception as error:  # noqa: BLE001 - whatever it is, no film is written
            result, fingerprint = _withheld(error, path), {}
            target.unlink(missing_ok=True)
            (output / FRAMES).unlink(missing_ok=True)
        record = {"film": path.name, **vars(result), "fingerprint": fingerprint}
        write_atomic(output / RECORD, json.dumps(record, indent=1, default=str).encode())
        work.remove()
        return result

    def _earlier(
        self, output: Path, target: Path, fingerprint: Mapping[str, object], *, restart: bool
    ) -> FilmResult | None:
        """The result of an earlier run that ended well with the same settings."""
        record = output / RECORD
        if restart or not record.exists() or not target.exists():
            return None
        kept = json.loads(record.read_text())
        if kept.get("fingerprint") != json.loads(json.dumps(fingerprint, default=str)):
            raise StateMismatchError(
                f"{str(target)!r} was made with other settings or from another film: "
                "say resume=restart to begin anew, or give another output"
            )
        known = {key: kept[key] for key in FilmResult.__dataclass_fields__ if key in kept}
        return FilmResult(**{**known, "resumed": True})

    def _make(self, film: Film, work: Workplace, target: Path, output: Path) -> FilmResult:
        settings, pipeline = self.settings, self.pipeline
        second = pipeline.residual.detector if pipeline.residual is not None and settings.look_twice else None
        n_frames = look(film, work, settings, pipeline.detector, second, lambda i: self.report("looking", i))
        cast = track(film, work, settings, n_frames)
        kept = work.load_json(ROLES)
        if isinstance(kept, list):
            roles = roles_from_json(kept)
        else:
            roles = decide(film, work, settings, pipeline, cast, lambda i: self.report("deciding", i))
            work.save_json(ROLES, roles_as_json(roles))
        while True:
            self._replace(film, work, roles, cast)
            spoilt = self._spoilt(work, roles, cast)
            if not spoilt:
                break
            for one, reason in spoilt.items():
                roles[one].recast(reason, pipeline.settings.n_attempts)
            work.save_json(ROLES, roles_as_json(roles))
            self._forget_segments_of(work, spoilt, cast)
        outcomes = self._write_frames(work, output, cast)
        replaced = bool(outcomes.get(OutcomeKind.REPLACED))
        with work.writing(target) as temporary:
            segments = [work.path("segment", s, ".nut") for s in range(self._n_segments(cast))]
            has_sound = join(film, segments, temporary, settings, mark=self.mark and replaced)
        notes = [*film.notes, *([VOICES] if has_sound else [])]
        filled = sum(bool(role.fill) for role in roles)
        return FilmResult("done", "", n_frames, cast.n_tracks, filled, outcomes, notes)

    def _n_segments(self, cast: Cast) -> int:
        return -(-cast.n_frames // self.settings.segment_frames)

    def _replace(self, film: Film, work: Workplace, roles: Sequence[Role], cast: Cast) -> None:
        """Write every segment that is not there yet."""
        size, n = self.settings.segment_frames, self._n_segments(cast)
        todo = {s for s in range(n) if not work.path("segment", s, ".nut").exists()}
        if not todo:
            return
        count = 0

        def counted() -> Iterator[Frame]:
            nonlocal count
            for frame in frames(film, n_threads=self.settings.n_threads):
                count += 1
                yield frame

        for segment, stream in groupby(counted(), key=lambda frame: frame.index // size):
            if segment in todo:
                self._write_segment(film, work, segment, stream, roles)
        if count != cast.n_frames:
            raise GenerationError(f"{film.path.name}: it had {cast.n_frames} frames at first, then {count}")

    def _write_segment(
        self, film: Film, work: Workplace, segment: int, stream: Iterator[Frame], roles: Sequence[Role]
    ) -> None:
        plan = work.plan(segment)
        lines: list[str] = []
        with work.writing(work.path("segment", segment, ".nut")) as temporary:
            writer: SegmentWriter | None = None
            try:
                while group := _take(stream, self.settings.group_frames):
                    writer = writer or SegmentWriter(temporary, film, self.settings, group[0])
                    for frame, result, rows in self._group(film, group, plan, roles):
                        writer.write(frame, np.asarray(result.native, np.uint8))
                        lines.append(_line(film, frame, result, rows))
                        self.report("replacing", frame.index)
                if writer is None:
                    raise GenerationError(f"{film.path.name}: segment {segment} has no frame")
                writer.close()
            except BaseException:
                if writer is not None:
                    writer.abandon()
                raise
            write_atomic(work.path("rows", segment, ".jsonl"), "".join(lines).encode())

    def _group(
        self, film: Film, group: Sequence[Frame], plan: NDArray[np.void], roles: Sequence[Role]
    ) -> Iterator[tuple[Frame, AnonymizedImage, NDArray[np.void]]]:
        """A few frames with everybody replaced.

        Raises
        ------
        UnderstudyError
            For one of them there is no result, or a region has no outcome: no film may be written.
        """
        n_attempts = self.pipeline.settings.n_attempts
        with_pose = "head_pose" in self.pipeline.policy.keep
        generated = isinstance(self.pipeline.generator, Generator)
        rows = [plan[plan["frame"] == frame.index] for frame in group]
        cast = [[roles[int(row["track"])] for row in here] for here in rows]
        sources = [as_source(film, frame.index, frame.pixels(film.rotation)) for frame in group]
        results = self._scanning.replace(
            sources,
            [detections_of(r, [role.attempt for role in c], n_attempts) for r, c in zip(rows, cast, strict=True)],
            [
                [role.at(int(row["pose"]), with_pose=with_pose) for row, role in zip(r, c, strict=True)]
                for r, c in zip(rows, cast, strict=True)
            ],
            [{i: role.fill for i, role in enumerate(c) if role.fill} if generated else {} for c in cast],
            [{i: np.array(role.anchor, np.float32) for i, role in enumerate(c) if role.anchor} for c in cast],
        )
        if len(results) != len(group):
            raise GenerationError(f"{film.path.name}: {len(results)} results for {len(group)} frames")
        for frame, source, result, here in zip(group, sources, results, rows, strict=True):
            if isinstance(result, UnderstudyError):
                raise result
            settled = [outcome.region for outcome in result.outcomes]
            if len(set(settled)) != len(settled) or not set(range(len(here))) <= set(settled):
                raise GenerationError(f"{source.image_id}: {len(here)} regions, outcomes for {sorted(settled)} only")
            if result.native.shape != source.native.shape:
                raise GenerationError(f"{source.image_id}: a result of shape {result.native.shape}")
            yield frame, result, here

    def _spoilt(self, work: Workplace, roles: Sequence[Role], cast: Cast) -> dict[int, str]:
        """Tracks that were generated although too many of their frames were refused, with the reason."""
        n: Counter[int] = Counter()
        refused: Counter[int] = Counter()
        last: dict[int, str] = {}
        for entry in _entries(work, self._n_segments(cast)):
            for region in entry["regions"]:
                one = region["track"]
                if one is not None and not roles[one].fill:
                    n[one] += 1
                    if region["outcome"] == OutcomeKind.FILLED and region["reason"]:
                        refused[one] += 1
                        last[one] = region["reason"]
        return {
            one: f"{refused[one]} of {n[one]} frames were refused, such as for: {last[one]}"
            for one in sorted(refused)
            if refused[one] > self.settings.max_refused * n[one]
        }

    def _forget_segments_of(self, work: Workplace, spoilt: Iterable[int], cast: Cast) -> None:
        wanted = set(spoilt)
        for segment in range(self._n_segments(cast)):
            if wanted & {int(one) for one in np.unique(work.plan(segment)["track"])}:
                work.path("segment", segment, ".nut").unlink()

    def _write_frames(self, work: Workplace, output: Path, cast: Cast) -> dict[str, int]:
        """One line for each frame of the film; counts of outcomes."""
        counts: Counter[str] = Counter()
        for entry in _entries(work, self._n_segments(cast)):
            counts.update(region["outcome"] for region in entry["regions"])
        with work.writing(output / FRAMES) as temporary, temporary.open("wb") as file:
            for segment in range(self._n_segments(cast)):
                with work.path("rows", segment, ".jsonl").open("rb") as part:
                    shutil.copyfileobj(part, file)
        return dict(sorted(counts.items()))


def _withheld(error: Exception, path: Path) -> FilmResult:
    text = str(error) if isinstance(error, UnderstudyError) else f"unexpected {type(error).__name__}: {error}"
    status: Status = "refused" if isinstance(error, RefusedImageError) and "#" not in text else "quarantined"
    return FilmResult(status, text.removeprefix(f"{path.name}: "))


def _take(stream: Iterator[Frame], n: int) -> list[Frame]:
    group: list[Frame] = []
    for frame in stream:
        group.append(frame)
        if len(group) == n:
            break
    return group


def _entries(work: Workplace, n_segments: int) -> Iterator[dict[str, Any]]:
    for segment in range(n_segments):
        with work.path("rows", segment, ".jsonl").open(encoding="utf-8") as file:
            yield from map(json.loads, file)


def _line(film: Film, frame: Frame, result: AnonymizedImage, rows: NDArray[np.void]) -> str:
    regions = [_region(outcome, rows) for outcome in result.outcomes]
    time_s = round(float(frame.pts * film.time_base), 6)
    return json.dumps({"frame": frame.index, "time_s": time_s, "regions": regions}) + "\n"


def _region(outcome: Outcome, rows: NDArray[np.void]) -> dict[str, object]:
    tracked = outcome.region < len(rows)
    return {
        "track": int(rows["track"][outcome.region]) if tracked else None,
        "observed": bool(rows["observed"][outcome.region]) if tracked else True,
        "xyxy": [round(float(v), 2) for v in outcome.xyxy],
        "confidence": round(float(outcome.confidence), 4),
        "outcome": str(outcome.kind),
        "reason": outcome.reason,
        "found_by": outcome.found_by,
    }
