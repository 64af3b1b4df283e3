"""What every detector that configs/detector names must do, whatever it finds."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from omegaconf import OmegaConf

from understudy.config.parts import PartBuilder
from understudy.detect.base import Detector
from understudy.detect.overlap import pairwise_iou
from understudy.errors import MissingExtraError, MissingWeightsError
from understudy.types import Kind

CONFIGS = Path(__file__).resolve().parents[2] / "configs" / "detector"
NAMES = sorted(path.stem for path in CONFIGS.glob("*.yaml"))


@cache
def build(name: str) -> Detector | str:
    try:
        return composed(name)
    except (MissingWeightsError, MissingExtraError) as error:
        return str(error)


def composed(name: str, *, onet: bool | None = False) -> Detector:
    """A detector of the configs; ``onet`` None leaves its keypoints as they are first found."""
    runtime = OmegaConf.load(CONFIGS.parent / "runtime" / "onnx.yaml")
    root = OmegaConf.create({"runtime": runtime, "detector": OmegaConf.load(CONFIGS / f"{name}.yaml")})
    node = cast("dict[str, Any]", OmegaConf.to_container(root.detector, resolve=True))
    if onet is not False:
        node["keypoints"] = {**node["keypoints"], "onet": True} if onet else None
    detector: Detector = PartBuilder()(node, "detector")
    return detector


@pytest.fixture(params=NAMES)
def detector(request: pytest.FixtureRequest) -> Detector:
    built = build(request.param)
    if isinstance(built, str):
        pytest.skip(built)
    return built


@pytest.fixture(scope="module")
def portrait(portrait_paths: tuple[Path, ...]) -> NDArray[np.uint8]:
    """A real face of about 100 px, looking at us, in a picture of 400 px."""
    pixels = cv2.imread(str(next(path for path in portrait_paths if "astronaut" in path.name)), cv2.IMREAD_COLOR)
    rgb = cv2.cvtColor(np.asarray(pixels, np.uint8), cv2.COLOR_BGR2RGB)
    return np.ascontiguousarray(rgb[:400, :400], np.uint8)


@pytest.mark.parametrize("size", [(1, 1), (3, 900), (900, 3), (2, 2), (31, 33)])
def test_a_picture_of_any_size_without_anybody_holds_nobody(detector: Detector, size: tuple[int, int]) -> None:
    assert len(detector(np.full((*size, 3), 90, np.uint8))) == 0


def test_noise_is_answered_in_valid_boxes_inside_the_picture(detector: Detector) -> None:
    view = np.random.default_rng(3).integers(0, 256, (120, 160, 3)).astype(np.uint8)
    result = detector(view)
    assert (result.xyxy >= 0).all()
    assert (result.xyxy <= np.tile([160, 120], 2)).all()
    assert ((result.confidence >= 0) & (result.confidence <= 1)).all()


def test_a_face_is_found_once_where_it_is(detector: Detector, portrait: NDArray[np.uint8]) -> None:
    result = detector(portrait)
    assert len(result) == 1
    assert result.kind == (Kind.FACE,)
    by_hand = np.array([[172, 62, 274, 192]], np.float32)
    assert pairwise_iou(result.xyxy, by_hand)[0, 0] > 0.5


def test_keypoints_are_the_subject_s_right_eye_first_and_lie_in_the_face(
    detector: Detector, portrait: NDArray[np.uint8]
) -> None:
    result = detector(portrait)
    if not result.visibility.any():
        pytest.skip(f"{detector.name} gives no keypoints")
    right_eye, left_eye, nose, right_mouth, left_mouth = result.keypoints[0]
    assert right_eye[0] < nose[0] < left_eye[0]
    assert right_mouth[0] < left_mouth[0]
    assert max(right_eye[1], left_eye[1]) < nose[1] < min(right_mouth[1], left_mouth[1])


@pytest.mark.parametrize("n_turns", [1, 2, 3])
@pytest.mark.parametrize("name", ["default", "thorough"])
def test_keypoints_stay_the_subject_s_right_and_left_on_a_turned_head(
    name: str, n_turns: int, portrait: NDArray[np.uint8]
) -> None:
    detector = build(name)
    if isinstance(detector, str):
        pytest.skip(detector)
    upright = detector(portrait).keypoints[0]
    turned = detector(np.ascontiguousarray(np.rot90(portrait, n_turns))).keypoints
    assert len(turned) == 1
    side = portrait.shape[0]
    expected = upright
    for _ in range(n_turns):  # counter-clockwise: (x, y) goes to (y, side - x)
        expected = np.stack([expected[:, 1], side - expected[:, 0]], axis=1)
    assert np.abs(turned[0] - expected).max() < 15


def test_the_same_picture_gives_the_same_bytes_alone_and_in_four_threads(
    detector: Detector, portrait: NDArray[np.uint8]
) -> None:
    alone = detector(portrait)
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(detector, [portrait, portrait[:200].copy(), portrait, portrait[:, :300].copy()]))
    for result in results[::2]:
        assert result.xyxy.tobytes() == alone.xyxy.tobytes()
        assert result.keypoints.tobytes() == alone.keypoints.tobytes()
        assert result.confidence.tobytes() == alone.confidence.tobytes()


@pytest.mark.weights("centerface", "mtcnn_onet")
@pytest.mark.parametrize("name", ["default", "thorough"])
def test_mtcnn_s_last_network_moves_keypoints_and_neither_faces_nor_boxes_nor_families(
    name: str, portrait: NDArray[np.uint8]
) -> None:
    without, reading = composed(name, onet=None), composed(name, onet=True)
    first, better = without(portrait), reading(portrait)
    assert reading.families == without.families == {"centerface"}
    assert better.xyxy.tobytes() == first.xyxy.tobytes()
    assert better.confidence.tobytes() == first.confidence.tobytes()
    moved = np.abs(better.keypoints - first.keypoints).max()
    assert 0 < moved < 0.1 * (first.xyxy[0, 3] - first.xyxy[0, 1])
    with ThreadPoolExecutor(4) as pool:
        for result in pool.map(reading, [portrait, portrait.copy(), portrait]):
            assert result.keypoints.tobytes() == better.keypoints.tobytes()


def test_a_detector_says_what_it_is_made_of(detector: Detector) -> None:
    assert detector.name
    assert detector.families
    assert isinstance(detector.families, frozenset)


def test_the_residual_detectors_share_nothing_with_the_default_one() -> None:
    primary, residual = build("default"), [build("dlib_hog"), build("mtcnn")]
    if isinstance(primary, str):
        pytest.skip(primary)
    for other in residual:
        if not isinstance(other, str):
            assert not primary.families & other.families


def test_the_view_is_not_changed(detector: Detector, portrait: NDArray[np.uint8]) -> None:
    frozen = portrait.copy()
    frozen.setflags(write=False)
    detector(frozen)
    assert (frozen == portrait).all()
