"""The embedded generator: latent diffusion on 128 px crops, with onnxruntime (no torch) or with torch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from understudy.attributes.bins import EXPRESSIONS
from understudy.diffusion.conditioning import condition_planes
from understudy.diffusion.networks import (
    CONFIG,
    REFERENCES,
    STYLES,
    Networks,
    load_config,
    load_references,
    load_styles,
    pixels_from_network,
    pixels_to_network,
)
from understudy.diffusion.reference import MIRRORED, bend_for, edged, transfer_detail, turned_further
from understudy.diffusion.sampler import sample
from understudy.errors import GenerationError, InvalidInputError, MissingWeightsError
from understudy.generate.complexion import matched, settled
from understudy.generate.features import hair_coloured, whiter_teeth
from understudy.generate.glasses import with_glasses
from understudy.generate.outline import around_a_face, fitted, under_hair
from understudy.generate.rim import continued
from understudy.generate.texture import fineness, textured_skin
from understudy.generate.tone import hold_skin_hue, toned
from understudy.runtime.onnx import CPU, open_session
from understudy.seeding import standard_normal
from understudy.types import ERASED, Condition, Generated, OutcomeKind

ONNX_PARTS = ("encoder", "denoiser", "decoder")
TEETH = EXPRESSIONS.index("smile, teeth shown")
BEARD = "beard"
Precision = Literal["fp32", "fp16", "int8"]
"""Arithmetic of the ONNX graphs; see ``understudy export``."""
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8")


def onnx_path(name: str, precision: str) -> str:
    """Where a graph lies in a model folder: float32 in onnx/, others in a folder of their own under it."""
    return f"onnx/{name}.onnx" if precision == "fp32" else f"onnx/{precision}/{name}.onnx"


class OnnxNetworks:
    """The networks of a model folder on onnxruntime.

    Parameters
    ----------
    folder : Path
    n_threads : int
        Threads of one operator.
    providers : sequence of str
        onnxruntime's execution providers in the order of preference.
    precision : "fp32", "fp16" or "int8"
    """

    def __init__(
        self, folder: Path, n_threads: int = 1, providers: Sequence[str] = (CPU,), precision: Precision = "fp32"
    ) -> None:
        paths = {name: folder / onnx_path(name, precision) for name in ONNX_PARTS}
        for path in paths.values():
            if not path.is_file():
                raise MissingWeightsError(
                    f"{path} is not there: `understudy export model={folder} output=DIR` "
                    "makes it, then say runtime.bundle=DIR; or use runtime=torch"
                )
        sessions = {name: open_session(path, providers=providers, n_threads=n_threads) for name, path in paths.items()}
        self._encoder, self._denoiser, self._decoder = (sessions[name] for name in ONNX_PARTS)

    def encode(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Pictures to latents."""
        return self._encoder.run({"pixels": pixels})[0]

    def denoise(
        self,
        noisy: NDArray[np.float32],
        context: NDArray[np.float32],
        planes: NDArray[np.float32],
        style: NDArray[np.float32],
        time: float,
    ) -> NDArray[np.float32]:
        """Estimate of the clean latents at a time."""
        times = np.full(len(noisy), time, np.float32)
        inputs = {"noisy": noisy, "context": context, "planes": planes, "style": style, "time": times}
        return self._denoiser.run(inputs)[0]

    def decode(self, latents: NDArray[np.float32]) -> NDArray[np.float32]:
        """Latents to pictures."""
        return self._decoder.run({"latents": latents})[0]


