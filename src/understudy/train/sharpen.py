"""Sharpen a decoder with an adversary, on what the encoder gives and on what the sampler gives.

The sampler's latents are smoother than real ones. The decoder learns to draw from them what a critic cannot tell from a
render, in its surroundings: the critic sees the crop as it will be pasted, so that a face that is sharper or softer
than the picture around it is found out too.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from understudy.diffusion.autoencoder import CELL_PX, PatchAutoencoder, pixels_from_uint8
from understudy.diffusion.conditioning import condition_planes
from understudy.diffusion.networks import ModelConfig
from understudy.diffusion.sampler import sample
from understudy.errors import InvalidInputError
from understudy.train.data import CropBank
from understudy.train.ema import MovingAverage
from understudy.train.loop import Losses, Schedule, fit
from understudy.train.losses import hinge_discriminator_loss, reconstruction_loss


@dataclass(frozen=True)
class SharpenSettings:
    """How a decoder is sharpened."""

    n_sampled: int = 4000
    """Crops that the sampler draws anew, once, before the training."""
    critic_channels: tuple[int, ...] = (32, 64, 128)
    adversarial_weight: float = 0.03
    colour_weight: float = 2.0
    """Of the difference of each cell's mean colour from that of the linear decoder, on sampled latents."""


class Critic(nn.Module):
    """Tells renders from drawn crops, patch by patch. Isola et al. 2017, arXiv:1611.07004."""

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        last = 4
        for n in channels:
            layers += [spectral_norm(nn.Conv2d(last, n, 4, stride=2, padding=1)), nn.LeakyReLU(0.2)]
            last = n
        layers += [spectral_norm(nn.Conv2d(last, last, 3, padding=1)), nn.LeakyReLU(0.2), nn.Conv2d(last, 1, 1)]
        self.layers = nn.Sequential(*layers)

    def forward(self, pixels: Tensor, mask: Tensor) -> Tensor:
        """Scores (B, 1, h, w) of pictures (B, 3, H, W) in [-1, 1] with masks (B, 1, H, W) of 0 and 1."""
        scores: Tensor = self.layers(torch.cat([pixels, mask], dim=1))
        return scores


class Contest(nn.Module):
    """A decoder and its critic."""

    def __init__(self, decoder: nn.Module, critic: Critic) -> None:
        super().__init__()
        self.decoder = decoder
        self.critic = critic

    def frozen_scores(self, pixels: Tensor, mask: Tensor) -> Tensor:
        """The critic's scores, with no gradient for the critic."""
        parameters = {name: value.detach() for name, value in self.critic.named_parameters()}
        scores: Tensor = functional_call(self.critic, parameters, (pixels, mask))
        return scores


@torch.no_grad()
def sample_latents(
    unet: nn.Module,
    styles: Tensor,
    bank: CropBank,
    autoencoder: PatchAutoencoder,
    rows: NDArray[np.int64],
    config: ModelConfig,
    *,
    seed: int,
    batch_size: int = 32,
) -> Tensor:
    """Latents (N, C, h, w) that the sampler draws for some crops of a bank, each with any of the styles (M, D)."""
    random = torch.Generator().manual_seed(seed)
    drawn: list[Tensor] = []
    for i in range(0, len(rows), batch_size):
        some = rows[i : i + batch_size]
        planes = condition_planes(
            bank.replace_mask[some],
            bank.keypoints[some],
            bank.visibility[some],
            bank.categories[some],
            n_categories=config.n_categories,
            cell_px=CELL_PX,
        )
        context = autoencoder.encode(pixels_from_uint8(torch.from_numpy(bank.context[some])))
        told = torch.cat([context, torch.from_numpy(planes)], dim=1)
        style = styles[torch.randint(len(styles), (len(some),), generator=random)]
        noise = config.noise_scale * torch.randn(context.shape, generator=random)
        drawn.append(_sample(unet, noise, told, style, config))
    return torch.cat(drawn)


def _sample(unet: nn.Module, noise: Tensor, told: Tensor, style: Tensor, config: ModelConfig) -> Tensor:
    """Sampled latents of one batch."""

    def denoise(x: NDArray[np.float32], time: float) -> NDArray[np.float32]:
        joined = torch.cat([torch.from_numpy(x), told], dim=1)
        clean: Tensor = unet(joined, torch.full((len(joined),), time * 1000), class_labels=style).sample
        clean = clean + told[:, : x.shape[1]] if config.residual else clean
        return np.asarray(clean.numpy(), np.float32)

    return torch.from_numpy(sample(denoise, noise.numpy(), config.n_steps, config.shift))


