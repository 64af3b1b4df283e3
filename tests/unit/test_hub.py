from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("huggingface_hub")

from tests.hub_server import Hub, Repo, serving

from understudy.cli import models
from understudy.config.compose import compose_config
from understudy.config.licences import licence_record, require_licences
from understudy.config.read import read_anonymize
from understudy.errors import ConfigError, MissingWeightsError, WeightsDigestError
from understudy.hub.checkpoint import RECORD, find_checkpoint, own_folder, read_record, verify_checkpoint
from understudy.hub.pull import choose_files, pull_checkpoint
from understudy.hub.registry import hub_entries, hub_entry, read_hub_registry, vanished
from understudy.weights import entries, models_folder

PIPELINE = {
    "model_index.json": b"{}",
    "unet/config.json": b"{}",
    "unet/diffusion_pytorch_model.bin": b"pickled",
    "unet/diffusion_pytorch_model.safetensors": b"plain weights",
    "unet/diffusion_pytorch_model.fp16.safetensors": b"half weights",
    "vae/diffusion_pytorch_model.safetensors": b"vae",
    "tokenizer/vocab.json": b"{}",
    "tokenizer/merges.txt": b"",
    "sd-v1-5-inpainting.ckpt": b"a second copy",
    "README.md": b"---",
}
LORA = {"diffusion_pytorch_model.safetensors": b"lora", "README.md": b"---"}
TURBO = "alimama-creative/FLUX.1-Turbo-Alpha"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.delenv("UNDERSTUDY_MODELS", raising=False)


@pytest.fixture
def hub() -> Iterator[Hub]:
    entry = hub_entry("sd15_inpaint")
    newer = {**PIPELINE, "vae/diffusion_pytorch_model.safetensors": b"changed"}
    repos = {entry.repo: Repo({str(entry.revision): PIPELINE, "f" * 40: newer}), TURBO: Repo({"a" * 40: LORA})}
    with serving(Hub(repos)) as made:
        yield made


def test_what_is_fetched_is_what_a_pipeline_needs_and_nothing_pickled() -> None:
    assert choose_files(list(PIPELINE), hub_entry("sd15_inpaint").patterns, "fp16") == [
        "model_index.json",
        "tokenizer/merges.txt",
        "tokenizer/vocab.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
    ]


def test_shards_of_plain_weights_are_fetched_and_another_variant_is_not() -> None:
    names = ["t/m-00001-of-00002.safetensors", "t/m-00002-of-00002.safetensors", "t/m.fp16.safetensors", "t/m.json"]
    assert choose_files(names, ["*"], None) == [*names[:2], "t/m.json"]


def test_a_pull_takes_the_pinned_revision_although_main_has_moved_on(hub: Hub) -> None:
    folder = pull_checkpoint("sd15_inpaint", endpoint=hub.endpoint)
    assert (folder / "vae" / "diffusion_pytorch_model.safetensors").read_bytes() == b"vae"
    record = read_record(folder)
    assert record is not None
    assert record.revision == hub_entry("sd15_inpaint").revision
    assert record.licence == "CreativeML OpenRAIL-M"
    assert find_checkpoint("sd15_inpaint") == folder
    assert verify_checkpoint(hub_entry("sd15_inpaint")).status == "ok"


def test_a_checkpoint_without_a_pin_stays_at_the_revision_of_its_first_pull(hub: Hub) -> None:
    pull_checkpoint("flux_turbo_lora", endpoint=hub.endpoint)
    hub.repos[TURBO].commits["b" * 40] = {**LORA, "diffusion_pytorch_model.safetensors": b"newer"}
    folder = pull_checkpoint("flux_turbo_lora", endpoint=hub.endpoint)
    record = read_record(folder)
    assert record is not None
    assert record.revision == "a" * 40
    assert (folder / "diffusion_pytorch_model.safetensors").read_bytes() == b"lora"


