"""The three networks of a model behind one small protocol, so that the sampler's loop is the same for every runtime."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from understudy.diffusion.reference import ReferenceBank
from understudy.diffusion.style import StyleBank
from understudy.errors import InvalidInputError, MissingWeightsError

CONFIG = "config.json"
STYLES = "styles.npz"
REFERENCES = "references.npz"
FORMAT = 1


@dataclass(frozen=True)
class ModelConfig:
    """What a model folder's config.json says."""

    crop_size: int
    latent_channels: int
    n_keypoints: int
    categories: tuple[str, ...]
    """Names of the categories that are given as planes."""
    n_categories: tuple[int, ...]
    style_tags: tuple[str, ...]
    """Names of what is known of every style."""
    cell_px: int = 8
    margin_cells: int = 0
    """Cells on each side of the crop that the networks do not see: the region ends well inside the crop."""
    sigma_cells: float = 0.8
    n_steps: int = 8
    shift: float = 1.0
    noise_scale: float = 1.0
    """Standard deviation of the noise that sampling starts from; under 1 it is calmer than what training saw."""
    residual: bool = False
    """Whether the denoiser's output is what has to be added to the context's latents to get the clean ones."""
    detail: float = 0.0
    """Share of the fine structure that comes from the reference, where there is one."""
    detail_sigma_px: float = 5.0
    """What is finer than a blur of that width, px."""
    detail_scale: int = 1
    """How many times the networks' resolution a crop has: what is finer than theirs comes from the reference alone."""
    format: int = FORMAT
    reference_flags: tuple[str, ...] = ()
    """Names of what a reference has or has not, after ``style_tags`` in the bank's tags: where some agree in all of
    these, only they are in the draw; what is not carried is not there."""

    @property
    def size(self) -> int:
        """Side of the latents, cells."""
        return self.crop_size // self.cell_px - 2 * self.margin_cells

    tag_weights: tuple[float, ...] = ()
    """For each of ``style_tags``, what one bin's difference counts when a reference is drawn."""
    tag_places: tuple[tuple[float, ...], ...] = ()
    """For each of ``style_tags`` and each of its bins, where between the bank's own tags the references lie that suit;
    the bin itself where left out."""
    turn_weight: float = 0.0
    """What a difference of the head's turn counts when a reference is drawn; see ``ReferenceBank.draw``."""
    n_drawn: int = 24
    """So many subjects are in the draw of a reference."""
    bend: float = 0.0
    """How much a reference's shape is changed by the seed: standard deviation of a magnification."""
    turn: float = 1.0
    """How much further than wanted a reference is turned, since what is drawn shows less of a turn; 1 = as wanted."""

    def suiting(self, wanted: Sequence[int | None]) -> list[float | None]:
        """Where the references lie that suit some bins, in the order of ``style_tags``."""
        places = (*self.tag_places, *[()] * len(wanted))
        return [
            float(of_tag[bin_]) if bin_ is not None and 0 <= bin_ < len(of_tag) else bin_
            for bin_, of_tag in zip(wanted, places, strict=False)
        ]

    @property
    def condition_size(self) -> int:
        """Side of the crops that the generator is given and gives back, px."""
        return self.crop_size * self.detail_scale

    @property
    def margin_px(self) -> int:
        """Width of what the networks do not see on each side of the crop, px."""
        return self.margin_cells * self.cell_px


class Networks(Protocol):
    """Encoder, denoiser and decoder on numpy arrays, float32."""

    def encode(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Pictures (B, 3, H, W) in [-1, 1] to latents (B, C, h, w)."""
        ...

    def denoise(
        self,
        noisy: NDArray[np.float32],
        context: NDArray[np.float32],
        planes: NDArray[np.float32],
        style: NDArray[np.float32],
        time: float,
    ) -> NDArray[np.float32]:
        """Estimate of the clean latents (B, C, h, w) at a time in (0, 1]."""
        ...

    def decode(self, latents: NDArray[np.float32]) -> NDArray[np.float32]:
        """Latents (B, C, h, w) to pictures (B, 3, H, W), about [-1, 1]."""
        ...


def load_config(folder: Path) -> ModelConfig:
    """Read a model folder's config.json."""
    path = folder / CONFIG
    if not path.is_file():
        raise MissingWeightsError(f"{folder} is no model folder: it has no {CONFIG}")
    row: dict[str, Any] = json.loads(path.read_text())
    if row.get("format") != FORMAT:
        raise InvalidInputError(f"{path} has format {row.get('format')!r}, this version reads {FORMAT}")
    return ModelConfig(**{key: _frozen(value) for key, value in row.items()})


def _frozen(value: Any) -> Any:
    """Lists as tuples, at any depth."""
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value


def save_config(folder: Path, config: ModelConfig) -> None:
    """Write a model folder's config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG).write_text(json.dumps(asdict(config), indent=2) + "\n")


def load_styles(folder: Path) -> StyleBank:
    """Read a model folder's styles."""
    path = folder / STYLES
    if not path.is_file():
        raise MissingWeightsError(f"{folder} has no {STYLES}")
    with np.load(path, allow_pickle=False) as file:
        return StyleBank(file["vectors"].astype(np.float32), file["tags"].astype(np.int64))


def save_styles(folder: Path, vectors: NDArray[np.floating], tags: NDArray[np.integer]) -> None:
    """Write a model folder's styles, the vectors as float16."""
    np.savez(folder / STYLES, vectors=np.asarray(vectors, np.float16), tags=np.asarray(tags, np.int16))


def load_references(folder: Path) -> ReferenceBank | None:
    """Read a model folder's references; None where the model works without."""
    path = folder / REFERENCES
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as file:
        return ReferenceBank(**{field.name: file[field.name] for field in fields(ReferenceBank)})


def save_references(folder: Path, bank: ReferenceBank) -> None:
    """Write a model folder's references."""
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(folder / REFERENCES, **{field.name: getattr(bank, field.name) for field in fields(bank)})


def pixels_to_network(pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """(B, 3, H, W) in [-1, 1] of pictures (H, W, 3)."""
    stacked = np.stack(pictures).astype(np.float32).transpose(0, 3, 1, 2)
    return np.ascontiguousarray(stacked / np.float32(127.5) - np.float32(1))


def pixels_from_network(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(B, H, W, 3) uint8 of (B, 3, H, W) in [-1, 1], rounded."""
    scaled = np.clip((values + 1) * np.float32(127.5), 0, 255)
    return np.ascontiguousarray(np.floor(scaled + np.float32(0.5)).astype(np.uint8).transpose(0, 2, 3, 1))
