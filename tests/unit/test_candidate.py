from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import pytest

from understudy.attributes.policy import AttributePolicy
from understudy.blend import MembraneBlender
from understudy.errors import GenerationError, InvalidInputError
from understudy.guard import Reference, Verdict
from understudy.imaging import decode
from understudy.pipeline import Pipeline, PipelineSettings
from understudy.types import Attributes, Condition, Detections, Generated, OutcomeKind, SourceImage


def picture() -> SourceImage:
    pixels = np.random.default_rng(0).integers(90, 160, (80, 80, 3), dtype=np.uint8)
    return decode(cv2.imencode(".png", pixels)[1].tobytes(), "a.png")


FACE = Detections.faces(
    np.array([[20, 16, 52, 60]], float),
    np.array([0.9]),
    np.array([[[28, 32], [44, 32], [36, 40], [30, 48], [42, 48]]], float),
)


class Counting:
    """Paints its calls: the first understudy is uniformly of level 40, the second of 60, and so on."""

    name, crop_size, batch_size, min_face_px, outcome = "counting", 32, 1, 4.0, OutcomeKind.REPLACED

    def __init__(self, fails: Sequence[int] = ()) -> None:
        self.n_calls, self.fails = 0, set(fails)

    def __call__(self, conditions: Sequence[Condition], seeds: Sequence[int]) -> list[Generated]:
        self.n_calls += 1
        if self.n_calls - 1 in self.fails:
            raise GenerationError("it was told to")
        level = 20 + 20 * self.n_calls
        return [Generated(np.full((32, 32, 3), level, np.uint8), seed, 1) for seed in seeds]

    def digests(self) -> dict[str, str]:
        return {}


class Levels(AttributePolicy):
    """Wants one grey level, and says how far from it a face is."""

    def __init__(self, wanted: float) -> None:
        super().__init__(keep=[])
        self.wanted, self.seen = wanted, []

    def mismatch(self, wanted, view, xyxy, keypoints, visibility):
        x0, y0, x1, y1 = (round(float(v)) for v in xyxy)
        self.seen.append((x0, y0, x1, y1))
        inner = view[y0 + 8 : y1 - 8, x0 + 6 : x1 - 6]
        return abs(float(inner.mean()) - self.wanted) / 100


class Guard:
    """Accepts what its list says, call after call."""

    detector = embedder = None

    def __init__(self, accepts: Sequence[bool]) -> None:
        self.accepts = list(accepts)

    def reference(self, *args: object) -> Reference:
        return Reference(None, "test")

    def judge(self, *args: object) -> Verdict:
        accepted = self.accepts.pop(0)
        return Verdict(accepted, "" if accepted else "refused by the list")


def run(generator: Counting, n_candidates: int, wanted: float, guard: Guard | None = None, n_attempts: int = 3):
    policy = Levels(wanted)
    pipeline = Pipeline(
        detector=None,
        generator=generator,
        guard=guard,
        blender=MembraneBlender(limit=0, grain=False),
        residual=None,
        policy=policy,
        settings=PipelineSettings(n_attempts=n_attempts, n_candidates=n_candidates),
    )
    (result,) = pipeline.replace([picture()], [FACE])
    if isinstance(result, Exception):
        raise result
    (outcome,) = result.outcomes
    middle = float(result.native[30:46, 30:42].mean())
    return outcome, middle, policy


def test_of_several_candidates_the_one_that_matches_best_stays() -> None:
    generator = Counting()
    outcome, middle, policy = run(generator, 4, wanted=63)
    assert generator.n_calls == 4
    assert len(policy.seen) == 4
    assert outcome.attempts == 2
    assert abs(middle - 60) < 6
    assert outcome.readings["attribute_mismatch"] < 0.1


def test_candidates_are_read_where_the_face_is_in_their_crop() -> None:
    _, _, policy = run(Counting(), 2, wanted=0)
    x0, y0, x1, y1 = policy.seen[0]
    assert 0 <= x0 < x1 <= 32
    assert 0 <= y0 < y1 <= 32
    assert (y1 - y0) / (x1 - x0) == pytest.approx(44 / 32, abs=0.15)


def test_with_one_candidate_the_first_that_is_accepted_stays_and_nothing_is_read() -> None:
    generator = Counting()
    outcome, _, policy = run(generator, 1, wanted=80)
    assert (generator.n_calls, outcome.attempts, policy.seen) == (1, 1, [])
    assert "attribute_mismatch" not in outcome.readings


def test_what_the_guard_refuses_is_no_candidate() -> None:
    outcome, middle, policy = run(Counting(), 3, wanted=60, guard=Guard([True, False, True]))
    assert len(policy.seen) == 2
    assert outcome.attempts == 1
    assert abs(middle - 40) < 6


def test_a_candidate_that_fails_last_leaves_the_best_of_the_others() -> None:
    outcome, middle, _ = run(Counting(fails=[2]), 3, wanted=60)
    assert outcome.kind is OutcomeKind.REPLACED
    assert abs(middle - 60) < 6


def test_where_no_candidate_is_accepted_the_ladder_goes_on_with_its_attempts() -> None:
    outcome, _, _ = run(Counting(), 2, wanted=60, guard=Guard([False, False, True]), n_attempts=3)
    assert (outcome.kind, outcome.attempts) == (OutcomeKind.REPLACED, 3)
    outcome, _, _ = run(Counting(), 4, wanted=60, guard=Guard([False] * 4), n_attempts=3)
    assert (outcome.kind, outcome.attempts) == (OutcomeKind.FILLED, 4)


def test_numbers_under_one_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="got 3 and 0"):
        PipelineSettings(n_candidates=0)


class Reading:
    """A probe that always says the same."""

    def read(self, *args: object):
        from understudy.attributes.probe import ProbeReading

        return ProbeReading(
            np.array([37.5, 0.5, 0, 0, 0.0]), np.full(5, 1e-3), np.array([0.7, 0.2, 0.1, 0.0]), np.zeros(2)
        )


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Attributes(), 0.0),
        (Attributes(age_group=2), 0.0),  # 37.5 years lie in it
        (Attributes(age_group=3), 1.0),
        (Attributes(expression=1), 0.8),
        (Attributes(age_group=0, expression=0, perceived_gender_expression=1, head_pose=4), 1.3),
    ],
)
def test_the_mismatch_is_what_the_probe_gives_to_other_bins(wanted: Attributes, expected: float) -> None:
    policy = AttributePolicy(keep=[])
    policy.probe = Reading()
    view = np.zeros((32, 32, 3), np.uint8)
    found = policy.mismatch(wanted, view, np.array([4, 4, 28, 28.0]), np.zeros((5, 2)), np.zeros(5))
    assert found == pytest.approx(expected, abs=1e-6)


def test_skin_tone_counts_by_the_bins_that_it_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = AttributePolicy(keep=[])
    for tone, expected in ((70.0, 1.0), (-40.0, 0.0), (float("nan"), 1.0)):  # bins 0 and 5 of 0 to 5; nothing read
        monkeypatch.setattr("understudy.attributes.policy.measure_tone_deg", lambda *args, tone=tone: tone)
        found = policy.mismatch(Attributes(skin_tone=5), np.zeros((8, 8, 3), np.uint8), *[np.zeros(5)] * 3)
        assert found == pytest.approx(expected)