def test_a_copied_folder_serves_a_machine_without_network(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = pull_checkpoint("sd15_inpaint", endpoint=hub.endpoint)
    folder.rename(tmp_path / "sd15_inpaint")
    monkeypatch.setenv("UNDERSTUDY_MODELS", str(tmp_path))
    assert find_checkpoint("sd15_inpaint") == tmp_path / "sd15_inpaint"


def test_a_checkpoint_that_is_not_here_says_how_it_comes_here() -> None:
    with pytest.raises(MissingWeightsError, match=r"run `understudy models pull sd15_inpaint`.*UNDERSTUDY_MODELS"):
        find_checkpoint("sd15_inpaint")


def test_a_folder_that_was_pulled_by_halves_is_not_used(hub: Hub) -> None:
    folder = pull_checkpoint("sd15_inpaint", endpoint=hub.endpoint)
    (folder / "vae" / "diffusion_pytorch_model.safetensors").write_bytes(b"va")
    with pytest.raises(MissingWeightsError, match="absent or of another size"):
        find_checkpoint("sd15_inpaint")
    (folder / RECORD).unlink()
    with pytest.raises(MissingWeightsError, match="pulled by halves"):
        find_checkpoint("sd15_inpaint")


def test_another_content_of_the_same_size_is_found_by_verify(hub: Hub) -> None:
    folder = pull_checkpoint("sd15_inpaint", endpoint=hub.endpoint)
    (folder / "vae" / "diffusion_pytorch_model.safetensors").write_bytes(b"vAe")
    check = verify_checkpoint(hub_entry("sd15_inpaint"))
    assert check.status == "wrong digest"
    assert "vae" in check.detail


def test_another_revision_than_the_registrys_is_refused(hub: Hub) -> None:
    folder = pull_checkpoint("sd15_inpaint", endpoint=hub.endpoint)
    text = (folder / RECORD).read_text()
    (folder / RECORD).write_text(text.replace(str(hub_entry("sd15_inpaint").revision), "f" * 40))
    with pytest.raises(WeightsDigestError, match="holds revision ffff"):
        find_checkpoint("sd15_inpaint")


def test_a_repository_that_is_gone_names_its_mirror_and_a_mirror_can_be_pulled(hub: Hub) -> None:
    repo = hub.repos.pop(hub_entry("sd15_inpaint").repo)
    with pytest.raises(MissingWeightsError, match=r"use 'sd-legacy/stable-diffusion-inpainting'.*from=MIRROR"):
        pull_checkpoint("sd15_inpaint", endpoint=hub.endpoint)
    hub.repos["sd-legacy/stable-diffusion-inpainting"] = repo
    folder = pull_checkpoint("sd15_inpaint", repo="sd-legacy/stable-diffusion-inpainting", endpoint=hub.endpoint)
    assert find_checkpoint("sd15_inpaint") == folder


def test_an_id_that_its_owner_removed_is_known_without_asking() -> None:
    told = vanished("runwayml/stable-diffusion-inpainting")
    assert "was removed from the hub by its owner" in told
    assert "'stable-diffusion-v1-5/stable-diffusion-inpainting'" in told
    assert vanished("nobody/knows-this") == ""


def test_a_gated_repository_asks_for_consent_and_a_token(hub: Hub) -> None:
    hub.repos[TURBO].gated = True
    with pytest.raises(MissingWeightsError, match=r"consent to its licence.*HF_TOKEN"):
        pull_checkpoint("flux_turbo_lora", endpoint=hub.endpoint)


def test_a_repository_with_pickled_weights_only_is_refused(hub: Hub) -> None:
    hub.repos[TURBO].commits["c" * 40] = {"pytorch_model.bin": b""}
    with pytest.raises(MissingWeightsError, match="pickled weights are not fetched"):
        pull_checkpoint("flux_turbo_lora", endpoint=hub.endpoint)


def test_no_network_is_told_in_one_sentence() -> None:
    with pytest.raises(MissingWeightsError, match=r"could not be fetched.*where there is a network"):
        pull_checkpoint("sd15_inpaint", endpoint="http://127.0.0.1:9")


def test_the_registry_pins_every_revision_but_one_and_names_every_licence() -> None:
    assert [entry.name for entry in hub_entries() if entry.revision is None] == ["flux_turbo_lora"]
    assert {entry.name for entry in hub_entries() if not entry.commercial} == {"flux_fill", "flux_turbo_lora"}
    assert all(
        entry.licence and entry.training_data and len(entry.revision or "f" * 40) == 40 for entry in hub_entries()
    )
    assert not {entry.name for entry in hub_entries()} & {entry.name for entry in entries()}


def test_an_entry_of_another_form_is_refused(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text('[x]\nkind = "hub"\npart = "vae"\n')
    with pytest.raises(ConfigError, match="part must be one of pipeline, controlnet, lora, got 'vae'"):
        read_hub_registry(tmp_path / "r.toml")
    assert read_hub_registry(models_folder() / "registry.toml").keys() == {entry.name for entry in hub_entries()}


# licences


def settings_with(*overrides: str):
    return read_anonymize(compose_config("anonymize", ["input=a", "output=b", *overrides]))


@pytest.mark.parametrize("accepted", ["flux_fill", "flux_turbo_lora", "sd15_inpaint,flux_fill"])
def test_a_licence_that_does_not_allow_every_use_has_to_be_accepted(accepted: str) -> None:
    with pytest.raises(ConfigError, match=r"'flux_fill' .*does not allow every use.*accept_licence=flux_fill"):
        require_licences(settings_with("generator=flux_fill_turbo"))
    given = settings_with("generator=flux_fill_turbo")
    given.accept_licence = accepted
    require_licences(given)


def test_accepting_another_licence_does_not_help() -> None:
    with pytest.raises(ConfigError, match="flux_fill"):
        require_licences(settings_with("generator=flux_fill", "accept_licence=sd15_inpaint"))


@pytest.mark.parametrize("model", ["black-forest-labs/FLUX.1-Fill-dev", "some/folder"])
def test_the_licence_holds_for_a_folder_and_for_the_bare_hub_id_too(model: str) -> None:
    name = "flux_fill" if model == "some/folder" else "diffusers_inpaint"
    with pytest.raises(ConfigError, match="does not allow every use"):
        require_licences(settings_with(f"generator={name}", f"generator.model={model}"))


def test_the_record_names_licence_and_revision_of_all_that_is_used() -> None:
    record = licence_record(settings_with("generator=sd15_inpaint_openpose"))
    assert list(record) == ["controlnet_openpose_sd15", "sd15_inpaint"]
    assert record["sd15_inpaint"] == {
        "licence": "CreativeML OpenRAIL-M",
        "commercial_use": True,
        "repo": "stable-diffusion-v1-5/stable-diffusion-inpainting",
        "revision": hub_entry("sd15_inpaint").revision,
    }
    assert licence_record(settings_with()) == {}


def test_a_run_without_consent_ends_with_1_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    from understudy.cli.main import main

    (tmp_path / "in").mkdir()
    code = main(["anonymize", f"input={tmp_path / 'in'}", f"output={tmp_path / 'out'}", "generator=flux_fill"])
    assert code == 1
    assert "accept_licence=flux_fill" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


# the command


def test_the_list_shows_licences_and_what_they_ask_for(capsys: pytest.CaptureFixture) -> None:
    assert models.run(["list"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    for word in ("sd15_inpaint", "CreativeML OpenRAIL-M", "FLUX.1 [dev]", "accept_licence=flux_fill", "mirror only"):
        assert word in told


def test_pulling_what_is_not_for_every_use_asks_first(hub: Hub) -> None:
    with pytest.raises(ConfigError, match="accept_licence=flux_fill"):
        models.run(["pull", "flux_fill"])
    assert hub.asked == []


def test_a_mirror_goes_with_one_checkpoint() -> None:
    with pytest.raises(ConfigError, match="from=REPOSITORY"):
        models.run(["pull", "centerface", "from=some/where"])


def test_the_command_pulls_all_that_a_config_needs_through_the_hubs_own_client(hub: Hub, tmp_path: Path) -> None:
    entry = hub_entry("lcm_lora_sd15")
    hub.repos[entry.repo] = Repo({str(entry.revision): {"pytorch_lora_weights.safetensors": b"lora"}})
    environment = {**os.environ, "HF_ENDPOINT": hub.endpoint, "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    command = [sys.executable, "-m", "understudy", "models", "pull", "sd15_inpaint_lcm"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (own_folder("sd15_inpaint") / RECORD).is_file()
    assert (own_folder("lcm_lora_sd15") / "pytorch_lora_weights.safetensors").read_bytes() == b"lora"
