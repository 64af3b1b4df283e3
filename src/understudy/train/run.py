"""Train the autoencoder and the denoiser: plain, resumable functions."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from understudy.diffusion.autoencoder import CELL_PX, PatchAutoencoder, pixels_from_uint8, set_principal_components
from understudy.train.data import CropBank
from understudy.train.ema import MovingAverage
from understudy.train.loop import Schedule, fit
from understudy.train.losses import reconstruction_loss


def fit_encoder(
    bank: CropBank,
    *,
    seed: int,
    latent_channels: int = 16,
    channels: tuple[int, ...] = (64, 128),
    n_norm_groups: int = 8,
    n_patches: int = 200_000,
) -> PatchAutoencoder:
    """A model whose linear part is the principal components of the bank's masked patches; its decoder is untrained."""
    torch.manual_seed(seed)
    model: PatchAutoencoder = PatchAutoencoder(latent_channels, channels, n_norm_groups=n_norm_groups)
    n, side = bank.pixels.shape[:2]
    cells = side // CELL_PX
    patches = bank.pixels.reshape(n, cells, CELL_PX, cells, CELL_PX, 3).swapaxes(2, 3).reshape(-1, CELL_PX, CELL_PX, 3)
    inner = bank.replace_mask & bank.known
    share = inner.reshape(n, cells, CELL_PX, cells, CELL_PX).mean(axis=(2, 4)).reshape(-1)
    rows = np.flatnonzero(share > 0.9)
    rows = np.random.default_rng(seed).permutation(rows)[:n_patches]
    set_principal_components(model, pixels_from_uint8(torch.from_numpy(patches[rows])))
    return model


def train_decoder(
    model: PatchAutoencoder,
    bank: CropBank,
    folder: Path,
    schedule: Schedule,
    *,
    seed: int,
    latent_noise: float = 0.15,
    n_workers: int = 1,
    save_every: int = 250,
    on_save: Callable[[int, PatchAutoencoder], None] | None = None,
) -> PatchAutoencoder:
    """Train a model's decoder on crops; the encoder stays as it is.

    Parameters
    ----------
    model : PatchAutoencoder
        Changed in place.
    bank : CropBank
    folder : Path
        Checkpoint and loss curve; a training that was stopped goes on from there.
    schedule : Schedule
    seed : int
    latent_noise : float
        Standard deviation of noise on the whitened latents, so that the decoder forgives what a sampler gets wrong.
    on_save : callable, optional
        Called with the step and a model that has the averaged parameters.

    Returns
    -------
    PatchAutoencoder
        The model with averaged parameters.
    """
    settings = {
        "seed": seed, "latent_noise": latent_noise, "n_crops": len(bank.pixels), "batch_size": schedule.batch_size,
        "learning_rate": schedule.learning_rate, **{k: model.config[k] for k in ("latent_channels", "n_norm_groups")},
    }  # fmt: skip
    shown = copy.deepcopy(model).eval()
    decoder = model.decoder.to(memory_format=torch.channels_last)

    def losses(decoder: torch.nn.Module, n: int, random: torch.Generator) -> dict[str, Tensor]:
        rows = torch.randint(len(bank.pixels), (n,), generator=random).numpy()
        target = pixels_from_uint8(torch.from_numpy(bank.pixels[rows])).contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            latents = model.encode(target)
        noise = latent_noise * torch.rand((len(rows), 1, 1, 1), generator=random)
        noisy = latents + noise * torch.randn(latents.shape, generator=random)
        output = model.linear_decoder(noisy) + functional.pixel_shuffle(decoder(noisy), model.patch)
        weight = torch.from_numpy(bank.known[rows])[:, None]
        loss = reconstruction_loss(output * weight, target * weight)
        return {"loss": loss, "absolute": (output - target).abs().mean()}

    def saved(step: int, average: MovingAverage) -> None:
        if on_save is not None:
            average.copy_to(shown.decoder)
            on_save(step, shown)

    average = fit(
        decoder,
        losses,
        schedule,
        folder,
        seed=seed,
        settings=settings,
        n_workers=n_workers,
        save_every=save_every,
        on_save=saved,
    )
    average.copy_to(decoder)
    model.eval()
    return model
