"""One micro-batch of pictures from detections to finished canvases: the only place that knows the order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from understudy.attributes.policy import AttributePolicy
from understudy.blend import MembraneBlender
from understudy.canvas import Canvas, Subject
from understudy.detect.base import Detector
from understudy.errors import GenerationError, InvalidInputError, RefusedImageError, UnderstudyError
from understudy.generate.base import Generator, Obscurer
from understudy.generate.fill import fill_color
from understudy.generate.tone import hold_skin_tone
from understudy.guard import FaceGuard, Verdict
from understudy.imaging import composite_native
from understudy.residual import ResidualScan
from understudy.seeding import region_seed
from understudy.types import (
    AnonymizedImage,
    Attributes,
    Condition,
    Detections,
    Generated,
    Outcome,
    OutcomeKind,
    SourceImage,
)

_FILL_PX = 64
"""Side of the crop from which a fill takes its colour."""


@dataclass(frozen=True)
class PipelineSettings:
    """What the pipeline needs besides its parts."""

    run_seed: int = 0
    n_attempts: int = 3
    """Candidates a region before it is filled."""
    context: float = 1.45
    """Side of the generator's window over the longer side of the region."""

    def __post_init__(self) -> None:
        if self.n_attempts < 1:
            raise InvalidInputError(f"n_attempts must be 1 or more, got {self.n_attempts}")


@dataclass
class _Candidate:
    """One region on its way through the ladder."""

    canvas: Canvas
    subject: Subject
    condition: Condition
    image_from_crop: NDArray[np.float64]
    attempt: int = 0
    reason: str = ""
    readings: Mapping[str, float | str] = field(default_factory=dict)


