"""Build a generator from one of the models that come with the package, or from a folder of the same form."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from understudy.errors import MissingWeightsError
from understudy.generate.body_latent import BodyLatent
from understudy.generate.latent import LatentDiffusionGenerator, Precision
from understudy.weights import models_folder


def model_folder(model: str) -> Path:
    """Folder of a model: a path, or the name of a folder under the package's ``models``.

    Raises
    ------
    MissingWeightsError
        There is neither.
    """
    places = (models_folder() / model, Path(model))
    for folder in places:
        if (folder / "config.json").is_file():
            return folder
    known = sorted(path.parent.name for path in models_folder().glob("*/config.json"))
    raise MissingWeightsError(
        f"there is no model {model!r}: give a folder that holds a config.json, or one of "
        f"{', '.join(known) or '(none comes with this installation)'} with generator.model=..."
    )


def latent_diffusion(
    model: str,
    *,
    runtime: Literal["onnx", "torch"] = "onnx",
    n_steps: int | None = None,
    n_threads: int = 1,
    providers: Sequence[str] = ("CPUExecutionProvider",),
    device: str = "cpu",
    precision: Precision = "fp32",
) -> LatentDiffusionGenerator:
    """A latent diffusion generator by name or folder; see ``LatentDiffusionGenerator`` for the other arguments."""
    return LatentDiffusionGenerator(
        model_folder(model),
        runtime,
        n_steps,
        n_threads=n_threads,
        providers=providers,
        device=device,
        precision=precision,
    )


def body_diffusion(
    model: str,
    *,
    runtime: Literal["onnx", "torch"] = "onnx",
    n_steps: int | None = None,
    n_threads: int = 1,
    providers: Sequence[str] = ("CPUExecutionProvider",),
    device: str = "cpu",
) -> BodyLatent:
    """The generator of whole people by name or folder; see ``BodyLatent`` for the other arguments."""
    return BodyLatent(model_folder(model), runtime, n_steps, n_threads=n_threads, providers=providers, device=device)
