"""The embedded generator of whole people: a rendered person laid into the region, made one with it by diffusion."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from understudy.diffusion.bodies import compose, lay_person, wanted_person
from understudy.diffusion.body_model import CONFIG, REFERENCES, body_planes, load_bodies, load_body_config
from understudy.diffusion.networks import Networks, pixels_from_network, pixels_to_network
from understudy.diffusion.reference import edged, transfer_detail
from understudy.diffusion.sampler import sample
from understudy.errors import GenerationError, InvalidInputError
from understudy.generate.body_tone import skin_to
from understudy.generate.latent import ONNX_PARTS, OnnxNetworks, onnx_path
from understudy.generate.rim import continued
from understudy.runtime.onnx import CPU
from understudy.seeding import standard_normal
from understudy.types import Condition, Generated, OutcomeKind


class BodyLatent:
    """Invent a whole person for every condition.

    A reference, drawn by the seed among those whose shape suits the region and the keypoints, is laid in over
    surroundings that are carried on from the context; a latent denoiser then makes one picture of both. The noise
    depends on the seed alone. Each condition is worked on alone, whoever shares a call.

    Parameters
    ----------
    folder : path
        A model folder: config.json, references.npz, onnx/ and, for torch, autoencoder/ and denoiser/.
    runtime : "onnx" or "torch"
        "onnx" needs no torch.
    n_steps : int, optional
        Steps of the sampler; the folder's config says where left out. 0 leaves the reference as it was laid.
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

    name = "body_latent"
    batch_size = 1
    min_face_px = 48.0
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
        self.config = load_body_config(self._folder)
        self._bank = load_bodies(self._folder)
        self.crop_size, self.crop_height = self.config.crop_width, self.config.crop_height
        self.n_steps = self.config.n_steps if n_steps is None else n_steps
        if self.n_steps < 0:
            raise InvalidInputError(f"n_steps must be 0 or more, got {self.n_steps}")
        self.runtime = runtime
        self.networks: Networks | None = None
        if self.n_steps:
            self.networks = _networks(self._folder, runtime, self.config.residual, n_threads, providers, device)

    def __call__(self, conditions: Sequence[Condition], seeds: Sequence[int]) -> list[Generated]:
        """One person for each condition.

        Raises
        ------
        GenerationError
            A region is nothing that this generator can do (lying, nothing known around it), or a result is not finite.
        InvalidInputError
            A condition has another size than the model's crops.
        """
        return [self._one(condition, seed) for condition, seed in zip(conditions, seeds, strict=True)]

    def digests(self) -> Mapping[str, str]:
        """SHA-256 of every file of the model that is in use."""
        parts = [CONFIG, REFERENCES]
        if self.networks is not None and self.runtime == "onnx":
            parts += [onnx_path(name, "fp32") for name in ONNX_PARTS]
        elif self.networks is not None:
            parts += [f"{name}/diffusion_pytorch_model.safetensors" for name in ("autoencoder", "denoiser")]
        root = self._folder.name
        return {f"{root}/{part}": hashlib.sha256((self._folder / part).read_bytes()).hexdigest() for part in parts}

    def lay(self, condition: Condition, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """The context with a reference laid into its region, and where that shows its person.

        Raises
        ------
        GenerationError, InvalidInputError
        """
        shape = (self.crop_height, self.crop_size, 3)
        if condition.context.shape != shape:
            raise InvalidInputError(f"a condition must have shape {shape}, got {condition.context.shape}")
        told = condition.attributes
        wanted = wanted_person(
            condition.replace_mask,
            condition.keypoints,
            condition.visibility,
            (told.skin_tone, told.age_group, told.perceived_gender_expression),
        )
        index, mirror, placed = self._bank.draw(seed, wanted)
        colours, share = lay_person(self._bank.picture(index, mirror), placed, *shape[:2])
        laid, cover = compose(condition.context, condition.replace_mask, colours, share)
        points, shown, _ = self._bank.points(index, mirror)
        if not shown[:3].all():
            return laid, cover
        return skin_to(laid, cover, points[:3] * np.array(placed.scale) + np.array(placed.move), told.skin_tone), cover

    def _one(self, condition: Condition, seed: int) -> Generated:
        laid, cover = self.lay(condition, seed)
        if self.networks is None:
            return Generated(laid, seed, 0, cover.copy())
        config, networks = self.config, self.networks
        planes = body_planes(
            condition.replace_mask[None],
            cover[None],
            condition.keypoints[None],
            condition.visibility[None],
            cell_px=config.cell_px,
            sigma_cells=config.sigma_cells,
        )
        context = networks.encode(pixels_to_network([laid]))
        style = np.zeros((1, config.style_channels), np.float32)
        noise = standard_normal(seed, context.shape) * np.float32(config.noise_scale)
        latents = sample(
            lambda x, time: networks.denoise(x, context, planes, style, time), noise, self.n_steps, config.shift
        )
        values = networks.decode(latents)
        if not np.isfinite(values).all():
            raise GenerationError(f"the model's output for seed {seed} is not finite")
        joined = self.joined(laid, cover, pixels_from_network(values)[0])
        whole = continued(joined, condition.context, condition.replace_mask, edged(cover))
        return Generated(whole, seed, self.n_steps, cover.copy())

    def joined(self, laid: NDArray[np.uint8], cover: NDArray[np.bool_], drawn: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """What was drawn and what was laid, by the model's shares."""
        config = self.config
        detailed = transfer_detail(drawn, laid, cover, sigma_px=config.detail_sigma_px, share=config.detail)
        mixed = laid + np.float32(config.strength) * (detailed.astype(np.float32) - laid)
        return np.clip(np.rint(mixed), 0, 255).astype(np.uint8)


def _networks(
    folder: Path, runtime: str, residual: bool, n_threads: int, providers: Sequence[str], device: str
) -> Networks:
    """The networks of a folder on onnxruntime or torch."""
    if runtime == "onnx":
        return OnnxNetworks(folder, n_threads, providers)
    if runtime != "torch":
        raise InvalidInputError(f'runtime must be "onnx" or "torch", got {runtime!r}')
    from understudy.diffusion.torch_networks import TorchNetworks

    return TorchNetworks(folder, device, residual=residual)
