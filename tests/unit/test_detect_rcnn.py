"""torchvision's Mask R-CNN and Keypoint R-CNN as detectors of people."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from understudy.detect.rcnn import RcnnPeople, detections_of, enlarged
from understudy.errors import ConfigError, InvalidInputError, WeightsDigestError
from understudy.types import BODY_KEYPOINTS, Kind


def found(**more: np.ndarray) -> dict[str, np.ndarray]:
    """Two people, a dog, and a third person who is too uncertain."""
    return {
        "boxes": np.array([[30, 10, 50, 60], [2, 5, 20, 70], [60, 40, 80, 60], [70, 0, 90, 30]], np.float32),
        "labels": np.array([1, 1, 18, 1]),
        "scores": np.array([0.9, 0.8, 0.99, 0.2], np.float32),
        **more,
    }


def test_people_are_kept_in_stable_order_and_dogs_and_doubtful_ones_are_not() -> None:
    result = detections_of(found(), 64, 100, threshold=0.5, mask_threshold=0.5)
    assert result.kind == (Kind.BODY, Kind.BODY)
    assert result.xyxy.tolist() == [[2, 5, 20, 64], [30, 10, 50, 60]]  # cut at the border, the upper one first
    assert result.confidence.tolist() == pytest.approx([0.8, 0.9])
    assert not result.visibility.any()


def test_masks_are_cut_to_the_box_and_follow_their_person() -> None:
    masks = np.zeros((4, 1, 64, 100), np.float32)
    masks[0, 0, 20:40, 35:45] = 0.9
    masks[1, 0, 10:30, 5:15] = 0.9
    masks[1, 0, 10:30, 15:20] = 0.4
    result = detections_of(found(masks=masks), 64, 100, threshold=0.5, mask_threshold=0.5)
    assert [s.window for s in result.silhouettes] == [(2, 5, 20, 64), (30, 10, 50, 60)]
    assert [int(s.mask.sum()) for s in result.silhouettes] == [20 * 10, 20 * 10]


def test_an_empty_mask_is_no_mask() -> None:
    masks = np.zeros((4, 1, 64, 100), np.float32)
    assert detections_of(found(masks=masks), 64, 100, threshold=0.5, mask_threshold=0.5).silhouettes == (None, None)


def test_keypoints_are_seen_where_the_network_is_sure() -> None:
    points = np.full((4, 17, 3), 7, np.float32)
    logits = np.full((4, 17), -5, np.float32)
    logits[0, 0] = 9
    more = {"keypoints": points, "keypoints_scores": logits}
    result = detections_of(found(**more), 64, 100, threshold=0.5, mask_threshold=0.5)
    assert (result.visibility > 0).sum(axis=1).tolist() == [0, 1]
    assert result.keypoints[1, BODY_KEYPOINTS.index("nose")].tolist() == [7, 7]
    assert result.keypoints[1, 1].tolist() == [0, 0]


def test_finds_in_a_reduced_picture_are_given_in_pixels_of_the_picture() -> None:
    masks = np.zeros((4, 1, 64, 100), np.float32)
    masks[0, 0, 10:60, 30:50] = 1
    small = detections_of(found(masks=masks), 64, 100, threshold=0.85, mask_threshold=0.5)
    large = enlarged(small, (64, 100), (128, 300))
    assert large.xyxy.tolist() == [[90, 20, 150, 120]]
    assert large.silhouettes[0].window == (90, 20, 150, 120)
    assert large.silhouettes[0].mask.all()


def test_an_unknown_head_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="masks, keypoints"):
        RcnnPeople("legs")


def test_a_pickle_that_the_registry_does_not_name_is_refused(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    path = tmp_path / "own.pth"
    torch.save({}, path)
    with pytest.raises(WeightsDigestError, match="does not name"):
        RcnnPeople("masks", str(path))


@pytest.mark.slow
def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    save_file = pytest.importorskip("safetensors.torch").save_file
    save_file({"a": torch.zeros(1)}, tmp_path / "own.safetensors")
    with pytest.raises(ConfigError, match="holds no weights of maskrcnn_resnet50_fpn"):
        RcnnPeople("masks", str(tmp_path / "own.safetensors"))


@pytest.mark.slow
@pytest.mark.parametrize("head", ["masks", "keypoints"])
def test_a_network_of_the_real_class_with_random_weights_is_loaded_from_a_file_and_run(
    head: str, tmp_path: Path
) -> None:
    torch = pytest.importorskip("torch")
    detection = pytest.importorskip("torchvision.models.detection")
    save_file = pytest.importorskip("safetensors.torch").save_file
    torch.manual_seed(0)
    build = {"masks": detection.maskrcnn_resnet50_fpn, "keypoints": detection.keypointrcnn_resnet50_fpn}[head]
    network = build(weights=None, weights_backbone=None)
    network.roi_heads.box_predictor.cls_score.bias.data[1] = 9.0  # random weights that see a person everywhere
    save_file(network.state_dict(), tmp_path / "random.safetensors")
    detector = RcnnPeople(head, str(tmp_path / "random.safetensors"), threshold=0.3, min_side=64, max_side=96)
    view = np.random.default_rng(0).integers(0, 256, (150, 120, 3)).astype(np.uint8)
    result = detector(view)
    assert len(result) > 0
    assert (result.xyxy >= 0).all()
    assert (result.xyxy <= np.tile([120, 150], 2)).all()
    if head == "masks":
        assert len(result.silhouettes) == len(result)
    again = detector(view)
    assert again.xyxy.tobytes() == result.xyxy.tobytes()
