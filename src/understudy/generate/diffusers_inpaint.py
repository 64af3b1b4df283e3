"""Any inpainting checkpoint that diffusers can load, by hub id or local folder, as a generator."""

from __future__ import annotations

import hashlib
import inspect
import threading
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from understudy.errors import ConfigError, GenerationError, InvalidInputError, MissingExtraError, MissingWeightsError
from understudy.types import Attributes, Condition, Generated, OutcomeKind

SKIN_TONES = ("very light", "light", "medium", "tan", "brown", "dark")
"""Words for the ITA bins 0 to 5."""
HEAD_POSES = (
    "in profile, facing left",
    "in three-quarter view, facing left",
    "facing the camera",
    "in three-quarter view, facing right",
    "in profile, facing right",
)
"""Words for the yaw bins 0 to 4. The subject's right is the picture's left."""
BLACK = 3
"""A masked area in which no value is above this is a safety checker's black crop, not a face."""


def describe(attributes: Attributes) -> str:
    """Words for the coarse bins that travel; bins without a word here, and bins not carried, add nothing."""
    words = []
    if attributes.skin_tone is not None:
        words.append(f"{_word(SKIN_TONES, attributes.skin_tone, 'skin_tone')} skin")
    if attributes.head_pose is not None:
        words.append(_word(HEAD_POSES, attributes.head_pose, "head_pose"))
    return ", ".join(words)


def _word(table: tuple[str, ...], value: int, name: str) -> str:
    if not 0 <= value < len(table):
        raise InvalidInputError(f"{name} must be from 0 to {len(table) - 1}, got {value}")
    return table[value]


