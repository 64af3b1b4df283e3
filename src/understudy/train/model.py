"""From labelled pictures to a model folder: encoder, decoder, denoiser, styles."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from understudy.diffusion.autoencoder import CELL_PX, PatchAutoencoder
from understudy.diffusion.networks import ModelConfig
from understudy.diffusion.torch_networks import save_model
from understudy.train.data import CropBank, Measure, load_records, make_bank, without_margin
from understudy.train.denoiser import DenoiserSettings, Styled, train_denoiser
from understudy.train.loop import Schedule
from understudy.train.run import fit_encoder, train_decoder


def train_model(
    labels: Path,
    work: Path,
    output: Path,
    *,
    measure: Measure,
    categories: Sequence[str] = ("skin_tone", "head_pose"),
    style_tags: Sequence[str] = ("skin_tone",),
    decoder: Schedule,
    denoiser: Schedule,
    settings: DenoiserSettings | None = None,
    seed: int = 0,
    n_crops: int = 8,
    crop_size: int = 128,
    latent_channels: int = 16,
    decoder_channels: tuple[int, ...] = (64, 128),
    n_norm_groups: int = 8,
    n_workers: int = 1,
    n_steps: int = 8,
    noise_scale: float = 0.85,
    margin_cells: int = 2,
) -> ModelConfig:
    """Train a model on labelled pictures and write its folder (without ONNX); goes on where it was stopped.

    Parameters
    ----------
    labels : Path
        labels.jsonl, see ``load_records``; ``style_tags`` are read from it.
    work : Path
        Checkpoints and loss curves.
    output : Path
        The model folder.
    measure : callable
        Gives the bins of ``categories`` of a picture.
    decoder, denoiser : Schedule
    settings : DenoiserSettings, optional
    seed : int
    n_crops : int
        Crops of each picture.
    n_steps : int
        Steps of the sampler that the folder's config names.
    noise_scale : float
        Standard deviation of the noise that the sampler starts from.
    margin_cells : int
        Cells on each side of the crop that the networks do not see.

    Returns
    -------
    ModelConfig
        As it was written.
    """
    settings = settings or DenoiserSettings()
    bank = make_bank(load_records(labels, style_tags), n_crops, seed, crop_size=crop_size, measure=measure)
    bank = without_margin(bank, margin_cells * CELL_PX)
    autoencoder = fit_encoder(
        bank, seed=seed, latent_channels=latent_channels, channels=decoder_channels, n_norm_groups=n_norm_groups
    )
    train_decoder(autoencoder, bank, work / "decoder", decoder, seed=seed, n_workers=n_workers)
    styled = train_denoiser(autoencoder, bank, work / "denoiser", denoiser, settings, seed=seed, n_workers=n_workers)
    config = ModelConfig(
        crop_size=crop_size,
        latent_channels=latent_channels,
        n_keypoints=bank.keypoints.shape[1],
        categories=tuple(categories),
        n_categories=settings.n_categories,
        style_tags=tuple(style_tags),
        n_steps=n_steps,
        margin_cells=margin_cells,
        shift=settings.shift,
        noise_scale=noise_scale,
    )
    write_model(output, config, autoencoder, styled, bank)
    return config


@torch.no_grad()
def write_model(
    output: Path, config: ModelConfig, autoencoder: PatchAutoencoder, styled: Styled, bank: CropBank
) -> None:
    """Write a trained model's folder; styles are stored as what they add to the time embedding.

    Only plain subjects' styles are kept: nothing that a condition carries says whom a beard or glasses would suit.
    """
    keep = bank.subject_plain if bank.subject_plain.any() else np.ones(len(bank.subjects), np.bool_)
    vectors = styled.denoiser.style(styled.styles).numpy()[keep]
    save_model(output, config, autoencoder, styled.denoiser.unet, vectors, bank.subject_tags[keep])
