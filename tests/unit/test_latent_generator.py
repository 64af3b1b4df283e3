"""The embedded generator, with a tiny model of random weights."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("torch")

from tests.tiny import make_tiny_face_model

from understudy.diffusion.networks import load_config, load_references, save_config, save_references
from understudy.diffusion.reference import ReferenceBank
from understudy.errors import GenerationError, InvalidInputError, MissingWeightsError
from understudy.export.parity import compare
from understudy.generate.latent import LatentDiffusionGenerator, OnnxNetworks, coarser
from understudy.types import ERASED, Attributes, Condition, Crop

SIZE = 48


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model folder."""
    return make_tiny_face_model(tmp_path_factory.mktemp("model"), crop_size=SIZE)


@pytest.fixture(scope="module")
def generator(folder: Path) -> LatentDiffusionGenerator:
    """The tiny model on onnxruntime."""
    return LatentDiffusionGenerator(folder)


def _condition(seed: int = 0, attributes: Attributes | None = None, size: int = SIZE) -> Condition:
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3)).astype(np.uint8)
    mask = np.zeros((size, size), bool)
    mask[12:38, 11:36] = True
    points = np.array([[17, 19], [29, 19], [23, 25], [18, 31], [28, 31]], np.float32)
    return Condition(Crop(pixels, mask, np.eye(2, 3)), points, np.ones(5, np.float32), attributes)


def _pixels(generator: LatentDiffusionGenerator, condition: Condition, seed: int) -> NDArray[np.uint8]:
    return generator([condition], [seed])[0].pixels


def test_onnx_and_torch_give_the_same_understudy(folder: Path, generator: LatentDiffusionGenerator) -> None:
    """Both runtimes differ by rounding only: one grey level at most."""
    conditions = [_condition(0), _condition(1, Attributes(skin_tone=2, head_pose=1))]
    parity = compare(generator, LatentDiffusionGenerator(folder, "torch"), conditions, [1, 2])
    assert parity.n_crops == 2
    assert parity.max_difference <= 1


def test_another_seed_gives_another_understudy(generator: LatentDiffusionGenerator) -> None:
    """Noise and style come from the seed."""
    first, second = (_pixels(generator, _condition(), seed).astype(int) for seed in (1, 2))
    assert np.abs(first - second).mean() > 5


def test_the_same_seed_gives_the_same_bytes(generator: LatentDiffusionGenerator) -> None:
    """Twice the same call, twice the same picture."""
    np.testing.assert_array_equal(_pixels(generator, _condition(), 7), _pixels(generator, _condition(), 7))


def test_a_result_does_not_depend_on_its_neighbours(generator: LatentDiffusionGenerator) -> None:
    """Alone, first or last in a call: the same bytes."""
    a, b = _condition(0), _condition(1)
    alone = _pixels(generator, a, 3)
    np.testing.assert_array_equal(generator([a, b], [3, 4])[0].pixels, alone)
    np.testing.assert_array_equal(generator([b, a], [4, 3])[1].pixels, alone)


@pytest.mark.parametrize("attributes", [Attributes(skin_tone=5), Attributes(head_pose=0)])
def test_attributes_reach_the_model(generator: LatentDiffusionGenerator, attributes: Attributes) -> None:
    """With a category carried the result differs from that without."""
    assert (_pixels(generator, _condition(0, attributes), 1) != _pixels(generator, _condition(0), 1)).any()


def test_the_surroundings_reach_the_model(generator: LatentDiffusionGenerator) -> None:
    """Other pixels outside the mask give another result under it."""
    mask = _condition().replace_mask
    assert (_pixels(generator, _condition(0), 1)[mask] != _pixels(generator, _condition(1), 1)[mask]).any()


def test_only_the_middle_is_drawn_and_nothing_stays_erased(generator: LatentDiffusionGenerator) -> None:
    """In the margin, outside the mask, the crop comes back as it was; under the mask nothing is left erased."""
    condition = _condition()
    made = _pixels(generator, condition, 1)
    margin = np.ones_like(condition.replace_mask)
    inner = slice(generator.config.margin_px, generator.crop_size - generator.config.margin_px)
    margin[inner, inner] = False
    outside = margin & ~condition.replace_mask
    np.testing.assert_array_equal(made[outside], condition.context[outside])
    assert (made[condition.replace_mask] != ERASED).any(axis=1).mean() > 0.9


def test_a_condition_of_another_size_is_refused(generator: LatentDiffusionGenerator) -> None:
    """The message names both sizes."""
    with pytest.raises(InvalidInputError, match=r"\(48, 48, 3\), got \(64, 64, 3\)"):
        generator([_condition(size=64)], [0])


