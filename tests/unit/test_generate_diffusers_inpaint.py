from __future__ import annotations

import hashlib
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")
pytest.importorskip("transformers")

from tests.tiny_inpaint import make_tiny_inpaint, make_tiny_inpaint_xl  # noqa: E402

from understudy.errors import (  # noqa: E402
    ConfigError,
    GenerationError,
    InvalidInputError,
    MissingExtraError,
    MissingWeightsError,
)
from understudy.generate import diffusers_load  # noqa: E402
from understudy.generate.base import Generator  # noqa: E402
from understudy.generate.diffusers_inpaint import TAIL, DiffusersInpaintGenerator  # noqa: E402
from understudy.generate.prompts import PromptTemplate  # noqa: E402
from understudy.types import Attributes, Condition, Crop  # noqa: E402


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_inpaint(tmp_path_factory.mktemp("inpaint"))


@pytest.fixture(scope="module")
def rejecting(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_inpaint(tmp_path_factory.mktemp("rejecting"), rejects=True)


def build(folder: Path, **changes) -> DiffusersInpaintGenerator:
    return DiffusersInpaintGenerator(str(folder), **{"n_steps": 2, "crop_size": 32, "device": "cpu", **changes})


def condition(seed: int = 0, attributes: Attributes | None = None) -> Condition:
    pixels = np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    mask = np.zeros((32, 32), bool)
    mask[8:24, 8:24] = True
    return Condition(Crop(pixels, mask, np.eye(2, 3)), attributes=attributes)


def test_a_folder_gives_a_generator_that_inpaints(folder: Path) -> None:
    generator = build(folder)
    (made,) = generator([condition()], [3])
    assert isinstance(generator, Generator)
    assert made.pixels.shape == (32, 32, 3)
    assert made.pixels[condition().replace_mask].std() > 1
    assert (made.seed, made.n_steps) == (3, 2)


def test_a_text_to_image_checkpoint_is_turned_into_an_inpainter(tmp_path: Path) -> None:
    generator = build(make_tiny_inpaint(tmp_path, in_channels=4))
    assert generator([condition()], [3])[0].pixels.shape == (32, 32, 3)


def test_another_family_of_pipelines_loads_through_the_same_code(tmp_path: Path) -> None:
    generator = build(make_tiny_inpaint_xl(tmp_path))
    first, second = (generator([condition()], [seed])[0].pixels for seed in (1, 2))
    assert (first != second).any()


def test_threads_that_share_a_generator_get_what_each_would_get_alone(folder: Path) -> None:
    generator = build(folder, n_steps=5)
    pipe = generator._pipe
    pipe.scheduler = diffusers.PNDMScheduler.from_config(pipe.scheduler.config)  # remembers its earlier steps
    alone = [generator([condition(seed)], [seed])[0].pixels for seed in range(4)]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(lambda seed: generator([condition(seed)], [seed])[0].pixels, range(4)))
    assert all((a == b).all() for a, b in zip(alone, together, strict=True))


def test_the_seed_alone_decides_between_understudies(folder: Path) -> None:
    generator = build(folder)
    first, again, other = (generator([condition()], [seed])[0].pixels for seed in (5, 5, 6))
    assert (first == again).all()
    assert (first != other).any()


def test_unsigned_64_bit_seeds_are_accepted(folder: Path) -> None:
    (made,) = build(folder)([condition()], [2**64 - 1])
    assert made.seed == 2**64 - 1


def test_a_sample_does_not_depend_on_who_shares_its_batch(folder: Path) -> None:
    generator = build(folder, batch_size=3)
    alone = generator([condition(1)], [5])[0].pixels
    first, second, *_ = generator([condition(1), condition(2), condition(3), condition(4)], [5, 6, 7, 8])
    assert (first.pixels == alone).all()
    assert (second.pixels != alone).any()


def test_attributes_reach_the_pipeline_as_words(folder: Path) -> None:
    generator = build(folder, prompt="a")
    light, dark = (generator([condition(0, Attributes(skin_tone=t))], [5])[0].pixels for t in (0, 5))
    assert (light != dark).any()


def test_context_outside_the_mask_reaches_the_pipeline(folder: Path) -> None:
    generator = build(folder)
    first, second = (generator([condition(seed)], [5])[0].pixels for seed in (0, 1))
    assert (first != second).any()


def test_a_text_as_the_prompt_is_followed_by_skin_tone_and_head_pose_where_they_are_carried() -> None:
    template = PromptTemplate(("a", *TAIL))
    assert template(Attributes()) == "a"
    assert template(Attributes(skin_tone=4, head_pose=0)) == "a, brown skin, in profile, facing left"
    assert template(Attributes(perceived_gender_expression=1, age_group=2, expression=0)) == "a"


