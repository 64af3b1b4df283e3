"""Denoiser: diffusers' UNet2DModel that is told context, planes and style, and predicts the clean latents."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from diffusers import UNet2DModel
from torch import Tensor, nn


def make_unet(
    latent_channels: int,
    n_planes: int,
    channels: Sequence[int] = (96, 192, 256),
    *,
    size: int = 16,
    n_layers: int = 1,
    n_norm_groups: int = 16,
    head_channels: int = 32,
) -> UNet2DModel:
    """A UNet with attention at the lowest resolution only, and time and style as scale and shift in every block.

    Parameters
    ----------
    latent_channels : int
    n_planes : int
        Planes of ``condition_planes``.
    channels : sequence of int
        Width of each level; every level but the last halves the resolution.
    size : int
        Side of the latents, cells.
    n_layers, n_norm_groups, head_channels : int
    """
    n = len(channels)
    return UNet2DModel(
        sample_size=size,
        in_channels=2 * latent_channels + n_planes,
        out_channels=latent_channels,
        layers_per_block=n_layers,
        block_out_channels=tuple(channels),
        down_block_types=("DownBlock2D",) * (n - 1) + ("AttnDownBlock2D",),
        up_block_types=("AttnUpBlock2D",) + ("UpBlock2D",) * (n - 1),
        norm_num_groups=n_norm_groups,
        attention_head_dim=head_channels,
        resnet_time_scale_shift="scale_shift",
        class_embed_type="identity",
    )


class Denoiser(nn.Module):
    """Clean latents from noisy ones, given context latents, planes and a style."""

    def __init__(self, unet: UNet2DModel, style_channels: int) -> None:
        super().__init__()
        self.unet = unet
        self.style = nn.Linear(style_channels, 4 * int(unet.config["block_out_channels"][0]))

    def forward(self, noisy: Tensor, context: Tensor, planes: Tensor, style: Tensor, time: Tensor) -> Tensor:
        """Estimate of the clean latents (B, C, h, w).

        Parameters
        ----------
        noisy, context : (B, C, h, w)
        planes : (B, P, h, w)
        style : (B, D)
        time : (B,) in [0, 1]
        """
        x = torch.cat([noisy, context, planes], dim=1)
        clean: Tensor = self.unet(x, time * 1000, class_labels=self.style(style)).sample
        return clean