class Pipeline:
    """Detect, erase, generate, guard, blend, scan.

    Parameters
    ----------
    detector : Detector
    generator : Generator or Obscurer
    guard : FaceGuard or None
        None switches the guard off (measuring only); an Obscurer is never guarded.
    blender : MembraneBlender
    residual : ResidualScan or None
    policy : AttributePolicy
    settings : PipelineSettings
    """

    def __init__(
        self,
        *,
        detector: Detector,
        generator: Generator | Obscurer,
        guard: FaceGuard | None,
        blender: MembraneBlender,
        residual: ResidualScan | None,
        policy: AttributePolicy,
        settings: PipelineSettings,
    ) -> None:
        self.detector = detector
        self.generator = generator
        self.guard = guard
        self.blender = blender
        self.residual = residual
        self.policy = policy
        self.settings = settings

    def detect(self, sources: Sequence[SourceImage]) -> list[Detections]:
        """Detections of each picture, in upright px."""
        return [self.detector(source.view) for source in sources]

    def replace(
        self,
        sources: Sequence[SourceImage],
        detections: Sequence[Detections],
        attributes: Sequence[Sequence[Attributes]] | None = None,
        fill: Sequence[Mapping[int, str]] | None = None,
        anchors: Sequence[Mapping[int, NDArray[np.float32]]] | None = None,
    ) -> list[AnonymizedImage | UnderstudyError]:
        """Replace everybody in a micro-batch of pictures.

        Parameters
        ----------
        sources, detections : one entry a picture
        attributes : optional
            Attributes of every detection, in place of those that the policy reads.
        fill : optional
            For each picture, the detections that are filled without an attempt, with the reason.
        anchors : optional
            For each picture, the keypoints in another frame by which detections were cast; see ``Condition.anchor``.

        Returns
        -------
        list
            For each picture, the result or the error for which no picture may be written. A failure never reaches a
            neighbour in the batch, and a region that cannot be generated is filled.
        """
        canvases: list[Canvas | UnderstudyError] = []
        for i, (source, found) in enumerate(zip(sources, detections, strict=True)):
            try:
                given = None if attributes is None else attributes[i]
                filled, anchored = {} if fill is None else fill[i], {} if anchors is None else anchors[i]
                canvas = Canvas(source)
                self._add(canvas, found, range(len(found)), given, "primary", filled, anchored)
                canvases.append(canvas)
            except UnderstudyError as error:
                canvases.append(error)
            except MemoryError as error:
                canvases.append(GenerationError(f"out of memory while preparing {source.image_id}: {error}"))
        live = [c for c in canvases if isinstance(c, Canvas)]
        if isinstance(self.generator, Generator):
            self._replace_all(live, self.generator)
        else:
            for canvas in live:
                _obscure_all(canvas, self.generator)
        return [self._finish(c) if isinstance(c, Canvas) else c for c in canvases]

    def _add(
        self,
        canvas: Canvas,
        found: Detections,
        indices: Sequence[int],
        given: Sequence[Attributes] | None,
        found_by: str,
        fill: Mapping[int, str] | None = None,
        anchors: Mapping[int, NDArray[np.float32]] | None = None,
    ) -> list[Subject]:
        """Read what may travel from each face, then erase the union of all their masks."""
        subjects = []
        for i in indices:
            face = (found.xyxy[i], found.keypoints[i], found.visibility[i])
            view = canvas.source.view
            attributes = self.policy.read(view, *face) if given is None else given[i]
            guarded = self.guard is not None and isinstance(self.generator, Generator)
            reference = self.guard.reference(view, *face) if guarded and self.guard is not None else None
            why = "" if fill is None else fill.get(i, "")
            anchor = None if anchors is None or not self.policy.keypoints else anchors.get(i)
            subjects.append(canvas.add(found, i, attributes, reference, found_by, why, anchor))
        canvas.erase(subjects)
        return subjects

    def _replace_all(self, canvases: list[Canvas], generator: Generator) -> None:
        """Generate region after region (smallest first), then scan and do the same for whoever was missed."""
        self._run_waves([(c, c.subjects) for c in canvases], generator)
        if self.residual is None:
            return
        for _ in range(self.residual.max_rounds):
            rescanned = []
            for canvas in canvases:
                found, missed, inside = self.residual(canvas.pixels, canvas.union)
                self._fill_originals(canvas, found, inside)
                if missed:
                    rescanned.append((canvas, self._add(canvas, found, missed, None, "residual")))
            if not rescanned:
                return
            self._run_waves(rescanned, generator)
            canvases = [canvas for canvas, _ in rescanned]
        for canvas in canvases:
            found, missed, inside = self.residual(canvas.pixels, canvas.union)
            self._fill_originals(canvas, found, inside)
            if missed:
                canvas.error = RefusedImageError(
                    f"{canvas.source.image_id}: {len(missed)} face(s) are still found outside the replaced regions "
                    f"after {self.residual.max_rounds} rounds; look at the picture, or use detector=thorough"
                )

    def _fill_originals(self, canvas: Canvas, found: Detections, inside: list[int]) -> None:
        """Fill every replaced region in which the second detector still meets the original."""
        if self.guard is None:
            return
        for i in inside:
            under = canvas.subjects_under(found.xyxy[i])
            references = [s.reference for s in under if s.reference is not None]
            if self.guard.still_original(references, canvas.pixels, found, i):
                for subject in under:
                    self._fill(canvas, subject, "the residual scan still found the original", 0, {})

    def _run_waves(self, work: list[tuple[Canvas, list[Subject]]], generator: Generator) -> None:
        """Regions whose windows touch follow each other; all others share micro-batches across pictures."""
        plans = [(canvas, canvas.waves(subjects, self.settings.context)) for canvas, subjects in work]
        for depth in range(max((len(waves) for _, waves in plans), default=0)):
            candidates = [
                self._condition(canvas, subject, generator)
                for canvas, waves in plans
                if depth < len(waves)
                for subject in waves[depth]
            ]
            self._climb(candidates, generator)

    def _condition(self, canvas: Canvas, subject: Subject, generator: Generator) -> _Candidate:
        canvas.erase([subject])  # also what an overlapping neighbour put there: a region is generated and judged whole
        crop = canvas.cut(subject, generator.crop_size, self.settings.context)
        points, shown = subject.points_in(crop.image_from_crop)
        if not self.policy.keypoints:
            shown = np.zeros_like(shown)
        condition = Condition(crop, points, shown, subject.attributes, subject.anchor)
        return _Candidate(canvas, subject, condition, crop.image_from_crop)

    def _climb(self, candidates: list[_Candidate], generator: Generator) -> None:
        """The ladder: candidate, next seed, ..., fill."""
        waiting = []
        for candidate in candidates:
            side = candidate.subject.shorter_side
            if candidate.subject.fill:
                self._fill(candidate.canvas, candidate.subject, candidate.subject.fill, 0, {})
            elif side < generator.min_face_px:
                reason = f"too small for the generator: {side:.1f} px under {generator.min_face_px:.0f} px"
                self._fill(candidate.canvas, candidate.subject, reason, 0, {})
            else:
                waiting.append(candidate)
        for attempt in range(self.settings.n_attempts):
            refused = []
            for batch in _batches(waiting, generator.batch_size):
                for candidate, made in zip(batch, self._generate(batch, generator, attempt), strict=True):
                    if not self._place(candidate, made, generator.outcome, attempt):
                        refused.append(candidate)
            waiting = refused
        for c in waiting:
            self._fill(c.canvas, c.subject, c.reason, self.settings.n_attempts, c.readings)

    def _seed(self, candidate: _Candidate, attempt: int) -> int:
        digest = candidate.canvas.source.digest
        return region_seed(self.settings.run_seed, digest, candidate.subject.seed_key, attempt)

    def _generate(
        self, batch: list[_Candidate], generator: Generator, attempt: int
    ) -> list[Generated | UnderstudyError]:
        """One padded micro-batch; where it fails as a whole, its members are tried alone."""
        pad = generator.batch_size - len(batch)
        conditions = [c.condition for c in batch] + [batch[-1].condition] * pad
        seeds = [self._seed(c, attempt) for c in batch]
        seeds += [seeds[-1]] * pad
        try:
            made = generator(conditions, seeds)
            if len(made) != len(conditions):
                raise GenerationError(f"{generator.name} returned {len(made)} results for {len(conditions)} conditions")
            return list(made[: len(batch)])
        except Exception as error:  # noqa: BLE001 - whatever it is ends in the next rung, never in the original
            if len(batch) == 1:
                return [GenerationError(f"{generator.name} failed: {type(error).__name__}: {error}")]
        return [self._generate([candidate], generator, attempt)[0] for candidate in batch]

    def _place(
        self, candidate: _Candidate, made: Generated | UnderstudyError, outcome: OutcomeKind, attempt: int
    ) -> bool:
        """Judge one candidate and, where it is accepted, blend it into its canvas; what cannot be judged is refused."""
        if isinstance(made, UnderstudyError):
            candidate.reason = str(made)
            return False
        try:
            return self._judge_and_put(candidate, made, outcome, attempt)
        except Exception as error:  # noqa: BLE001 - whatever it is ends in the next rung, never in a lost picture
            candidate.reason, candidate.readings = f"it could not be judged: {type(error).__name__}: {error}", {}
            return False

    def _judge_and_put(self, candidate: _Candidate, made: Generated, outcome: OutcomeKind, attempt: int) -> bool:
        """Whether a candidate was accepted; it is in its canvas then."""
        expected = candidate.condition.context.shape
        if made.pixels.shape != expected:
            candidate.reason = f"the generator returned {made.pixels.shape}, expected {expected}"
            return False
        canvas, subject = candidate.canvas, candidate.subject
        held = hold_skin_tone(made.pixels, candidate.condition) if outcome is OutcomeKind.REPLACED else made.pixels
        pixels = self.blender(canvas.pixels, canvas.unknown, subject.region, held, candidate.image_from_crop, made.seed)
        verdict = Verdict(True, "")
        if self.guard is not None and subject.reference is not None and outcome is OutcomeKind.REPLACED:
            looked_at, mask = canvas.preview(
                subject, pixels, candidate.image_from_crop, len(candidate.condition.context)
            )
            verdict = self.guard.judge(subject.reference, looked_at, mask)
        candidate.readings, candidate.reason = verdict.readings, verdict.reason
        if verdict.accepted:
            canvas.put(subject, pixels, outcome, attempt + 1, "", verdict.readings)
        return verdict.accepted

    def _fill(
        self,
        canvas: Canvas,
        subject: Subject,
        reason: str,
        attempts: int,
        readings: Mapping[str, float | str],
    ) -> None:
        canvas.erase([subject])  # also after a candidate went in: the fill's colour comes from the surroundings alone
        seen = Condition(canvas.cut(subject, _FILL_PX, self.settings.context))
        x0, y0, x1, y1 = subject.region.window
        pixels = np.broadcast_to(fill_color(seen), (y1 - y0, x1 - x0, 3))
        canvas.put(subject, pixels, OutcomeKind.FILLED, attempts, reason, readings)

    def _finish(self, canvas: Canvas) -> AnonymizedImage | UnderstudyError:
        """Check that every region has its outcome, then composite into the native array."""
        if canvas.error is not None:
            return canvas.error
        without = [s.index for s in canvas.subjects if s.index not in canvas.outcomes]
        if without:
            return GenerationError(f"{canvas.source.image_id}: regions {without} have no outcome; nothing is written")
        try:
            native = composite_native(canvas.source, canvas.pixels, canvas.union)
        except UnderstudyError as error:
            return error
        outcomes: tuple[Outcome, ...] = tuple(canvas.outcomes[s.index] for s in canvas.subjects)
        return AnonymizedImage(canvas.source.image_id, native, outcomes, canvas.union)

    def digests(self) -> dict[str, str]:
        """SHA-256 of every weight file in use, by name."""
        found: dict[str, str] = {}
        residual = None if self.residual is None else self.residual.detector
        guard = () if self.guard is None else (self.guard.detector, self.guard.embedder)
        for part in (self.detector, self.generator, self.policy, residual, *guard):
            digests = getattr(part, "digests", None)
            if callable(digests):
                found.update(digests())
        return found


def _obscure_all(canvas: Canvas, obscurer: Obscurer) -> None:
    """Baselines: each region of the original is obscured in its own window; no guard, no scan."""
    for subject in canvas.subjects:
        window, mask = canvas.margin_window(subject)
        obscured = obscurer.obscure(canvas.source.view[window], mask)
        x0, y0, x1, y1 = subject.region.window
        inner = (slice(y0 - window[0].start, y1 - window[0].start), slice(x0 - window[1].start, x1 - window[1].start))
        canvas.put(subject, obscured[inner], obscurer.outcome, 1, "", {})


def _batches(items: list[_Candidate], size: int) -> Iterator[list[_Candidate]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