def test_a_sample_that_the_safety_checker_rejects_is_a_failure(rejecting: Path) -> None:
    with pytest.raises(GenerationError, match="safety checker"):
        build(rejecting)([condition()], [1])


def test_a_safety_checker_that_lets_pass_is_no_failure(tmp_path: Path) -> None:
    generator = build(make_tiny_inpaint(tmp_path, rejects=False))
    assert len(generator([condition()], [1])) == 1


def test_a_black_crop_is_a_failure_even_where_nobody_reports_it(folder: Path) -> None:
    generator = build(folder)
    generator._pipe.run_safety_checker = lambda image, device, dtype: (torch.full_like(image, -1), None)
    with pytest.raises(GenerationError, match="black"):
        generator([condition()], [1])


def test_values_that_are_not_finite_are_a_failure(folder: Path) -> None:
    generator = build(folder)
    generator._pipe.run_safety_checker = lambda image, device, dtype: (image * float("nan"), None)
    with pytest.raises(GenerationError, match="not finite"):
        generator([condition()], [1])


def test_a_pipeline_that_runs_out_of_memory_is_a_failure_of_the_sample(folder: Path) -> None:
    def fails(image, device, dtype):
        raise torch.OutOfMemoryError("no memory left")

    generator = build(folder)
    generator._pipe.run_safety_checker = fails
    with pytest.raises(GenerationError, match="no memory left"):
        generator([condition()], [1])


def test_conditions_of_another_size_are_refused(folder: Path) -> None:
    with pytest.raises(InvalidInputError, match="40 x 40 px"):
        build(folder, crop_size=40)([condition()], [1])


def test_conditions_and_seeds_must_be_equally_many(folder: Path) -> None:
    with pytest.raises(InvalidInputError, match="got 1 and 2"):
        build(folder)([condition()], [1, 2])


@pytest.mark.parametrize("change", [{"crop_size": 30}, {"n_steps": 0}, {"batch_size": 0}])
def test_sizes_that_cannot_work_are_refused(change: dict[str, int]) -> None:
    with pytest.raises(InvalidInputError):
        build(Path("nowhere"), **change)


def test_digests_name_every_weight_file_in_use(folder: Path) -> None:
    digests = build(folder).digests()
    unet = folder / "unet" / "diffusion_pytorch_model.safetensors"
    assert digests["diffusers_inpaint/unet/diffusion_pytorch_model.safetensors"] == (
        hashlib.sha256(unet.read_bytes()).hexdigest()
    )
    assert {name.split("/")[1] for name in digests} >= {"unet", "vae", "text_encoder", "scheduler"}


def test_digests_of_a_variant_leave_its_siblings_out(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "model")
    plain = copy / "unet" / "diffusion_pytorch_model.safetensors"
    shutil.copy(plain, plain.with_name("diffusion_pytorch_model.fp16.safetensors"))
    assert [n for n in build(copy).digests() if n.startswith("diffusers_inpaint/unet/d")] == [
        "diffusers_inpaint/unet/diffusion_pytorch_model.safetensors"
    ]


def test_a_hub_id_that_cannot_be_reached_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MissingWeightsError, match=r"go online once, or .* set generator.model"):
        build(Path("nobody/has-this-checkpoint"), local_files_only=True)


def test_a_folder_that_is_not_there_is_not_taken_for_a_hub_id(tmp_path: Path) -> None:
    with pytest.raises(MissingWeightsError, match="there is no folder"):
        build(tmp_path / "gone")


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingWeightsError, match=r"model_index\.json"):
        build(tmp_path)


def test_pickled_weights_are_refused(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "model")
    weights = copy / "unet" / "diffusion_pytorch_model.safetensors"
    torch.save({}, weights.with_name("diffusion_pytorch_model.bin"))
    weights.unlink()
    with pytest.raises(MissingWeightsError, match="pickled weights are refused"):
        build(copy)


def test_a_checkpoint_that_cannot_inpaint_is_a_configuration_error(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "model")
    index = copy / "model_index.json"
    index.write_text(index.read_text().replace("StableDiffusionInpaintPipeline", "DDPMPipeline"))
    with pytest.raises(ConfigError, match="no inpainting pipeline"):
        build(copy)


def test_a_missing_package_names_the_extra(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diffusers_load, "find_spec", lambda name: None if name == "transformers" else object())
    with pytest.raises(MissingExtraError, match=r"need transformers: run `pip install 'understudy\[torch\]'`"):
        build(folder)
