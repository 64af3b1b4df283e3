"""Train the denoiser with flow matching on latents that were computed once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from understudy.diffusion.autoencoder import CELL_PX, PatchAutoencoder, pixels_from_uint8
from understudy.diffusion.conditioning import condition_planes, mask_plane
from understudy.diffusion.denoiser import Denoiser, make_unet
from understudy.errors import InvalidInputError
from understudy.train.data import CropBank
from understudy.train.ema import MovingAverage
from understudy.train.loop import Losses, Schedule, fit
from understudy.train.losses import flow_matching_loss
from understudy.train.styles import initial_styles


@dataclass(frozen=True)
class DenoiserSettings:
    """Size of a denoiser and what it is told."""

    channels: tuple[int, ...] = (80, 160, 256)
    n_layers: int = 1
    n_norm_groups: int = 16
    head_channels: int = 32
    n_categories: tuple[int, ...] = (6, 5, 5, 4, 3)
    """Bins of each category."""
    style_channels: int = 32
    keypoint_dropout: float = 0.15
    category_dropout: float = 0.15
    style_dropout: float = 1.0
    """At 1 there are no styles: a reference says who it shall be."""
    style_noise: float = 0.15
    unmasked_weight: float = 0.05
    """Of the loss where nothing is replaced."""
    channel_power: float = 0.75
    """A latent channel counts by its standard deviation in pixels to this power."""
    shift: float = 4.0
    """Of the times, towards the noise: neighbouring cells are alike, so that much is settled early."""
    residual: bool = True
    """Whether the network's output is added to the context's latents: what a reference shows is then there already."""
    least_time: float = 0.7
    """A sample counts by one over the square of its time, but not of a time under this."""


class Styled(nn.Module):
    """A denoiser together with the style of every subject it is trained on."""

    def __init__(self, denoiser: Denoiser, styles: NDArray[np.float32]) -> None:
        super().__init__()
        self.denoiser = denoiser
        self.styles = nn.Parameter(torch.from_numpy(styles.copy()))


@dataclass(frozen=True)
class LatentBank:
    """A bank of crops as latents."""

    target: Tensor  # (N, C, h, w) float16
    context: Tensor  # (N, C, h, w) float16
    weight: Tensor  # (N, 1, h, w)


@torch.no_grad()
def encode_bank(model: PatchAutoencoder, bank: CropBank, unmasked_weight: float, batch_size: int = 64) -> LatentBank:
    """Latents of every crop, whole and as the denoiser sees it, and the weight of each cell in the loss."""
    target: list[Tensor] = []
    context: list[Tensor] = []
    for i in range(0, len(bank.pixels), batch_size):
        rows = slice(i, i + batch_size)
        for parts, pictures in ((target, bank.pixels[rows]), (context, bank.context[rows])):
            parts.append(model.encode(pixels_from_uint8(torch.from_numpy(pictures))).half())
    masked = mask_plane(bank.replace_mask & bank.known, CELL_PX)
    known = mask_plane(bank.known, CELL_PX)
    weight = masked + unmasked_weight * (known - masked)
    return LatentBank(torch.cat(target), torch.cat(context), torch.from_numpy(weight))


def balanced_chance(category: NDArray[np.int64]) -> NDArray[np.float64]:
    """Chance of every crop to be drawn: a rare value more often, by one over the root of its frequency."""
    _, inverse, counts = np.unique(category, return_inverse=True, return_counts=True)
    chance = 1 / np.sqrt(counts[inverse])
    return np.asarray(chance / chance.sum(), np.float64)


def make_denoiser(latent_channels: int, size: int, settings: DenoiserSettings) -> Denoiser:
    """An untrained denoiser for latents of that many channels and cells."""
    n_planes = 1 + 5 + sum(settings.n_categories)
    unet = make_unet(
        latent_channels,
        n_planes,
        settings.channels,
        size=size,
        n_layers=settings.n_layers,
        n_norm_groups=settings.n_norm_groups,
        head_channels=settings.head_channels,
    )
    return Denoiser(unet, settings.style_channels)


def _importance(autoencoder: PatchAutoencoder, power: float) -> Tensor:
    """Weight of each latent channel in the loss, by its standard deviation in pixels; mean square 1.  (C, 1, 1)"""
    deviation: Tensor = autoencoder.linear_decoder.weight.detach().flatten(1).norm(dim=1)
    importance = deviation**power
    return (importance / importance.square().mean().sqrt())[:, None, None]


def shifted_times(n: int, shift: float, random: torch.Generator) -> Tensor:
    """Times in (0, 1), shifted towards the noise.  (n,)"""
    time = torch.sigmoid(torch.randn(n, generator=random))
    return shift * time / (1 + (shift - 1) * time)


def _shaken(style: Tensor, settings: DenoiserSettings, random: torch.Generator) -> Tensor:
    """Styles with noise, some of them dropped.  (B, D)"""
    style = style + settings.style_noise * torch.randn(style.shape, generator=random)
    return style * (torch.rand(len(style), 1, generator=random) >= settings.style_dropout)


def train_denoiser(
    autoencoder: PatchAutoencoder,
    bank: CropBank,
    folder: Path,
    schedule: Schedule,
    settings: DenoiserSettings,
    *,
    seed: int,
    n_workers: int = 1,
    save_every: int = 500,
    on_save: Callable[[int, Styled], None] | None = None,
    start: Callable[[Denoiser], None] | None = None,
) -> Styled:
    """Train a denoiser and the styles of the bank's subjects.

    Parameters
    ----------
    autoencoder : PatchAutoencoder
        Only its encoder is used.
    bank : CropBank
    folder : Path
        Checkpoint and loss curve; a training that was stopped goes on from there.
    schedule : Schedule
    settings : DenoiserSettings
    seed : int
    on_save : callable, optional
        Called with the step and the averaged network.
    start : callable, optional
        Gives the untrained denoiser its first weights.

    Returns
    -------
    Styled
        With averaged parameters.
    """
    torch.manual_seed(seed)
    latents = encode_bank(autoencoder, bank, settings.unmasked_weight)
    _, n_channels, size, _ = latents.target.shape
    network = Styled(
        make_denoiser(n_channels, size, settings).to(memory_format=torch.channels_last),
        initial_styles(bank, settings.style_channels),
    )
    if start is not None:
        start(network.denoiser)
    averaged = Styled(make_denoiser(n_channels, size, settings), network.styles.detach().numpy())
    losses = _losses(bank, latents, settings, _importance(autoencoder, settings.channel_power))

    def saved(step: int, average: MovingAverage) -> None:
        if on_save is not None:
            average.copy_to(averaged)
            on_save(step, averaged.eval())

    average = fit(
        network,
        losses,
        schedule,
        folder,
        seed=seed,
        settings={
            "seed": seed, "n_crops": len(bank.pixels), "batch_size": schedule.batch_size,
            "learning_rate": schedule.learning_rate, "channels": list(settings.channels),
            "style_channels": settings.style_channels, "n_categories": list(settings.n_categories),
            "residual": settings.residual,
        },
        n_workers=n_workers,
        save_every=save_every,
        on_save=saved,
    )  # fmt: skip
    average.copy_to(averaged)
    return averaged.eval()


def _losses(bank: CropBank, latents: LatentBank, settings: DenoiserSettings, importance: Tensor) -> Losses:
    """The loss of a denoiser on a batch of crops; ``importance`` weighs the latent channels, (C, 1, 1)."""
    chance = torch.from_numpy(balanced_chance(bank.categories[:, 0]))

    def losses(network: nn.Module, n: int, random: torch.Generator) -> dict[str, Tensor]:
        if not isinstance(network, Styled):
            raise InvalidInputError(f"network must be Styled, got {type(network).__name__}")
        rows = torch.multinomial(chance, n, replacement=True, generator=random)
        planes = _planes(bank, rows.numpy(), settings, random)
        target, context = latents.target[rows].float(), latents.context[rows].float()
        time = shifted_times(len(rows), settings.shift, random)
        noise = torch.randn(target.shape, generator=random)
        noisy = torch.lerp(target, noise, time[:, None, None, None])
        style = _shaken(network.styles[torch.from_numpy(bank.subject)[rows]], settings, random)
        clean = network.denoiser(noisy, context, planes, style, time)
        clean = clean + context if settings.residual else clean
        weight = latents.weight[rows] / time.clamp_min(settings.least_time).square()[:, None, None, None]
        loss = flow_matching_loss(clean * importance, target * importance, weight)
        return {"loss": loss + 1e-4 * style.square().mean(), "flow": loss}

    return losses


def _planes(bank: CropBank, rows: NDArray[np.int64], settings: DenoiserSettings, random: torch.Generator) -> Tensor:
    """Condition planes of some crops, with keypoints and categories dropped now and then."""
    n = len(rows)
    keep = torch.rand(n, generator=random).numpy() >= settings.keypoint_dropout
    dropped = torch.rand((n, len(settings.n_categories)), generator=random).numpy() < settings.category_dropout
    planes = condition_planes(
        bank.replace_mask[rows],
        bank.keypoints[rows],
        bank.visibility[rows] * keep[:, None],
        np.where(dropped, -1, bank.categories[rows]),
        n_categories=_sequence(settings.n_categories),
        cell_px=CELL_PX,
    )
    return torch.from_numpy(planes)


def _sequence(values: Sequence[int]) -> tuple[int, ...]:
    return tuple(int(v) for v in values)
