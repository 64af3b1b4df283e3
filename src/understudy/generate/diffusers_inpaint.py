"""Inpainting pipelines of diffusers (SD 1.5, SDXL, FLUX Fill, with a ControlNet, with few steps) as generators."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from understudy.errors import ConfigError, GenerationError, InvalidInputError, WeightsDigestError
from understudy.generate.diffusers_load import Memory, Recipe, load_pipeline, model_folder, part_folder, require_extra
from understudy.generate.pose_picture import pose_picture
from understudy.generate.prompts import PromptTemplate
from understudy.hub.checkpoint import find_checkpoint, read_record
from understudy.types import Condition, Generated, OutcomeKind
from understudy.weights import file_digest

BLACK = 3
"""A masked area in which no value is above this is a safety checker's black crop, not a face."""
TAIL = ("{skin_tone} skin", "{head_pose}")
"""What follows a prompt that is given as one text."""


class DiffusersInpaintGenerator:
    """Understudies from a pretrained inpainting pipeline of diffusers.

    The pipeline sees the erased context, the mask, a prompt made of the coarse attributes and, where there is a
    ControlNet, a drawing of the condition's keypoints. It starts from pure noise (``strength`` 1), drawn on the CPU
    from one generator for each sample, so that the device does not matter for it. What the checkpoint was trained on is
    its owner's word: real people may be in it.

    Parameters
    ----------
    model : str, optional
        Local folder in diffusers' format, or hub id; left out: ``checkpoint``. Only safetensors weights are read;
        pickled ones are refused.
    checkpoint : str, optional
        Name in the registry, as `understudy models pull` fetched it; its licence holds for ``model`` too.
    pipeline : str, optional
        Class of diffusers, such as ``StableDiffusionInpaintPipeline``; left out: that of the checkpoint's family.
    controlnet : str, optional
        A pose ControlNet: name in the registry, or folder.
    control_scale : float
        Its weight.
    lora : str, optional
        Name in the registry, or a folder with one safetensors file; it is added to the weights.
    scheduler : str, optional
        Class of diffusers in place of the checkpoint's own, such as ``LCMScheduler``.
    prompt : PromptTemplate or str
        A text is the prompt's fixed part; words for skin tone and head pose are appended.
    negative_prompt : str
        Instead of the template's own.
    n_steps : int
        Denoising steps.
    guidance_scale : float
        Weight of the prompt; 1 switches classifier-free guidance off where the pipeline has it.
    crop_size : int
        Side of the crops (their width), px, a multiple of 8: the checkpoint's native size.
    crop_height : int, optional
        Their height where they are no squares, px, a multiple of 8.
    batch_size : int
        Conditions a call; 1 makes the output independent of everything else in the batch on every device.
    min_face_px : float
        Faces with a shorter box side than this are filled instead.
    device : str
        "auto" is "cuda" where there is one, else "cpu".
    dtype : str
        "auto" is float16 on cuda, else float32.
    memory : mapping or Memory, optional
        offload, slicing, tiling, compile.
    variant, revision : str, optional
        Which of the checkpoint's weight files (such as "fp16"), and which commit of a hub id.
    local_files_only : bool
        True never asks the hub, and takes what is in its cache.

    Raises
    ------
    MissingExtraError
        diffusers or transformers is not installed; peft for a LoRA, accelerate for offloading.
    MissingWeightsError
        The folder, checkpoint or hub id does not give the weights.
    ConfigError
        The checkpoint is there, but no inpainting pipeline can be made of it.
    """

    name = "diffusers_inpaint"
    outcome = OutcomeKind.REPLACED

    def __init__(
        self,
        model: str | None = None,
        *,
        checkpoint: str | None = None,
        pipeline: str | None = None,
        controlnet: str | None = None,
        control_scale: float = 1.0,
        lora: str | None = None,
        scheduler: str | None = None,
        prompt: PromptTemplate | str = "photo of a person's face, natural light, detailed skin",
        negative_prompt: str = "",
        n_steps: int = 30,
        guidance_scale: float = 7.5,
        crop_size: int = 512,
        crop_height: int | None = None,
        batch_size: int = 1,
        min_face_px: float = 24.0,
        device: str = "auto",
        dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto",
        memory: Mapping[str, Any] | Memory | None = None,
        variant: str | None = None,
        revision: str | None = None,
        local_files_only: bool = False,
    ) -> None:
        self.crop_size, self.crop_height = crop_size, crop_height or crop_size
        _check_numbers(self.crop_size, self.crop_height, n_steps, batch_size)
        require_extra()
        self.batch_size, self.min_face_px = batch_size, min_face_px
        self.n_steps, self._guidance_scale, self._control_scale = n_steps, guidance_scale, control_scale
        self._template = PromptTemplate((prompt, *TAIL)) if isinstance(prompt, str) else prompt
        self._negative_prompt = negative_prompt or self._template.negative
        folder = _folder_of(model, checkpoint, revision=revision, variant=variant, local_files_only=local_files_only)
        self._recipe = Recipe(
            folder=folder,
            shown=model or str(checkpoint),
            pipeline=pipeline,
            controlnet=None if controlnet is None else part_folder(controlnet, "controlnet"),
            lora=None if lora is None else part_folder(lora, "lora"),
            scheduler=scheduler,
            variant=_present_variant(folder, variant),
            device=device,
            dtype=dtype,
            memory=memory if isinstance(memory, Memory) else Memory(**(memory or {})),
        )
        self._pipe = load_pipeline(self._recipe)
        self._accepted = frozenset(inspect.signature(type(self._pipe).__call__).parameters)
        self._digests: dict[str, str] | None = None
        self._one_at_a_time = threading.Lock()  # a pipeline's scheduler keeps the step that it is at
        if self._negative_prompt and "negative_prompt" not in self._accepted:
            raise ConfigError(
                f"{type(self._pipe).__name__} takes no negative prompt: set generator.negative_prompt='' and, where "
                "the prompt is a template, generator.prompt.negative=''"
            )

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
        """SHA-256 of every weight file in use, and of the configurations.

        Raises
        ------
        WeightsDigestError
            A file of a pulled checkpoint is not what was pulled.
        """
        if self._digests is None:
            recipe = self._recipe
            files = [(recipe.folder, path) for path in _files_in_use(recipe, list(self._pipe.components))]
            for root in (recipe.controlnet, recipe.lora):
                if root is not None:
                    files += [(root.parent, path) for path in _files_of_part(root)]
            self._digests = {
                f"{self.name}/{path.relative_to(root).as_posix()}": _checked_digest(path) for root, path in files
            }
        return self._digests

    def _inpaint(self, conditions: Sequence[Condition], seeds: Sequence[int]) -> list[Generated]:
        for condition in conditions:
            if condition.replace_mask.shape != (self.crop_height, self.crop_size):
                raise InvalidInputError(
                    f"conditions must be {self.crop_height} x {self.crop_size} px, got {condition.replace_mask.shape}"
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

        arguments: dict[str, Any] = {
            "prompt": [self._template(condition.attributes) for condition in conditions],
            "image": [Image.fromarray(condition.context) for condition in conditions],
            "mask_image": [
                Image.fromarray(np.where(condition.replace_mask, np.uint8(255), np.uint8(0)))
                for condition in conditions
            ],
            "generator": [torch.Generator("cpu").manual_seed(seed) for seed in seeds],
            "height": self.crop_height,
            "width": self.crop_size,
            "strength": 1.0,
            "num_inference_steps": self.n_steps,
            "guidance_scale": self._guidance_scale,
            "output_type": "np",
        }
        if self._recipe.controlnet is not None:
            arguments["control_image"] = [Image.fromarray(pose_picture(condition)) for condition in conditions]
            arguments["controlnet_conditioning_scale"] = self._control_scale
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


def _check_numbers(width: int, height: int, n_steps: int, batch_size: int) -> None:
    """Raise InvalidInputError for numbers with which no pipeline could be called."""
    if min(width, height) < 8 or width % 8 or height % 8:
        raise InvalidInputError(f"crop_size and crop_height must be multiples of 8, got {width} and {height}")
    if n_steps < 1 or batch_size < 1:
        raise InvalidInputError(f"n_steps and batch_size must be 1 or more, got {n_steps} and {batch_size}")


def _folder_of(
    model: str | None, checkpoint: str | None, *, revision: str | None, variant: str | None, local_files_only: bool
) -> Path:
    """Folder of the pipeline: the model that was named, else the pulled checkpoint."""
    if model is not None:
        return model_folder(model, revision=revision, variant=variant, local_files_only=local_files_only)
    if checkpoint is None:
        raise ConfigError("generator.model must be given: a hub id, or a folder in diffusers' format")
    return find_checkpoint(checkpoint)


def _present_variant(folder: Path, variant: str | None) -> str | None:
    """The variant, where the folder has files of it: a folder of one's own may be without."""
    return variant if variant is not None and any(folder.glob(f"*/*.{variant}.*")) else None


def _files_in_use(recipe: Recipe, components: Sequence[str]) -> Iterator[Path]:
    """Weights and configurations of the pipeline's components, in a stable order."""
    folder, variant = recipe.folder, recipe.variant
    yield folder / "model_index.json"
    for component in sorted(components):
        weights = sorted((folder / component).glob("*.safetensors"))
        of_variant = [path for path in weights if variant is not None and f".{variant}" in path.name]
        yield from of_variant or [path for path in weights if path.name.count(".") == 1]
        yield from sorted((folder / component).glob("*.json"))


def _files_of_part(root: Path) -> Iterator[Path]:
    """Weights and configuration of a ControlNet or a LoRA."""
    yield from [root] if root.is_file() else sorted((*root.glob("*.safetensors"), *root.glob("config.json")))


def _checked_digest(path: Path) -> str:
    """SHA-256 of a file; where a pull recorded it, it must be that one."""
    digest = file_digest(path)
    for folder in list(path.parents)[:3]:
        record = read_record(folder)
        wanted = None if record is None else record.files.get(path.relative_to(folder).as_posix())
        if wanted is not None and wanted[1] != digest:
            raise WeightsDigestError(
                f"{path} has sha256 {digest}, and {wanted[1]} was pulled: delete the folder and pull it anew"
            )
    return digest