class DiffusersInpaintGenerator:
    """Understudies from a pretrained inpainting pipeline of diffusers.

    The pipeline sees the erased context, the mask and a prompt made of the coarse attributes; keypoints are not used.
    It starts from pure noise (``strength`` 1), drawn on the CPU from one generator for each sample, so that the device
    does not matter for it. What the checkpoint was trained on is its owner's word: real people may be in it.

    Parameters
    ----------
    model : str
        Local folder in diffusers' format, or hub id. Only safetensors weights are read; pickled ones are refused.
    prompt, negative_prompt : str
        The prompt's fixed part; the words for the attributes are appended.
    n_steps : int
        Denoising steps.
    guidance_scale : float
        Weight of the prompt; 1 switches classifier-free guidance off where the pipeline has it.
    crop_size : int
        Side of the crops, px, a multiple of 8.
    batch_size : int
        Conditions a call; 1 makes the output independent of everything else in the batch on every device.
    min_face_px : float
        Faces with a shorter box side than this are filled instead.
    device : str
        "auto" is "cuda" where there is one, else "cpu".
    dtype : str
        "auto" is float16 on cuda, else float32.
    variant, revision : str, optional
        Which of the checkpoint's weight files (such as "fp16"), and which commit of a hub id.
    local_files_only : bool
        True never asks the hub, and takes what is in its cache.

    Raises
    ------
    MissingExtraError
        diffusers or transformers is not installed.
    MissingWeightsError
        The folder or hub id does not give the weights.
    ConfigError
        The checkpoint is there, but no inpainting pipeline can be made of it.
    """

    name = "diffusers_inpaint"
    outcome = OutcomeKind.REPLACED

    def __init__(
        self,
        model: str,
        *,
        prompt: str = "photo of a person's face, natural light, detailed skin",
        negative_prompt: str = "",
        n_steps: int = 30,
        guidance_scale: float = 7.5,
        crop_size: int = 512,
        batch_size: int = 1,
        min_face_px: float = 24.0,
        device: str = "auto",
        dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto",
        variant: str | None = None,
        revision: str | None = None,
        local_files_only: bool = False,
    ) -> None:
        if crop_size < 8 or crop_size % 8:
            raise InvalidInputError(f"crop_size must be a multiple of 8, got {crop_size}")
        if n_steps < 1 or batch_size < 1:
            raise InvalidInputError(f"n_steps and batch_size must be 1 or more, got {n_steps} and {batch_size}")
        _require_extra()
        self.crop_size, self.batch_size, self.min_face_px = crop_size, batch_size, min_face_px
        self.n_steps = n_steps
        self._prompt, self._negative_prompt = prompt, negative_prompt
        self._guidance_scale = guidance_scale
        self._variant = variant
        self._folder = _local_folder(model, revision=revision, variant=variant, local_files_only=local_files_only)
        self._pipe = _load(self._folder, model, device=device, dtype=dtype, variant=variant)
        self._accepted = frozenset(inspect.signature(type(self._pipe).__call__).parameters)
        self._digests: dict[str, str] | None = None
        self._one_at_a_time = threading.Lock()  # a pipeline's scheduler keeps the step that it is at
        if negative_prompt and "negative_prompt" not in self._accepted:
            raise ConfigError(f"{type(self._pipe).__name__} takes no negative prompt: set generator.negative_prompt=''")

    def __call__(self, conditions: Sequence[Condition], seeds: Sequence[int]) -> list[Generated]:
        """Inpaint, in batches that are padded to ``batch_size``.

        Raises
        ------
        GenerationError
            Where any of the samples failed, was blackened by a safety checker or came out unusable.
        """
        if len(conditions) != len(seeds):
            raise InvalidInputError(
                f"conditions and seeds must be equally many, got {len(conditions)} and {len(seeds)}"
            )
        made: list[Generated] = []
        for start in range(0, len(conditions), self.batch_size):
            part = slice(start, start + self.batch_size)
            made += self._inpaint(conditions[part], seeds[part])
        return made

    def digests(self) -> Mapping[str, str]:
        """SHA-256 of every weight file of the checkpoint in use, and of its configurations."""
        if self._digests is None:
            files = _files_in_use(self._folder, list(self._pipe.components), self._variant)
            self._digests = {
                f"{self.name}/{path.relative_to(self._folder).as_posix()}": _sha256(path) for path in files
            }
        return self._digests

    def _inpaint(self, conditions: Sequence[Condition], seeds: Sequence[int]) -> list[Generated]:
        for condition in conditions:
            if condition.replace_mask.shape != (self.crop_size, self.crop_size):
                raise InvalidInputError(
                    f"conditions must be {self.crop_size} px square, got {condition.replace_mask.shape}"
                )
        pad = self.batch_size - len(conditions)
        padded = [*conditions, *[conditions[-1]] * pad]
        try:
            with self._one_at_a_time:
                result = self._pipe(**self._arguments(padded, [*seeds, *[seeds[-1]] * pad]))
        except (RuntimeError, ValueError) as error:  # out of memory is a RuntimeError
            raise GenerationError(f"{type(self._pipe).__name__} failed: {type(error).__name__}: {error}") from error
        flags = getattr(result, "nsfw_content_detected", None)
        flagged = [False] * len(padded) if flags is None else [bool(flag) for flag in flags]
        images = np.asarray(result.images)  # (B, H, W, 3) float in [0, 1]
        return [
            Generated(self._checked(images[i], condition, flagged[i]), seeds[i], self.n_steps)
            for i, condition in enumerate(conditions)
        ]

    def _arguments(self, conditions: Sequence[Condition], seeds: Sequence[int]) -> dict[str, Any]:
        """What the pipeline's call takes of all that we have to give."""
        import torch

        words = [describe(condition.attributes) for condition in conditions]
        arguments: dict[str, Any] = {
            "prompt": [f"{self._prompt}, {word}" if word else self._prompt for word in words],
            "image": [Image.fromarray(condition.context) for condition in conditions],
            "mask_image": [
                Image.fromarray(np.where(condition.replace_mask, np.uint8(255), np.uint8(0)))
                for condition in conditions
            ],
            "generator": [torch.Generator("cpu").manual_seed(seed) for seed in seeds],
            "height": self.crop_size,
            "width": self.crop_size,
            "strength": 1.0,
            "num_inference_steps": self.n_steps,
            "guidance_scale": self._guidance_scale,
            "output_type": "np",
        }
        if self._negative_prompt:
            arguments["negative_prompt"] = [self._negative_prompt] * len(conditions)
        return {name: value for name, value in arguments.items() if name in self._accepted}

    def _checked(self, image: NDArray[np.floating], condition: Condition, flagged: bool) -> NDArray[np.uint8]:
        """The picture as uint8, or an error where it is no face."""
        expected = condition.context.shape
        if flagged:
            raise GenerationError("the checkpoint's safety checker rejected the sample")
        if image.shape != expected:
            raise GenerationError(f"{type(self._pipe).__name__} must return {expected}, got {image.shape}")
        if not np.isfinite(image).all():
            raise GenerationError(f"{type(self._pipe).__name__} returned values that are not finite")
        pixels: NDArray[np.uint8] = (np.clip(image, 0, 1) * 255).round().astype(np.uint8)
        inside = pixels[condition.replace_mask]
        if inside.size and int(inside.max()) <= BLACK:
            raise GenerationError(f"{type(self._pipe).__name__} returned a black crop")
        return pixels


