"""Losses of the autoencoder and of the denoiser. None of them uses a network that was trained on photographs."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def reconstruction_loss(output: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error at three resolutions, plus that of the horizontal and vertical differences.

    Parameters
    ----------
    output, target : (B, 3, H, W) in [-1, 1]
    """
    loss = (output - target).abs().mean()
    for axis in (2, 3):
        loss = loss + (output.diff(dim=axis) - target.diff(dim=axis)).abs().mean()
    for factor in (2, 4):
        small = functional.avg_pool2d(output - target, factor)
        loss = loss + 0.5 * small.abs().mean()
    return loss


def latent_penalty(latents: Tensor) -> Tensor:
    """Mean square of the latents: keeps them near the origin."""
    return latents.square().mean()


def flow_matching_loss(clean: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean squared error of a clean estimate, per element; weights are normalised over the batch.

    With the weight 1 / t^2 it is, up to a factor, the loss of the velocity (x - clean) / t.
    Li and He 2025, arXiv:2511.13720.

    Parameters
    ----------
    clean, target : (B, C, H, W)
    weight : (B, 1, H, W), 0 or more
    """
    error = (clean - target).square().mean(dim=1, keepdim=True)  # (B, 1, H, W)
    return (error * weight).sum() / weight.sum().clamp_min(1e-6)


def hinge_discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Hinge loss of a discriminator. Lim and Ye 2017, arXiv:1705.02894."""
    return torch.relu(1 - real).mean() + torch.relu(1 + fake).mean()
