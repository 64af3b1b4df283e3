"""What the denoiser is told beside the noisy latents, as planes of numbers: numpy, the same for every runtime."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from understudy.errors import InvalidInputError


def mask_plane(replace_mask: NDArray[np.bool_], cell_px: int) -> NDArray[np.float32]:
    """Share of every latent cell that is replaced, (B, 1, h, w), of masks (B, H, W)."""
    n, height, width = replace_mask.shape
    cells = replace_mask.reshape(n, height // cell_px, cell_px, width // cell_px, cell_px)
    return np.asarray(cells.mean(axis=(2, 4), dtype=np.float32)[:, None], np.float32)


def keypoint_planes(
    keypoints: NDArray[np.floating], visibility: NDArray[np.floating], size: int, cell_px: int, sigma_cells: float
) -> NDArray[np.float32]:
    """A Gaussian bump for every keypoint, (B, K, size, size); all zero where a keypoint is absent.

    Parameters
    ----------
    keypoints : (B, K, 2) px
    visibility : (B, K), 0 = absent
    size : int
        Side of the planes, cells.
    cell_px : int
    sigma_cells : float
    """
    middle = (np.arange(size, dtype=np.float32) + 0.5) * cell_px
    scale = 2 * (sigma_cells * cell_px) ** 2
    points = np.asarray(keypoints, np.float32)
    across = np.exp(-((points[..., 0, None] - middle) ** 2) / scale)  # (B, K, w)
    along = np.exp(-((points[..., 1, None] - middle) ** 2) / scale)  # (B, K, h)
    shown = (np.asarray(visibility) > 0).astype(np.float32)[..., None, None]
    return np.asarray(along[..., :, None] * across[..., None, :] * shown, np.float32)


def category_planes(categories: NDArray[np.integer], n_categories: Sequence[int], size: int) -> NDArray[np.float32]:
    """One constant plane for every bin, (B, sum of bins, size, size); all zero where a category is not carried (-1)."""
    if categories.ndim != 2 or categories.shape[1] != len(n_categories):
        raise InvalidInputError(f"categories must be (B, {len(n_categories)}), got {categories.shape}")
    parts = []
    for column, n in zip(categories.T, n_categories, strict=True):
        if (column >= n).any() or (column < -1).any():
            raise InvalidInputError(f"a category must be -1 (not carried) or 0 to {n - 1}, got {column.tolist()}")
        parts.append((column[:, None] == np.arange(n)).astype(np.float32))
    flat = np.concatenate(parts, axis=1)
    return np.ascontiguousarray(np.broadcast_to(flat[..., None, None], (*flat.shape, size, size)))


def condition_planes(
    replace_mask: NDArray[np.bool_],
    keypoints: NDArray[np.floating],
    visibility: NDArray[np.floating],
    categories: NDArray[np.integer],
    *,
    n_categories: Sequence[int],
    cell_px: int = 8,
    sigma_cells: float = 0.8,
) -> NDArray[np.float32]:
    """Mask, keypoints and categories as planes, (B, 1 + K + sum of bins, H / cell_px, W / cell_px)."""
    size = replace_mask.shape[1] // cell_px
    return np.concatenate(
        [
            mask_plane(replace_mask, cell_px),
            keypoint_planes(keypoints, visibility, size, cell_px, sigma_cells),
            category_planes(categories, n_categories, size),
        ],
        axis=1,
    )
