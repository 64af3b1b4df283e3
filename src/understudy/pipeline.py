"""One micro-batch of pictures from detections to finished canvases: the only place that knows the order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from understudy.attributes.policy import AttributePolicy
from understudy.blend import MembraneBlender, laid_over
from understudy.candidate import Candidate
from understudy.canvas import IN_A_FILL, LARGEST_ROLL_DEG, Canvas
from understudy.detect.base import Detector
from understudy.errors import GenerationError, InvalidInputError, MemoryLimitError, RefusedImageError, UnderstudyError
from understudy.generate.base import Generator, Obscurer, crop_shape
from understudy.generate.batches import generate
from understudy.generate.by_kind import generator_of
from understudy.generate.tone import hold_skin_tone
from understudy.guard import BodyGuard, FaceGuard, Reference, Verdict
from understudy.imaging import composite_native
from understudy.residual import ResidualScan
from understudy.seeding import region_seed
from understudy.subject import Subject
from understudy.types import (
    AnonymizedImage,
    Attributes,
    Condition,
    Detections,
    Generated,
    Kind,
    Outcome,
    OutcomeKind,
    SourceImage,
)


@dataclass(frozen=True)
class PipelineSettings:
    """What the pipeline needs besides its parts."""

    run_seed: int = 0
    n_attempts: int = 3
    """Seeds that are tried for a region before it is filled."""
    context: float = 1.45
    """Side of the generator's window over the longer side of the region."""
    fill_out_of_memory: bool = False
    """Fill a region for which memory does not suffice, in place of withholding its picture."""
    body_context: float = 1.25
    """The same for bodies: size of the window over that of the region."""
    n_candidates: int = 1
    """Understudies that are made of a face; of those that the guard accepts, the one that matches best stays."""

    def __post_init__(self) -> None:
        if self.n_attempts < 1 or self.n_candidates < 1:
            raise InvalidInputError(
                f"n_attempts and n_candidates must be 1 or more, got {self.n_attempts} and {self.n_candidates}"
            )


