"""The attribute probe and the policy that reads with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from understudy import weights
from understudy.attributes.policy import MEASURED, READABLE, AttributePolicy
from understudy.attributes.probe import NUMBERS, AttributeProbe, normal_bins
from understudy.errors import ConfigError, InvalidInputError
from understudy.runtime.onnx import open_session
from understudy.types import Attributes

POINTS = np.array([[40.0, 45.0], [80.0, 45.0], [60.0, 65.0], [45.0, 85.0], [75.0, 85.0]])
FACE = (np.array([20.0, 10.0, 100.0, 110.0]), POINTS, np.ones(5))
VIEW = np.full((120, 120, 3), (200, 160, 140), np.uint8)
CLEAR = {
    "numbers": (34.0, 0.9, 20.0, 8.0, -3.0),
    "scales": (2.0, 0.05, 5.0, 4.0, 4.0),
    "expression": (0.1, 0.1, 0.7, 0.1),
    "flags": (0.9, 0.2),
}

Maker = Callable[..., Path]


@pytest.fixture
def make_probe(tmp_path: Path) -> Maker:
    """Writes a network of the probe's form that says the same of every crop."""

    def make(**changed: tuple[float, ...]) -> Path:
        values = {**CLEAR, **changed}
        nodes, constants = [], []
        for name, row in values.items():
            constants.append(numpy_helper.from_array(np.array([row, row], np.float32), f"{name}_constant"))
            nodes.append(helper.make_node("Identity", [f"{name}_constant"], [name]))
        crops = helper.make_tensor_value_info("crops", TensorProto.UINT8, ["n", 16, 16, 3])
        outputs = [helper.make_tensor_value_info(k, TensorProto.FLOAT, [2, len(v)]) for k, v in values.items()]
        shape = helper.make_tensor_value_info("proportions", TensorProto.FLOAT, ["n", 15])
        graph = helper.make_graph(nodes, "probe", [crops, shape], outputs, constants)
        path = tmp_path / "probe.onnx"
        opsets = [helper.make_opsetid("", 13)]
        onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), str(path))
        return path

    return make


def test_the_mass_of_a_normal_distribution_in_bins_adds_up() -> None:
    """68.27 % lie within one standard deviation, half under the mean."""
    assert normal_bins(10, 2, (8, 10, 12)) == pytest.approx([0.15866, 0.34134, 0.34134, 0.15866], abs=1e-5)
    assert normal_bins(10, 1e-3, (8, 12)) == pytest.approx([0, 1, 0])


def test_yaw_is_averaged_with_the_other_sign_over_the_mirror_image(make_probe: Maker) -> None:
    """A network that says 8 degrees of a face and of its mirror image sees no turn at all."""
    reading = AttributeProbe(str(make_probe())).read(VIEW, *FACE)
    assert reading.number("yaw") == 0
    assert reading.number("pitch") == -3
    assert reading.number("perceived_age") == 34
    assert reading.flags.tolist() == pytest.approx([0.9, 0.2])


def test_the_policy_carries_the_likeliest_bins_and_nothing_that_it_does_not_keep(make_probe: Maker) -> None:
    """N(41, 2) is N(37, 2.3) in years that people say, all of it in 30 to 44; all but nothing of N(0.9, 0.05)
    lies over 0.65; a smile with teeth has 0.7, glasses 0.9 and a beard 0.2.
    """
    probe = str(make_probe(numbers=(41, 0.9, 20, -10, 5)))
    read = AttributePolicy(READABLE, probe=probe).read(VIEW, *FACE)
    probed = {"age_group": 2, "expression": 2, "perceived_gender_expression": 2, "glasses": 1, "beard": 0}
    assert read == Attributes(skin_tone=1, head_pose=2, **probed)
    only_age = AttributePolicy(["age_group"], probe=probe).read(VIEW, *FACE)
    assert only_age == Attributes(age_group=2)


def test_what_is_too_uncertain_is_not_carried(make_probe: Maker) -> None:
    """N(41, 15.4), N(37, 18) as people say it, gives 0.32 to 30 to 44, and no expression has more than 0.3."""
    probe = str(make_probe(numbers=(41, 0.5, 0, 0, 0), scales=(15.4, 0.5, 1, 1, 1), expression=(0.3, 0.3, 0.2, 0.2)))
    keep = ["age_group", "expression", "perceived_gender_expression"]
    assert AttributePolicy(keep, probe=probe).read(VIEW, *FACE) == Attributes()
    bold = AttributePolicy(keep, probe=probe, min_probability=0.3).read(VIEW, *FACE)
    assert (bold.age_group, bold.expression) == (2, 0)


def test_glasses_and_beards_are_carried_where_the_probe_is_sure_and_no_beard_on_a_child(make_probe: Maker) -> None:
    """Of 0.55 and 0.45 neither answer has 0.6; a beard of 0.9 is carried at 41 years and not at 15, as people say 6,
    nor of a face of 31 px.
    """
    keep = ["age_group", "glasses", "beard"]
    small = (np.array([50.0, 50.0, 81.0, 92.0]), POINTS * 0.4 + 42, np.ones(5))
    grown = str(make_probe(numbers=(41, 0.1, 0, 0, 0), flags=(0.9, 0.9)))
    assert AttributePolicy(keep, probe=grown).read(VIEW, *small) == Attributes(age_group=2, glasses=1)
    unsure = str(make_probe(flags=(0.55, 0.45)))
    assert AttributePolicy(keep, probe=unsure).read(VIEW, *FACE) == Attributes(age_group=1)
    bold = AttributePolicy(keep, probe=unsure, min_flag_probability=0.5).read(VIEW, *FACE)
    assert (bold.glasses, bold.beard) == (1, 0)
    for years, read in ((41, Attributes(age_group=2, glasses=0, beard=1)), (15, Attributes(age_group=0, glasses=0))):
        probe = str(make_probe(numbers=(years, 0.1, 0, 0, 0), flags=(0.1, 0.9)))
        assert AttributePolicy(keep, probe=probe).read(VIEW, *FACE) == read
    with pytest.raises(InvalidInputError, match=r"min_flag_probability must lie in \[0.5, 1\], got 0.3"):
        AttributePolicy(keep, probe=unsure, min_flag_probability=0.3)


