from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")
pytest.importorskip("transformers")

from tests.tiny_inpaint import make_tiny_controlnet, make_tiny_flux_fill, make_tiny_inpaint, make_tiny_lora  # noqa: E402

from understudy.errors import ConfigError, InvalidInputError, MissingExtraError, MissingWeightsError  # noqa: E402
from understudy.generate import diffusers_load  # noqa: E402
from understudy.generate.diffusers_inpaint import DiffusersInpaintGenerator  # noqa: E402
from understudy.generate.prompts import PromptTemplate  # noqa: E402
from understudy.types import Attributes, Condition, Crop  # noqa: E402

POINTS = np.array([[12, 12], [20, 12], [16, 16], [13, 20], [19, 20]], np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_inpaint(tmp_path_factory.mktemp("inpaint"))


def build(folder: Path, **changes) -> DiffusersInpaintGenerator:
    given = {
        "n_steps": 1,
        "crop_size": 32,
        "device": "cpu",
        "prompt": "a",
        "pipeline": "StableDiffusionInpaintPipeline",
    }
    return DiffusersInpaintGenerator(str(folder), **{**given, **changes})


def condition(shown: float = 1.0, attributes: Attributes | None = None) -> Condition:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    mask = np.zeros((32, 32), bool)
    mask[8:24, 8:24] = True
    return Condition(Crop(pixels, mask, np.eye(2, 3)), POINTS, np.full(5, shown, np.float32), attributes)


def test_a_controlnet_sees_the_keypoints_and_is_named_by_its_digest(folder: Path, tmp_path: Path) -> None:
    generator = build(
        folder,
        pipeline="StableDiffusionControlNetInpaintPipeline",
        controlnet=str(make_tiny_controlnet(tmp_path)),
        control_scale=8.0,
    )
    with_points, without = (generator([condition(shown)], [3])[0].pixels for shown in (1.0, 0.0))
    assert (with_points != without).any()
    assert "diffusers_inpaint/controlnet/diffusion_pytorch_model.safetensors" in generator.digests()


def test_without_a_controlnet_keypoints_change_nothing(folder: Path) -> None:
    generator = build(folder)
    first, second = (generator([condition(shown)], [3])[0].pixels for shown in (1.0, 0.0))
    assert (first == second).all()


def test_crops_of_people_need_not_be_square(folder: Path) -> None:
    crop = Crop(np.full((48, 32, 3), 90, np.uint8), np.ones((48, 32), bool), np.eye(2, 3))
    (made,) = build(folder, crop_height=48)([Condition(crop)], [1])
    assert made.pixels.shape == (48, 32, 3)


def test_a_template_gives_prompt_and_negative_prompt(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = build(folder, prompt=PromptTemplate(["face", "{age_group}"], negative="text"))
    given = generator._arguments([condition(attributes=Attributes(age_group=4))], [1])
    assert (given["prompt"], given["negative_prompt"]) == (["face, elderly adult"], ["text"])


def test_flux_takes_no_negative_prompt_and_says_so(tmp_path: Path) -> None:
    model = make_tiny_flux_fill(tmp_path)
    with pytest.raises(ConfigError, match="FluxFillPipeline takes no negative prompt"):
        build(model, pipeline="FluxFillPipeline", negative_prompt="text")
    assert build(model, pipeline="FluxFillPipeline")([condition()], [1])[0].pixels.shape == (32, 32, 3)


def test_a_few_step_lora_changes_the_weights(folder: Path, tmp_path: Path) -> None:
    if find_spec("peft") is None:
        pytest.skip("peft is not installed: pip install 'understudy[hub]'")
    lora = make_tiny_lora(tmp_path, folder)
    fast = build(folder, lora=str(lora), scheduler="LCMScheduler")
    slow = build(folder, scheduler="LCMScheduler")
    assert type(fast._pipe.scheduler) is diffusers.LCMScheduler
    assert (fast([condition()], [3])[0].pixels != slow([condition()], [3])[0].pixels).any()
    assert any(name.endswith("pytorch_lora_weights.safetensors") for name in fast.digests())


def test_a_lora_without_peft_says_what_to_install(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diffusers_load, "find_spec", lambda name: None if name == "peft" else find_spec(name))
    with pytest.raises(MissingExtraError, match=r"needs peft: run `pip install 'understudy\[hub\]'`"):
        build(folder, lora=str(make_tiny_lora(tmp_path, folder)))


def test_slicing_and_tiling_are_switched_on_and_still_inpaint(folder: Path) -> None:
    generator = build(folder, memory={"slicing": True, "tiling": True})
    assert generator._pipe.vae.use_slicing
    assert generator._pipe.vae.use_tiling
    assert generator([condition()], [3])[0].pixels.shape == (32, 32, 3)


def test_bfloat16_runs_through_to_eight_bits(folder: Path) -> None:
    generator = build(folder, dtype="bfloat16")
    assert str(generator._pipe.unet.dtype) == "torch.bfloat16"
    assert generator([condition()], [3])[0].pixels.std() > 1


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"memory": {"offload": "disk"}}, InvalidInputError, "offload must be one of none, model, sequential"),
        ({"pipeline": "os.system"}, ConfigError, "no pipeline class called 'os.system'"),
        ({"pipeline": "NoSuchPipeline"}, ConfigError, "no pipeline class"),
        ({"scheduler": "UNet2DModel"}, ConfigError, "no scheduler class"),
        ({"pipeline": "FluxFillPipeline"}, ConfigError, "no inpainting pipeline can be made"),
        ({"controlnet": "/nowhere"}, MissingWeightsError, "generator.controlnet='/nowhere' is neither"),
        ({"controlnet": "controlnet_openpose_sd15"}, MissingWeightsError, "models pull controlnet_openpose_sd15"),
    ],
)
def test_what_cannot_be_loaded_is_told(
    folder: Path, tmp_path: Path, changes: dict, error: type, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(error, match=message):
        build(folder, **changes)


def test_offloading_without_a_gpu_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diffusers_load, "find_spec", lambda name: object())
    with pytest.raises(ConfigError, match="needs a GPU, and the device is cpu"):
        build(folder, memory={"offload": "model"})


def test_an_id_that_is_gone_names_what_to_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MissingWeightsError, match=r"was removed from the hub by its owner: use 'stable-diffusion-v1-5"):
        build(Path("runwayml/stable-diffusion-inpainting"), local_files_only=True)


def test_a_model_has_to_be_named() -> None:
    with pytest.raises(ConfigError, match=r"generator\.model must be given"):
        DiffusersInpaintGenerator()