class Pipeline:
    """Detect, erase, generate, guard, blend, scan.

    Parameters
    ----------
    detector : Detector
    generator : Generator or Obscurer
        ``ByKind`` where bodies are replaced too.
    guard : FaceGuard or None
        None switches the guard off (measuring only); an Obscurer is never guarded.
    blender : MembraneBlender
    residual : ResidualScan or None
    policy : AttributePolicy
    settings : PipelineSettings
    body_guard : BodyGuard or None
        The guard of bodies.
    body_residual : ResidualScan or None
        The scan for bodies.
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
        body_guard: BodyGuard | None = None,
        body_residual: ResidualScan | None = None,
    ) -> None:
        self.detector = detector
        self.generator = generator
        self.guard = guard
        self.blender = blender
        self.residual = residual
        self.policy = policy
        self.settings = settings
        self.body_guard = body_guard
        self.body_residual = body_residual

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
                canvas = Canvas(source, self.blender.outline)
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
                canvas.obscure(self.generator)
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
        """Read what may travel from each person, then erase the union of all their masks."""
        first = len(canvas.subjects)
        oversized = canvas.too_large(found, indices, found_by)
        for i in indices:
            attributes = self._read(canvas.source.view, found, i) if given is None else given[i]
            why = oversized.get(i, "") if fill is None else fill.get(i, oversized.get(i, ""))
            anchor = None if anchors is None or not self.policy.keypoints else anchors.get(i)
            canvas.add(found, i, attributes, self._reference(canvas.source.view, found, i), found_by, why, anchor)
        canvas.separate()
        subjects = canvas.subjects[first:]
        canvas.erase(subjects)
        return subjects

    def _read(self, view: NDArray[np.uint8], found: Detections, i: int) -> Attributes:
        """What may travel of detection i; of a body, what its face says."""
        face = found.face_of(i) if found.kind[i] is Kind.BODY else i
        return Attributes() if face is None else self.policy.read(view, found.xyxy[face], *found.keypoints_of(face))

    def _reference(self, view: NDArray[np.uint8], found: Detections, i: int) -> Reference | None:
        """What the guard remembers of detection i."""
        if not isinstance(self.generator, Generator):
            return None
        if found.kind[i] is Kind.BODY:
            return None if self.body_guard is None else self.body_guard.reference(view, found.xyxy[i])
        return None if self.guard is None else self.guard.reference(view, found.xyxy[i], *found.keypoints_of(i))

    def _context(self, subject: Subject) -> float:
        return self.settings.body_context if subject.kind is Kind.BODY else self.settings.context

    def _replace_all(self, canvases: list[Canvas], generator: Generator) -> None:
        """Generate region after region (smallest first), then scan and do the same for whoever was missed."""
        self._run_waves([(c, c.subjects) for c in canvases], generator)
        for scan, guard in ((self.residual, self.guard), (self.body_residual, self.body_guard)):
            if scan is not None:
                self._scan(canvases, generator, scan, guard)

    def _scan(
        self, canvases: list[Canvas], generator: Generator, scan: ResidualScan, guard: FaceGuard | BodyGuard | None
    ) -> None:
        """Look again, and replace whoever was missed; a picture in which that does not end is given up."""
        for _ in range(scan.max_rounds):
            rescanned = []
            for canvas in canvases:
                found, missed, inside = scan(canvas.pixels, canvas.union)
                self._fill_originals(canvas, found, inside, guard)
                if missed:
                    rescanned.append((canvas, self._add(canvas, found, missed, None, "residual")))
            if not rescanned:
                return
            self._run_waves(rescanned, generator)
            canvases = [canvas for canvas, _ in rescanned]
        for canvas in canvases:
            found, missed, inside = scan(canvas.pixels, canvas.union)
            self._fill_originals(canvas, found, inside, guard)
            if missed:
                canvas.error = RefusedImageError(
                    f"{canvas.source.image_id}: {len(missed)} {found.kind[missed[0]]}(s) are still found outside the "
                    f"replaced regions after {scan.max_rounds} rounds; look at the picture, or use detector=thorough"
                )

    def _fill_originals(
        self, canvas: Canvas, found: Detections, inside: list[int], guard: FaceGuard | BodyGuard | None
    ) -> None:
        """Fill every replaced region in which the second detector still meets the original."""
        if guard is None:
            return
        for i in inside:
            under = canvas.subjects_under(found.xyxy[i], found.kind[i])
            references = [s.reference for s in under if s.reference is not None]
            if guard.still_original(references, canvas.pixels, found, i):
                for subject in under:
                    self._fill(canvas, subject, "the residual scan still found the original", 0, {})

    def _run_waves(self, work: list[tuple[Canvas, list[Subject]]], generator: Generator) -> None:
        """Regions whose windows touch follow each other; all others share micro-batches across pictures."""

        def window_of(subject: Subject) -> tuple[tuple[int, int], float]:
            return crop_shape(generator_of(generator, subject.kind)), self._context(subject)

        plans = [(canvas, canvas.waves(subjects, window_of)) for canvas, subjects in work]
        for depth in range(max((len(waves) for _, waves in plans), default=0)):
            candidates = [
                self._condition(canvas, subject, generator_of(generator, subject.kind))
                for canvas, waves in plans
                if depth < len(waves)
                for subject in waves[depth]
            ]
            for kind in Kind:
                self._climb([c for c in candidates if c.subject.kind is kind], generator_of(generator, kind))

    def _condition(self, canvas: Canvas, subject: Subject, generator: Generator) -> Candidate:
        before = canvas.window(subject)
        canvas.erase([subject])  # also what an overlapping neighbour put there: a region is generated and judged whole
        crop = canvas.cut(subject, crop_shape(generator), self._context(subject))
        points, shown = subject.points_in(crop.image_from_crop)
        if not self.policy.keypoints:
            shown = np.zeros_like(shown)
        condition = Condition(crop, points, shown, subject.attributes, subject.anchor, subject.kind)
        return Candidate(canvas, subject, condition, crop.image_from_crop, generator, before)

    def _climb(self, candidates: list[Candidate], generator: Generator) -> None:
        """The ladder: candidate, next seed, ..., fill."""
        waiting = []
        for candidate in candidates:
            side, roll = candidate.subject.size_px, candidate.canvas.off_upright_deg(candidate.subject)
            if candidate.subject.fill:
                self._fill(candidate.canvas, candidate.subject, candidate.subject.fill, 0, {})
            elif candidate.canvas.host_outcome(candidate.subject) is OutcomeKind.FILLED:
                self._fill(candidate.canvas, candidate.subject, IN_A_FILL, 0, {})
            elif side < generator.min_face_px:
                candidate.reason = f"too small for the generator: {side:.1f} px under {generator.min_face_px:.0f} px"
                self._last_rung(candidate, 0)
            elif roll > LARGEST_ROLL_DEG:
                candidate.reason = f"rolled by {roll:.0f} degrees, and the head of its body is upright"
                self._last_rung(candidate, 0)
            else:
                waiting.append(candidate)
        for attempt in range(max(self.settings.n_attempts, self.settings.n_candidates)):
            refused = []
            for batch in _batches(waiting, generator.batch_size):
                for candidate, made in zip(batch, self._generate(batch, generator, attempt), strict=True):
                    if not self._place(candidate, made, generator.outcome, attempt):
                        refused.append(candidate)
            last = attempt + 1 >= self.settings.n_candidates
            waiting = [c for c in refused if not (last and c.put_best())]
        for c in waiting:
            self._last_rung(c, max(self.settings.n_attempts, self.settings.n_candidates))

    def _last_rung(self, candidate: Candidate, attempts: int) -> None:
        """Solid fill; but a face that a body's understudy has already is left as it was drawn with that body."""
        if candidate.canvas.host_outcome(candidate.subject) is not OutcomeKind.REPLACED:
            self._fill(candidate.canvas, candidate.subject, candidate.reason, attempts, candidate.readings)
            return
        pixels, waits = candidate.before
        reason = f"left as it was drawn with its body: {candidate.reason}"
        candidate.canvas.put(
            candidate.subject, pixels, OutcomeKind.REPLACED, attempts, reason, candidate.readings, waits
        )

    def _seed(self, candidate: Candidate, attempt: int) -> int:
        digest = candidate.canvas.source.digest
        return region_seed(self.settings.run_seed, digest, candidate.subject.seed_key, attempt)

    def _generate(
        self, batch: list[Candidate], generator: Generator, attempt: int
    ) -> list[Generated | UnderstudyError]:
        """One padded micro-batch; the failure of one is its value."""
        made = generate(generator, [c.condition for c in batch], [self._seed(c, attempt) for c in batch])
        for candidate, one in zip(batch, made, strict=True):
            candidate.how = {"batch_size": float(one.batch_size)} if one.batch_size < generator.batch_size else {}
        return [one.result for one in made]

    def _place(
        self, candidate: Candidate, made: Generated | UnderstudyError, outcome: OutcomeKind, attempt: int
    ) -> bool:
        """Judge one candidate and, where it is accepted, blend it into its canvas; what cannot be judged is refused."""
        if isinstance(made, MemoryLimitError) and not self.settings.fill_out_of_memory:
            canvas = candidate.canvas
            canvas.error = canvas.error or GenerationError(f"{canvas.source.image_id}: {made}")
            return True  # settled: nothing is written of this picture
        if isinstance(made, UnderstudyError):
            candidate.reason = str(made)
            return False
        try:
            return self._judge_and_put(candidate, made, outcome, attempt)
        except Exception as error:  # noqa: BLE001 - whatever it is ends in the next rung, never in a lost picture
            candidate.reason, candidate.readings = f"it could not be judged: {type(error).__name__}: {error}", {}
            return False

    def _judge_and_put(self, candidate: Candidate, made: Generated, outcome: OutcomeKind, attempt: int) -> bool:
        """Whether a candidate was accepted; it is in its canvas then."""
        expected = candidate.condition.context.shape
        if made.pixels.shape != expected:
            candidate.reason = f"the generator returned {made.pixels.shape}, expected {expected}"
            return False
        canvas, subject = candidate.canvas, candidate.subject
        tone = outcome is OutcomeKind.REPLACED and subject.kind is Kind.FACE
        held = hold_skin_tone(made.pixels, candidate.condition) if tone else made.pixels
        pixels = self.blender(canvas.pixels, canvas.unknown, subject.region, held, candidate.image_from_crop, made.seed)
        verdict = Verdict(True, "")
        if made.cover is not None and subject.kind is Kind.BODY:
            behind, unknown = candidate.before
            pixels = laid_over(pixels, made.cover, candidate.image_from_crop, subject.region, behind, ~unknown)
        guard = self.body_guard if subject.kind is Kind.BODY else self.guard
        if guard is not None and subject.reference is not None and outcome is OutcomeKind.REPLACED:
            size = crop_shape(candidate.generator)
            looked_at, mask = canvas.preview(subject, pixels, candidate.image_from_crop, size)
            verdict = guard.judge(subject.reference, looked_at, mask)
        candidate.readings, candidate.reason = {**verdict.readings, **candidate.how}, verdict.reason
        if verdict.accepted and tone and 1 < self.settings.n_candidates > attempt:
            candidate.keep(candidate.accepted(self.policy, pixels, outcome, attempt))
            return False  # others may match better
        if verdict.accepted:
            canvas.put(subject, pixels, outcome, attempt + 1, "", candidate.readings)
        return verdict.accepted

    def _fill(
        self,
        canvas: Canvas,
        subject: Subject,
        reason: str,
        attempts: int,
        readings: Mapping[str, float | str],
    ) -> None:
        canvas.fill(subject, reason, attempts, readings, self._context(subject))

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
        scans = [scan.detector for scan in (self.residual, self.body_residual) if scan is not None]
        guards = [part for g in (self.guard, self.body_guard) if g is not None for part in (g.detector, g.embedder)]
        for part in (self.detector, self.generator, self.policy, *scans, *guards):
            digests = getattr(part, "digests", None)
            if callable(digests):
                found.update(digests())
        return found


def _batches(items: list[Candidate], size: int) -> Iterator[list[Candidate]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
