"""A model folder's safetensors on torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import UNet2DModel
from numpy.typing import NDArray

from understudy.diffusion.autoencoder import PatchAutoencoder
from understudy.diffusion.networks import ModelConfig, load_config, save_config, save_styles
from understudy.errors import MissingWeightsError

AUTOENCODER = "autoencoder"
DENOISER = "denoiser"
WEIGHTS = tuple(f"{name}/diffusion_pytorch_model.safetensors" for name in (AUTOENCODER, DENOISER))
"""The weight files of a model folder."""


def load_torch_parts(folder: Path) -> tuple[PatchAutoencoder, UNet2DModel]:
    """Autoencoder and UNet of a model folder, float32, in evaluation mode."""
    for name in (AUTOENCODER, DENOISER):
        if not (folder / name / "diffusion_pytorch_model.safetensors").is_file():
            raise MissingWeightsError(f"{folder / name} holds no diffusion_pytorch_model.safetensors")
    autoencoder = PatchAutoencoder.from_pretrained(folder / AUTOENCODER, use_safetensors=True, low_cpu_mem_usage=False)
    unet = UNet2DModel.from_pretrained(folder / DENOISER, use_safetensors=True, low_cpu_mem_usage=False)
    return autoencoder.float().eval(), unet.float().eval()


def save_model(
    folder: Path,
    config: ModelConfig,
    autoencoder: PatchAutoencoder,
    unet: UNet2DModel,
    style_vectors: NDArray[np.floating],
    style_tags: NDArray[np.integer],
) -> None:
    """Write a model folder without ONNX: config, styles, and float16 safetensors in diffusers' folder format.

    Parameters
    ----------
    folder : Path
    config : ModelConfig
    autoencoder, unet
        Their weights are rounded to float16, in the given networks too.
    style_vectors : (N, 4 * first width of the UNet)
        What is added to the time embedding.
    style_tags : (N, T), -1 = not known
    """
    save_config(folder, config)
    save_styles(folder, style_vectors, style_tags)
    for name, part in ((AUTOENCODER, autoencoder), (DENOISER, unet)):
        part.half().save_pretrained(folder / name, safe_serialization=True)
        part.float()


class TorchNetworks:
    """The networks of a model folder on torch.

    Parameters
    ----------
    folder : Path
    device : str
        "cpu", "cuda", ...
    residual : bool, optional
        Whether the denoiser's output is added to the context's latents; the folder's config says where left out.
    """

    def __init__(self, folder: Path, device: str = "cpu", *, residual: bool | None = None) -> None:
        autoencoder, unet = load_torch_parts(folder)
        self.autoencoder, self.unet = autoencoder.to(device), unet.to(device)
        self.device = device
        self.residual = load_config(folder).residual if residual is None else residual

    @torch.inference_mode()
    def encode(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Pictures to latents."""
        return self._back(self.autoencoder.encode(self._tensor(pixels)))

    @torch.inference_mode()
    def denoise(
        self,
        noisy: NDArray[np.float32],
        context: NDArray[np.float32],
        planes: NDArray[np.float32],
        style: NDArray[np.float32],
        time: float,
    ) -> NDArray[np.float32]:
        """Estimate of the clean latents at a time."""
        x = torch.cat([self._tensor(part) for part in (noisy, context, planes)], dim=1)
        steps = torch.full((len(x),), time * 1000, device=self.device)
        clean = self.unet(x, steps, class_labels=self._tensor(style)).sample
        return self._back(clean + self._tensor(context) if self.residual else clean)

    @torch.inference_mode()
    def decode(self, latents: NDArray[np.float32]) -> NDArray[np.float32]:
        """Latents to pictures."""
        return self._back(self.autoencoder.decode(self._tensor(latents)))

    def _tensor(self, array: NDArray[np.float32]) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device)

    def _back(self, tensor: torch.Tensor) -> NDArray[np.float32]:
        return np.asarray(tensor.float().cpu().numpy(), np.float32)
