"""The steps of MTCNN, each against a second way of doing it; and the main job without torch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from understudy.detect.mtcnn import Mtcnn, crops_of, pyramid, squares, suppress
from understudy.detect.mtcnn_networks import PARTS
from understudy.detect.mtcnn_pooling import AreaMeans, bins_of
from understudy.detect.overlap import pairwise_iou
from understudy.errors import InvalidInputError
from understudy.weights import entry, is_here


def test_bins_cover_every_pixel_and_share_at_most_one() -> None:
    bins = bins_of(7, 3)  # 7 / 3 = 2.33: 0-2.33, 2.33-4.67, 4.67-7, each widened to whole pixels
    assert bins.start.tolist() == [0, 2, 4]
    assert bins.stop.tolist() == [3, 5, 7]


@pytest.mark.parametrize(("size", "n"), [((31, 47), (12, 9)), ((10, 10), (24, 24)), ((5, 9), (5, 9)), ((1, 1), (3, 2))])
def test_means_of_bins_are_those_of_a_loop(size: tuple[int, int], n: tuple[int, int]) -> None:
    view = np.random.default_rng(2).integers(0, 256, (*size, 3)).astype(np.uint8)
    rows, columns = bins_of(size[0], n[0]), bins_of(size[1], n[1])
    got = AreaMeans(view).grid(rows, columns)
    for i in range(n[0]):
        for j in range(n[1]):
            cell = view[rows.start[i] : rows.stop[i], columns.start[j] : columns.stop[j]]
            assert got[:, i, j] == pytest.approx(cell.mean(axis=(0, 1)), rel=1e-6)


def test_sums_over_more_than_32_bits_do_not_harm_the_means(monkeypatch: pytest.MonkeyPatch) -> None:
    view = np.full((4500, 4500, 3), 255, np.uint8)  # the whole sums up to 5.2e9, over 2^32
    monkeypatch.setattr("understudy.detect.mtcnn_pooling._WHOLE_PX", 4500 * 4500)
    means = AreaMeans(view)
    assert (np.abs(means.grid(bins_of(4500, 900), bins_of(4500, 900)) - 255) < 1e-4).all()
    assert (np.abs(means.crops(np.array([[4000, 4100]]), np.array([[4500, 4500]]), 48) - 255) < 1e-4).all()


@pytest.mark.parametrize("whole_px", [0, 10**6])
def test_large_pictures_without_a_table_give_the_same_means(whole_px: int, monkeypatch: pytest.MonkeyPatch) -> None:
    view = np.random.default_rng(5).integers(0, 256, (60, 44, 3)).astype(np.uint8)
    rows, columns = bins_of(60, 19).between(4, 15), bins_of(44, 13)
    low, high = np.array([[3, 9], [0, 0], [40, 59]]), np.array([[30, 41], [44, 60], [44, 60]])
    monkeypatch.setattr("understudy.detect.mtcnn_pooling._WHOLE_PX", whole_px)
    means = AreaMeans(view)
    monkeypatch.undo()
    assert (means.grid(rows, columns) == AreaMeans(view).grid(rows, columns)).all()
    crops = means.crops(low, high, 24)
    for crop, (x0, y0), (x1, y1) in zip(crops, low, high, strict=True):
        alone = AreaMeans(view[y0:y1, x0:x1]).grid(bins_of(y1 - y0, 24), bins_of(x1 - x0, 24))
        assert (crop == alone).all()
    assert means.crops(low[:0], high[:0], 24).shape == (0, 3, 24, 24)


def test_a_pyramid_starts_where_the_smallest_face_has_12_px_and_ends_before_the_picture_has_fewer() -> None:
    scales = pyramid(100, 60, 20)
    assert scales[0] == 0.6
    assert scales[1] == pytest.approx(0.6 * 0.709)
    assert 60 * scales[-1] >= 12 > 60 * scales[-1] * 0.709


def test_a_square_has_the_longer_side_and_the_same_middle() -> None:
    assert squares(np.array([[10, 20, 30, 60]], np.float32)).tolist() == [[0, 20, 40, 60]]


def test_crops_lie_where_facenet_pytorch_cuts_them_and_boxes_outside_have_none() -> None:
    view = np.random.default_rng(4).integers(0, 256, (40, 30, 3)).astype(np.uint8)
    boxes = np.array([[3.9, 5.2, 15.8, 17.9], [-9, -9, 12, 12], [31, 5, 40, 9], [25, 30, 60, 60]], np.float32)
    crops, inside = crops_of(AreaMeans(view), boxes, 12)
    assert inside.tolist() == [True, True, False, True]
    assert (crops[1] == view[0:12, 0:12].transpose(2, 0, 1)).all()  # pixels from max(x0, 1) - 1 to x1
    first = view[4:17, 2:15]  # 3.9 -> 3 -> from 2; 15.8 -> to 15: 13 px
    assert crops[0, :, 0, 0] == pytest.approx(first[0:2, 0:2].mean(axis=(0, 1)), rel=1e-6)


def test_of_overlapping_boxes_the_most_confident_stays() -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [20, 20, 30, 30], [2, 2, 6, 6]], np.float32)
    confidence = np.array([0.7, 0.9, 0.8, 0.6], np.float32)
    # box 0 and 1 share 90 of 110; box 3 lies in box 1: 16 of 100, but all of itself
    assert suppress(boxes, confidence, 0.5).tolist() == [1, 2, 3]
    assert suppress(boxes, confidence, 0.85).tolist() == [1, 2, 0, 3]
    assert suppress(boxes, confidence, 0.7, of_smaller=True).tolist() == [1, 2]


def test_suppression_is_that_of_the_greedy_rule_written_out() -> None:
    rng = np.random.default_rng(6)
    corner = rng.integers(0, 60, (300, 2)).astype(np.float32)
    boxes = np.concatenate([corner, corner + rng.integers(8, 30, (300, 1))], axis=1).astype(np.float32)
    confidence = rng.permutation(300).astype(np.float32) / 300 + 0.001
    kept: list[int] = []
    for i in np.argsort(-confidence):
        if all(pairwise_iou(boxes[[i]], boxes[[k]])[0, 0] <= 0.5 for k in kept):
            kept.append(int(i))
    assert suppress(boxes, confidence, 0.5).tolist() == kept


def test_suppression_of_nothing_is_nothing() -> None:
    assert suppress(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), 0.5).tolist() == []


@pytest.mark.parametrize("settings", [{"threshold": 0.0}, {"threshold": 1.0}, {"min_face_px": 3}])
def test_settings_that_make_no_sense_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(InvalidInputError, match=r"threshold must lie in \(0, 1\)"):
        Mtcnn(**settings)


@pytest.mark.weights(*PARTS)
def test_strips_do_not_change_what_is_found(portrait_paths: tuple[Path, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    cv2 = pytest.importorskip("cv2")
    view = np.asarray(cv2.imread(str(portrait_paths[0]))[..., ::-1])
    view = np.ascontiguousarray(cv2.resize(view, (241, 307), interpolation=cv2.INTER_AREA))
    detector = Mtcnn(min_face_px=20)
    whole = detector(view)
    assert len(whole) == 1
    monkeypatch.setattr("understudy.detect.mtcnn._STRIP_PX", 3000)
    strips = detector(view)
    assert np.abs(strips.xyxy - whole.xyxy).max() < 1e-3
    assert np.abs(strips.confidence - whole.confidence).max() < 1e-5


@pytest.mark.weights(*PARTS)
def test_it_says_which_weights_it_uses() -> None:
    assert Mtcnn().digests() == {name: entry(name).sha256 for name in PARTS}


WITHOUT_TORCH = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "torchvision", "facenet_pytorch", "diffusers", "onnx", "pandas", "scipy"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
from understudy.cli.main import main
code = main(["anonymize", "input=" + sys.argv[1], "output=" + sys.argv[2], "runner.n_workers=1"])
sys.exit(code)
"""


@pytest.mark.weights("centerface", *PARTS)
def test_the_main_job_runs_without_torch_and_mtcnn_checks_it(portrait_paths: tuple[Path, ...], tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    (tmp_path / "in").mkdir()
    picture = cv2.imread(str(next(p for p in portrait_paths if "astronaut" in p.name)))
    cv2.imwrite(str(tmp_path / "in" / "a.png"), picture[:400, :400])
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, str(tmp_path / "in"), str(tmp_path / "out")],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert "1 replaced" in done.stdout
    record = (tmp_path / "out" / "run.yaml").read_text()
    assert all(f"{name}: {entry(name).sha256}" in record for name in PARTS)
    assert "residual: onnxruntime, running on CPUExecutionProvider" in record


@pytest.mark.weights(*PARTS)
def test_the_weights_are_here_and_others_are_not(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert is_here(PARTS[0])
    monkeypatch.setenv("UNDERSTUDY_MODELS", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert not is_here("osnet_x0_25_msmt17")