class LatentDiffusionGenerator:
    """Invent a face for every condition with the embedded model.

    The noise depends on the seed alone; style and reference (a rendered face that the sampler starts its idea from,
    where the model has them) on the seed, the keypoints and the attributes. Conditions are worked on one after the
    other, so that a result does not depend on who shares a call.

    Parameters
    ----------
    folder : path
        A model folder: config.json, styles.npz, onnx/ and, for torch, autoencoder/ and denoiser/.
    runtime : "onnx" or "torch"
        "onnx" needs no torch.
    n_steps : int, optional
        Steps of the sampler; the folder's config says where left out.
    n_threads : int
        Threads of one operator, for "onnx".
    providers : sequence of str
        onnxruntime's execution providers.
    device : str
        For "torch".
    precision : "fp32", "fp16" or "int8"
        For "onnx": which of the exported graphs.

    Raises
    ------
    MissingWeightsError
        A file of the model is not there.
    InvalidInputError
        Its references have other tags than its config names.
    """

    name = "latent_diffusion"
    batch_size = 1
    min_face_px = 24.0
    outcome = OutcomeKind.REPLACED

    def __init__(
        self,
        folder: str | Path,
        runtime: Literal["onnx", "torch"] = "onnx",
        n_steps: int | None = None,
        *,
        n_threads: int = 1,
        providers: Sequence[str] = (CPU,),
        device: str = "cpu",
        precision: Precision = "fp32",
    ) -> None:
        if precision not in PRECISIONS:
            raise InvalidInputError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")
        if runtime != "onnx" and precision != "fp32":
            raise InvalidInputError(f"precision {precision!r} is there for runtime onnx only, got {runtime!r}")
        self._folder = Path(folder)
        self.config = load_config(self._folder)
        self._styles = load_styles(self._folder)
        self._references = load_references(self._folder)
        expected = len(self.config.style_tags) + len(self.config.reference_flags)
        if self.config.reference_flags and self._references is not None:
            n_tags = self._references.tags.shape[1]
            if n_tags != expected:
                raise InvalidInputError(
                    f"{self._folder / REFERENCES} has {n_tags} tags a picture, but {CONFIG} names {expected}: "
                    f"{[*self.config.style_tags, *self.config.reference_flags]}; take {CONFIG} and {REFERENCES} of one "
                    "version, or put the bank together anew with scripts/choose_references.py"
                )
        self.crop_size = self.config.condition_size
        self.n_steps = self.config.n_steps if n_steps is None else n_steps
        if self.n_steps < 1:
            raise InvalidInputError(f"n_steps must be 1 or more, got {self.n_steps}")
        self.runtime = runtime
        self.precision = precision
        if runtime == "onnx":
            self.networks: Networks = OnnxNetworks(self._folder, n_threads, providers, precision)
        else:
            self.networks = _on_torch(self._folder, runtime, device)

    def __call__(self, conditions: Sequence[Condition], seeds: Sequence[int]) -> list[Generated]:
        """One understudy for each condition.

        Raises
        ------
        GenerationError
            A result is not finite.
        InvalidInputError
            A condition has another size than ``crop_size``.
        """
        return [self._one(condition, seed) for condition, seed in zip(conditions, seeds, strict=True)]

    def digests(self) -> Mapping[str, str]:
        """SHA-256 of every file of the model that is in use."""
        parts = [CONFIG, STYLES] + [REFERENCES] * (self._references is not None)
        if self.runtime == "onnx":
            parts += [onnx_path(name, self.precision) for name in ONNX_PARTS]
        else:
            parts += [f"{name}/diffusion_pytorch_model.safetensors" for name in ("autoencoder", "denoiser")]
        root = self._folder.name
        return {f"{root}/{part}": hashlib.sha256((self._folder / part).read_bytes()).hexdigest() for part in parts}

    def prepare(self, condition: Condition, seed: int) -> dict[str, NDArray[np.float32]]:
        """What the networks are given for a condition: pixels, planes, style and noise, each with a batch of one.

        Raises
        ------
        InvalidInputError
            The condition has another size than ``crop_size``.
        """
        size = self.crop_size
        if condition.context.shape != (size, size, 3):
            raise InvalidInputError(f"a condition must have shape ({size}, {size}, 3), got {condition.context.shape}")
        config = self.config
        inner = slice(config.margin_px, config.crop_size - config.margin_px)
        wanted = asdict(condition.attributes)
        categories = [-1 if wanted.get(name) is None else wanted[name] for name in config.categories]
        context, mask = coarser(condition.context, condition.replace_mask, config.detail_scale)
        context, mask = context[inner, inner], mask[inner, inner]
        keypoints, visibility = self._keypoints(condition)
        reference = self._reference(condition, seed, context, mask)
        if reference is not None:
            laid, cover = reference
            context = np.where((mask & cover)[..., None], laid, context)
        planes = condition_planes(
            mask[None],
            keypoints[None],
            visibility[None],
            np.array([categories], np.int64),
            n_categories=config.n_categories,
            cell_px=config.cell_px,
            sigma_cells=config.sigma_cells,
        )
        style = self._styles.draw(seed, [wanted.get(name) for name in config.style_tags])[None]
        noise = standard_normal(seed, (1, config.latent_channels, config.size, config.size))
        return {
            "pixels": pixels_to_network([context]),
            "planes": planes,
            "style": style,
            "noise": noise * np.float32(config.noise_scale),
        }

    def _keypoints(self, condition: Condition) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Keypoints in px of the networks' window, and their visibility."""
        config = self.config
        places = condition.keypoints[: config.n_keypoints] / np.float32(config.detail_scale)
        return places - np.float32(config.margin_px), condition.visibility[: config.n_keypoints]

    def _places(self, condition: Condition) -> NDArray[np.float32]:
        """Where the keypoints come to lie, px of the networks' window: the mean ones where nobody says."""
        keypoints, visibility = self._keypoints(condition)
        if self._references is None or (len(visibility) and (visibility > 0).all()):
            return keypoints
        return self._references.mean_keypoints

    def _reference(
        self,
        condition: Condition,
        seed: int,
        context: NDArray[np.uint8],
        mask: NDArray[np.bool_],
        scale: int = 1,
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_]] | None:
        """The rendered face that the sampler starts from, in the networks' window, and where it shows its subject."""
        if self._references is None:
            return None
        config = self.config
        keypoints, visibility = self._keypoints(condition)
        places = keypoints if len(visibility) and (visibility > 0).all() else None
        wanted = asdict(condition.attributes)
        if places is not None and len(places) == len(MIRRORED):
            places = turned_further(places, config.turn)
        chosen_by = places if condition.anchor is None else condition.anchor[: config.n_keypoints]
        tags = config.suiting([wanted.get(name) for name in config.style_tags])
        flags = [wanted.get(name) or 0 for name in config.reference_flags]
        index, mirror = self._references.draw(
            seed, chosen_by, tags, config.n_drawn, config.tag_weights, config.turn_weight, flags
        )
        size = config.crop_size - 2 * config.margin_px
        laid, cover = self._references.lay(index, mirror, places, size, scale, bend_for(seed, config.bend))
        goal = scale * (self._references.mean_keypoints if places is None else places)
        laid = toned(laid, goal, np.ones(len(goal)), condition.attributes.skin_tone)
        laid, cover = fitted(laid, cover, goal, context, mask)
        laid = matched(laid, cover, context, mask)
        if len(goal) == len(MIRRORED):
            laid = hair_coloured(laid, cover, goal, context, mask) if self._bearded(index) else laid
            laid = whiter_teeth(laid, cover, goal) if condition.attributes.expression == TEETH else laid
        return laid, cover

    def _bearded(self, index: int) -> bool:
        """Whether a reference has a beard."""
        flags, bank = self.config.reference_flags, self._references
        if bank is None or BEARD not in flags:
            return False
        return bool(bank.tags[index, len(self.config.style_tags) + flags.index(BEARD)] == 1)

    def _one(self, condition: Condition, seed: int) -> Generated:
        scale, margin = self.config.detail_scale, self.config.detail_scale * self.config.margin_px
        middle = finer(self._drawn(condition, seed), scale)
        inner = slice(margin, self.crop_size - margin)
        known, erased = condition.context[inner, inner], condition.replace_mask[inner, inner]
        reference = self._reference(condition, seed, known, erased, scale) if self.config.detail else None
        if reference is not None:
            age_group = condition.attributes.age_group
            middle = self._detailed(middle, reference, erased, scale * self._places(condition), age_group, seed)
        made = np.pad(middle, ((margin, margin), (margin, margin), (0, 0)), "edge")
        # also around the mask: how the network draws what is known there tells the blender how far its colours are off
        drawn = condition.replace_mask.copy()
        drawn[inner, inner] = True
        pixels = np.where(drawn[..., None], made, condition.context)
        if reference is None:
            return Generated(hold_skin_hue(pixels, condition), seed, self.n_steps)
        places = scale * self._places(condition)
        shown = np.pad(under_hair(edged(reference[1]), places, known, erased, seed), margin)
        reach, band = around_a_face(places + margin, condition.context, condition.replace_mask)
        pixels = continued(pixels, condition.context, condition.replace_mask, shown, reach, band)
        pixels = hold_skin_hue(pixels, condition)
        if condition.attributes.glasses and len(places) == len(MIRRORED):
            pixels = with_glasses(pixels, places + margin, condition.replace_mask, shown, seed)
        return Generated(pixels, seed, self.n_steps)

    def _drawn(self, condition: Condition, seed: int) -> NDArray[np.uint8]:
        """What the networks make of a condition, in their window and at their resolution."""
        given, networks = self.prepare(condition, seed), self.networks
        context, planes, style = networks.encode(given["pixels"]), given["planes"], given["style"]
        latents = sample(
            lambda x, time: networks.denoise(x, context, planes, style, time),
            given["noise"],
            self.n_steps,
            self.config.shift,
        )
        values = networks.decode(latents)
        if not np.isfinite(values).all():
            raise GenerationError(f"the model's output for seed {seed} is not finite")
        return np.asarray(pixels_from_network(values)[0], np.uint8)

    def _detailed(
        self,
        drawn: NDArray[np.uint8],
        reference: tuple[NDArray[np.uint8], NDArray[np.bool_]],
        erased: NDArray[np.bool_],
        places: NDArray[np.floating],
        age_group: int | None,
        seed: int,
    ) -> NDArray[np.uint8]:
        """What was drawn, in the colour and with the fine structure of its reference, and with grains of skin."""
        laid, cover = reference
        config = self.config
        own = settled(drawn, laid, cover & erased, edged(cover))
        sigma_px = config.detail_scale * config.detail_sigma_px
        share = config.detail * fineness(age_group)
        fine = transfer_detail(own, laid, cover, sigma_px=sigma_px, share=share)
        if len(places) != len(MIRRORED):
            return fine
        down = places[3:5].mean(axis=0) - places[:2].mean(axis=0)
        return textured_skin(fine, edged(cover), float(np.hypot(*down)), age_group, seed)


