"""Exported graphs: parity with torch, float16 and 8 bits, metadata; bundles; and what can go wrong."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import onnx
from onnx import TensorProto, numpy_helper
from tests.tiny import make_tiny_face_model

from understudy.cli.main import main
from understudy.config.conditions import drawn_conditions
from understudy.errors import ConfigError, MissingWeightsError, OutputError, WeightsDigestError
from understudy.export.bundle import BundleFile, read_bundle, require_empty, sha256, write_bundle
from understudy.export.graph import Graph, get_metadata, set_metadata, whole_weights
from understudy.export.onnx import CONTRACTS, build_graphs, load_parts, origin, to_bytes
from understudy.export.parity import compare_graphs, psnr_db, random_feeds, stack_feeds
from understudy.export.quantize import outermost, to_fp16, to_int8
from understudy.export.reference import run_by_definition, run_onnx, run_torch
from understudy.generate.latent import LatentDiffusionGenerator

SIZE = 48


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_face_model(tmp_path_factory.mktemp("tiny model"), crop_size=SIZE)


@pytest.fixture(scope="module")
def bundle(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "a bundle"
    assert main(["export", f"model={model}", f"output={folder}", "parts=[]", "n_calibration=3", "n_parity=1"]) == 0
    return folder


@pytest.mark.parametrize("name", sorted(CONTRACTS))
def test_every_graph_does_at_several_batch_sizes_what_torch_does(model: Path, name: str) -> None:
    parts = load_parts(model)
    graph = build_graphs(parts, origin(model), [name])[name]
    feeds = random_feeds({item.name: parts.inputs[item.name] for item in graph.graph.input}, batches=(1, 3))
    parity = compare_graphs(run_onnx(graph), run_torch(parts, name), feeds, "torch")
    assert parity.n_runs == 2
    assert parity.largest_output > 0.1
    assert parity.max_difference < 2e-5


def test_a_graph_says_its_version_contract_licence_and_the_digests_of_its_weights(model: Path) -> None:
    said = get_metadata(build_graphs(load_parts(model), origin(model, "CC0-1.0"), ["decoder"])["decoder"])
    assert said["licence"] == "CC0-1.0"
    assert said["opset"] == "17"
    assert said["precision"] == "fp32"
    assert said["contract"].startswith("latents -> pixels")
    weights = (model / "autoencoder" / "diffusion_pytorch_model.safetensors").read_bytes()
    assert said["source_sha256.autoencoder"] == sha256(weights)


def test_the_same_model_gives_the_same_bytes(model: Path) -> None:
    first, second = (build_graphs(load_parts(model), origin(model))["denoiser"] for _ in range(2))
    assert to_bytes(first) == to_bytes(second)


def two_layers(gain: float = 1.0) -> onnx.ModelProto:
    """Four 1x1 convolutions in a row whose weights are ones and halves, with room for 8-bit steps."""
    graph = Graph()
    x = "x"
    for scale in (1.0, 0.5, 2.0, gain):
        weight = graph.constant(np.full((4, 4, 1, 1), scale, np.float32))
        x = graph.node("Conv", x, weight, kernel_shape=[1, 1])
    return graph.model({"x": (4, 2, 2)}, x, ("y", (4, 2, 2)), {"licence": "none"})


def test_a_weight_that_float16_holds_exactly_is_stored_as_float16_and_another_is_not() -> None:
    graph = Graph()
    halves, thirds = np.full(256, 0.5, np.float32), np.full(256, 1 / 3, np.float32)
    total = graph.node("Add", graph.constant(halves), graph.constant(thirds))
    made = graph.model({"x": (256,)}, graph.node("Add", "x", total), ("y", (256,)), {})
    kinds = sorted(tensor.data_type for tensor in made.graph.initializer)
    assert kinds == [TensorProto.FLOAT, TensorProto.FLOAT16]
    whole = whole_weights(made)
    assert {tensor.data_type for tensor in whole.graph.initializer} == {TensorProto.FLOAT}
    x = {"x": np.zeros((1, 256), np.float32)}
    np.testing.assert_array_equal(run_onnx(whole)(x)[0], run_by_definition(made)(x)[0])


def test_float16_computes_in_float16_and_takes_and_gives_float32() -> None:
    half = to_fp16(two_layers())
    assert half.graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT
    assert half.graph.output[0].type.tensor_type.elem_type == TensorProto.FLOAT
    weights = [t for t in half.graph.initializer if numpy_helper.to_array(t).ndim == 4]
    assert {t.data_type for t in weights} == {TensorProto.FLOAT16}
    x = np.full((1, 4, 2, 2), 1 + 2**-12, np.float32)  # between two numbers of float16
    assert run_onnx(two_layers())({"x": x})[0][0, 0, 0, 0] == pytest.approx(256 * (1 + 2**-12), abs=1e-4)
    assert run_by_definition(half)({"x": x})[0][0, 0, 0, 0] == 256


def test_8_bits_keep_the_first_and_the_last_convolution_and_lose_little_inside() -> None:
    source = two_layers()
    random = np.random.default_rng(0)
    feeds = [{"x": random.uniform(0, 1, (1, 4, 2, 2)).astype(np.float32)} for _ in range(8)]
    small = to_int8(source, feeds)
    assert outermost(source) == ["Conv_0", "Conv_3"]
    kinds = {t.data_type for t in small.graph.initializer if numpy_helper.to_array(t).ndim == 4}
    assert kinds == {TensorProto.FLOAT, TensorProto.INT8}
    assert get_metadata(small) == {"licence": "none", "precision": "int8"}
    parity = compare_graphs(run_onnx(small), run_onnx(source), feeds, "float32")
    assert 0 < parity.max_difference < 0.02 * parity.largest_output


def test_psnr_is_that_of_the_definition() -> None:
    assert psnr_db(np.array([255, 255])) == pytest.approx(0)
    assert psnr_db(np.array([3, 0, 0, 0])) == pytest.approx(10 * np.log10(255**2 / 2.25))
    assert psnr_db(np.zeros(4)) == np.inf


def test_inputs_are_put_together_to_batches_in_their_order() -> None:
    feeds = [{"x": np.full((1, 2), i)} for i in range(3)]
    assert [batch["x"][:, 0].tolist() for batch in stack_feeds(feeds, (1, 3))] == [[0], [1, 2, 0]]


def test_metadata_is_replaced_as_a_whole() -> None:
    made = two_layers()
    set_metadata(made, {"b": "2", "a": "1"})
    assert [item.key for item in made.metadata_props] == ["a", "b"]


def test_the_command_writes_a_bundle_whose_entries_hold(bundle: Path) -> None:
    row = json.loads((bundle / "bundle.json").read_text())
    paths = {file["path"] for file in row["files"]}
    assert {"onnx/denoiser.onnx", "onnx/fp16/decoder.onnx", "onnx/int8/denoiser.onnx", "onnx/generator.onnx"} <= paths
    assert {"config.json", "styles.npz"} <= paths
    assert set(row["understudies"]) == {"fp32", "fp16", "int8"}
    assert row["understudies"]["fp32"]["max_difference"] <= 2
    for file in row["files"]:
        assert sha256((bundle / file["path"]).read_bytes()) == file["sha256"]
        if file["role"] == "generator":
            assert get_metadata(onnx.load(str(bundle / file["path"])))["precision"] == file["precision"]
            assert file["parity"]["against"] == ("torch" if file["precision"] == "fp32" else "float32")
    assert not [path for path in bundle.parent.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_a_bundle_is_a_model_in_each_of_its_precisions(bundle: Path, model: Path, precision: str) -> None:
    conditions = drawn_conditions(1, SIZE)
    made = LatentDiffusionGenerator(bundle, precision=precision)  # type: ignore[arg-type]
    whole = LatentDiffusionGenerator(model)([conditions[0]], [5])[0].pixels.astype(int)
    assert (
        np.abs(made(conditions, [5])[0].pixels.astype(int) - whole).mean()
        < {"fp32": 0.01, "fp16": 1, "int8": 12}[precision]
    )
    assert any(f"onnx/{precision}/" in name for name in made.digests()) == (precision != "fp32")


def test_a_precision_that_is_not_there_is_told_with_the_way_out(model: Path) -> None:
    with pytest.raises(MissingWeightsError, match=r"int8/encoder.onnx is not there: `understudy export"):
        LatentDiffusionGenerator(model, precision="int8")


def test_an_output_that_is_not_empty_is_left_as_it_is(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.doc").write_text("mine")
    assert main(["export", f"model={model}", f"output={tmp_path}"]) == 1
    assert "is there already and not empty" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.doc"]


def test_a_folder_that_cannot_be_written_is_told_before_any_work(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        (tmp_path / "file").write_text("")
        with pytest.raises(OutputError, match="cannot be written: Not a directory"):
            require_empty(tmp_path / "file" / "bundle")
    else:
        tmp_path.chmod(0o500)
        with pytest.raises(OutputError, match="cannot be written: Permission denied"):
            require_empty(tmp_path / "bundle")


def test_a_model_that_does_not_exist_cannot_be_exported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "model=nobody", f"output={tmp_path / 'bundle'}"]) == 1
    assert "there is no model 'nobody'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_model_without_weights_cannot_be_exported(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("config.json", "styles.npz"):
        (tmp_path / name).write_bytes((model / name).read_bytes())
    assert main(["export", f"model={tmp_path}", f"output={tmp_path / 'bundle'}"]) == 1
    assert "holds no diffusion_pytorch_model.safetensors" in capsys.readouterr().err
    assert not (tmp_path / "bundle").exists()


def test_understudies_that_differ_too_much_are_told_and_nothing_is_written(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from understudy.export import parity

    monkeypatch.setattr(parity, "compare", lambda *_: parity.Parity(1, 40, 7.5))
    given = ["parts=[]", "precisions=[fp32]", "one_graph=false", "n_parity=1", "n_calibration=1"]
    assert main(["export", f"model={model}", f"output={tmp_path / 'bundle'}", *given]) == 1
    assert "differ by up to 40 grey levels on 1 crops, more than max_difference=2" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("precisions=[int8]", "precisions must hold fp32"),
        ("precisions=[fp32,int4]", "precisions must hold fp32"),
        ("n_calibration=0", "n_calibration must be 1 or more, got 0"),
        ("calibration=/does/not/exist", "is no folder of pictures"),
    ],
)
def test_settings_that_cannot_be_are_refused(
    model: Path, tmp_path: Path, settings: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", f"model={model}", f"output={tmp_path / 'bundle'}", settings]) == 1
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def small_bundle(folder: Path) -> Path:
    files = [BundleFile("a.onnx", "detector", "fp32", sha256(b"one"), 3, "MIT")]
    write_bundle(folder, {"a.onnx": b"one"}, files, {}, {})
    return folder


def test_a_bundle_is_read_as_it_was_written(tmp_path: Path) -> None:
    bundle = read_bundle(small_bundle(tmp_path / "b"))
    found = bundle.file("detector", "int8")
    assert found is not None
    assert found.precision == "fp32"  # what is there, where the wanted precision is not
    assert bundle.file("probe", "fp32") is None


def test_a_bundle_with_another_file_in_place_of_its_own_is_refused(tmp_path: Path) -> None:
    folder = small_bundle(tmp_path / "b")
    (folder / "a.onnx").write_bytes(b"two")
    with pytest.raises(WeightsDigestError, match="is not the file that was exported"):
        read_bundle(folder)
    (folder / "a.onnx").unlink()
    with pytest.raises(MissingWeightsError, match=r"lacks a\.onnx"):
        read_bundle(folder)


def test_a_bundle_cannot_name_a_file_outside_it(tmp_path: Path) -> None:
    folder = small_bundle(tmp_path / "b")
    text = (folder / "bundle.json").read_text().replace("a.onnx", "../b.onnx")
    (folder / "bundle.json").write_text(text)
    with pytest.raises(ConfigError, match="lies outside the bundle"):
        read_bundle(folder)


def test_a_folder_without_bundle_json_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(MissingWeightsError, match="is no bundle"):
        read_bundle(tmp_path)


def test_the_operators_of_a_float32_graph_are_few(model: Path) -> None:
    """A step of torch's own exporter has several hundred operators for the same network."""
    graph = build_graphs(load_parts(model), origin(model), ["denoiser"])["denoiser"]
    assert {node.op_type for node in graph.graph.node}.isdisjoint({"Shape", "Gather", "Unsqueeze", "Slice"})
