"""The audit's linear read-outs: the features, the arithmetic, and what is not read."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from understudy.attributes.proportions import proportions
from understudy.audit.estimators_readouts import COLUMNS, ReadoutEstimator, colour_angle
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


SIZES = {
    "fine": dlib_features.N_FINE,
    "middle": dlib_features.N_MIDDLE,
    "coarse": dlib_features.N_COARSE,
    "last": dlib_features.N_LAST,
    "tone": 1,
}


@pytest.fixture
def constant_readouts(tmp_path: Path) -> Path:
    """Read-outs of fixed values, but for the darkness: a hundredth of the angle of the skin's colour."""
    constant = np.array([[37.0, 0.8, 0.0, 1.4, 0.9, -0.2, 0.1, 0.2, 0.6, 0.1]], np.float32)
    nodes = [
        helper.make_node("Mul", ["tone", "hundredth"], ["darkness"]),
        helper.make_node("Concat", ["before", "darkness", "after"], ["readings"], axis=1),
    ]
    constants = {"hundredth": np.array([0.01], np.float32), "before": constant[:, :2], "after": constant[:, 3:]}
    graph = helper.make_graph(
        nodes,
        "readouts",
        [helper.make_tensor_value_info(k, TensorProto.FLOAT, ["n", v]) for k, v in SIZES.items()],
        [helper.make_tensor_value_info("readings", TensorProto.FLOAT, ["n", len(COLUMNS)])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
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
            return FaceFeatures(*(np.zeros((len(chips), n), np.float32) for n in list(SIZES.values())[:-1]))

    monkeypatch.setattr("understudy.audit.estimators_readouts.DlibFeatures", Zeros)


@pytest.mark.usefixtures("no_network")
def test_readings_stay_in_their_range_and_what_cannot_be_read_is_said(constant_readouts: Path) -> None:
    """A smile of 1.4 is cut to 1. Not read: a small face, a profile, no keypoints."""
    profile = POINTS + np.array([[20.0, 0], [-16, 0], [25, 0], [8, 0], [-16, 0]])
    boxes = np.stack([BOX, BOX * 0.3, BOX, BOX])
    points = np.stack([POINTS, POINTS * 0.3, profile, POINTS])
    shown = np.stack([np.ones(5), np.ones(5), np.ones(5), np.zeros(5)])
    found = {r.name: r for r in ReadoutEstimator(str(constant_readouts)).read([VIEW] * 4, boxes, points, shown, None)}
    assert found["perceived_age"].values == pytest.approx([37, np.nan, np.nan, np.nan], nan_ok=True)
    assert found["smile"].values[0] == 1
    assert found["perceived_femininity"].values[0] == pytest.approx(0.8)
    assert found["age_group"].values.tolist() == [2, -1, -1, -1]
    assert found["perceived_gender_expression"].values.tolist() == [2, -1, -1, -1]
    assert found["expression"].values.tolist() == [2, -1, -1, -1]
    assert found["glasses"].values.tolist() == [1, -1, -1, -1]
    assert found["beard"].values.tolist() == [0, -1, -1, -1]


def test_the_angle_of_a_colour_is_seen_from_a_lightness_of_20_and_dull_skin_counts_as_skin() -> None:
    """OpenCV says what CIELAB colour the view has: L* 69.5, b* 14.7. Grey skin has b* 0.9, which counts as 12."""
    lightness, _, b = cv2.cvtColor(VIEW[:1, :1].astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[0, 0]
    expected = np.degrees(np.arctan2(lightness - 20, b))
    assert colour_angle(VIEW, BOX, POINTS, np.ones(5)) == pytest.approx(expected, abs=0.2)
    dull = np.full_like(VIEW, (122, 119, 117))
    lightness, _, b = cv2.cvtColor(dull[:1, :1].astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[0, 0]
    assert b < 12
    angle = np.degrees(np.arctan2(lightness - 20, 12))
    assert colour_angle(dull, BOX, POINTS, np.ones(5)) == pytest.approx(angle, abs=0.2)


@pytest.mark.usefixtures("no_network")
def test_darkness_is_not_read_where_a_face_has_no_colour_of_skin_and_the_rest_is(constant_readouts: Path) -> None:
    green = np.full_like(VIEW, (20, 200, 20))
    places = (np.stack([BOX, BOX]), np.stack([POINTS, POINTS]), np.ones((2, 5)))
    found = {r.name: r.values for r in ReadoutEstimator(str(constant_readouts)).read([VIEW, green], *places)}
    angle = colour_angle(VIEW, BOX, POINTS, np.ones(5))
    assert found["perceived_darkness"] == pytest.approx([angle / 100, np.nan], nan_ok=True, abs=1e-6)
    assert found["perceived_age"].tolist() == [37, 37]


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
    names = list(SIZES)[:-1]
    assert [getattr(found, name).shape for name in names] == [(2, SIZES[name]) for name in names]
    assert found.fine[0] == pytest.approx(found.fine[1], abs=1e-5)
    assert (mirrored.fine[0] == found.fine[1]).all()
    layers = ["relu_43", "relu_62", "relu_78", "relu_85"]
    fine, middle, coarse, last = network._session.run({"chips": np.stack([chip, chip[:, ::-1]])}, layers)
    assert found.fine[0].reshape(64, 6, 6)[5, 1, 3] == pytest.approx(fine[:, 5, 3:6, 8:11].mean(), rel=1e-4)
    assert found.middle[0][7] == pytest.approx(middle[:, 7].mean(), rel=1e-4)
    assert found.coarse[0].reshape(256, 2, 2)[9, 1, 0] == pytest.approx(coarse[:, 9, 2:, :2].mean(), rel=1e-4)
    assert found.last[0].reshape(256, 2, 2)[3, 0, 1] == pytest.approx(last[:, 3, 0, 1].mean(), rel=1e-4)


@pytest.mark.weights("understudy_readouts", "dlib_face_recognition_resnet_v1")
def test_the_committed_readouts_call_the_smiling_portrait_a_smile(portrait_paths: tuple[Path, ...]) -> None:
    """Eileen Collins smiles with teeth; keypoints between those of CenterFace and of MTCNN."""
    (path,) = [p for p in portrait_paths if p.stem == "astronaut"]
    view = np.asarray(Image.open(path).convert("RGB"))
    points = np.array([[203.5, 101.5], [247.5, 104.5], [224.0, 127.0], [202.5, 141.0], [243.5, 143.5]])
    box = np.array([175.0, 66.0, 276.0, 170.0])
    readings = ReadoutEstimator().read([view], box[None], points[None], np.ones((1, 5)), None)
    found = {r.name: r.values[0] for r in readings}
    assert found["expression"] == 2
    assert found["smile"] > 0.6
    assert found["perceived_femininity"] > 0.5
    assert found["beard"] == 0
