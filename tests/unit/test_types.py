from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.errors import InvalidInputError
from understudy.types import (
    ERASED,
    FACE_KEYPOINTS,
    Attributes,
    Condition,
    Crop,
    Detections,
    Encoding,
    Generated,
    Kind,
    OutcomeKind,
    SourceImage,
)

IDENTITY = np.eye(2, 3)


def crop(size: int = 8, seed: int = 0) -> Crop:
    mask = np.zeros((size, size), bool)
    mask[2:5, 3:6] = True
    return Crop(np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8), mask, IDENTITY.copy())


def source(**changes) -> SourceImage:
    given = {
        "image_id": "a.png",
        "native": np.zeros((4, 6, 3), np.uint8),
        "mode": "RGB",
        "icc": None,
        "view": np.zeros((4, 6, 3), np.uint8),
        "digest": bytes(32),
        "encoding": Encoding("PNG"),
    }
    return SourceImage(**{**given, **changes})


# conditions


def test_a_condition_holds_the_crop_outside_the_mask_and_grey_under_it() -> None:
    cut = crop()
    condition = Condition(cut)
    assert (condition.context[cut.replace_mask] == ERASED).all()
    assert (condition.context[~cut.replace_mask] == cut.pixels[~cut.replace_mask]).all()


@given(size=st.integers(1, 16), seeds=st.tuples(st.integers(0, 999), st.integers(0, 999)), data=st.data())
@settings(deadline=None, derandomize=True)
def test_conditions_of_crops_that_differ_under_the_mask_only_are_equal(
    size: int, seeds: tuple[int, int], data: st.DataObject
) -> None:
    bits = data.draw(st.lists(st.booleans(), min_size=size * size, max_size=size * size))
    mask = np.array(bits, bool).reshape(size, size)
    first, second = (crop(size, seed).pixels for seed in seeds)
    changed = np.where(mask[..., None], second, first)
    before, after = (Condition(Crop(pixels.copy(), mask.copy(), IDENTITY.copy())) for pixels in (first, changed))
    assert before.context.tobytes() == after.context.tobytes()
    assert before.replace_mask.tobytes() == after.replace_mask.tobytes()


def test_a_condition_has_no_way_back_to_the_crop() -> None:
    assert {f.name for f in dataclasses.fields(Condition)} == {
        "context",
        "replace_mask",
        "keypoints",
        "visibility",
        "attributes",
        "anchor",
        "kind",
    }
    cut = crop()
    assert not np.shares_memory(Condition(cut).context, cut.pixels)


def test_absent_keypoints_do_not_travel() -> None:
    points = np.arange(10, dtype=np.float32).reshape(5, 2) + 1
    condition = Condition(crop(), points, np.array([1, 0, 1, 1, 0], np.float32))
    assert condition.keypoints[[1, 4]].tolist() == [[0, 0], [0, 0]]
    assert condition.keypoints[0].tolist() == [1, 2]


def test_a_condition_without_keypoints_and_attributes_says_that_it_has_none() -> None:
    condition = Condition(crop())
    assert condition.visibility.tolist() == [0] * len(FACE_KEYPOINTS)
    assert condition.attributes == Attributes(None, None, None, None, None)


@pytest.mark.parametrize("name", ["context", "replace_mask", "keypoints", "visibility"])
def test_the_arrays_of_a_condition_cannot_be_written(name: str) -> None:
    array = getattr(Condition(crop(), np.ones((5, 2), np.float32), np.ones(5, np.float32)), name)
    with pytest.raises(ValueError, match="read-only"):
        array[...] = 0


@pytest.mark.parametrize("name", ["context", "replace_mask", "keypoints", "visibility", "attributes"])
def test_the_fields_of_a_condition_cannot_be_exchanged(name: str) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(Condition(crop()), name, None)


def test_a_condition_keeps_its_keypoints_when_the_callers_array_changes() -> None:
    points, shown = np.ones((5, 2), np.float32), np.ones(5, np.float32)
    condition = Condition(crop(), points, shown)
    points[:], shown[:] = 9, 0
    assert (condition.keypoints == 1).all()
    assert (condition.visibility == 1).all()


def test_a_condition_refuses_as_many_visibilities_as_it_has_no_keypoints_for() -> None:
    with pytest.raises(InvalidInputError, match=r"visibility must be \(5,\), got \(4,\)"):
        Condition(crop(), np.zeros((5, 2), np.float32), np.zeros(4, np.float32))


# crops, generated pictures, sources


