"""Colour, light and grain matching from the ring outside the mask, as a membrane that fades inwards."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from understudy.blend.silhouette import How, Outline
from understudy.geometry import Region, copy_under, paste_window
from understudy.seeding import standard_normal

_WORK_PX = 48
"""Longer side of the grid on which the membrane is solved."""


class MembraneBlender:
    """Adds a smooth correction to the understudy, so that it meets its surroundings at the mask's edge.

    The difference between the canvas and the understudy's own rendering of the surroundings is known in a ring outside
    the mask. It is spread inwards (push-pull interpolation, Gortler et al. 1996, doi:10.1145/237170.237200) and fades
    with the distance from the edge to nothing. Nothing under any mask is read.

    Parameters
    ----------
    ring : float
        Width of the ring over the longer side of the region.
    fade : float
        Distance over which the local correction fades, over the longer side of the region.
    limit : float
        Largest correction, grey levels; of what is much further off (a wall behind a cheek) next to nothing is taken.
    grain : bool
        Whether noise of the ring's strength is added, since a generator's skin is cleaner than a camera's.
    silhouette : "box", "hull" or "dilated"
        What is erased for a body; see ``Outline``. Faces have a region of their own.
    silhouette_margin : float
        Its margin.
    """

    def __init__(
        self,
        ring: float = 0.05,
        fade: float = 0.04,
        limit: float = 40.0,
        grain: bool = True,
        silhouette: How = "hull",
        silhouette_margin: float = 0.04,
    ) -> None:
        self.ring = ring
        self.fade = fade
        self.limit = limit
        self.grain = grain
        self.outline = Outline(silhouette, silhouette_margin)

    def __call__(
        self,
        canvas: NDArray[np.uint8],
        unknown: NDArray[np.bool_],
        region: Region,
        generated: NDArray[np.uint8],
        image_from_crop: NDArray[np.float64],
        seed: int,
    ) -> NDArray[np.uint8]:
        """Pixels for the region's window; those under its mask are to be used.

        Parameters
        ----------
        canvas : (H, W, 3) uint8
        unknown : (H, W) bool
            Pixels of the canvas that are erased, those of this region included.
        region : Region
        generated : (size, size, 3) uint8
        image_from_crop : (2, 3)
        seed : int
            Of the grain.
        """
        height, width = unknown.shape
        x0, y0, x1, y1 = region.window
        longer = max(x1 - x0, y1 - y0)
        pad = max(3, round(self.ring * longer))
        outer = (max(x0 - pad, 0), max(y0 - pad, 0), min(x1 + pad, width), min(y1 + pad, height))
        rows, columns = slice(outer[1], outer[3]), slice(outer[0], outer[2])
        mask = np.zeros((outer[3] - outer[1], outer[2] - outer[0]), np.bool_)
        inner = (slice(y0 - outer[1], y1 - outer[1]), slice(x0 - outer[0], x1 - outer[0]))
        mask[inner] = region.mask
        placed = paste_window(image_from_crop, generated, outer)  # (h, w, 3)
        blocked = unknown[rows, columns] | mask
        ring = _grown(mask, pad) & ~blocked
        if ring.any():
            known = np.zeros((*mask.shape, 3), np.uint8)
            copy_under(~blocked, canvas[rows, columns], known)
            context = known.astype(np.float32)
            placed = placed + self._correction(context - placed, ring, mask, longer)
            if self.grain:
                placed = placed + _grain(context, placed, ring, mask, seed)
        return np.clip(np.rint(placed[inner]), 0, 255).astype(np.uint8)

    def _correction(
        self, difference: NDArray[np.float32], ring: NDArray[np.bool_], mask: NDArray[np.bool_], longer: int
    ) -> NDArray[np.float32]:
        """Full correction at the edge, none further in: a coloured wall must not tint a face.  (h, w, 3)"""
        unlike = np.abs(difference).mean(axis=-1, keepdims=True) / max(self.limit, 1e-6)
        # hair or a wall behind a cheek is no error of its colour: what is too far off counts as nothing to correct
        local = spread(np.clip(difference, -self.limit, self.limit) * np.exp(-(unlike**4)), ring)
        depth = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 3)
        weight = np.exp(-np.maximum(depth - 1, 0) / max(self.fade * longer, 1.0)).astype(np.float32)[..., None]
        return np.asarray(local * weight, np.float32)


def spread(values: NDArray[np.float32], known: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Interpolate values smoothly from where they are known to everywhere, by push-pull on a small grid.

    Parameters
    ----------
    values : (h, w, C)
    known : (h, w) bool, True at least once
    """
    height, width = known.shape
    scale = min(1.0, _WORK_PX / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    weight = cv2.resize(known.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    total = cv2.resize(np.where(known[..., None], values, 0).astype(np.float32), size, interpolation=cv2.INTER_AREA)
    filled = _pull(
        np.asarray(total, np.float32).reshape(size[1], size[0], -1),
        np.asarray(weight, np.float32).reshape(size[1], size[0]),
    )
    return np.asarray(cv2.resize(filled, (width, height), interpolation=cv2.INTER_LINEAR), np.float32).reshape(
        values.shape
    )


def _pull(total: NDArray[np.float32], weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Weighted sums and weights -> values everywhere: coarser levels fill what this level does not know."""
    height, width = weight.shape
    own = total / np.maximum(weight, 1e-6)[..., None]
    if max(height, width) == 1:
        return np.asarray(own, np.float32)
    size = ((width + 1) // 2, (height + 1) // 2)
    coarse = _pull(
        np.asarray(cv2.resize(total, size, interpolation=cv2.INTER_AREA), np.float32).reshape(size[1], size[0], -1),
        np.asarray(cv2.resize(weight, size, interpolation=cv2.INTER_AREA), np.float32).reshape(size[1], size[0]),
    )
    below = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR).reshape(height, width, -1)
    trust = np.clip(weight * 2, 0, 1)[..., None]
    return np.asarray(own * trust + below * (1 - trust), np.float32)


def _grown(mask: NDArray[np.bool_], by_px: int) -> NDArray[np.bool_]:
    distance = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 3)
    return np.asarray(distance <= by_px)


def _noise_sd(pixels: NDArray[np.float32], where: NDArray[np.bool_]) -> float:
    """Standard deviation of pixel noise in grey levels (Immerkaer 1996, doi:10.1006/cviu.1996.0060).

    Read from the weakest third of the responses, so that texture and edges do not count as noise.
    """
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    grey = (pixels[..., 0] + pixels[..., 1] + pixels[..., 2]) / np.float32(3)
    response = cv2.filter2D(grey, -1, kernel, borderType=cv2.BORDER_REFLECT)
    values = np.abs(response[where])
    return float(np.quantile(values, 0.3) / 0.3853 / 6) if len(values) else 0.0  # 30 % of |z| lie under 0.3853


def _grain(
    context: NDArray[np.float32],
    placed: NDArray[np.float32],
    ring: NDArray[np.bool_],
    mask: NDArray[np.bool_],
    seed: int,
) -> NDArray[np.float32]:
    """Noise that lifts the understudy to the grain of its surroundings; 4 grey levels at most.  (h, w, 1)"""
    sure = cv2.erode(ring.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=0) > 0
    if int(sure.sum()) < 64:
        return np.zeros((*mask.shape, 1), np.float32)
    missing = _noise_sd(context, sure) ** 2 - _noise_sd(placed, mask) ** 2
    sd = float(np.clip(np.sqrt(max(missing, 0.0)), 0, 4))
    return standard_normal(seed ^ 0x6772_6169_6E, (*mask.shape, 1)) * np.float32(sd)
