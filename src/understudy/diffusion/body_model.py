"""A model folder for whole people: its config, what the denoiser is told, and its bank of references."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from understudy.diffusion.bodies import BodyBank
from understudy.diffusion.conditioning import mask_plane
from understudy.errors import InvalidInputError, MissingWeightsError

CONFIG = "config.json"
REFERENCES = "references.npz"
FORMAT = 1
N_KEYPOINTS = 17


@dataclass(frozen=True)
class BodyConfig:
    """What the config.json of a model for whole people says."""

    kind: str = "body"
    crop_height: int = 256
    crop_width: int = 128
    latent_channels: int = 16
    cell_px: int = 8
    sigma_cells: float = 0.8
    n_steps: int = 1
    shift: float = 4.0
    noise_scale: float = 0.85
    residual: bool = True
    style_channels: int = 320
    """Of the vector that denoisers of faces are given beside the time; whole people have none, and it is 0."""
    strength: float = 0.5
    """Share of what the denoiser drew; the rest is the reference as it was laid, over the surroundings carried on."""
    detail: float = 1.0
    """Share of the fine structure that comes from what was laid, where the person shows."""
    detail_sigma_px: float = 5.0
    """What is finer than a blur of that width, px."""
    format: int = FORMAT

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the latents, cells."""
        return self.crop_height // self.cell_px, self.crop_width // self.cell_px

    @property
    def n_planes(self) -> int:
        """Planes that the denoiser is told: mask, where the reference shows, keypoints."""
        return 2 + N_KEYPOINTS


def load_body_config(folder: Path) -> BodyConfig:
    """Read the config.json of a model for whole people.

    Raises
    ------
    MissingWeightsError, InvalidInputError
        There is none, or it is of another kind.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise MissingWeightsError(f"{folder} is no model folder: it has no {CONFIG}")
    row: dict[str, Any] = json.loads(path.read_text())
    if row.get("kind") != "body" or row.get("format") != FORMAT:
        raise InvalidInputError(
            f"{path} has kind {row.get('kind')!r} and format {row.get('format')!r}; a generator of bodies reads kind "
            f"'body', format {FORMAT}"
        )
    return BodyConfig(**row)


def is_body(folder: Path) -> bool:
    """Whether a model folder is one for whole people."""
    path = folder / CONFIG
    return path.is_file() and json.loads(path.read_text()).get("kind") == "body"


def save_body_config(folder: Path, config: BodyConfig) -> None:
    """Write a model folder's config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG).write_text(json.dumps(asdict(config), indent=2) + "\n")


def load_bodies(folder: Path) -> BodyBank:
    """Read a model folder's references."""
    path = folder / REFERENCES
    if not path.is_file():
        raise MissingWeightsError(f"{folder} has no {REFERENCES}: it holds the rendered people that are laid in")
    with np.load(path, allow_pickle=False) as file:
        return BodyBank(**{field.name: file[field.name] for field in fields(BodyBank)})


def save_bodies(folder: Path, bank: BodyBank) -> None:
    """Write a model folder's references."""
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / REFERENCES, **{field.name: getattr(bank, field.name) for field in fields(bank)})


def body_planes(
    mask: NDArray[np.bool_],
    cover: NDArray[np.bool_],
    keypoints: NDArray[np.floating],
    visibility: NDArray[np.floating],
    *,
    cell_px: int = 8,
    sigma_cells: float = 0.8,
) -> NDArray[np.float32]:
    """Mask, cover and a bump for every keypoint, (B, 2 + K, h, w).

    Parameters
    ----------
    mask, cover : (B, H, W) bool
        What is erased, and where a reference shows its person.
    keypoints : (B, K, 2) px
    visibility : (B, K), 0 = absent
    """
    height, width = (n // cell_px for n in mask.shape[1:])
    scale = 2 * (sigma_cells * cell_px) ** 2
    points = np.asarray(keypoints, np.float32)
    across = np.exp(-((points[..., 0, None] - (np.arange(width, dtype=np.float32) + 0.5) * cell_px) ** 2) / scale)
    along = np.exp(-((points[..., 1, None] - (np.arange(height, dtype=np.float32) + 0.5) * cell_px) ** 2) / scale)
    shown = (np.asarray(visibility) > 0).astype(np.float32)[..., None, None]
    bumps = along[..., :, None] * across[..., None, :] * shown
    return np.concatenate([mask_plane(mask, cell_px), mask_plane(cover, cell_px), bumps], axis=1).astype(np.float32)
