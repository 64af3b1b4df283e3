"""Every file under configs/ is composed, and what it names is built."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import pytest
from omegaconf import MISSING
from tests.tiny_hub import HUB, PIPELINES, small_hub

from understudy.batch.local import RunSettings
from understudy.config.build import build_job, providers_in_use
from understudy.config.compose import compose_config
from understudy.config.locations import configs_folder
from understudy.config.parts import PartBuilder
from understudy.config.read import read, read_anonymize
from understudy.config.schema import SCHEMAS, Anonymize, Audit, Detect, Export, Runtime, Train
from understudy.config.training import with_tuples
from understudy.errors import ConfigError, MissingExtraError, MissingWeightsError
from understudy.generate.base import Generator, Obscurer
from understudy.pipeline import PipelineSettings

GROUPS = sorted(path.name for path in configs_folder().iterdir() if path.is_dir())
COMMANDS = {"experiment"}
"""Groups whose files are whole commands; tests/configs/test_experiments.py composes them."""
FILES = [
    (group, path.stem)
    for group in GROUPS
    if group not in COMMANDS
    for path in sorted((configs_folder() / group).glob("*.yaml"))
]
OPTIONAL = {"guard", "residual", "second", "body_guard", "body_residual", "people", "extractor", "perceptual"}
OF_AUDIT = {"attacker", "second", "estimator", "label_format", "people", "extractor", "perceptual"}
LISTED = {"attacker", "estimator"}
"""Groups of which several files are chosen at once."""
PATHS = ["input=a", "output=b"]
AUDIT_PATHS = ["before=a", "after=b", "output=c"]


def settings_with(*overrides: str) -> Anonymize:
    return read_anonymize(compose_config("anonymize", [*PATHS, *overrides]))


def needs(group: str, name: str, tmp_path: Path) -> list[str]:
    """What a file cannot be built without."""
    if (group, name) == ("generator", "diffusers_inpaint"):
        tiny = pytest.importorskip("tests.tiny_inpaint")
        return [f"generator.model={tiny.make_tiny_inpaint(tmp_path / 'tiny')}"]
    if group in {"generator", "body_generator"} and name in HUB:
        tall = {"crop_height": 48} if group == "body_generator" else {}
        return [f"{group}.{key}={value}" for key, value in {**small_hub(name, tmp_path), **tall}.items()]
    if (group, name) == ("attacker", "arcface_onnx"):
        return ["attacker.arcface_onnx.embedder.weights=mobilefacenet_foamliu"]
    return []


def node_of(group: str, name: str, tmp_path: Path) -> object:
    """The composed part of the settings that a file makes."""
    if group in {"network", "schedule"}:
        key = "denoiser" if group == "schedule" else group
        choice = f"schedule@denoiser={name}" if group == "schedule" else f"network={name}"
        return getattr(read(compose_config("train", ["labels=a", "output=b", choice]), Train, "train"), key)
    if group in OF_AUDIT:
        choice = f"{group}=[{name}]" if group in LISTED else f"{group}={name}"
        overrides = [*AUDIT_PATHS, choice, *needs(group, name, tmp_path)]
        return getattr(read(compose_config("audit", overrides), Audit, "audit"), group)
    if group == "prompt":
        overrides = ["generator=sd15_inpaint", f"prompt@generator.prompt={name}"]
        return settings_with(*overrides).generator["prompt"]
    return getattr(settings_with(f"{group}={name}", *needs(group, name, tmp_path)), group)


@pytest.mark.parametrize(("group", "name"), FILES, ids=[f"{g}={n}" for g, n in FILES])
def test_a_file_of_a_group_is_composed_and_built(group: str, name: str, tmp_path: Path) -> None:
    if group in {"network", "schedule"}:
        pytest.importorskip("torch")
    node = node_of(group, name, tmp_path)
    if group == "runtime":
        assert isinstance(node, Runtime)
        assert name.startswith(node.name)
        return
    try:
        part = PartBuilder()(node, group)
    except (MissingWeightsError, MissingExtraError) as error:
        pytest.skip(str(error))
    if name == "none" and group in OPTIONAL:
        assert part is None
    elif group == "generator":
        assert isinstance(part, Generator | Obscurer)
        if name in HUB:
            assert type(part._pipe).__name__ == PIPELINES[name]
    elif group in {"detector", "second"}:
        assert part.name
        assert part.families
    elif group in LISTED:
        assert [key for key, value in part.items() if value.name] == [name]
    else:
        assert part is not None


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_a_primary_config_gives_every_setting_of_its_schema_and_no_other(name: str) -> None:
    config = compose_config(name, [])
    assert {str(key) for key in config} == {field.name for field in dataclasses.fields(SCHEMAS[name])}


@pytest.mark.weights("centerface")
def test_the_default_detect_config_builds() -> None:
    settings = read(compose_config("detect", PATHS), Detect, "detect")
    assert PartBuilder()(settings.detector, "detector").families


@pytest.mark.parametrize(
    ("schema", "paths"),
    [
        (Anonymize, PATHS),
        (Detect, PATHS),
        (Train, ["labels=a", "output=b"]),
        (Export, []),
        (Audit, AUDIT_PATHS),
    ],
)
def test_the_defaults_of_the_schema_and_of_the_yaml_are_the_same(schema: type, paths: list[str]) -> None:
    name = schema.__name__.lower()
    settings = read(compose_config(name, paths), schema, name)
    for field in dataclasses.fields(schema):
        if field.default is not dataclasses.MISSING and field.default != MISSING:
            assert getattr(settings, field.name) == field.default, field.name
        elif field.default_factory is not dataclasses.MISSING:
            assert getattr(settings, field.name) == field.default_factory(), field.name


def test_the_runner_of_the_config_is_the_runner_by_default() -> None:
    assert PartBuilder()(settings_with().runner, "runner") == RunSettings()


def test_the_network_of_the_config_is_the_network_by_default() -> None:
    pytest.importorskip("torch")
    from understudy.train.denoiser import DenoiserSettings

    node = read(compose_config("train", ["labels=a", "output=b"]), Train, "train").network
    assert PartBuilder()(with_tuples(node), "network") == DenoiserSettings()


def test_the_defaults_of_the_pipeline_are_those_of_the_config() -> None:
    settings, pipeline = settings_with(), PipelineSettings()
    assert (settings.seed, settings.n_attempts, settings.context) == (
        pipeline.run_seed,
        pipeline.n_attempts,
        pipeline.context,
    )


@pytest.mark.weights("centerface")
def test_a_residual_detector_of_the_primarys_family_is_refused() -> None:
    settings = settings_with("detector=centerface", "guard=none", "residual=none", "generator=fill")
    twice = dataclasses.replace(
        settings, residual={"_target_": "understudy.residual.ResidualScan", "detector": settings.detector}
    )
    with pytest.raises(ConfigError, match="detector and residual both use centerface"):
        build_job(twice)


@pytest.mark.weights("centerface")
def test_without_any_second_detector_the_user_is_told_what_to_install_or_to_say(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "dlib", None)
    settings = settings_with("detector=centerface", "guard=none", "residual=dlib_hog", "generator=fill")
    with pytest.raises(MissingExtraError, match=r"understudy\[identity\].*residual=none"):
        build_job(settings)


@pytest.mark.weights("centerface")
def test_the_user_is_warned_where_a_protection_is_switched_off() -> None:
    built = build_job(settings_with("detector=centerface", "guard=none", "residual=none", "generator=fill"))
    assert len(built.warnings) == 2
    assert "residual=none" in built.warnings[0]
    assert "guard=none" in built.warnings[1]


@pytest.mark.weights("centerface")
def test_the_providers_that_really_run_are_told() -> None:
    built = build_job(
        settings_with("detector=centerface", "guard=none", "residual=none", "generator=fill", "attributes=nothing")
    )
    assert providers_in_use(built.job.pipeline) == {"detector": "onnxruntime, running on CPUExecutionProvider"}