def test_of_a_face_of_a_few_pixels_the_probe_reads_nothing(make_probe: Maker) -> None:
    small = (np.array([50.0, 50.0, 62.0, 65.0]), POINTS / 8 + 48, np.ones(5))
    read = AttributePolicy(["age_group", "head_pose"], probe=str(make_probe())).read(VIEW, *small)
    assert read == Attributes(head_pose=2)


def test_a_policy_that_needs_no_probe_loads_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "resolve", lambda _: pytest.fail("the probe was looked for"))
    policy = AttributePolicy(MEASURED)
    assert policy.probe is None
    assert policy.digests() == {}


def test_without_the_weights_the_user_is_told_what_to_leave_out(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"attributes.keep=\[skin_tone,head_pose\]"):
        AttributePolicy(["age_group"], probe=str(tmp_path / "absent.onnx"))


def test_another_network_is_refused(tmp_path: Path, make_probe: Maker) -> None:
    model = onnx.load(str(make_probe()))
    model.graph.output[0].name = model.graph.node[0].output[0] = "ages"
    onnx.save(model, str(tmp_path / "other.onnx"))
    with pytest.raises(ConfigError, match="is no attribute probe"):
        AttributeProbe(str(tmp_path / "other.onnx"))


def test_readings_that_are_not_finite_are_refused(make_probe: Maker) -> None:
    with pytest.raises(ConfigError, match="not finite"):
        AttributeProbe(str(make_probe(scales=(np.nan, 1, 1, 1, 1)))).read(VIEW, *FACE)


def test_an_unknown_attribute_and_a_probability_over_1_are_refused() -> None:
    with pytest.raises(ConfigError, match="names \\['race'\\], which cannot be read"):
        AttributePolicy(["race"])
    with pytest.raises(InvalidInputError, match="min_probability"):
        AttributePolicy(min_probability=1.5)


@pytest.mark.weights("understudy_probe")
def test_the_committed_probe_reads_a_frontal_adult_and_the_same_twice(portrait_paths: tuple[Path, ...]) -> None:
    """Grace Hopper, smiling at 78; keypoints by hand. The probe errs by many years on photographs: bounds are wide."""
    from PIL import Image

    picture = np.asarray(Image.open(portrait_paths[0]).convert("RGB"))
    probe = AttributeProbe()
    face = np.array([0.0, 0.0, picture.shape[1], picture.shape[0]])
    first, again = (probe.read(picture, face, np.zeros((5, 2)), np.zeros(5)) for _ in range(2))
    assert (first.numbers == again.numbers).all()
    assert (first.scales > 0).all()
    assert first.expression.sum() == pytest.approx(1, abs=1e-5)
    assert np.isfinite(first.numbers[[NUMBERS.index("perceived_age")]]).all()


@pytest.mark.weights("understudy_probe")
@pytest.mark.weights("centerface")
def test_the_committed_probe_reads_a_mirror_image_as_turned_the_other_way(portrait_paths: tuple[Path, ...]) -> None:
    """Keypoints as the detector finds them, with left and right exchanged in the mirror; all but the yaw stays."""
    from PIL import Image

    from understudy.detect.centerface import CenterFace

    picture = np.asarray(Image.open(portrait_paths[0]).convert("RGB"))
    found, width = CenterFace()(picture), picture.shape[1]
    box, points = found.xyxy[0], found.keypoints[0]
    mirrored_box = np.array([width - box[2], box[1], width - box[0], box[3]])
    mirrored_points = (points * [-1, 1] + [width, 0])[[1, 0, 2, 4, 3]]
    probe, turned = AttributeProbe(), np.ascontiguousarray(picture[:, ::-1])
    first = probe.read(picture, box, points, np.ones(5))
    other = probe.read(turned, mirrored_box, mirrored_points, np.ones(5))
    yaw = NUMBERS.index("yaw")
    assert abs(first.numbers[yaw]) > 1
    assert other.numbers[yaw] == pytest.approx(-first.numbers[yaw], abs=1)
    assert other.number("perceived_age") == pytest.approx(first.number("perceived_age"), abs=2)
    assert other.expression == pytest.approx(first.expression, abs=0.05)


@pytest.mark.weights("understudy_probe")
def test_what_the_committed_probe_reads_of_a_crop_does_not_depend_on_the_others() -> None:
    crops = np.random.default_rng(0).integers(0, 256, (3, 128, 128, 3), dtype=np.uint8)
    session = open_session(weights.resolve("understudy_probe"))
    together = session.run({"crops": crops, "proportions": np.zeros((3, 15), np.float32)})
    alone = session.run({"crops": crops[1:2], "proportions": np.full((1, 15), np.nan, np.float32)})
    for many, one in zip(together, alone, strict=True):
        assert one[0] == pytest.approx(many[1], rel=1e-4, abs=1e-4)