def coarser(
    context: NDArray[np.uint8], mask: NDArray[np.bool_], scale: int
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A context (H, W, 3) and its mask (H, W) with a pixel for each scale x scale; one that is partly erased is all."""
    if scale == 1:
        return context, mask
    height, width = mask.shape
    blocks = mask.reshape(height // scale, scale, width // scale, scale)
    erased = np.asarray(blocks.any(axis=(1, 3)), np.bool_)
    mean = cv2.resize(context, (width // scale, height // scale), interpolation=cv2.INTER_AREA)
    return np.where(erased[..., None], np.uint8(ERASED), mean).astype(np.uint8), erased


def finer(pixels: NDArray[np.uint8], scale: int) -> NDArray[np.uint8]:
    """Pixels (H, W, 3) at ``scale`` times the resolution."""
    size = (scale * pixels.shape[1], scale * pixels.shape[0])
    return pixels if scale == 1 else np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_CUBIC), np.uint8)


def _on_torch(folder: Path, runtime: str, device: str) -> Networks:
    """The networks of a folder on torch."""
    if runtime != "torch":
        raise InvalidInputError(f'runtime must be "onnx" or "torch", got {runtime!r}')
    from understudy.diffusion.torch_networks import TorchNetworks

    return TorchNetworks(folder, device)