def _require_extra() -> None:
    missing = [name for name in ("torch", "diffusers", "transformers") if find_spec(name) is None]
    if missing:
        raise MissingExtraError(
            f"generator=diffusers_inpaint needs {', '.join(missing)}: run `pip install 'understudy[torch]'`"
        )


def _local_folder(model: str, *, revision: str | None, variant: str | None, local_files_only: bool) -> Path:
    """The folder that holds a checkpoint; a hub id is fetched into the hub's cache first."""
    folder = Path(model).expanduser()
    if folder.is_dir():
        if not (folder / "model_index.json").is_file():
            raise MissingWeightsError(
                f"{folder} holds no model_index.json: generator.model must be a folder in diffusers' format or a hub id"
            )
        return folder
    if folder.is_absolute() or model.startswith((".", "~")):
        raise MissingWeightsError(f"there is no folder {folder}: set generator.model to an existing one or to a hub id")
    from diffusers import DiffusionPipeline
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        found = DiffusionPipeline.download(
            model, revision=revision, variant=variant, use_safetensors=True, local_files_only=local_files_only
        )
    except (OSError, HfHubHTTPError, HFValidationError, ValueError) as error:
        raise MissingWeightsError(
            f"the inpainting checkpoint '{model}' is neither a local folder nor to be had from the hub "
            f"({_first_line(error)}): go online once, or download it elsewhere and set generator.model to its folder"
        ) from error
    return Path(found)


def _load(folder: Path, model: str, *, device: str, dtype: str, variant: str | None) -> Any:
    import diffusers
    import torch
    import transformers

    for library in (diffusers, transformers):
        library.utils.logging.disable_progress_bar()
    place = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    precision = ("float16" if place.startswith("cuda") else "float32") if dtype == "auto" else dtype
    try:
        pipe: Any = diffusers.AutoPipelineForInpainting.from_pretrained(
            str(folder),
            torch_dtype=getattr(torch, precision),
            variant=variant,
            use_safetensors=True,
            local_files_only=True,
        )
    except OSError as error:
        raise MissingWeightsError(
            f"'{model}' lacks weights that are needed ({_first_line(error)}); only safetensors are read, "
            "pickled weights are refused"
        ) from error
    except ValueError as error:
        raise ConfigError(f"no inpainting pipeline can be made of '{model}': {_first_line(error)}") from error
    pipe.set_progress_bar_config(disable=True)
    return pipe.to(place)


def _files_in_use(folder: Path, components: Sequence[str], variant: str | None) -> Iterator[Path]:
    """Weights and configurations of the pipeline's components, in a stable order."""
    yield folder / "model_index.json"
    for component in sorted(components):
        weights = sorted((folder / component).glob("*.safetensors"))
        of_variant = [path for path in weights if variant is not None and f".{variant}" in path.name]
        yield from of_variant or [path for path in weights if path.name.count(".") == 1]
        yield from sorted((folder / component).glob("*.json"))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
