"""MTCNN on onnxruntime finds what facenet-pytorch's own code finds with the same weights."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from understudy import weights
from understudy.detect.mtcnn import Mtcnn
from understudy.detect.mtcnn_networks import INPUT, PARTS, open_networks

torch = pytest.importorskip("torch")
reference = pytest.importorskip("facenet_pytorch.models.mtcnn")
detect_face = pytest.importorskip("facenet_pytorch.models.utils.detect_face").detect_face

pytestmark = pytest.mark.weights(*PARTS)

N_SCENES, MIN_FACE_PX = 30, 20
THRESHOLDS = (0.6, 0.7, 0.8)


@pytest.fixture(scope="module")
def networks() -> list[object]:
    built = []
    for name, build in zip(PARTS, (reference.PNet, reference.RNet, reference.ONet), strict=True):
        network = build(pretrained=False)
        network.load_state_dict(torch.load(weights.find(name), map_location="cpu", weights_only=True))
        built.append(network.eval())
    return built


@pytest.fixture(scope="module")
def scenes(portrait_paths: tuple[Path, ...]) -> list[NDArray[np.uint8]]:
    """Smooth noise with one to six heads of the two portraits, 20 to 110 px, turned by up to 25 degrees."""
    rng = np.random.default_rng(30)
    heads = []
    for path in portrait_paths:
        pixels = cv2.cvtColor(np.asarray(cv2.imread(str(path))), cv2.COLOR_BGR2RGB)
        side = min(pixels.shape[:2]) // 2
        left = 120 if "astronaut" in path.name else (pixels.shape[1] - side) // 2
        heads.append(pixels[20 : 20 + side, left : left + side])
    made = []
    for _ in range(N_SCENES):
        height, width = int(rng.integers(120, 260)), int(rng.integers(140, 320))
        coarse = rng.integers(0, 256, (height // 24, width // 24, 3)).astype(np.uint8)
        scene = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        for _ in range(rng.integers(1, 7)):
            head = heads[rng.integers(2)]
            side = int(min(36 * 5 ** rng.uniform(), height - 1, width - 1))
            small = cv2.resize(head, (side, side), interpolation=cv2.INTER_AREA)
            turn = cv2.getRotationMatrix2D((side / 2, side / 2), float(rng.uniform(-25, 25)), 1)
            small = cv2.warpAffine(small, turn, (side, side), borderMode=cv2.BORDER_REPLICATE)
            y, x = int(rng.integers(0, height - side)), int(rng.integers(0, width - side))
            scene[y : y + side, x : x + side] = np.clip(small * rng.uniform(0.6, 1.2), 0, 255)
        made.append(np.asarray(scene, np.uint8))
    return made


def test_each_network_gives_what_torch_gives(networks: list[object]) -> None:
    opened = open_networks()
    rng = np.random.default_rng(1)
    sessions = (opened.proposals, opened.refiner, opened.judge)
    for network, session, shape in zip(
        networks, sessions, ((1, 3, 61, 94), (3, 3, 24, 24), (3, 3, 48, 48)), strict=True
    ):
        pixels = rng.uniform(0, 255, shape).astype(np.float32)
        with torch.inference_mode():
            *others, classes = network((torch.from_numpy(pixels) - 127.5) * 0.0078125)
        heads = session.run({INPUT: pixels})[0]
        face = 1 / (1 + np.exp(-heads[:, 0].astype(np.float64)))
        assert np.abs(face - classes[:, 1].numpy()).max() < 1e-5
        assert np.abs(heads[:, 1:] - np.concatenate([one.numpy() for one in others], axis=1)).max() < 1e-4


def test_thirty_scenes_hold_the_same_faces_for_both(networks: list[object], scenes: list[NDArray[np.uint8]]) -> None:
    detector = Mtcnn(threshold=THRESHOLDS[2], stage_thresholds=THRESHOLDS[:2], min_face_px=MIN_FACE_PX)
    n_faces, worst_px, worst_confidence, worst_point = 0, 0.0, 0.0, 0.0
    for scene in scenes:
        with torch.inference_mode():
            rows, points = detect_face(scene, MIN_FACE_PX, *networks, THRESHOLDS, 0.709, "cpu")
        expected, found = np.asarray(rows[0], np.float32).reshape(-1, 5), detector(scene)
        limit = np.tile(np.array(scene.shape[1::-1], np.float32), 2)
        boxes = expected[:, :4].clip(0, limit)
        assert len(found) == len(boxes)
        if len(boxes) == 0:
            continue
        apart = np.abs(boxes[:, None] - found.xyxy[None]).max(axis=2)
        same = apart.argmin(axis=1)
        assert sorted(same) == list(range(len(boxes)))
        n_faces += len(boxes)
        worst_px = max(worst_px, float(apart.min(axis=1).max()))
        worst_confidence = max(worst_confidence, float(np.abs(expected[:, 4] - found.confidence[same]).max()))
        seen = found.visibility[same] > 0
        worst_point = max(worst_point, float(np.abs(np.asarray(points[0]) - found.keypoints[same])[seen].max()))
    assert n_faces >= 40
    assert worst_px < 1.5  # a box is cut at whole pixels before the next stage: one rounding may fall the other way
    assert worst_confidence < 2e-3
    assert worst_point < 1.5
