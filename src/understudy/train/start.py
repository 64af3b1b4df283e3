"""Begin a training from another model's weights, where it was told less."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from understudy.diffusion.autoencoder import PatchAutoencoder
from understudy.diffusion.denoiser import Denoiser
from understudy.diffusion.networks import load_config, load_styles
from understudy.diffusion.torch_networks import load_torch_parts
from understudy.errors import InvalidInputError

FIRST_STYLES = 0.3
"""Of a style's spread in the other model, that the first styles of the new subjects have."""


def load_autoencoder(folder: Path) -> PatchAutoencoder:
    """The autoencoder of a model folder, for its encoder to stay and its decoder to learn on."""
    autoencoder, _ = load_torch_parts(folder)
    return autoencoder


@torch.no_grad()
def start_denoiser(denoiser: Denoiser, folder: Path, categories: tuple[str, ...]) -> None:
    """Copy a model folder's UNet into a denoiser that may have more categories.

    Planes that the other model does not have begin with weights of 0. Styles of the new subjects begin near the other
    model's mean style and lie along the principal directions of its spread.

    Raises
    ------
    InvalidInputError
        The networks differ in more than the number of planes, or the other model's categories are not the first ones.
    """
    config = load_config(folder)
    if categories[: len(config.categories)] != config.categories:
        raise InvalidInputError(
            f"{folder} was trained with the categories {config.categories}, they must be the first of {categories}"
        )
    _, source = load_torch_parts(folder)
    ours, theirs = denoiser.unet.state_dict(), source.state_dict()
    different = [
        name
        for name in ours
        if name not in theirs or (name != "conv_in.weight" and ours[name].shape != theirs[name].shape)
    ]
    if different:
        raise InvalidInputError(f"{folder} holds a network of another size: {different[0]} differs, and more may")
    first: Tensor = theirs["conv_in.weight"]
    grown = torch.zeros_like(ours["conv_in.weight"])
    grown[:, : first.shape[1]] = first
    denoiser.unet.load_state_dict({**theirs, "conv_in.weight": grown})
    vectors = torch.from_numpy(load_styles(folder).vectors)
    _start_styles(denoiser.style, vectors)


def _start_styles(style: nn.Linear, vectors: Tensor) -> None:
    """Make a layer send whitened styles to where the other model's styles lie."""
    mean = vectors.mean(dim=0)
    _, values, directions = torch.linalg.svd(vectors - mean, full_matrices=False)
    n = min(style.in_features, len(values))
    style.weight.zero_()
    style.weight[:, :n] = FIRST_STYLES * (directions[:n] * (values[:n, None] / len(vectors) ** 0.5)).T
    style.bias.copy_(mean)
