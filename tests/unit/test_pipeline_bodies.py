"""Whole people in the pipeline: who is drawn when, faces in bodies, and every case that ends in fill."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from tests.people_scenes import Person, crowd, people
from tests.unit.test_pipeline import FixedDetector, NoiseGenerator, done, five_points, picture, pipeline

from understudy.blend import laid_over
from understudy.canvas import Canvas
from understudy.detect.persons import join, only
from understudy.generate.by_kind import ByKind
from understudy.geometry import Region, crop_frame, cut_crop, in_window, share_of, united, without
from understudy.guard import BodyGuard, FaceGuard, Reference
from understudy.residual import ResidualScan
from understudy.types import (
    ERASED,
    Attributes,
    Condition,
    Detections,
    Generated,
    Kind,
    OutcomeKind,
)


class BodyNoise(NoiseGenerator):
    """Noise, on crops twice as high as wide."""

    name = "body noise"
    crop_height = 64
    min_face_px = 30.0

    def __call__(self, conditions: Sequence[Condition], seeds: Sequence[int]) -> list[Generated]:
        self.conditions += conditions
        self.batches.append(len(conditions))
        noise = [np.random.default_rng(seed).integers(60, 200, (64, 32, 3)).astype(np.uint8) for seed in seeds]
        return [Generated(pixels, seed, 1) for pixels, seed in zip(noise, seeds, strict=True)]


class Raising(BodyNoise):
    def __call__(self, conditions: Sequence[Condition], seeds: Sequence[int]) -> list[Generated]:
        raise RuntimeError("lying people cannot be done")


def both(body: NoiseGenerator | None = None, face: NoiseGenerator | None = None) -> ByKind:
    return ByKind(face or NoiseGenerator(), body or BodyNoise())


def outcomes(result: object) -> list[tuple[Kind, OutcomeKind]]:
    return [(outcome.detected_as, outcome.kind) for outcome in result.outcomes]


TALL = picture(height=200, width=240)


def test_a_body_and_its_face_are_one_subject_with_a_row_each() -> None:
    found = people(Person(80, 190, 170))
    generator = both()
    result = done(pipeline(generator=generator).replace([TALL], [found])[0])
    assert outcomes(result) == [(Kind.BODY, OutcomeKind.REPLACED), (Kind.FACE, OutcomeKind.REPLACED)]
    assert [outcome.subject for outcome in result.outcomes] == [0, 0]
    assert {c.kind for c in generator.body.conditions} == {Kind.BODY}
    assert {c.kind for c in generator.face.conditions} == {Kind.FACE}
    assert generator.body.conditions[0].context.shape == (64, 32, 3)
    assert generator.face.conditions[0].context.shape == (32, 32, 3)


def test_the_condition_of_a_body_holds_its_face_s_keypoints_in_the_crop_and_nothing_of_the_person() -> None:
    found = people(Person(80, 190, 170))
    generator = both()
    pipeline(generator=generator).replace([TALL], [found], [[Attributes(skin_tone=2), Attributes(skin_tone=2)]])
    condition = generator.body.conditions[0]
    assert condition.visibility.tolist() == [1, 1, 1] + [0] * 14
    nose, left_eye, right_eye = condition.keypoints[:3]
    assert right_eye[0] < nose[0] < left_eye[0]  # the subject's left is on the right
    assert 0 < nose[1] < 20
    assert abs(nose[0] - 16) < 1
    assert condition.replace_mask[20:45, 12:20].all()
    assert (condition.context[condition.replace_mask] == ERASED).all()
    assert condition.attributes.skin_tone == 2


def test_the_face_is_generated_last_into_the_body_that_was_drawn() -> None:
    found = people(Person(80, 190, 170))
    generator = both()
    pipeline(generator=generator).replace([TALL], [found])
    seen = generator.face.conditions[0]
    assert (~seen.replace_mask).mean() > 0.3
    around = seen.context[~seen.replace_mask]
    assert ((around >= 58) & (around <= 202)).mean() > 0.95  # the body's understudy, and not a wall of noise in 0..255


def test_a_face_too_small_for_the_face_generator_stays_as_its_body_was_drawn() -> None:
    found = people(Person(80, 190, 120))
    face = NoiseGenerator()
    face.min_face_px = 100
    result = done(pipeline(generator=both(face=face)).replace([TALL], [found])[0])
    body, own = result.outcomes
    assert (body.kind, own.kind, own.attempts) == (OutcomeKind.REPLACED, OutcomeKind.REPLACED, 0)
    assert "left as it was drawn with its body: too small" in own.reason
    assert face.conditions == []
    x0, y0, x1, y1 = (int(v) for v in own.xyxy)
    drawn = result.native[y0:y1, x0:x1]
    assert drawn.std() > 10  # the body's noise, and no fill
    assert not (drawn == ERASED).all(axis=2).any()


def test_a_face_that_is_rolled_stays_as_its_body_was_drawn_and_one_without_a_body_is_generated() -> None:
    found = people(Person(80, 190, 170))
    points = found.keypoints.copy()
    middle = found.xyxy[1].reshape(2, 2).mean(axis=0)
    points[1, :5] = (points[1, :5] - middle)[:, ::-1] * (-1, 1) + middle  # a quarter turn
    turned = replace(found, keypoints=points)
    _, face = done(pipeline(generator=both()).replace([TALL], [turned])[0]).outcomes
    assert (face.kind, face.attempts) == (OutcomeKind.REPLACED, 0)
    assert "rolled by 90 degrees, and the head of its body is upright" in face.reason
    (alone,) = done(pipeline(generator=both()).replace([TALL], [only(turned, Kind.FACE)])[0]).outcomes
    assert (alone.kind, alone.attempts) == (OutcomeKind.REPLACED, 1)


def test_where_the_generator_cannot_do_a_person_body_and_face_are_filled() -> None:
    found = people(Person(80, 190, 170))
    result = done(pipeline(generator=both(Raising())).replace([TALL], [found])[0])
    body, face = result.outcomes
    assert (body.kind, body.attempts) == (OutcomeKind.FILLED, 3)
    assert "lying people cannot be done" in body.reason
    assert (face.kind, face.reason) == (OutcomeKind.FILLED, "it lies in a body that is filled")


def test_a_person_of_12_px_is_filled() -> None:
    found = people(Person(80, 100, 12))
    result = done(pipeline(generator=both()).replace([TALL], [found])[0])
    assert {outcome.kind for outcome in result.outcomes} == {OutcomeKind.FILLED}
    assert "too small for the generator: 12.0 px under 30 px" in result.outcomes[0].reason
    assert result.replace_mask[88:100, 78:82].all()


@pytest.mark.parametrize("x", [-10, 2, 236, 250])
def test_a_person_cut_by_the_border_is_replaced(x: float) -> None:
    found = people(Person(x, 210, 150, face=False))
    result = done(pipeline(generator=both()).replace([TALL], [found])[0])
    assert outcomes(result) == [(Kind.BODY, OutcomeKind.REPLACED)]


def test_a_crowd_of_fifty_has_an_outcome_for_everybody_and_no_grey_is_left() -> None:
    source = picture(height=320, width=480)
    found = people(*crowd(50, 480, 320))
    generator = both()
    generator.body.min_face_px = 60
    result = done(pipeline(generator=generator).replace([source], [found])[0])
    assert len(result.outcomes) == len(found)
    assert {outcome.kind for outcome in result.outcomes} == {OutcomeKind.REPLACED, OutcomeKind.FILLED}
    assert len({outcome.subject for outcome in result.outcomes if outcome.detected_as is Kind.BODY}) == 50
    erased = (result.native == ERASED).all(axis=2) & result.replace_mask
    assert erased.mean() < 1e-3
    assert (result.native[~result.replace_mask] == source.native[~result.replace_mask]).all()


def test_the_whole_of_everybody_is_erased_before_anybody_is_generated() -> None:
    found = people(Person(60, 190, 150), Person(90, 195, 160), Person(130, 180, 120, face=False))
    generator = both()
    result = done(pipeline(generator=generator).replace([TALL], [found])[0])
    changed = np.array(TALL.view)
    changed[result.replace_mask] = 255 - changed[result.replace_mask]
    again = done(pipeline(generator=both()).replace([replace(TALL, native=changed.copy(), view=changed)], [found])[0])
    assert (again.native == result.native)[result.replace_mask].all()


def test_a_face_without_a_body_is_replaced_as_ever() -> None:
    found = people(Person(60, 190, 150, face=False), Person(180, 190, 160, body=False))
    result = done(pipeline(generator=both()).replace([TALL], [found])[0])
    assert outcomes(result) == [(Kind.BODY, OutcomeKind.REPLACED), (Kind.FACE, OutcomeKind.REPLACED)]
    assert result.outcomes[0].subject != result.outcomes[1].subject


def giant() -> Detections:
    return Detections.faces(np.array([[5, 0, 185, 190]]), np.array([0.4]), five_points(95, 90, 150))


def test_a_face_too_large_for_the_people_in_it_is_filled_and_they_are_drawn_on_top() -> None:
    persons = people(Person(60, 170, 120), Person(130, 170, 120))
    heads, wide = only(persons, Kind.FACE), giant()
    boxes, points = (np.concatenate([getattr(d, name) for d in (heads, wide)]) for name in ("xyxy", "keypoints"))
    found = join(Detections.faces(boxes, np.array([0.9, 0.9, 0.4]), points), only(persons, Kind.BODY))
    generator = both()
    result = done(pipeline(generator=generator).replace([TALL], [found])[0])
    large = max(result.outcomes, key=lambda outcome: outcome.xyxy[2] - outcome.xyxy[0])
    assert (large.kind, large.reason) == (OutcomeKind.FILLED, "it is too large for a face among the people around it")
    assert [o.kind for o in result.outcomes if o is not large] == [OutcomeKind.REPLACED] * 4
    assert len({c.context.tobytes() for c in generator.face.conditions}) == 2
    assert result.native[120:160, 50:70].std() > 10  # a body's noise
    assert result.native[185:188, 92:98].std(axis=(0, 1)).max() < 1  # and the fill between them
    assert result.replace_mask[5:180, 90:100].all()


def test_a_face_too_large_that_is_found_in_the_end_leaves_those_who_are_drawn() -> None:
    persons = people(Person(60, 170, 120))
    nobody = Detections.faces(np.zeros((0, 4)), np.zeros(0))
    plain = done(pipeline(generator=both()).replace([TALL], [persons])[0])
    scan = ResidualScan(FixedDetector(giant(), nobody))
    result = done(pipeline(generator=both(), residual=scan).replace([TALL], [persons])[0])
    assert result.outcomes[-1].found_by == "residual"
    assert result.outcomes[-1].kind is OutcomeKind.FILLED
    assert (result.native[plain.replace_mask] == plain.native[plain.replace_mask]).all()
    assert result.replace_mask[20:170, 30:160].all()


# who stands before whom


def canvas_of(found: Detections) -> Canvas:
    canvas = Canvas(TALL)
    for i in range(len(found)):
        canvas.add(found, i, Attributes(), None, "primary")
    canvas.separate()
    return canvas


def order_of(canvas: Canvas) -> list[tuple[Kind, int | None]]:
    waves = canvas.waves(canvas.subjects, lambda s: ((64, 32) if s.kind is Kind.BODY else 32, 1.25))
    return [(s.kind, s.person) for wave in waves for s in wave]


def test_whose_face_is_seen_in_another_s_box_stands_before_them_though_larger() -> None:
    behind, front = Person(100, 180, 150, face=True), Person(104, 230, 160)
    canvas = canvas_of(people(behind, front))
    (far,) = [s.index for s in canvas.subjects if s.kind is Kind.BODY and s.xyxy[3] < 200]
    (near,) = [s.index for s in canvas.subjects if s.kind is Kind.BODY and s.xyxy[3] > 200]
    assert canvas.behind == {near: {far}}
    order = order_of(canvas)
    assert order.index((Kind.BODY, canvas.subjects[far].person)) < order.index(
        (Kind.BODY, canvas.subjects[near].person)
    )


def test_a_face_follows_its_own_body() -> None:
    order = order_of(canvas_of(people(Person(60, 190, 150), Person(90, 195, 160), Person(200, 190, 100))))
    for kind, person in order:
        if kind is Kind.FACE:
            assert order.index((Kind.BODY, person)) < order.index((Kind.FACE, person))


def test_nobody_s_head_is_in_another_s_region_and_nothing_is_left_out() -> None:
    found = people(Person(70, 190, 150), Person(90, 200, 170))
    canvas, plain = canvas_of(found), Canvas(TALL)
    for i in range(len(found)):
        plain.add(found, i, Attributes(), None, "primary")
    canvas.erase(canvas.subjects)
    plain.erase(plain.subjects)
    assert (canvas.union == plain.union).all()
    faces = [s for s in canvas.subjects if s.kind is Kind.FACE]
    for face in faces:
        assert [host.person for host in canvas.hosts(face)] == [face.person]


def test_a_body_is_laid_over_its_neighbour_and_lets_the_rest_of_them_show() -> None:
    region = Region((10, 10, 42, 42), np.ones((32, 32), np.bool_))
    frame = np.array([[1.0, 0, 10], [0, 1, 10]])
    cover = np.zeros((32, 32), np.bool_)
    cover[:, :16] = True
    own, other = np.full((32, 32, 3), 200, np.uint8), np.full((32, 32, 3), 50, np.uint8)
    known = np.zeros((32, 32), np.bool_)
    known[:16] = True
    made = laid_over(own, cover, frame, region, other, known)
    assert (made[:16, :15] == 200).all()
    assert (made[:16, 18:] == 50).all()
    assert (made[16:] == 200).all()  # nobody was drawn there: its own surroundings


class Half(BodyNoise):
    """White bodies on the left half of their crop."""

    def __call__(self, conditions: Sequence[Condition], seeds: Sequence[int]) -> list[Generated]:
        cover = np.zeros((64, 32), np.bool_)
        cover[:, :16] = True
        return [Generated(np.full((64, 32, 3), 250, np.uint8), seed, 1, cover) for seed in seeds]


def test_the_pipeline_keeps_the_neighbour_where_a_body_does_not_cover_them() -> None:
    found = people(Person(70, 180, 120, face=False), Person(90, 190, 140, face=False))
    covered = done(pipeline(generator=both(Half())).replace([TALL], [found])[0])
    assert {outcome.kind for outcome in covered.outcomes} == {OutcomeKind.REPLACED}


# guard, scan, geometry


class Embedder:
    name = "fixed"

    def __init__(self, *answers: tuple[float, float]) -> None:
        self.answers = list(answers)

    def can_judge(self, xyxy: np.ndarray) -> bool:
        return bool(xyxy[3] - xyxy[1] > 10)

    def embed(self, view: np.ndarray, xyxy: np.ndarray) -> np.ndarray:
        return np.array(self.answers.pop(0) if len(self.answers) > 1 else self.answers[0], np.float32)


def test_the_guard_of_bodies_refuses_the_original_and_takes_the_next_seed() -> None:
    guard = BodyGuard(embedder=Embedder((1, 0), (1, 0.1), (0, 1)), min_distance=0.3)
    found = people(Person(80, 190, 170, face=False))
    result = done(pipeline(generator=both(), body_guard=guard).replace([TALL], [found])[0])
    (outcome,) = result.outcomes
    assert (outcome.kind, outcome.attempts) == (OutcomeKind.REPLACED, 2)
    assert outcome.readings["identity_distance"] == pytest.approx(1.0)


def test_the_guard_of_bodies_ends_in_fill_and_says_why() -> None:
    guard = BodyGuard(embedder=Embedder((1, 0)), min_distance=0.3)
    found = people(Person(80, 190, 170, face=False))
    (outcome,) = done(pipeline(generator=both(), body_guard=guard).replace([TALL], [found])[0]).outcomes
    assert outcome.kind is OutcomeKind.FILLED
    assert "cosine distance 0.000 under 0.30" in outcome.reason


def test_the_guard_of_bodies_wants_a_person_where_it_has_a_detector() -> None:
    mask = np.zeros((64, 32), np.bool_)
    mask[8:56, 6:26] = True
    noise = np.random.default_rng(0).integers(40, 200, (64, 32, 3)).astype(np.uint8)
    person = Detections.bodies(np.array([[6, 8, 26, 56]]), np.array([0.8]))
    nobody = Detections.bodies(np.zeros((0, 4)), np.zeros(0))
    beside = Detections.bodies(np.array([[0, 0, 6, 10]]), np.array([0.9]))
    known = Reference(None, "")
    assert BodyGuard(FixedDetector(person)).judge(known, noise, mask).accepted
    for found in (nobody, beside):
        assert BodyGuard(FixedDetector(found)).judge(known, noise, mask).reason == "no person found in it"
    assert "flat" in BodyGuard().judge(known, np.full((64, 32, 3), 90, np.uint8), mask).reason


def test_bodies_that_the_second_detector_still_finds_are_replaced_too() -> None:
    missed = Detections.bodies(np.array([[150, 60, 200, 190]]), np.array([0.9]))
    nobody = Detections.bodies(np.zeros((0, 4)), np.zeros(0))
    scan = ResidualScan(FixedDetector(missed, nobody))
    found = people(Person(60, 190, 150))
    result = done(pipeline(generator=both(), body_residual=scan).replace([TALL], [found])[0])
    last = result.outcomes[-1]
    assert (last.detected_as, last.kind, last.found_by) == (Kind.BODY, OutcomeKind.REPLACED, "residual")


def test_a_face_in_a_body_in_which_the_original_is_met_again_is_filled() -> None:
    class Same:
        name = "same"

        def can_judge(self, *face: object) -> bool:
            return True

        def embed(self, *face: object) -> np.ndarray:
            return np.zeros(2, np.float32)

    found = people(Person(80, 190, 170))
    nobody = Detections.faces(np.zeros((0, 4)), np.zeros(0))
    guard = FaceGuard(FixedDetector(nobody), Same())  # no candidate is ever accepted: the body's own face stays
    again = Detections.faces(found.xyxy[1:], np.ones(1), five_points(70, 26, 20))
    scan = ResidualScan(FixedDetector(again))
    result = done(pipeline(generator=both(), guard=guard, residual=scan).replace([TALL], [found])[0])
    body, face = result.outcomes
    assert (body.kind, face.kind) == (OutcomeKind.REPLACED, OutcomeKind.FILLED)
    assert "residual scan" in face.reason


def test_a_body_in_which_the_original_is_met_again_is_filled_and_its_face_with_it() -> None:
    found = people(Person(80, 190, 170))
    guard = BodyGuard(embedder=Embedder((1, 0), (0, 1), (1, 0)), min_distance=0.3)  # original, candidate, second look
    scan = ResidualScan(FixedDetector(Detections.bodies(found.xyxy[:1], np.ones(1))))
    result = done(pipeline(generator=both(), body_guard=guard, body_residual=scan).replace([TALL], [found])[0])
    body, face = result.outcomes
    assert (body.kind, face.kind) == (OutcomeKind.FILLED, OutcomeKind.FILLED)
    assert "residual scan" in body.reason
    assert face.reason == "it lies in a body that is filled"


def test_a_crop_that_is_higher_than_wide_shows_the_whole_region_with_one_scale() -> None:
    canvas = Canvas(TALL)
    subject = canvas.add(people(Person(80, 190, 150, face=False)), 0, Attributes(), None, "primary")
    frame = crop_frame(subject.shape, (256, 128), 1.25)
    assert frame[0, 0] == pytest.approx(frame[1, 1])
    x0, y0, x1, y1 = subject.region.window
    assert frame[0, 0] == pytest.approx(max((y1 - y0) / 256, (x1 - x0) / 128) * 1.25)
    crop = cut_crop(TALL.view, np.zeros(TALL.view.shape[:2], np.bool_), frame, (256, 128))
    assert crop.pixels.shape == (256, 128, 3)


def test_regions_are_joined_cut_and_compared_pixel_by_pixel() -> None:
    a = Region((0, 0, 4, 4), np.ones((4, 4), np.bool_))
    b = Region((2, 2, 6, 5), np.ones((3, 4), np.bool_))
    assert united(a, b).window == (0, 0, 6, 5)
    assert united(a, b).area == 16 + 12 - 4
    assert without(a, [b], []).area == 12
    assert without(a, [b], [b]).area == 16
    assert share_of(a, b) == 0.25
    assert not in_window(a, (10, 10, 12, 12)).any()


def test_by_kind_sorts_conditions_and_pads_each_generator_s_batch() -> None:
    generator = both()
    canvas = canvas_of(people(Person(80, 190, 170)))
    canvas.erase(canvas.subjects)
    conditions = []
    for subject in (*canvas.subjects, canvas.subjects[1]):
        size = (64, 32) if subject.kind is Kind.BODY else (32, 32)
        conditions.append(Condition(canvas.cut(subject, size, 1.25), kind=subject.kind))
    made = generator(conditions, [1, 2, 3])
    assert [g.pixels.shape for g in made] == [(64, 32, 3), (32, 32, 3), (32, 32, 3)]
    assert [g.seed for g in made] == [1, 2, 3]
    assert (generator.body.batches, generator.face.batches) == ([4], [4])
    assert set(generator.digests()) == {"noise"}
