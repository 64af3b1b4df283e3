"""The order of the main job: erase all, cut, generate, judge, blend, scan; and what happens when a part fails."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from understudy.attributes.policy import AttributePolicy
from understudy.blend import MembraneBlender
from understudy.errors import GenerationError, InvalidInputError, UnderstudyError
from understudy.guard import FaceGuard
from understudy.pipeline import Pipeline, PipelineSettings
from understudy.residual import ResidualScan
from understudy.seeding import region_seed, standard_normal
from understudy.types import ERASED, Condition, Detections, Encoding, Generated, OutcomeKind, SourceImage


def picture(name: str = "a.png", height: int = 96, width: int = 128, seed: int = 0) -> SourceImage:
    view = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    digest = hashlib.sha256(view.tobytes()).digest()
    return SourceImage(name, view.copy(), "RGB", None, view, digest, Encoding("PNG"))


def faces(*boxes: tuple[float, float, float, float]) -> Detections:
    return Detections.faces(np.array(boxes, np.float32).reshape(-1, 4), np.ones(len(boxes), np.float32))


class FixedDetector:
    """Finds what it is told to find, call after call."""

    name = "fixed"
    families = frozenset({"fixed"})

    def __init__(self, *answers: Detections) -> None:
        self.answers = list(answers)
        self.seen: list[NDArray[np.uint8]] = []

    def __call__(self, view: NDArray[np.uint8]) -> Detections:
        self.seen.append(np.array(view))
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


class NoiseGenerator:
    """Noise of its seed; remembers what it was shown."""

    name = "noise"
    crop_size = 32
    batch_size = 4
    min_face_px = 4.0
    outcome = OutcomeKind.REPLACED

    def __init__(self) -> None:
        self.conditions: list[Condition] = []
        self.batches: list[int] = []

    def __call__(self, conditions: Sequence[Condition], seeds: Sequence[int]) -> list[Generated]:
        self.conditions += conditions
        self.batches.append(len(conditions))
        made = []
        for seed in seeds:
            noise = standard_normal(seed, (self.crop_size, self.crop_size, 3)) * 40 + 128
            made.append(Generated(np.clip(noise, 0, 255).astype(np.uint8), seed, 1))
        return made

    def digests(self) -> Mapping[str, str]:
        return {"noise": "0" * 64}


class FailingGenerator(NoiseGenerator):
    """Raises for the seeds it is told to raise for."""

    def __init__(self, error: Exception, seeds: set[int] | None = None) -> None:
        super().__init__()
        self.error, self.seeds = error, seeds

    def __call__(self, conditions: Sequence[Condition], seeds: Sequence[int]) -> list[Generated]:
        if self.seeds is None or self.seeds & set(seeds):
            raise self.error
        return super().__call__(conditions, seeds)


def pipeline(**parts: object) -> Pipeline:
    given: dict[str, object] = {
        "detector": FixedDetector(faces()),
        "generator": NoiseGenerator(),
        "guard": None,
        "blender": MembraneBlender(),
        "residual": None,
        "policy": AttributePolicy(keep=[]),
        "settings": PipelineSettings(),
    }
    return Pipeline(**(given | parts))  # type: ignore[arg-type]


def done(result: object) -> object:
    if isinstance(result, UnderstudyError):
        raise result
    return result


def test_every_region_gets_one_outcome_and_nothing_else_changes() -> None:
    source = picture()
    result = done(pipeline().replace([source], [faces((10, 10, 34, 40), (70, 30, 100, 66))])[0])
    assert [o.kind for o in result.outcomes] == [OutcomeKind.REPLACED] * 2
    assert (result.native[~result.replace_mask] == source.native[~result.replace_mask]).all()
    assert (result.native[result.replace_mask] != source.native[result.replace_mask]).any(axis=-1).mean() > 0.9


def test_no_generator_sees_a_pixel_of_anybody() -> None:
    source = picture()
    generator = NoiseGenerator()
    boxes = faces((30, 20, 60, 60), (56, 20, 90, 62))
    pipeline(generator=generator).replace([source], [boxes])
    first = generator.conditions[0]
    assert (first.context[first.replace_mask] == ERASED).all()
    again = NoiseGenerator()
    view = np.array(source.view)
    result = done(pipeline().replace([source], [boxes])[0])
    view[result.replace_mask] = np.random.default_rng(9).integers(0, 256, (int(result.replace_mask.sum()), 3))
    other = SourceImage("a.png", view.copy(), "RGB", None, view, source.digest, Encoding("PNG"))
    changed = done(pipeline(generator=again).replace([other], [boxes])[0])
    assert (changed.native == result.native).all()


def test_a_picture_gives_the_same_pixels_alone_and_in_company() -> None:
    sources = [picture(f"{i}.png", seed=i) for i in range(3)]
    found = [faces((10, 10, 34, 40)), faces((20, 20, 60, 70), (50, 20, 90, 75)), faces((5, 5, 15, 17))]
    together = [done(r) for r in pipeline().replace(sources, found)]
    alone = [done(pipeline().replace([s], [f])[0]) for s, f in zip(sources, found, strict=True)]
    backwards = [done(r) for r in pipeline().replace(sources[::-1], found[::-1])][::-1]
    for a, b, c in zip(together, alone, backwards, strict=True):
        assert (a.native == b.native).all()
        assert (a.native == c.native).all()
        assert a.outcomes == b.outcomes == c.outcomes


def test_batches_are_padded_to_one_size() -> None:
    generator = NoiseGenerator()
    pipeline(generator=generator).replace([picture()], [faces((10, 10, 34, 40))])
    assert generator.batches == [4]


@pytest.mark.parametrize("error", [GenerationError("nothing came"), RuntimeError("boom")])
def test_a_generator_that_raises_ends_in_fill(error: Exception) -> None:
    source = picture()
    result = done(pipeline(generator=FailingGenerator(error)).replace([source], [faces((10, 10, 40, 50))])[0])
    (outcome,) = result.outcomes
    assert outcome.kind is OutcomeKind.FILLED
    assert type(error).__name__ in outcome.reason
    filled = result.native[result.replace_mask]
    assert (filled == filled[0]).all()


def test_a_face_that_runs_out_of_memory_withholds_its_own_picture_and_no_other() -> None:
    sources = [picture(f"{i}.png", seed=i) for i in range(2)]
    found = [faces((10, 10, 40, 50)), faces((4, 4, 24, 30), (80, 50, 110, 90))]
    bad = {region_seed(0, sources[0].digest, 0, 0)}
    withheld, other = pipeline(generator=FailingGenerator(MemoryError(), bad)).replace(sources, found)
    assert "0.png: out of memory for one region, in a batch of one" in str(withheld)
    (untroubled,) = pipeline().replace(sources[1:], found[1:])
    assert (done(other).native == done(untroubled).native).all()


def test_in_a_film_a_face_that_runs_out_of_memory_is_filled() -> None:
    from understudy.video.decide import one_attempt

    filling = one_attempt(pipeline(generator=FailingGenerator(MemoryError())), scan=False)
    result = done(filling.replace([picture()], [faces((10, 10, 40, 50))])[0])
    assert result.outcomes[0].kind is OutcomeKind.FILLED
    assert "out of memory" in result.outcomes[0].reason


def test_a_generator_that_fails_on_one_face_leaves_its_neighbours_in_the_batch_alone() -> None:
    source = picture()
    bad = {region_seed(0, source.digest, 0, attempt) for attempt in range(3)}
    generator = FailingGenerator(RuntimeError("boom"), bad)
    result = done(pipeline(generator=generator).replace([source], [faces((4, 4, 24, 30), (80, 50, 110, 90))])[0])
    assert [o.kind for o in result.outcomes] == [OutcomeKind.FILLED, OutcomeKind.REPLACED]


def test_a_wrongly_sized_result_is_refused() -> None:
    class Small(NoiseGenerator):
        def __call__(self, conditions: Sequence[Condition], seeds: Sequence[int]) -> list[Generated]:
            return [Generated(g.pixels[::2, ::2].copy(), g.seed, 1) for g in super().__call__(conditions, seeds)]

    result = done(pipeline(generator=Small()).replace([picture()], [faces((10, 10, 40, 50))])[0])
    assert result.outcomes[0].kind is OutcomeKind.FILLED
    assert "(16, 16, 3)" in result.outcomes[0].reason


def test_a_face_too_small_for_the_generator_is_filled_not_skipped() -> None:
    result = done(pipeline().replace([picture()], [faces((10, 10, 12, 13))])[0])
    assert result.outcomes[0].kind is OutcomeKind.FILLED
    assert result.outcomes[0].attempts == 0
    assert "too small" in result.outcomes[0].reason
    assert result.replace_mask[10:13, 10:12].all()


class LeaningEmbedder:
    """An embedding per call: the original first, then the candidates it is given."""

    name = "leaning"

    def __init__(self, *embeddings: float) -> None:
        self.embeddings = list(embeddings)

    def can_judge(self, *face: object) -> bool:
        return True

    def embed(self, *face: object) -> NDArray[np.float32]:
        value = self.embeddings.pop(0) if len(self.embeddings) > 1 else self.embeddings[0]
        return np.array([value, 0], np.float32)


def five_points(x: float, y: float, size: float) -> NDArray[np.float32]:
    unit = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]], np.float32)
    return (unit * size + np.array([x, y], np.float32))[None]


def guard(embedder: LeaningEmbedder, found: bool = True) -> FaceGuard:
    in_crop = Detections.faces(
        np.array([[8, 6, 24, 26]] if found else np.empty((0, 4))),
        np.ones(int(found)),
        five_points(8, 6, 18) if found else np.empty((0, 5, 2)),
    )
    return FaceGuard(FixedDetector(in_crop), embedder, min_distance=0.6)  # type: ignore[arg-type]


def one_face() -> Detections:
    return Detections.faces(np.array([[40, 20, 72, 62]]), np.ones(1), five_points(40, 20, 36))


def test_the_guard_refuses_the_original_and_takes_the_next_seed() -> None:
    result = done(pipeline(guard=guard(LeaningEmbedder(0.0, 0.1, 0.9))).replace([picture()], [one_face()])[0])
    (outcome,) = result.outcomes
    assert (outcome.kind, outcome.attempts) == (OutcomeKind.REPLACED, 2)
    assert outcome.readings["identity_distance"] == pytest.approx(0.9)
    assert outcome.readings["identity"] == "other"


def test_a_face_that_the_guard_never_accepts_is_filled_and_says_why() -> None:
    result = done(pipeline(guard=guard(LeaningEmbedder(0.0, 0.3))).replace([picture()], [one_face()])[0])
    (outcome,) = result.outcomes
    assert (outcome.kind, outcome.attempts) == (OutcomeKind.FILLED, 3)
    assert "distance 0.300 under 0.60" in outcome.reason


def test_a_candidate_without_a_face_is_refused() -> None:
    result = done(pipeline(guard=guard(LeaningEmbedder(0.0, 0.9), found=False)).replace([picture()], [one_face()])[0])
    assert result.outcomes[0].kind is OutcomeKind.FILLED
    assert "no face" in result.outcomes[0].reason


def test_identity_without_an_embedder_is_undecided_and_counted_so() -> None:
    blind = guard(LeaningEmbedder(0.0))
    blind.embedder = None
    result = done(pipeline(guard=blind).replace([picture()], [one_face()])[0])
    assert result.outcomes[0].kind is OutcomeKind.REPLACED
    assert result.outcomes[0].readings["identity"] == "undecided"


def test_whoever_the_second_detector_still_finds_is_replaced_too() -> None:
    scan = ResidualScan(FixedDetector(faces((80, 50, 110, 90)), faces()))
    result = done(pipeline(residual=scan).replace([picture()], [faces((10, 10, 34, 40))])[0])
    assert [(o.kind, o.found_by) for o in result.outcomes] == [
        (OutcomeKind.REPLACED, "primary"),
        (OutcomeKind.REPLACED, "residual"),
    ]


def test_understudies_themselves_do_not_count_as_missed() -> None:
    scan = ResidualScan(FixedDetector(faces((10, 10, 34, 40))))
    result = done(pipeline(residual=scan).replace([picture()], [faces((10, 10, 34, 40))])[0])
    assert len(result.outcomes) == 1


def test_a_face_that_keeps_turning_up_elsewhere_gives_the_picture_up() -> None:
    scan = ResidualScan(
        FixedDetector(faces((0, 0, 20, 20)), faces((60, 0, 80, 20)), faces((100, 60, 120, 80))), max_rounds=2
    )
    (result,) = pipeline(residual=scan).replace([picture()], [faces((10, 60, 34, 90))])
    assert isinstance(result, UnderstudyError)
    assert "after 2 rounds" in str(result)


def test_a_replaced_region_in_which_the_original_is_met_again_is_filled() -> None:
    seen_again = one_face()
    scan = ResidualScan(FixedDetector(seen_again))
    watching = guard(LeaningEmbedder(0.0, 0.9, 0.2))
    result = done(pipeline(guard=watching, residual=scan).replace([picture()], [one_face()])[0])
    (outcome,) = result.outcomes
    assert outcome.kind is OutcomeKind.FILLED
    assert "residual scan" in outcome.reason
    same_surroundings = done(
        pipeline(generator=FailingGenerator(RuntimeError("boom"))).replace([picture()], [one_face()])[0]
    )
    assert (result.native == same_surroundings.native).all()  # the refused understudy leaves no trace in the colour


def test_overlapping_faces_follow_each_other_and_the_smaller_comes_first() -> None:
    generator = NoiseGenerator()
    boxes = faces((30, 20, 70, 70), (60, 30, 80, 54))
    pipeline(generator=generator).replace([picture()], [boxes])
    assert generator.batches == [4, 4]
    context = generator.conditions[4].context[~generator.conditions[4].replace_mask]
    assert (context != ERASED).any(axis=-1).mean() > 0.9  # the smaller one's understudy is there by now


def in_the_middle() -> FaceGuard:
    """Finds a face in the middle of every crop and compares no identities."""
    found = Detections.faces(np.array([[4, 4, 28, 28]]), np.ones(1), five_points(4, 4, 24))
    return FaceGuard(FixedDetector(found), None)


@pytest.mark.parametrize("inner", [(30, 20, 70, 70), (32, 24, 68, 66)])
def test_a_region_that_covers_another_one_is_generated_as_a_whole(inner: tuple[float, float, float, float]) -> None:
    boxes = faces((30, 20, 70, 70), inner)
    generator = NoiseGenerator()
    result = done(pipeline(generator=generator, guard=in_the_middle()).replace([picture()], [boxes])[0])
    assert [o.kind for o in result.outcomes] == [OutcomeKind.REPLACED] * 2
    alone = NoiseGenerator()
    pipeline(generator=alone).replace([picture()], [boxes_of_larger(boxes)])
    assert (generator.conditions[-1].replace_mask == alone.conditions[0].replace_mask).all()


def boxes_of_larger(found: Detections) -> Detections:
    area = (found.xyxy[:, 2:] - found.xyxy[:, :2]).prod(axis=1)
    return faces(tuple(float(v) for v in found.xyxy[int(area.argmax())]))


def test_a_candidate_that_cannot_be_judged_is_refused_and_the_picture_is_not_lost() -> None:
    class Raising(LeaningEmbedder):
        def embed(self, *face: object) -> NDArray[np.float32]:
            if len(self.embeddings) == 1:
                raise InvalidInputError("keypoints fix no scale")
            return super().embed(*face)

    result = done(pipeline(guard=guard(Raising(0.0, 0.9))).replace([picture()], [one_face()])[0])
    (outcome,) = result.outcomes
    assert (outcome.kind, outcome.attempts) == (OutcomeKind.FILLED, 3)
    assert "could not be judged: InvalidInputError: keypoints fix no scale" in outcome.reason


def test_a_picture_that_cannot_be_prepared_does_not_take_its_neighbours_along() -> None:
    class Fussy(AttributePolicy):
        def read(self, view: NDArray[np.uint8], *face: NDArray[np.floating]) -> object:  # type: ignore[override]
            if view.shape[0] == 50:
                raise GenerationError("no reading")
            return super().read(view, *face)

    sources = [picture("good.png"), picture("bad.png", height=50)]
    found = [faces((10, 10, 34, 40))] * 2
    good, bad = pipeline(policy=Fussy(keep=[])).replace(sources, found)
    assert not isinstance(good, UnderstudyError)
    assert isinstance(bad, GenerationError)


def test_zero_attempts_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="got 0"):
        PipelineSettings(n_attempts=0)