@pytest.mark.parametrize(
    ("pixels", "mask", "affine", "message"),
    [
        (np.zeros((4, 4), np.uint8), np.zeros((4, 4), bool), IDENTITY, r"pixels must be \(H, W, 3\) uint8"),
        (np.zeros((4, 4, 3), np.float32), np.zeros((4, 4), bool), IDENTITY, "got .* float32"),
        (np.zeros((4, 4, 3), np.uint8), np.zeros((4, 5), bool), IDENTITY, r"shape \(4, 4\), got bool \(4, 5\)"),
        (np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.uint8), IDENTITY, "replace_mask must be bool"),
        (np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), bool), np.eye(3), r"must be \(2, 3\), got \(3, 3\)"),
    ],
)
def test_a_crop_refuses_arrays_that_do_not_fit(
    pixels: np.ndarray, mask: np.ndarray, affine: np.ndarray, message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        Crop(pixels, mask, affine)


def test_generated_pixels_must_be_a_colour_picture() -> None:
    with pytest.raises(InvalidInputError, match="float64"):
        Generated(np.zeros((4, 4, 3)), 0, 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"view": np.zeros((4, 6), np.uint8)}, "view must be"),
        ({"native": np.zeros((6, 4, 3), np.uint8)}, r"one size, got \(6, 4\) and \(4, 6\)"),
        ({"digest": bytes(20)}, "32 bytes, got 20"),
    ],
)
def test_a_source_refuses_what_does_not_fit(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        source(**changes)


def test_the_pixels_of_a_source_cannot_be_written() -> None:
    picture = source()
    for array in (picture.view, picture.native):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


# detections


def detections(**changes) -> Detections:
    given = {
        "xyxy": np.array([[0, 0, 4, 5]], np.float32),
        "confidence": np.array([0.5], np.float32),
        "kind": (Kind.FACE,),
        "keypoints": np.zeros((1, 5, 2), np.float32),
        "visibility": np.zeros((1, 5), np.float32),
        "subject_id": np.array([0]),
    }
    return Detections(**{**given, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"xyxy": np.zeros((1, 5), np.float32)}, r"xyxy must be \(N, 4\)"),
        ({"xyxy": np.array([[4, 0, 0, 5]], np.float32)}, "x1 >= x0"),
        ({"xyxy": np.array([[0, 0, np.nan, 5]], np.float32)}, "finite"),
        ({"confidence": np.zeros(2, np.float32)}, r"confidence must be \(1,\), got \(2,\)"),
        ({"kind": ()}, "kind must have 1"),
        ({"keypoints": np.zeros((2, 5, 2), np.float32)}, "keypoints must be"),
        ({"visibility": np.zeros((1, 4), np.float32)}, "visibility must be"),
        ({"subject_id": np.array([0, 1])}, "subject_id must be"),
    ],
)
def test_detections_refuse_arrays_that_do_not_fit(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        detections(**changes)


def test_detections_have_the_length_of_their_boxes() -> None:
    assert len(detections()) == 1
    assert len(Detections.faces(np.zeros((0, 4)), np.zeros(0))) == 0


def test_faces_are_sorted_top_to_bottom_then_left_to_right() -> None:
    boxes = [[5, 9, 8, 12], [7, 1, 9, 3], [2, 9, 4, 12]]
    found = Detections.faces(np.array(boxes), np.array([0.1, 0.2, 0.3]))
    assert found.xyxy.tolist() == [[7, 1, 9, 3], [2, 9, 4, 12], [5, 9, 8, 12]]
    assert found.confidence.tolist() == pytest.approx([0.2, 0.3, 0.1])
    assert found.subject_id.tolist() == [0, 1, 2]


@given(order=st.permutations(range(6)))
@settings(deadline=None, derandomize=True)
def test_faces_come_in_one_order_whatever_order_they_arrive_in(order: list[int]) -> None:
    rng = np.random.default_rng(0)
    low = rng.integers(0, 3, (6, 2))
    boxes = np.concatenate([low, low + rng.integers(1, 3, (6, 2))], axis=1)
    confidence, points = rng.random(6), rng.random((6, 5, 2))
    expected = Detections.faces(boxes, confidence, points)
    shuffled = Detections.faces(boxes[order], confidence[order], points[order])
    for name in ("xyxy", "confidence", "keypoints", "visibility"):
        assert (getattr(shuffled, name) == getattr(expected, name)).all()


def test_keypoints_that_are_not_a_number_are_absent() -> None:
    points = np.ones((1, 5, 2))
    points[0, 2, 1] = np.nan
    found = Detections.faces(np.array([[0, 0, 4, 5]]), np.array([1.0]), points)
    assert found.visibility.tolist() == [[1, 1, 0, 1, 1]]
    assert found.keypoints[0, 2].tolist() == [0, 0]


def test_faces_without_keypoints_have_none_visible() -> None:
    assert not Detections.faces(np.array([[0, 0, 4, 5]]), np.array([1.0])).visibility.any()


def test_the_arrays_of_detections_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="read-only"):
        detections().xyxy[0] = 0


def test_every_outcome_has_its_word() -> None:
    assert [kind.value for kind in OutcomeKind] == ["replaced", "filled", "obscured", "kept"]
