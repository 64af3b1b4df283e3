"""The embedded model's networks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from tests.tiny import make_tiny_face_model  # noqa: E402 - after the check for torch

from understudy.diffusion.autoencoder import PatchAutoencoder, set_principal_components  # noqa: E402
from understudy.diffusion.networks import load_config  # noqa: E402
from understudy.diffusion.torch_networks import TorchNetworks, load_torch_parts  # noqa: E402
from understudy.errors import InvalidInputError, MissingWeightsError  # noqa: E402


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model folder."""
    return make_tiny_face_model(tmp_path_factory.mktemp("model"), crop_size=32, margin_cells=0)


def test_principal_components_agree_with_numpy() -> None:
    """Encoding is whitening by numpy's singular vectors, up to the sign of each."""
    patches = torch.randn(400, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 0.3
    patches += torch.linspace(-1, 1, 400)[:, None, None, None]
    model = PatchAutoencoder(4, (8, 8), n_norm_groups=4)
    set_principal_components(model, patches)
    flat = patches.numpy().astype(np.float64)
    flat = (flat - flat.mean(axis=(0, 2, 3))[:, None, None]).reshape(400, -1)
    left, _, _ = np.linalg.svd(flat, full_matrices=False)
    expected = left[:, :4] * np.sqrt(400)
    ours = model.encode(patches).detach().numpy()[:, :, 0, 0]
    np.testing.assert_allclose(np.abs(ours), np.abs(expected), atol=2e-3)


def test_an_untrained_decoder_inverts_patches_of_the_kept_components() -> None:
    """With all 192 components the linear round trip is the identity."""
    patches = torch.randn(600, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    model = PatchAutoencoder(192, (8, 8), n_norm_groups=4)
    set_principal_components(model, patches)
    pixels = torch.randn(1, 3, 16, 24, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(model(pixels), pixels, atol=1e-3, rtol=0)


def test_no_pixel_reaches_a_cell_that_it_does_not_lie_in() -> None:
    """The encoder's cells do not overlap, so that what is erased in one cell cannot show in another."""
    model = PatchAutoencoder(4, (8, 8), n_norm_groups=4)
    set_principal_components(model, torch.randn(300, 3, 8, 8, generator=torch.Generator().manual_seed(3)))
    pixels = torch.zeros(1, 3, 16, 16)
    changed = pixels.clone()
    changed[..., :8, :8] = 1
    difference = (model.encode(pixels) - model.encode(changed)).abs().sum(dim=1)[0]
    assert difference[0, 0] > 0
    assert difference.flatten()[1:].max() == 0


def test_a_saved_model_has_the_shapes_that_its_config_says(folder: Path) -> None:
    """Latents have an eighth of the crop's side, and decode to the crop's size."""
    config, networks = load_config(folder), TorchNetworks(folder)
    latents = networks.encode(np.zeros((1, 3, 32, 32), np.float32))
    assert latents.shape == (1, config.latent_channels, config.size, config.size)
    assert networks.decode(latents).shape == (1, 3, 32, 32)


def test_the_safetensors_are_half_precision_in_diffusers_format(folder: Path) -> None:
    """Any diffusers user can open the denoiser; float32 is what it computes in."""
    from diffusers import UNet2DModel
    from safetensors.torch import load_file

    stored = load_file(folder / "denoiser" / "diffusion_pytorch_model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16}
    opened = UNet2DModel.from_pretrained(folder / "denoiser", low_cpu_mem_usage=False)
    ours = load_torch_parts(folder)[1]
    assert next(ours.parameters()).dtype == torch.float32
    torch.testing.assert_close(opened.conv_in.weight.float(), ours.conv_in.weight)


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    """The message names the file that is missing."""
    with pytest.raises(MissingWeightsError, match="safetensors"):
        load_torch_parts(tmp_path)
    with pytest.raises(MissingWeightsError, match=r"config\.json"):
        load_config(tmp_path)


def test_a_config_of_another_format_is_refused(tmp_path: Path) -> None:
    """A model of a later version is not read by guesswork."""
    (tmp_path / "config.json").write_text('{"format": 99}')
    with pytest.raises(InvalidInputError, match="99"):
        load_config(tmp_path)
