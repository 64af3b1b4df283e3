"""Between a face and the edge of its mask: the texture of the surroundings, continued."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

REACH = 0.035
"""Depth at which a mirrored pixel and what was drawn weigh alike, of the square root of the mask's area."""
WHOLE = 0.6
"""A band that is never left, of the same length: no mask is deeper."""
_UNLIKE = 40.0
"""Grey levels between what lies across the edge and what was drawn from which on its structure does not suit."""
_FINE = 0.03
"""Blur that parts fine structure from colour, of the same length."""


def continued(
    drawn: NDArray[np.uint8],
    context: NDArray[np.uint8],
    mask: NDArray[np.bool_],
    shown: NDArray[np.floating],
    reach: NDArray[np.floating] | float = REACH,
    band: NDArray[np.floating] | float = WHOLE,
) -> NDArray[np.uint8]:
    """Continue hair, cloth and background into the mask, where no face is shown.

    Each pixel takes the fine structure of the known one that lies as far outside the mask's edge as it lies inside;
    near the edge its colour too. Deeper in, colours are those that were drawn, whose own fine structure a small network
    leaves soft; where they are other ones than across the edge (hair drawn beside a lawn), no structure is taken.
    Outside the mask lies the context itself, so that a blender finds nothing to correct but where a face meets the
    edge. No erased pixel is read.

    Parameters
    ----------
    drawn, context : (H, W, 3) uint8
    mask : (H, W) bool
        What is erased of the context.
    shown : (H, W) float in [0, 1]
        How much of a pixel is the face, which stays as it was drawn.
    reach : (H, W) float, or one
        Depth at which colours from across the edge and drawn ones weigh alike, of the square root of the mask's area.
    band : (H, W) float, or one
        How far outside the edge pixels are taken from, likewise: deeper in, the band is mirrored back and forth, since
        behind thin hair lies a wall.
    """
    if not mask.any() or mask.all():
        return drawn
    length = float(np.sqrt(mask.sum()))
    mirrored, depth = _mirrored(context, mask, band * length)
    coarse = cv2.GaussianBlur(mirrored, (0, 0), _FINE * length)
    near = np.exp2(-depth / (reach * length)).astype(np.float32)[..., None]
    off = np.abs(coarse - cv2.GaussianBlur(drawn, (0, 0), _FINE * length)).mean(axis=-1, keepdims=True)
    alike = np.exp(-((off / _UNLIKE) ** 2))
    textured = near * mirrored + (1 - near) * (drawn + alike * (mirrored - coarse))
    weight = (1 - shown).astype(np.float32)[..., None]
    mixed = drawn + weight * (textured - drawn)
    return np.asarray(np.clip(np.rint(mixed), 0, 255), np.uint8)


def _mirrored(
    context: NDArray[np.uint8], mask: NDArray[np.bool_], band_px: NDArray[np.floating] | float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The context with its erased pixels taken from across the mask's edge (H, W, 3), and their depth in px (H, W)."""
    erased = mask.astype(np.uint8)
    _, labels = cv2.distanceTransformWithLabels(erased, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    rows, columns = np.nonzero(~mask)
    nearest = np.zeros((labels.max() + 1, 2), np.int64)
    nearest[labels[rows, columns]] = np.stack([rows, columns], axis=1)
    edge = nearest[labels]
    known = context[edge[..., 0], edge[..., 1]].astype(np.float32)
    depth, outside = _distance(erased), _distance(1 - erased)
    signed = cv2.GaussianBlur(depth - outside, (0, 0), 2)
    down, right = np.gradient(signed)
    slope = np.maximum(np.hypot(down, right), 0.3)
    folded = band_px - np.abs(np.mod(signed, 2 * band_px) - band_px)
    folded = np.where(signed < band_px, signed, folded)
    away = (-(signed + folded) / slope**2).astype(np.float32)
    y, x = np.mgrid[0 : mask.shape[0], 0 : mask.shape[1]].astype(np.float32)
    source_x, source_y = x + away * right, y + away * down
    across = cv2.remap(known, source_x, source_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    return np.where(mask[..., None], across, known).astype(np.float32), depth


def _distance(inside: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Distance to the nearest zero, px; squares are whole numbers, which OpenCV misses by another bit in every call."""
    found = cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.sqrt(np.rint(found.astype(np.float64) ** 2)).astype(np.float32)
