"""Bundles and execution providers as the main job's settings name them."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.test_runtime_onnx import blur_network

from understudy.config.bundle import with_bundle
from understudy.config.providers import require_device, require_installed, require_providers, told_together
from understudy.config.schema import Runtime
from understudy.errors import ConfigError
from understudy.export.bundle import BundleFile, sha256, write_bundle
from understudy.runtime import onnx as runtime_onnx
from understudy.runtime.onnx import CPU, bound_memory, open_session

FINDER = {"_target_": "understudy.detect.centerface.CenterFace", "weights": "centerface"}
GENERATOR = {"_target_": "understudy.config.embedded.latent_diffusion", "model": "understudy-face-128"}


@pytest.fixture
def runtime(tmp_path: Path) -> Runtime:
    """A runtime in 8 bits with a bundle of a detector in two precisions and a generator in one."""
    places = {
        "detector/a.onnx": ("detector", "fp32"),
        "detector/int8/a.onnx": ("detector", "int8"),
        "onnx/b.onnx": ("generator", "fp32"),
    }
    files = [BundleFile(path, role, kind, sha256(path.encode()), 1, "MIT") for path, (role, kind) in places.items()]
    write_bundle(tmp_path / "b", {path: path.encode() for path in places}, files, {}, {})
    return Runtime(bundle=str(tmp_path / "b"), precision="int8")


def test_a_bundle_s_network_takes_the_place_of_the_package_s_wherever_it_is_named(runtime: Runtime) -> None:
    node = with_bundle({"passes": [1], "detectors": [{"finder": FINDER}]}, runtime)
    finder = node["detectors"][0]["finder"]
    assert finder["weights"].endswith("b/detector/int8/a.onnx")
    assert finder["_target_"] == FINDER["_target_"]
    assert node["passes"] == [1]


def test_weights_of_the_user_s_own_stay(runtime: Runtime, tmp_path: Path) -> None:
    own = {**FINDER, "weights": str(tmp_path)}
    assert with_bundle(own, runtime) == own


def test_without_a_bundle_nothing_changes() -> None:
    assert with_bundle(FINDER, Runtime()) is FINDER


def test_a_generator_that_is_not_there_in_the_wanted_precision_is_refused(runtime: Runtime) -> None:
    with pytest.raises(ConfigError, match=r"has no int8 generator: it has \['fp32'\]"):
        with_bundle(GENERATOR, runtime)
    runtime.precision = "fp32"
    assert with_bundle(GENERATOR, runtime)["model"] == str(Path(str(runtime.bundle)).absolute())


def test_a_provider_that_is_not_usable_stops_the_job_and_names_what_is() -> None:
    parts = {"generator": [open_session(blur_network(), providers=("MIGraphXExecutionProvider",))]}
    with pytest.raises(ConfigError, match=f"generator: asked for MIGraphX.*available here: .*{CPU}.*fallback=true"):
        require_providers(parts, fallback=False)


def test_a_provider_that_is_not_installed_stops_the_job_before_any_network_is_opened() -> None:
    wanted = Runtime(providers=["qnn", "cpu"])
    with pytest.raises(ConfigError, match=rf"providers=\[qnn,cpu\]: .* has no QNNEx.*available here: .*{CPU}\. Choose"):
        require_installed(wanted)
    require_installed(Runtime(providers=["qnn"], fallback=True))
    require_installed(Runtime(providers=["cpu", "qnn"]))


def test_a_device_that_torch_cannot_use_is_refused_in_one_sentence() -> None:
    pytest.importorskip("torch")
    require_device("cpu")
    with pytest.raises(ConfigError, match=r"^runtime\.device=cuda:99: torch cannot use it here \([^\n]+\); runtime"):
        require_device("cuda:99")


def test_parts_that_run_on_the_same_are_told_together() -> None:
    found = {"detector": "on the CPU", "residual": "on the CPU", "generator": "on a GPU"}
    assert told_together(found) == "detector, residual: on the CPU; generator: on a GPU"


def test_falling_back_is_a_warning_where_it_is_allowed() -> None:
    parts = {"generator": open_session(blur_network(), providers=("MIGraphXExecutionProvider",))}
    assert require_providers(parts, fallback=True) == [
        f"generator: asked for MIGraphXExecutionProvider, which is not usable here: running on {CPU}"
    ]
    parts["guard"] = open_session(blur_network(), providers=("MIGraphXExecutionProvider",))
    assert [warning.partition(":")[0] for warning in require_providers(parts, fallback=True)] == ["generator, guard"]
    assert require_providers({"generator": open_session(blur_network(), providers=("cpu",))}, fallback=False) == []


def test_providers_have_short_names() -> None:
    assert open_session(blur_network(), providers=("cpu",)).provider_report.requested == (CPU,)
    assert open_session(blur_network(), providers=("qnn",)).provider_report.requested == ("QNNExecutionProvider",)


def test_memory_cannot_be_bound_after_networks_run_without_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime_onnx, "_BOUND", {})
    open_session(blur_network())
    with pytest.raises(ConfigError, match="without a bound in this process already"):
        bound_memory(300)
    with pytest.raises(ConfigError, match="memory_mb must be 1 or more, got 0"):
        bound_memory(0)
