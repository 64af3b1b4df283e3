"""Attackers: crops, networks, copies, and the distances of collections."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.unit.audit_stand_ins import BOX, POINTS, ReadsColours, draw

from understudy.audit.attackers import Attack, altered_copy
from understudy.audit.frechet import frechet_distance, kernel_distance
from understudy.audit.sections_identity import held_out
from understudy.embed.arcface import TEMPLATES, AlignedOnnxEmbedder, aligned_crop, similarity
from understudy.errors import ConfigError, InvalidInputError, WeightsDigestError

ALL = np.ones(5)


def mean_network(path: Path, side: int = 112) -> Path:
    """An ONNX network whose embedding is the mean of each plane."""
    from onnx import TensorProto, helper, save

    nodes = [helper.make_node("GlobalAveragePool", ["x"], ["m"]), helper.make_node("Flatten", ["m"], ["y"])]
    graph = helper.make_graph(
        nodes,
        "means",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, side, side])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), str(path))
    return path


def test_keypoints_that_lie_on_the_template_are_left_where_they_are() -> None:
    template = np.asarray(TEMPLATES["arcface"]) * 112
    np.testing.assert_allclose(similarity(template, template), np.eye(2, 3), atol=1e-9)


def test_a_turned_and_enlarged_face_is_brought_back_onto_the_template() -> None:
    template = np.asarray(TEMPLATES["retail_0095"]) * 128
    theta, scale = np.radians(30), 2.5
    turn = scale * np.array([[np.cos(theta), -np.sin(theta)], [np.sin(theta), np.cos(theta)]])
    points = template @ turn.T + [40, -7]
    affine = similarity(points, template)
    np.testing.assert_allclose(points @ affine[:, :2].T + affine[:, 2], template, atol=1e-9)


def test_a_crop_on_the_template_is_the_picture_itself() -> None:
    view = np.random.default_rng(0).integers(0, 256, (112, 112, 3)).astype(np.uint8)
    template = np.asarray(TEMPLATES["arcface"]) * 112
    np.testing.assert_array_equal(aligned_crop(view, template, ALL, template, 112), view)


def test_keypoints_in_one_place_or_one_alone_fix_no_crop() -> None:
    template = np.asarray(TEMPLATES["arcface"])
    with pytest.raises(InvalidInputError, match="in one place"):
        similarity(np.ones((5, 2)), template)
    with pytest.raises(InvalidInputError, match="two keypoints or more"):
        similarity(np.ones((1, 2)), template[:1])


def test_the_network_gets_its_channels_scale_mean_and_deviation(tmp_path: Path) -> None:
    path = str(mean_network(tmp_path / "means.onnx"))
    view = np.full((112, 112, 3), (51, 102, 204), np.uint8)
    template = np.asarray(TEMPLATES["arcface"]) * 112
    rgb = AlignedOnnxEmbedder("m", path, mean=(0.1, 0.2, 0.4), deviation=(0.5, 1, 2)).embed(view, template, ALL)
    np.testing.assert_allclose(rgb, [(0.2 - 0.1) / 0.5, (0.4 - 0.2) / 1, (0.8 - 0.4) / 2], atol=1e-4)
    raw = AlignedOnnxEmbedder("m", path, channels="bgr", scale=1.0, mean=(0, 0, 0), deviation=(1, 1, 1))
    np.testing.assert_allclose(raw.embed(view, template, ALL), [204, 102, 51], atol=1e-1)


def test_a_network_of_another_size_and_an_unknown_template_are_refused(tmp_path: Path) -> None:
    path = str(mean_network(tmp_path / "means.onnx"))
    with pytest.raises(ConfigError, match=r"must take one input \(1, 3, 128, 128\)"):
        AlignedOnnxEmbedder("m", path, size=128)
    with pytest.raises(ConfigError, match="template must be one of arcface, retail_0095"):
        AlignedOnnxEmbedder("m", path, template="other")


@pytest.mark.weights("mobilefacenet_foamliu", "face_reidentification_retail_0095")
@pytest.mark.parametrize("name", ["mobilefacenet", "retail_0095"])
def test_the_mirrored_networks_tell_two_people_apart(name: str, portrait_paths: tuple[Path, ...]) -> None:
    from understudy.config.compose import compose_config
    from understudy.config.parts import PartBuilder
    from understudy.config.read import read
    from understudy.config.schema import Audit
    from understudy.imaging import decode

    overrides = ["before=a", "after=b", "output=c", f"attacker=[{name}]"]
    settings = read(compose_config("audit", overrides), Audit, "audit")
    build = PartBuilder()
    attack, detector = build(settings.attacker, "attacker")[name], build(settings.detector, "detector")
    rows = []
    for path in portrait_paths:
        view = decode(path.read_bytes(), path.name).view
        found = detector(view)
        copy, points = altered_copy(view, found.keypoints, seed=1)
        own = attack.embed(view, found.xyxy, found.keypoints, found.visibility)[0]
        again = attack.embed(copy, found.xyxy, points, found.visibility)[0]
        rows += [own / np.linalg.norm(own), again / np.linalg.norm(again)]
    likeness = np.array(rows) @ np.array(rows).T
    assert min(likeness[0, 1], likeness[2, 3]) > likeness[[0, 0, 1, 1], [2, 3, 2, 3]].max() + 0.2


def test_faces_that_are_too_small_or_have_no_keypoints_have_no_embedding() -> None:
    attack = Attack("colours", ReadsColours())
    boxes = np.concatenate([BOX, BOX, BOX])
    boxes[1, 2:] = boxes[1, :2] + 5
    shown = np.ones((3, 5))
    shown[2, :3] = 0
    found = attack.embed(draw(0), boxes, np.concatenate([POINTS] * 3), shown)
    assert np.isfinite(found).all(axis=1).tolist() == [True, False, False]


def test_an_unknown_metric_is_refused() -> None:
    with pytest.raises(ConfigError, match="cosine or euclidean"):
        Attack("a", ReadsColours(), "manhattan")  # type: ignore[arg-type]  # the point of the test


def test_an_altered_copy_is_the_same_for_the_same_seed_and_other_pixels_for_another() -> None:
    view = draw(3)
    one, points = altered_copy(view, POINTS, 7)
    same, again = altered_copy(view, POINTS, 7)
    other, _ = altered_copy(view, POINTS, 8)
    np.testing.assert_array_equal(one, same)
    np.testing.assert_array_equal(points, again)
    assert (one != other).any()
    assert (one != view).mean() > 0.5
    assert np.abs(points - POINTS).max() < 12


def test_the_last_picture_of_each_person_with_several_is_held_out() -> None:
    people = np.array([5, 5, 1, 2, 2, 2, 9])
    assert held_out(people, minimum_n=2).tolist() == [False, True, False, False, False, True, False]
    assert not held_out(people, minimum_n=3).any()


def test_frechet_distance_of_two_lines_is_what_the_formula_says() -> None:
    x, y = np.array([[-1.0], [1.0]]), np.array([[1.0], [5.0]])
    deviations = np.std([-1, 1], ddof=1), np.std([1, 5], ddof=1)
    expected = (3 - 0) ** 2 + (deviations[0] - deviations[1]) ** 2
    assert frechet_distance(x, y) == pytest.approx(expected)


def test_frechet_distance_equals_the_one_by_matrix_roots_of_scipy() -> None:
    from scipy.linalg import sqrtm

    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(60, 5)), rng.normal(1, 2, (90, 5)) @ rng.normal(size=(5, 5))
    a, b = np.cov(x.T), np.cov(y.T)
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(a + b - 2 * np.real(sqrtm(a @ b)))
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-6)
    few = x[:4]
    a = np.cov(few.T)
    expected = ((few.mean(0) - y.mean(0)) ** 2).sum() + np.trace(a + b - 2 * np.real(sqrtm(a @ b)))
    assert frechet_distance(few, y) == pytest.approx(expected, rel=1e-4)


def test_a_set_has_no_distance_to_itself_and_rows_of_nan_do_not_count() -> None:
    x = np.random.default_rng(1).normal(size=(30, 4))
    with_nan = np.concatenate([x, np.full((3, 4), np.nan)])
    assert frechet_distance(x, with_nan) == pytest.approx(0, abs=1e-9)
    assert np.isnan(frechet_distance(x[:1], x))


def test_kernel_distance_is_the_unbiased_estimate_by_the_sums_themselves() -> None:
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(6, 3)), rng.normal(0.5, 1, (6, 3))

    def k(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
        return float((a @ b / 3 + 1) ** 3)

    same = sum(k(x[i], x[j]) + k(y[i], y[j]) for i in range(6) for j in range(6) if i != j) / 30
    across = sum(k(x[i], y[j]) for i in range(6) for j in range(6)) / 36
    found = kernel_distance(x, y, n_subsets=2, seed=0)
    assert found.mean == pytest.approx(same - 2 * across)
    assert found.sd == pytest.approx(0, abs=1e-9)
    assert found.subset_size == 6


def test_facenet_loads_the_published_form_of_state_dict_and_refuses_what_is_not_registered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")
    facenet_pytorch = pytest.importorskip("facenet_pytorch")
    from understudy import weights as registry
    from understudy.embed import facenet

    class Tiny(torch.nn.Module):  # type: ignore[misc,name-defined]  # torch was imported by importorskip
        def __init__(self, pretrained: object, classify: bool) -> None:
            super().__init__()
            assert pretrained is None, "nothing may be fetched"
            assert not classify
            self.last_linear = torch.nn.Linear(3, 4, bias=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.normalize(self.last_linear(x.mean(dim=(2, 3))))

    monkeypatch.setattr(facenet_pytorch, "InceptionResnetV1", Tiny)
    path = tmp_path / "20180402-114759-vggface2.pt"
    weight = torch.arange(12.0).reshape(4, 3)
    torch.save({"last_linear.weight": weight, "logits.weight": torch.zeros(9, 4)}, path)
    with pytest.raises(WeightsDigestError, match="pickled file"):
        facenet.load_facenet(path)
    entry = SimpleNamespace(kind="pickle", sha256=registry.file_digest(path))
    monkeypatch.setattr(registry, "entries", lambda: (entry,))
    monkeypatch.setattr(registry, "resolve", lambda _: path)
    embedder = facenet.FaceNetTorch("facenet_vggface2")
    view = np.full((200, 200, 3), (255, 0, 128), np.uint8)
    points = np.asarray(facenet.TEMPLATE) * facenet.SIZE
    found = embedder.embed(view, points, ALL)
    expected = weight.numpy() @ ((np.array([255, 0, 128]) - 127.5) / 128)
    np.testing.assert_allclose(found, expected / np.linalg.norm(expected), atol=1e-5)
    torch.save({"other.weight": weight}, path)
    entry.sha256 = registry.file_digest(path)
    with pytest.raises(ConfigError, match="holds no InceptionResnetV1"):
        facenet.load_facenet(path)


def test_facenet_s_own_network_attacks_from_a_mirror_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    facenet_pytorch = pytest.importorskip("facenet_pytorch")
    from understudy import weights
    from understudy.config.compose import compose_config
    from understudy.config.parts import PartBuilder
    from understudy.config.read import read
    from understudy.config.schema import Audit
    from understudy.embed.facenet import SIZE, TEMPLATE

    torch.manual_seed(0)
    network = facenet_pytorch.InceptionResnetV1(pretrained=None, classify=True, num_classes=11).eval()
    path = tmp_path / "20180402-114759-vggface2.pt"
    torch.save(network.state_dict(), path)  # the published file holds the classifier too
    registered = weights.entry("facenet_vggface2")
    entry = replace(registered, sha256=weights.file_digest(path))
    monkeypatch.setattr(weights, "_registry", lambda: {"facenet_vggface2": entry})
    monkeypatch.setenv(weights.MIRROR_VARIABLE, str(tmp_path))
    assert (registered.file, registered.kind) == (path.name, "pickle")
    settings = read(compose_config("audit", ["before=a", "after=b", "output=c", "attacker=[facenet]"]), Audit, "audit")
    attack = PartBuilder()(settings.attacker, "attacker")["facenet"]
    assert (attack.name, attack.metric) == ("facenet", "cosine")
    view = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3)).astype(np.uint8)
    points = np.asarray(TEMPLATE)[None] * SIZE
    found = attack.embed(view, np.array([[0.0, 0, SIZE, SIZE]]), points, np.ones((1, 5)))
    network.classify = False
    with torch.inference_mode():
        wanted = network((torch.from_numpy(view).permute(2, 0, 1)[None].float() - 127.5) / 128)
    np.testing.assert_allclose(found, wanted.numpy(), atol=1e-4)
    assert found.shape == (1, 512)
    assert attack.embedder.digests() == {"facenet_vggface2": entry.sha256}
