"""The audit's linear read-outs: the features, the arithmetic, and what is not read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from understudy.attributes.proportions import N_PROPORTIONS, proportions
from understudy.audit.estimators_readouts import COLUMNS, ReadoutEstimator
from understudy.embed import dlib_features
from understudy.embed.dlib_features import DlibFeatures, FaceFeatures
from understudy.errors import ConfigError

POINTS = np.array([[40.0, 45.0], [80.0, 45.0], [60.0, 65.0], [45.0, 85.0], [75.0, 85.0]])
BOX = np.array([20.0, 10.0, 100.0, 110.0])
VIEW = np.full((120, 120, 3), (200, 160, 140), np.uint8)


def test_proportions_are_the_faces_own_whatever_its_place_size_and_roll() -> None:
    """Eyes at y 45 and mouth at 85 are 40 apart: the nose at 65 lies at (0, 0.5), the forehead is (45 - 10) / 40."""
    upright = proportions(BOX, POINTS)
    assert upright[:10].reshape(5, 2) == pytest.approx(
        np.array([[-0.5, 0], [0.5, 0], [0, 0.5], [-0.375, 1], [0.375, 1]]), abs=1e-9
    )
    assert upright[10:] == pytest.approx([0.875, 0.625, 2.0, 2.5, 0.35])
    turn = np.array([[0.0, 1.0], [-1.0, 0.0]])
    rolled = proportions(BOX * 3 + 7, POINTS @ turn * 3 + 7)
    assert rolled[:10] == pytest.approx(upright[:10], abs=1e-9)


def test_keypoints_that_fall_together_have_no_proportions() -> None:
    assert np.isnan(proportions(BOX, np.full((5, 2), 50.0))).all()


@pytest.fixture
def constant_readouts(tmp_path: Path) -> Path:
    """Read-outs that add 1,000 times the first of the proportions (-0.5 for POINTS) to fixed values."""
    constant = np.zeros(len(COLUMNS), np.float32)
    constant[:6] = [537.0, 0.8, 1.7, 0.4, 0.9, -0.2]
    constant[6:] = [0.1, 0.2, 0.6, 0.1]
    matrix = np.zeros((N_PROPORTIONS, len(COLUMNS)), np.float32)
    matrix[0, 0] = 1000.0
    nodes = [
        helper.make_node("MatMul", ["proportions", "matrix"], ["part"]),
        helper.make_node("Add", ["part", "constant"], ["readings"]),
    ]
    sizes = {"grid": dlib_features.N_GRID, "channels": dlib_features.N_CHANNELS, "proportions": N_PROPORTIONS}
    graph = helper.make_graph(
        nodes,
        "readouts",
        [helper.make_tensor_value_info(k, TensorProto.FLOAT, ["n", v]) for k, v in sizes.items()],
        [helper.make_tensor_value_info("readings", TensorProto.FLOAT, ["n", len(COLUMNS)])],
        [numpy_helper.from_array(matrix, "matrix"), numpy_helper.from_array(constant, "constant")],
    )
    path = tmp_path / "readouts.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), str(path))
    return path


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """dlib's network is replaced by zeros."""

    class Zeros:
        def __init__(self, **_: int) -> None: ...

        def __call__(self, chips: np.ndarray) -> FaceFeatures:
            n = len(chips)
            return FaceFeatures(
                np.zeros((n, dlib_features.N_GRID), np.float32), np.zeros((n, dlib_features.N_CHANNELS), np.float32)
            )

    monkeypatch.setattr("understudy.audit.estimators_readouts.DlibFeatures", Zeros)


@pytest.mark.usefixtures("no_network")
def test_readings_stay_in_their_range_and_what_cannot_be_read_is_said(constant_readouts: Path) -> None:
    """537 - 500 = 37 years; a darkness of 1.7 is cut to 1. Not read: a small face, a profile, no keypoints."""
    profile = POINTS + np.array([[20.0, 0], [-16, 0], [25, 0], [8, 0], [-16, 0]])
    boxes = np.stack([BOX, BOX * 0.3, BOX, BOX])
    points = np.stack([POINTS, POINTS * 0.3, profile, POINTS])
    shown = np.stack([np.ones(5), np.ones(5), np.ones(5), np.zeros(5)])
    found = {r.name: r for r in ReadoutEstimator(str(constant_readouts)).read([VIEW] * 4, boxes, points, shown, None)}
    assert found["perceived_age"].values == pytest.approx([37, np.nan, np.nan, np.nan], nan_ok=True)
    assert found["perceived_darkness"].values[0] == 1
    assert found["perceived_femininity"].values[0] == pytest.approx(0.8)
    assert found["age_group"].values.tolist() == [2, -1, -1, -1]
    assert found["perceived_gender_expression"].values.tolist() == [2, -1, -1, -1]
    assert found["expression"].values.tolist() == [2, -1, -1, -1]
    assert found["glasses"].values.tolist() == [1, -1, -1, -1]
    assert found["beard"].values.tolist() == [0, -1, -1, -1]


@pytest.mark.usefixtures("no_network")
def test_another_network_is_no_readout(tmp_path: Path, constant_readouts: Path) -> None:
    model = onnx.load(str(constant_readouts))
    model.graph.input[0].name = "pixels"
    onnx.save(model, str(tmp_path / "other.onnx"))
    with pytest.raises(ConfigError, match="holds no read-outs"):
        ReadoutEstimator(str(tmp_path / "other.onnx"))


@pytest.mark.weights("dlib_face_recognition_resnet_v1")
def test_features_are_means_over_cells_and_over_the_mirror_image() -> None:
    """Against the network's own layers, and: a mirrored chip has the same features, but for the columns' order."""
    rng = np.random.default_rng(0)
    chip = np.repeat(np.repeat(rng.integers(0, 256, (15, 15, 3), dtype=np.uint8), 10, 0), 10, 1)
    network = DlibFeatures()
    found, mirrored = network(np.stack([chip, chip[:, ::-1]])), network(chip[None, :, ::-1])
    assert found.grid.shape == (2, 2048)
    assert found.channels.shape == (2, 256)
    assert found.grid[0] == pytest.approx(found.grid[1], abs=1e-5)
    assert (mirrored.grid[0] == found.grid[1]).all()
    layer = network._session.run({"chips": np.stack([chip, chip[:, ::-1]])}, ["relu_60", "relu_78"])
    assert found.grid[0].reshape(128, 4, 4)[5, 1, 2] == pytest.approx(layer[0][:, 5, 2:4, 4:6].mean(), rel=1e-5)
    assert found.channels[0][7] == pytest.approx(layer[1][:, 7].mean(), rel=1e-5)


@pytest.mark.weights("understudy_readouts", "dlib_face_recognition_resnet_v1")
def test_the_committed_readouts_call_the_smiling_portrait_a_smile(portrait_paths: tuple[Path, ...]) -> None:
    """Eileen Collins smiles with teeth; keypoints by hand."""
    (path,) = [p for p in portrait_paths if p.stem == "astronaut"]
    view = np.asarray(Image.open(path).convert("RGB"))
    points = np.array([[203.0, 113.0], [249.0, 113.0], [227.0, 140.0], [207.0, 163.0], [246.0, 163.0]])
    box = np.array([175.0, 66.0, 276.0, 200.0])
    readings = ReadoutEstimator().read([view], box[None], points[None], np.ones((1, 5)), None)
    found = {r.name: r.values[0] for r in readings}
    assert found["expression"] in (1, 2)
    assert found["smile"] > 0.3
    assert found["perceived_femininity"] > 0.5
    assert found["beard"] == 0
