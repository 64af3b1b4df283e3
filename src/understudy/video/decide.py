"""What a track keeps from its first frame to its last: attributes, and the seed that the guard accepts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace

import numpy as np
from numpy.typing import NDArray

from understudy.errors import UnderstudyError
from understudy.generate.base import Generator
from understudy.pipeline import Pipeline
from understudy.types import AnonymizedImage, Attributes, Detections, Encoding, Kind, OutcomeKind, SourceImage
from understudy.video.look import Cast, Tick
from understudy.video.settings import VideoSettings
from understudy.video.source import Film, frames
from understudy.video.workplace import Workplace

_NAMES = tuple(entry.name for entry in fields(Attributes))
NOT_TRIED = "not the track that is tried here"


@dataclass
class Role:
    """What one track is played by."""

    attempt: int = 0
    """Which of the seeds."""
    fill: str = ""
    """Why the track is filled for its whole length; empty where it is generated."""
    attributes: dict[str, int] = field(default_factory=dict)
    anchor: list[list[float]] | None = None
    """Keypoints in the first sample frame that has them all, by which a generator chooses what it starts from."""
    spoilt: list[int] = field(default_factory=list)
    """Seeds of which too many frames were refused."""

    def recast(self, reason: str, n_attempts: int) -> None:
        """Take the next seed that is left, or fill the track for its whole length."""
        self.spoilt.append(self.attempt)
        left = [attempt for attempt in range(n_attempts) if attempt not in self.spoilt]
        if left:
            self.attempt = left[0]
        else:
            self.fill = reason

    def at(self, pose: int, *, with_pose: bool) -> Attributes:
        """Its attributes in a frame: all fixed but the head's pose, which follows the head."""
        return replace(Attributes(**self.attributes), head_pose=pose if with_pose and pose >= 0 else None)


@dataclass
class _Trial:
    """A track while it is tried."""

    current: int = 0
    accepted: Counter[int] = field(default_factory=Counter)
    reason: str = ""
    read: list[Attributes] = field(default_factory=list)
    anchor: list[list[float]] | None = None

    def role(self, *, judged: bool) -> Role:
        attributes = {}
        for name in _NAMES:
            values = Counter(v for a in self.read if (v := getattr(a, name)) is not None)
            if values and name != "head_pose":
                attributes[name] = min(values, key=lambda v: (-values[v], v))
        best = min(self.accepted, key=lambda k: (-self.accepted[k], k)) if self.accepted else 0
        why = f"no seed was accepted on any of its sample frames: {self.reason}" if judged and not self.accepted else ""
        return Role(best, why, attributes, self.anchor)


def detections_of(rows: NDArray[np.void], attempts: Sequence[int], n_attempts: int) -> Detections:
    """Rows of one frame as Detections; seeds are drawn for track and attempt, whatever the frame."""
    return Detections(
        xyxy=rows["xyxy"].copy(),
        confidence=rows["confidence"].clip(0, 1),
        kind=(Kind.FACE,) * len(rows),
        keypoints=rows["keypoints"].copy(),
        visibility=rows["visibility"].copy(),
        subject_id=rows["track"].astype(np.int64) * n_attempts + np.array(attempts, np.int64),
    )


def as_source(film: Film, index: int, pixels: NDArray[np.uint8]) -> SourceImage:
    """A frame as the pipeline takes it; the digest is the film's, so that seeds do not change from frame to frame."""
    return SourceImage(f"{film.path.name}#{index}", pixels, "RGB", None, pixels, film.digest, Encoding("FRAME"))


def one_attempt(pipeline: Pipeline, *, scan: bool) -> Pipeline:
    """The same parts with one seed a region, with or without the residual scan."""
    return Pipeline(
        detector=pipeline.detector,
        generator=pipeline.generator,
        guard=pipeline.guard,
        blender=pipeline.blender,
        residual=pipeline.residual if scan else None,
        policy=pipeline.policy,
        settings=replace(pipeline.settings, n_attempts=1, n_candidates=1, fill_out_of_memory=True),
    )