def test_output_that_is_not_finite_is_an_error(
    generator: LatentDiffusionGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NaN never becomes a picture."""
    monkeypatch.setattr(OnnxNetworks, "decode", lambda self, latents: np.full((1, 3, SIZE, SIZE), np.nan, np.float32))
    with pytest.raises(GenerationError, match="not finite"):
        generator([_condition()], [0])


def test_a_folder_without_onnx_is_refused(folder: Path, tmp_path: Path) -> None:
    """A missing file is named before anything is made."""
    for name in ("config.json", "styles.npz"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    with pytest.raises(MissingWeightsError, match=r"encoder\.onnx"):
        LatentDiffusionGenerator(tmp_path)


def test_a_crop_may_be_finer_than_the_networks(folder: Path, tmp_path: Path) -> None:
    """With detail_scale 2 the generator takes crops of twice the side; a pixel that is partly erased is erased."""
    fine = tmp_path / "fine"
    shutil.copytree(folder, fine)
    save_config(fine, replace(load_config(folder), detail_scale=2))
    generator = LatentDiffusionGenerator(fine)
    assert generator.crop_size == 2 * SIZE
    small = _condition()
    points = np.asarray(2 * small.keypoints, np.float32)
    mask = np.kron(small.replace_mask, np.ones((2, 2), bool))
    pixels = np.kron(small.context, np.ones((2, 2, 1), np.uint8)).astype(np.uint8)
    large = Condition(Crop(pixels, mask, np.eye(2, 3)), points, np.ones(5, np.float32))
    assert generator([large], [1])[0].pixels.shape == (2 * SIZE, 2 * SIZE, 3)
    np.testing.assert_array_equal(
        generator.prepare(large, 1)["planes"], LatentDiffusionGenerator(folder).prepare(small, 1)["planes"]
    )
    odd = mask.copy()
    odd[24, 21] = True  # one pixel of four
    assert coarser(pixels, odd, 2)[1][12, 10]


def test_digests_name_every_file_in_use(folder: Path, generator: LatentDiffusionGenerator) -> None:
    """Config, styles, references and three graphs for onnx; two safetensors for torch."""
    assert len(generator.digests()) == 6
    torch_digests = LatentDiffusionGenerator(folder, "torch").digests()
    assert sum(name.endswith(".safetensors") for name in torch_digests) == 2


def test_the_onnx_runtime_needs_no_torch(folder: Path) -> None:
    """A process that cannot import torch makes an understudy."""
    program = (
        "import sys; sys.modules['torch'] = None; sys.modules['diffusers'] = None\n"
        "import numpy as np\n"
        "from understudy.generate.latent import LatentDiffusionGenerator\n"
        "from understudy.types import Condition, Crop\n"
        f"crop = Crop(np.zeros(({SIZE}, {SIZE}, 3), np.uint8), np.ones(({SIZE}, {SIZE}), bool), np.eye(2, 3))\n"
        f"made = LatentDiffusionGenerator({str(folder)!r})([Condition(crop)], [0])\n"
        "assert made[0].pixels.std() > 0\n"
    )
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_who_carries_glasses_wears_some_and_nothing_else_changes(generator: LatentDiffusionGenerator) -> None:
    """Under the mask pixels get darker about the eyes; outside it, and where glasses are carried as 0, none change."""
    bare, none, worn = (
        _pixels(generator, _condition(0, Attributes(glasses=value)), 3).astype(int) for value in (None, 0, 1)
    )
    mask = _condition(0).replace_mask
    np.testing.assert_array_equal(bare, none)
    np.testing.assert_array_equal(bare[~mask], worn[~mask])
    assert (bare - worn)[14:26][mask[14:26]].mean() > 3


def test_who_carries_a_beard_gets_a_bearded_head(folder: Path, tmp_path: Path) -> None:
    """Of four heads the last has a beard: it is drawn for every seed, and for none where no beard is carried.

    Where the bank has fewer tags than the config names, the model is refused.
    """
    shutil.copytree(folder, tmp_path / "model")
    bank = load_references(folder)
    assert bank is not None
    flags = (np.arange(len(bank)) == len(bank) - 1).astype(np.int64)
    save_references(tmp_path / "model", replace(bank, tags=np.column_stack([bank.tags[:, :1], flags])))
    flagged = LatentDiffusionGenerator(tmp_path / "model")
    drawn: dict[int, set[int]] = {0: set(), 1: set()}
    for value, seen in drawn.items():
        for seed in range(12):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(ReferenceBank, "lay", _noting(ReferenceBank.lay, seen))
                flagged([_condition(0, Attributes(beard=value))], [seed])
    assert drawn[1] == {len(bank) - 1}
    assert drawn[0] == set(range(len(bank) - 1))
    save_references(tmp_path / "model", replace(bank, tags=bank.tags[:, :1]))
    with pytest.raises(
        InvalidInputError, match=r"has 1 tags a picture, but config.json names 2: \['skin_tone', 'beard'\]"
    ):
        LatentDiffusionGenerator(tmp_path / "model")


def _noting(lay: Any, into: set[int]) -> Any:
    """``ReferenceBank.lay``, which notes which picture it lays."""

    def noted(self: ReferenceBank, index: int, *args: Any) -> Any:
        into.add(index)
        return lay(self, index, *args)

    return noted
