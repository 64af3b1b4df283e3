"""From labelled pictures to a model folder: encoder, decoder, denoiser, styles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from understudy.diffusion.autoencoder import CELL_PX, PatchAutoencoder
from understudy.diffusion.networks import ModelConfig, save_references
from understudy.diffusion.torch_networks import save_model
from understudy.train.bank import mean_keypoints, reference_bank
from understudy.train.data import CropBank, Measure, make_bank, without_margin
from understudy.train.denoiser import DenoiserSettings, Styled, train_denoiser
from understudy.train.loop import Schedule
from understudy.train.records import load_records
from understudy.train.run import fit_encoder, train_decoder
from understudy.train.sharpen import SharpenSettings, sample_latents, sharpen_decoder
from understudy.train.start import load_autoencoder, start_denoiser


def train_model(
    labels: Path,
    work: Path,
    output: Path,
    *,
    measure: Measure,
    categories: Sequence[str] = ("skin_tone", "head_pose"),
    labelled_categories: Sequence[str] = (),
    style_tags: Sequence[str] = ("skin_tone",),
    decoder: Schedule,
    denoiser: Schedule,
    sharpen: Schedule | None = None,
    settings: DenoiserSettings | None = None,
    sharpening: SharpenSettings | None = None,
    start: Path | None = None,
    references: bool = False,
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
    labelled_categories : sequence of str
        Categories after those, read from the labels.
    decoder, denoiser : Schedule
    sharpen : Schedule, optional
        Where given, the decoder is sharpened with an adversary in the end.
    settings : DenoiserSettings, optional
    sharpening : SharpenSettings, optional
    start : Path, optional
        A model folder whose weights are the first ones; its encoder stays, and its categories are the first ones here.
    references : bool
        Whether the denoiser learns to work from a reference face that is laid into the erased region. The model then
        carries the faces of the plain subjects.
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
    names = (*categories, *labelled_categories)
    records = load_records(labels, style_tags, labelled_categories)
    bank = make_bank(records, n_crops, seed, crop_size=crop_size, measure=measure, references=references)
    bank = without_margin(bank, margin_cells * CELL_PX)
    autoencoder = (
        fit_encoder(
            bank, seed=seed, latent_channels=latent_channels, channels=decoder_channels, n_norm_groups=n_norm_groups
        )
        if start is None
        else load_autoencoder(start)
    )
    train_decoder(autoencoder, bank, work / "decoder", decoder, seed=seed, n_workers=n_workers)
    begin = None if start is None else partial(start_denoiser, folder=start, categories=names)
    styled = train_denoiser(
        autoencoder, bank, work / "denoiser", denoiser, settings, seed=seed, n_workers=n_workers, start=begin
    )
    config = replace(
        _config(settings, names, style_tags, autoencoder, bank),
        crop_size=crop_size, n_steps=n_steps, margin_cells=margin_cells, noise_scale=noise_scale,
    )  # fmt: skip
    if sharpen is not None:
        vectors = torch.from_numpy(style_vectors(styled, bank, settings)[0])
        draw = partial(sample_latents, styled.denoiser.unet, vectors, bank, autoencoder, config=config, seed=seed)
        _sharpen(autoencoder, bank, draw, work / "sharpen", sharpen, sharpening or SharpenSettings(), seed, n_workers)
    if references:
        save_references(output, reference_bank(records, mean_keypoints(bank)))
    save_model(output, config, autoencoder, styled.denoiser.unet, *style_vectors(styled, bank, settings))
    return config


def _config(
    settings: DenoiserSettings,
    names: tuple[str, ...],
    style_tags: Sequence[str],
    autoencoder: PatchAutoencoder,
    bank: CropBank,
) -> ModelConfig:
    """What the networks themselves say of a model."""
    return ModelConfig(
        crop_size=bank.pixels.shape[1],
        latent_channels=int(autoencoder.config["latent_channels"]),
        n_keypoints=bank.keypoints.shape[1],
        categories=names,
        n_categories=settings.n_categories,
        style_tags=tuple(style_tags),
        shift=settings.shift,
        residual=settings.residual,
    )


def _sharpen(
    autoencoder: PatchAutoencoder,
    bank: CropBank,
    draw: Callable[[NDArray[np.int64]], Tensor],
    folder: Path,
    schedule: Schedule,
    settings: SharpenSettings,
    seed: int,
    n_workers: int,
) -> None:
    """Sharpen a decoder on what the sampler draws for some crops of the bank."""
    rows = np.random.default_rng(seed).integers(0, len(bank.pixels), settings.n_sampled)
    sharpen_decoder(autoencoder, bank, draw(rows), rows, folder, schedule, settings, seed=seed, n_workers=n_workers)


@torch.no_grad()
def style_vectors(
    styled: Styled, bank: CropBank, settings: DenoiserSettings
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """What each style adds to the time embedding, (N, D), and its tags (N, T).

    Only plain subjects' styles are kept: nothing that a condition carries says whom a beard or glasses would suit. A
    denoiser that learnt without styles has one, which says nothing.
    """
    if settings.style_dropout >= 1:
        nothing = styled.denoiser.style(torch.zeros_like(styled.styles[:1]))
        return nothing.numpy(), np.full((1, bank.subject_tags.shape[1]), -1)
    keep = bank.subject_plain if bank.subject_plain.any() else np.ones(len(bank.subjects), np.bool_)
    return styled.denoiser.style(styled.styles).numpy()[keep], bank.subject_tags[keep]
