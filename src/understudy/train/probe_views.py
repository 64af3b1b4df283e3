"""Vary crops of renders until they hold what photographs hold: window, light, colour, blur, noise, occlusion."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor


@dataclass(frozen=True)
class Augmentation:
    """How far crops are varied; shares are probabilities."""

    margin: float = 1.25
    """Side of a bank's crop over the side of what the network sees."""
    shift: float = 0.02
    """Standard deviation, of the side."""
    log_scale: float = 0.04
    roll_deg: float = 3.0
    gamma: float = 0.30
    """Standard deviation of the logarithm."""
    cast: float = 0.06
    saturation: tuple[float, float] = (0.5, 1.3)
    grey_share: float = 0.05
    contrast: float = 0.1
    light_share: float = 0.2
    """A gradient of light over the face."""
    blur_share: float = 0.5
    least_px: float = 50.0
    """To what side a crop is reduced at most, before it is enlarged again."""
    noise: float = 0.02
    block_share: float = 0.1
    """A rectangle of one colour somewhere, as a hand or a neighbour would be."""


def vary(crops: Tensor, size: int, how: Augmentation, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Another view of each crop.

    Parameters
    ----------
    crops : (N, 3, B, B) in [0, 1]
        B = ``margin * size``.
    size : int
        Side of the views, px.
    random : torch.Generator

    Returns
    -------
    views : (N, 3, size, size) in [0, 1]
    mirrored : (N,) bool
    """
    n = len(crops)
    mirrored = _uniform(random, n) < 0.5
    seen = _window(crops, size, how, mirrored, random)
    seen = _soften(seen, how, random)
    seen = _recolour(seen, how, random)
    seen = _cover(seen, how, random)
    level = how.noise * _uniform(random, n, 1, 1, 1) ** 2
    coarse = F.interpolate(_normal(random, n, 3, size // 2, size // 2), size=(size, size), mode="nearest")
    grain = torch.where(_uniform(random, n, 1, 1, 1) < 0.4, coarse, _normal(random, n, 3, size, size))
    return (seen + level * grain).clamp(0, 1), mirrored


def centre(crops: Tensor, size: int, how: Augmentation) -> Tensor:
    """The view that is not varied: the middle of each crop."""
    n = len(crops)
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = 1 / how.margin
    grid = F.affine_grid(theta, [n, 3, size, size], align_corners=False)
    return F.grid_sample(crops, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _uniform(random: torch.Generator, *shape: int) -> Tensor:
    return torch.rand(*shape, generator=random)


def _normal(random: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=random)


def _window(crops: Tensor, size: int, how: Augmentation, mirrored: Tensor, random: torch.Generator) -> Tensor:
    """Shift, scale, roll and mirror."""
    n = len(crops)
    angle = _normal(random, n) * math.radians(how.roll_deg)
    scale = torch.exp(_normal(random, n) * how.log_scale) / how.margin
    stretch = torch.exp(_normal(random, n) * 0.04)
    flip = torch.where(mirrored, -1.0, 1.0)
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0], theta[:, 0, 1] = scale * stretch * angle.cos() * flip, -scale * angle.sin()
    theta[:, 1, 0], theta[:, 1, 1] = scale * stretch * angle.sin() * flip, scale * angle.cos()
    theta[:, :, 2] = _normal(random, n, 2) * how.shift * 2 / how.margin
    grid = F.affine_grid(theta, [n, 3, size, size], align_corners=False)
    return F.grid_sample(crops, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _soften(seen: Tensor, how: Augmentation, random: torch.Generator) -> Tensor:
    """Reduce and enlarge, or blur: one strength for each eighth of the batch."""
    size = seen.shape[-1]
    parts = []
    for part in seen.tensor_split(8):
        if len(part) and float(_uniform(random, 1)) < how.blur_share:
            side = round(size * (how.least_px / size) ** float(_uniform(random, 1)))
            mode = "area" if float(_uniform(random, 1)) < 0.6 else "bilinear"
            small = F.interpolate(part, size=(side, side), mode=mode)
            up = "bicubic" if float(_uniform(random, 1)) < 0.5 else "bilinear"
            part = F.interpolate(small, size=(size, size), mode=up, align_corners=False)
        parts.append(part)
    return torch.cat(parts)


def _recolour(seen: Tensor, how: Augmentation, random: torch.Generator) -> Tensor:
    """Light, gamma, contrast, colour cast, saturation, grey."""
    n, _, size, _ = seen.shape
    ys, xs = torch.meshgrid(torch.linspace(-1, 1, size), torch.linspace(-1, 1, size), indexing="ij")
    slope = _normal(random, n, 2, 1, 1) * 0.25 * (_uniform(random, n, 1, 1, 1) < how.light_share)
    seen = seen * torch.exp(slope[:, :1] * xs + slope[:, 1:] * ys)
    seen = seen.clamp(1e-3, 1) ** torch.exp(_normal(random, n, 1, 1, 1) * how.gamma - 0.1)
    middle = seen.mean(dim=(1, 2, 3), keepdim=True)
    seen = (seen - middle) * torch.exp(_normal(random, n, 1, 1, 1) * how.contrast) + middle
    seen = seen * torch.exp(_normal(random, n, 3, 1, 1) * how.cast)
    grey = (seen * seen.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)
    low, high = how.saturation
    saturation = low + (high - low) * _uniform(random, n, 1, 1, 1)
    saturation = saturation * (_uniform(random, n, 1, 1, 1) >= how.grey_share)
    return (grey + (seen - grey) * saturation).clamp(0, 1)


def _cover(seen: Tensor, how: Augmentation, random: torch.Generator) -> Tensor:
    """Paint a rectangle of one colour over some crops."""
    n, _, size, _ = seen.shape
    centers = _uniform(random, n, 2, 1, 1) * size
    halves = (0.06 + 0.16 * _uniform(random, n, 2, 1, 1)) * size
    ys, xs = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    inside = ((xs - centers[:, 0]).abs() < halves[:, 0]) & ((ys - centers[:, 1]).abs() < halves[:, 1])  # (N, S, S)
    inside &= _uniform(random, n, 1, 1) < how.block_share
    return torch.where(inside[:, None], _uniform(random, n, 3, 1, 1), seen)
