"""Hand the settings of ``train`` to the plain functions that do the work."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from understudy.attributes.policy import AttributePolicy
from understudy.config.embedded import model_folder
from understudy.config.parts import PartBuilder
from understudy.config.schema import Train
from understudy.errors import ConfigError, MissingExtraError

Measure = Callable[
    [NDArray[np.uint8], NDArray[np.floating], NDArray[np.floating], NDArray[np.floating]], tuple[int | None, ...]
]


def measure_of(categories: Sequence[str]) -> Measure:
    """Bins of the named attributes of a face, measured as the attribute policy reads them at run time."""
    policy = AttributePolicy(categories)

    def measure(
        view: NDArray[np.uint8],
        xyxy: NDArray[np.floating],
        keypoints: NDArray[np.floating],
        visibility: NDArray[np.floating],
    ) -> tuple[int | None, ...]:
        read = asdict(policy.read(view, xyxy, keypoints, visibility))
        return tuple(read[name] for name in categories)

    return measure


def run_training(settings: Train) -> Path:
    """Train a model, or go on with the training of which ``work`` holds checkpoints.

    Returns
    -------
    Path
        The model folder.

    Raises
    ------
    ConfigError, MissingExtraError, StateMismatchError
    """
    labels = Path(settings.labels)
    if not labels.is_file():
        raise ConfigError(f"labels must be a file of JSON lines, {settings.labels!r} is none")
    output = Path(settings.output)
    work = Path(settings.work) if settings.work is not None else output.with_name(f"{output.name}.work")
    measure = measure_of(settings.categories)
    train_model = needs_torch("understudy.train.model").train_model
    build = PartBuilder()
    train_model(
        labels,
        work,
        output,
        measure=measure,
        categories=tuple(settings.categories),
        labelled_categories=tuple(settings.labelled_categories),
        style_tags=tuple(settings.style_tags),
        decoder=build(settings.decoder, "decoder"),
        denoiser=build(settings.denoiser, "denoiser"),
        sharpen=build(settings.sharpen, "sharpen") if settings.sharpen["n_steps"] else None,
        sharpening=build(with_tuples(settings.sharpening), "sharpening"),
        start=None if settings.start is None else model_folder(settings.start),
        references=settings.references,
        settings=build(with_tuples(settings.network), "network"),
        seed=settings.seed,
        n_crops=settings.n_crops,
        crop_size=settings.crop_size,
        latent_channels=settings.latent_channels,
        decoder_channels=tuple(settings.decoder_channels),
        n_norm_groups=settings.n_norm_groups,
        n_workers=settings.n_workers,
        n_steps=settings.n_steps,
        margin_cells=settings.margin_cells,
    )
    if settings.onnx:
        export_folder(output)
    return output


def export_folder(folder: Path) -> None:
    """Write the ONNX files of a model folder."""
    needs_torch("understudy.export.onnx").export_onnx(folder)


def with_tuples(node: dict[str, Any]) -> dict[str, Any]:
    """Lists as tuples, as frozen dataclasses want them."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in node.items()}


def needs_torch(module: str) -> Any:
    """A module of understudy that needs the extra [torch].

    Raises
    ------
    MissingExtraError
        The extra is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if str(error.name).startswith("understudy"):
            raise
        raise MissingExtraError(f"{error.name} is not installed: pip install 'understudy[torch]'") from error