def sharpen_decoder(
    model: PatchAutoencoder,
    bank: CropBank,
    sampled: Tensor,
    sampled_rows: NDArray[np.int64],
    folder: Path,
    schedule: Schedule,
    settings: SharpenSettings,
    *,
    seed: int,
    n_workers: int = 1,
    save_every: int = 100,
    on_save: Callable[[int, PatchAutoencoder], None] | None = None,
) -> PatchAutoencoder:
    """Train a decoder against a critic; the encoder stays as it is.

    Parameters
    ----------
    model : PatchAutoencoder
        Changed in place.
    bank : CropBank
    sampled : (N, C, h, w)
        What the sampler drew for the crops ``sampled_rows``.
    folder : Path
        Checkpoint and loss curve; a training that was stopped goes on from there.
    schedule : Schedule
        Half of each batch are sampled latents.
    settings : SharpenSettings
    on_save : callable, optional
        Called with the step and the model with averaged parameters.

    Returns
    -------
    PatchAutoencoder
        The model with averaged parameters.
    """
    torch.manual_seed(seed)
    contest = Contest(model.decoder, Critic(settings.critic_channels)).to(memory_format=torch.channels_last)

    losses = _losses(model, bank, sampled, sampled_rows, settings)
    shown = copy.deepcopy(model).eval()

    def saved(step: int, average: MovingAverage) -> None:
        if on_save is not None:
            _take(average, shown)
            on_save(step, shown)

    average = fit(
        contest,
        losses,
        schedule,
        folder,
        seed=seed,
        settings={
            "seed": seed, "n_crops": len(bank.pixels), "n_sampled": len(sampled), "batch_size": schedule.batch_size,
            "learning_rate": schedule.learning_rate, "adversarial_weight": settings.adversarial_weight,
        },
        n_workers=n_workers,
        save_every=save_every,
        on_save=saved,
    )  # fmt: skip
    _take(average, model)
    model.eval()
    return model


def _losses(
    model: PatchAutoencoder, bank: CropBank, sampled: Tensor, sampled_rows: NDArray[np.int64], settings: SharpenSettings
) -> Losses:
    """The losses of decoder and critic on a batch, half of it encoded and half sampled latents."""

    def draw(decoder: nn.Module, latents: Tensor) -> Tensor:
        drawn: Tensor = model.linear_decoder(latents) + functional.pixel_shuffle(decoder(latents), model.patch)
        return drawn

    def losses(network: nn.Module, n: int, random: torch.Generator) -> dict[str, Tensor]:
        if not isinstance(network, Contest):
            raise InvalidInputError(f"network must be a Contest, got {type(network).__name__}")
        half = n // 2
        rows = torch.randint(len(bank.pixels), (half,), generator=random).numpy()
        places = torch.randint(len(sampled), (n - half,), generator=random)
        rows = np.concatenate([rows, sampled_rows[places.numpy()]])
        whole = pixels_from_uint8(torch.from_numpy(bank.pixels[rows]))
        mask = torch.from_numpy(bank.replace_mask[rows] & bank.known[rows])[:, None].float()
        known = torch.from_numpy(bank.known[rows])[:, None].float()
        with torch.no_grad():
            latents = torch.cat([model.encode(whole[:half]), sampled[places].float()])
            coarse = model.linear_decoder(latents)
        drawn = draw(network.decoder, latents)
        pasted = (drawn.clamp(-1.1, 1.1) * mask + whole * (1 - mask)) * known
        cells = functional.avg_pool2d(drawn - coarse, CELL_PX)[half:].abs().mean()
        rebuilt = reconstruction_loss(drawn[:half] * known[:half], whole[:half] * known[:half])
        weight = functional.adaptive_avg_pool2d(mask, bank.pixels.shape[1] // CELL_PX)
        fooled = -(network.frozen_scores(pasted, mask) * weight).sum() / weight.sum()
        real, fake = network.critic(whole * known, mask), network.critic(pasted.detach(), mask)
        critic = hinge_discriminator_loss(real[weight > 0.5], fake[weight > 0.5])
        loss = rebuilt + settings.colour_weight * cells + settings.adversarial_weight * fooled + critic
        return {"loss": loss, "rebuilt": rebuilt, "cells": cells, "fooled": fooled, "critic": critic}

    return losses


def _take(average: MovingAverage, model: PatchAutoencoder) -> None:
    """Overwrite a model's decoder with the averaged one."""
    values = {k.removeprefix("decoder."): v for k, v in average.state_dict().items() if k.startswith("decoder.")}
    model.decoder.load_state_dict(values)
