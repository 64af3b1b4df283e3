"""Hand the settings of ``train`` and ``export`` to the plain functions that do the work."""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from understudy.attributes.policy import AttributePolicy
from understudy.config.embedded import model_folder
from understudy.config.parts import PartBuilder
from understudy.config.schema import Export, Train
from understudy.errors import ConfigError, MissingExtraError, OutputError
from understudy.generate.latent import LatentDiffusionGenerator
from understudy.types import Condition, Crop

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
    train_model = _needs_torch("understudy.train.model").train_model
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


def run_export(settings: Export) -> tuple[Path, int, float]:
    """Export a model folder to ONNX and compare it with torch.

    Returns
    -------
    folder : Path
    max_difference : int
        Largest difference of a value on the compared crops, grey levels.
    mean_difference : float

    Raises
    ------
    OutputError
        ``output`` is there already.
    ConfigError
        The runtimes differ by more than ``max_difference``; the files stay for a look.
    """
    source = model_folder(settings.model)
    folder = source
    if settings.output is not None:
        folder = Path(settings.output)
        if folder.exists():
            raise OutputError(f"output {settings.output!r} is there already: give the name of a new folder")
        try:
            shutil.copytree(source, folder, ignore=shutil.ignore_patterns("onnx"))
        except OSError as error:
            raise OutputError(f"output {settings.output!r} cannot be written: {error}") from error
    export_folder(folder)
    ours, theirs = (LatentDiffusionGenerator(folder, runtime) for runtime in ("onnx", "torch"))
    conditions = parity_conditions(settings.n_parity, ours.crop_size)
    compare = _needs_torch("understudy.export.parity").compare
    parity = compare(ours, theirs, conditions, list(range(settings.n_parity)))
    if parity.max_difference > settings.max_difference:
        raise ConfigError(
            f"onnxruntime and torch differ by up to {parity.max_difference} grey levels on {parity.n_crops} crops, "
            f"more than max_difference={settings.max_difference}; {folder} was written all the same"
        )
    return folder, parity.max_difference, parity.mean_difference


def export_folder(folder: Path) -> None:
    """Write the ONNX files of a model folder."""
    _needs_torch("understudy.export.onnx").export_onnx(folder)


def parity_conditions(n: int, size: int) -> list[Condition]:
    """Conditions of random context around an oval mask; the same ones every time."""
    ys, xs = np.mgrid[0:size, 0:size]
    mask = ((xs - size / 2) / (0.3 * size)) ** 2 + ((ys - size / 2) / (0.38 * size)) ** 2 <= 1
    made = []
    for seed in range(n):
        random = np.random.default_rng(seed)
        coarse = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        pixels = np.repeat(np.repeat(coarse, -(-size // 8), 0), -(-size // 8), 1)[:size, :size]
        made.append(Condition(Crop(np.ascontiguousarray(pixels), mask, np.eye(2, 3))))
    return made


def with_tuples(node: dict[str, Any]) -> dict[str, Any]:
    """Lists as tuples, as frozen dataclasses want them."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in node.items()}


def _needs_torch(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if str(error.name).startswith("understudy"):
            raise
        raise MissingExtraError(f"{error.name} is not installed: pip install 'understudy[torch]'") from error
