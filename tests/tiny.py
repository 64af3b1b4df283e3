"""Tiny models with random weights, for tests of the whole pipeline in seconds."""

from __future__ import annotations

from pathlib import Path


def make_tiny_face_model(folder: Path, *, crop_size: int = 128, margin_cells: int = 1, seed: int = 0) -> Path:
    """Write a valid model folder of the embedded face generator, ONNX included; its faces are noise.

    Returns
    -------
    Path
        The folder, for ``LatentDiffusionGenerator``.
    """
    import numpy as np
    import torch

    from understudy.diffusion.autoencoder import PatchAutoencoder, set_principal_components
    from understudy.diffusion.denoiser import make_unet
    from understudy.diffusion.networks import ModelConfig, save_references
    from understudy.diffusion.torch_networks import save_model
    from understudy.export.onnx import export_onnx

    torch.manual_seed(seed)
    config = ModelConfig(
        crop_size=crop_size,
        latent_channels=4,
        n_keypoints=5,
        categories=("skin_tone", "head_pose"),
        n_categories=(6, 5),
        style_tags=("skin_tone",),
        n_steps=2,
        margin_cells=margin_cells,
        residual=True,
        detail=0.5,
        reference_flags=("beard",),
    )
    autoencoder = PatchAutoencoder(4, (8, 8), n_norm_groups=4)
    set_principal_components(autoencoder, torch.rand(500, 3, 8, 8) * 2 - 1)
    torch.nn.init.normal_(autoencoder.decoder.conv_out.weight, std=0.05)
    unet = make_unet(4, 17, (8, 8), size=config.size, n_norm_groups=4, head_channels=4)
    styles = np.random.default_rng(seed).normal(size=(30, 32))
    save_model(folder, config, autoencoder, unet, styles, np.arange(30)[:, None] % 6)
    save_references(folder, tiny_references(seed))
    export_onnx(folder)
    return folder


def tiny_references(seed: int = 0, n: int = 4):  # type: ignore[no-untyped-def]
    """Noise with keypoints where a frontal face has them: a bank of references."""
    import cv2
    import numpy as np

    from understudy.diffusion.reference import ReferenceBank

    random = np.random.default_rng(seed)
    points = np.array([[20, 22], [44, 22], [32, 34], [23, 46], [41, 46]], np.float32)
    files = [
        cv2.imencode(".png", random.integers(0, 256, (64, 64, 4), dtype=np.uint8) | np.uint8([0, 0, 0, 255]))[1].ravel()
        for _ in range(n)
    ]
    return ReferenceBank(
        files=np.concatenate(files),
        ends=np.cumsum([len(f) for f in files]),
        keypoints=points + random.normal(0, 1.5, (n, 5, 2)).astype(np.float32),
        ellipses=np.tile(np.array([32, 34, 22, 28, 0], np.float32), (n, 1)),
        tags=np.stack([np.arange(n) % 6, np.arange(n) % 2], axis=1),
        mean_keypoints=points * 1.2,
        subjects=np.arange(n),
    )