def decide(
    film: Film, work: Workplace, settings: VideoSettings, pipeline: Pipeline, cast: Cast, tick: Tick
) -> list[Role]:
    """Read each track's attributes and try its seeds on its sample frames.

    The seed that is accepted on most of them is the track's; where none is accepted on any, the track is filled.

    Returns
    -------
    list of Role
        By track.
    """
    trials = [_Trial() for _ in range(cast.n_tracks)]
    generator = pipeline.generator
    judged = isinstance(generator, Generator) and generator.outcome is OutcomeKind.REPLACED
    if judged and cast.samples:
        alone, last = one_attempt(pipeline, scan=False), max(cast.samples)
        segment, plan = -1, work.plan(0)
        for frame in frames(film, n_threads=settings.n_threads):
            if frame.index in cast.samples:
                if frame.index // settings.segment_frames != segment:
                    segment = frame.index // settings.segment_frames
                    plan = work.plan(segment)
                rows = plan[plan["frame"] == frame.index]
                wanted = [i for i, row in enumerate(rows) if int(row["track"]) in cast.samples[frame.index]]
                source = as_source(film, frame.index, frame.pixels(film.rotation))
                _try(alone, source, rows, wanted, trials, pipeline.settings.n_attempts)
            tick(frame.index)
            if frame.index >= last:
                break
    return [trial.role(judged=judged) for trial in trials]


def _try(
    pipeline: Pipeline,
    source: SourceImage,
    rows: NDArray[np.void],
    wanted: Iterable[int],
    trials: list[_Trial],
    n_attempts: int,
) -> None:
    """Give every wanted row its attributes and the first seed, from its track's current one on, that is accepted."""
    waiting = list(wanted)
    by_row = [trials[int(row["track"])] for row in rows]
    for i in waiting:
        face = (rows["xyxy"][i], rows["keypoints"][i], rows["visibility"][i])
        by_row[i].read.append(pipeline.policy.read(source.view, *face))
        if by_row[i].anchor is None and (rows["visibility"][i] > 0).all():
            by_row[i].anchor = rows["keypoints"][i].tolist()
    with_pose = "head_pose" in pipeline.policy.keep
    anchors = {i: np.array(t.anchor, np.float32) for i, t in enumerate(by_row) if t.anchor is not None}
    for step in range(n_attempts):
        if not waiting:
            return
        attempts = [(trial.current + step) % n_attempts for trial in by_row]
        given = [
            t.role(judged=False).at(int(r["pose"]), with_pose=with_pose) for t, r in zip(by_row, rows, strict=True)
        ]
        fill = {i: NOT_TRIED for i in range(len(rows)) if i not in waiting}
        found = detections_of(rows, attempts, n_attempts)
        (result,) = pipeline.replace([source], [found], [given], [fill], [anchors])
        accepted = _accepted(result)
        for i in waiting:
            if i in accepted:
                by_row[i].accepted[attempts[i]] += 1
                by_row[i].current = attempts[i]
            else:
                by_row[i].reason = _reason(result, i)
        waiting = [i for i in waiting if i not in accepted]


def _accepted(result: AnonymizedImage | UnderstudyError) -> set[int]:
    if isinstance(result, UnderstudyError):
        return set()
    return {outcome.region for outcome in result.outcomes if outcome.kind is OutcomeKind.REPLACED}


def _reason(result: AnonymizedImage | UnderstudyError, region: int) -> str:
    if isinstance(result, UnderstudyError):
        return str(result)
    return next((outcome.reason for outcome in result.outcomes if outcome.region == region), "")


def roles_as_json(roles: Sequence[Role]) -> list[dict[str, object]]:
    """Roles as plain data."""
    return [asdict(role) for role in roles]


def roles_from_json(content: Sequence[Mapping[str, object]]) -> list[Role]:
    """Roles from plain data."""
    return [Role(**entry) for entry in content]  # type: ignore[arg-type]
