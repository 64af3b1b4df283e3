"""The embedded generator: latent diffusion on 128 px crops, with onnxruntime (no torch) or with torch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from understudy.diffusion.conditioning import condition_planes
from understudy.diffusion.networks import (
    CONFIG,
    STYLES,
    Networks,
    load_config,
    load_styles,
    pixels_from_network,
    pixels_to_network,
)
from understudy.diffusion.sampler import sample
from understudy.errors import GenerationError, InvalidInputError, MissingWeightsError
from understudy.runtime.onnx import CPU, open_session
from understudy.seeding import standard_normal
from understudy.types import Condition, Generated, OutcomeKind

ONNX_PARTS = ("encoder", "denoiser", "decoder")


class OnnxNetworks:
    """The networks of a model folder on onnxruntime.

    Parameters
    ----------
    folder : Path
    n_threads : int
        Threads of one operator.
    providers : sequence of str
        onnxruntime's execution providers in the order of preference.
    """

    def __init__(self, folder: Path, n_threads: int = 1, providers: Sequence[str] = (CPU,)) -> None:
        paths = {name: folder / "onnx" / f"{name}.onnx" for name in ONNX_PARTS}
        for path in paths.values():
            if not path.is_file():
                raise MissingWeightsError(f"{path} is not there: export the model to ONNX, or use runtime=torch")
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

    The noise and the style depend on the seed alone. Conditions are worked on one after the other, so that a result
    does not depend on who shares a call.

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

    Raises
    ------
    MissingWeightsError
        A file of the model is not there.
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
    ) -> None:
        self._folder = Path(folder)
        self.config = load_config(self._folder)
        self._styles = load_styles(self._folder)
        self.crop_size = self.config.crop_size
        self.n_steps = self.config.n_steps if n_steps is None else n_steps
        if self.n_steps < 1:
            raise InvalidInputError(f"n_steps must be 1 or more, got {self.n_steps}")
        self.runtime = runtime
        self._networks = _networks(self._folder, runtime, n_threads, providers, device)

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
        parts = [CONFIG, STYLES]
        if self.runtime == "onnx":
            parts += [f"onnx/{name}.onnx" for name in ONNX_PARTS]
        else:
            parts += [f"{name}/diffusion_pytorch_model.safetensors" for name in ("autoencoder", "denoiser")]
        root = self._folder.name
        return {f"{root}/{part}": hashlib.sha256((self._folder / part).read_bytes()).hexdigest() for part in parts}

    def _one(self, condition: Condition, seed: int) -> Generated:
        size = self.crop_size
        if condition.context.shape != (size, size, 3):
            raise InvalidInputError(f"a condition must have shape ({size}, {size}, 3), got {condition.context.shape}")
        config, networks = self.config, self._networks
        inner = slice(config.margin_px, size - config.margin_px)
        wanted = asdict(condition.attributes)
        categories = [-1 if wanted.get(name) is None else wanted[name] for name in config.categories]
        planes = condition_planes(
            condition.replace_mask[None, inner, inner],
            condition.keypoints[None, : config.n_keypoints] - np.float32(config.margin_px),
            condition.visibility[None, : config.n_keypoints],
            np.array([categories], np.int64),
            n_categories=config.n_categories,
            cell_px=config.cell_px,
            sigma_cells=config.sigma_cells,
        )
        context = networks.encode(pixels_to_network([condition.context[inner, inner]]))
        style = self._styles.draw(seed, [wanted.get(name) for name in config.style_tags])[None]
        noise = standard_normal(seed, (1, config.latent_channels, config.size, config.size))
        noise = noise * np.float32(config.noise_scale)
        latents = sample(
            lambda x, time: networks.denoise(x, context, planes, style, time), noise, self.n_steps, config.shift
        )
        values = networks.decode(latents)
        if not np.isfinite(values).all():
            raise GenerationError(f"the model's output for seed {seed} is not finite")
        middle = pixels_from_network(values)[0]
        made = np.pad(middle, ((config.margin_px,) * 2, (config.margin_px,) * 2, (0, 0)), "edge")
        # also around the mask: how the network draws what is known there tells the blender how far its colours are off
        drawn = condition.replace_mask.copy()
        drawn[inner, inner] = True
        pixels = np.where(drawn[..., None], made, condition.context)
        return Generated(pixels, seed, self.n_steps)


def _networks(
    folder: Path, runtime: Literal["onnx", "torch"], n_threads: int, providers: Sequence[str], device: str
) -> Networks:
    """The networks of a folder on one of the two runtimes."""
    if runtime == "onnx":
        return OnnxNetworks(folder, n_threads, providers)
    if runtime == "torch":
        from understudy.diffusion.torch_networks import TorchNetworks

        return TorchNetworks(folder, device)
    raise InvalidInputError(f'runtime must be "onnx" or "torch", got {runtime!r}')
