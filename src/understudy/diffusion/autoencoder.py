"""Autoencoder of small pictures: a linear patch encoder (principal components) and a learnt decoder.

The encoder is a projection onto the principal components of 8x8 patches, so that it needs no gradient training, costs
nothing at run time and lets no pixel influence a cell that it does not lie in. The decoder is diffusers' ``Decoder``
on top of the linear reconstruction.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.models.autoencoders.vae import Decoder
from torch import Tensor, nn
from torch.nn import functional

CELL_PX = 8


class PatchAutoencoder(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Pictures in [-1, 1] to whitened latents and back, without sampling.

    Parameters
    ----------
    latent_channels : int
        Principal components kept of an 8x8 patch.
    channels : sequence of int
        Width of each of the decoder's levels, the finest first.
    n_layers : int
        Residual blocks a level, less one.
    n_norm_groups : int
        Groups of each group norm; divides every entry of ``channels``.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        latent_channels: int = 16,
        channels: Sequence[int] = (64, 128),
        n_layers: int = 1,
        n_norm_groups: int = 8,
    ) -> None:
        super().__init__()
        self.encoder = nn.Conv2d(3, latent_channels, CELL_PX, stride=CELL_PX)
        self.linear_decoder = nn.ConvTranspose2d(latent_channels, 3, CELL_PX, stride=CELL_PX)
        self.encoder.requires_grad_(False)
        self.linear_decoder.requires_grad_(False)
        n = len(channels)
        self.patch = CELL_PX // 2 ** (n - 1)
        self.decoder = Decoder(
            in_channels=latent_channels,
            out_channels=3 * self.patch**2,
            up_block_types=("UpDecoderBlock2D",) * n,
            block_out_channels=tuple(channels),
            layers_per_block=n_layers,
            norm_num_groups=n_norm_groups,
            mid_block_add_attention=False,
        )
        nn.init.zeros_(self.decoder.conv_out.weight)
        nn.init.zeros_(self.decoder.conv_out.bias)

    def encode(self, pixels: Tensor) -> Tensor:
        """Latents (B, C, H / 8, W / 8) of pictures (B, 3, H, W) in [-1, 1]."""
        latents: Tensor = self.encoder(pixels)
        return latents

    def decode(self, latents: Tensor) -> Tensor:
        """Pictures (B, 3, 8 h, 8 w), about [-1, 1] and not clipped, of latents (B, C, h, w)."""
        detail = functional.pixel_shuffle(self.decoder(latents), self.patch)
        pixels: Tensor = self.linear_decoder(latents) + detail
        return pixels

    def forward(self, pixels: Tensor) -> Tensor:
        """Round trip."""
        return self.decode(self.encode(pixels))


@torch.no_grad()
def set_principal_components(model: PatchAutoencoder, patches: Tensor) -> Tensor:
    """Make the linear part of a model the whitened principal components of patches.

    Parameters
    ----------
    model : PatchAutoencoder
    patches : (N, 3, 8, 8) in [-1, 1]

    Returns
    -------
    (C,) standard deviation of each component, the largest first.
    """
    mean = patches.double().mean(dim=(0, 2, 3))  # (3,): one colour, so that it fits in a bias
    flat = (patches.double() - mean[:, None, None]).flatten(1)  # (N, 192)
    values, vectors = torch.linalg.eigh(flat.T @ flat / len(flat))
    n = len(model.encoder.weight)
    deviation = values.flip(0)[:n].clamp_min(1e-8).sqrt()
    components = vectors.flip(1)[:, :n].T  # (C, 192)
    largest = components.gather(1, components.abs().argmax(dim=1, keepdim=True))
    components = components * largest.sign()  # an eigenvector has no sign of its own
    encode = components / deviation[:, None]
    model.encoder.weight.copy_(encode.reshape(model.encoder.weight.shape))
    offset = mean[:, None].expand(3, CELL_PX**2).reshape(-1)
    model.encoder.bias.copy_(-(encode @ offset))  # type: ignore[union-attr]
    decode = components * deviation[:, None]
    model.linear_decoder.weight.copy_(decode.reshape(model.linear_decoder.weight.shape))
    model.linear_decoder.bias.copy_(mean)  # type: ignore[union-attr]
    return torch.Tensor(deviation.float())


def pixels_from_uint8(pictures: Tensor) -> Tensor:
    """(B, 3, H, W) float in [-1, 1] of (B, H, W, 3) uint8."""
    return pictures.permute(0, 3, 1, 2).float() / 127.5 - 1
