"""What may lie behind somebody: the surroundings carried on into an erased region, from known pixels alone."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from understudy.types import ERASED

SIGMAS_PX = (3.0, 9.0, 27.0, 81.0)
FADE_PX = 6.0
"""Depth into the region at which mirrored texture has given way to smooth colour, by a factor e."""


def smooth_surroundings(pixels: NDArray[np.uint8], unknown: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Unknown pixels as means of the known ones nearby, the nearest scale that has any.

    Knutsson and Westin 1993, "Normalized and differential convolution", doi:10.1109/CVPR.1993.341081.

    Parameters
    ----------
    pixels : (H, W, 3) uint8
        What lies under ``unknown`` is not read.
    unknown : (H, W) bool

    Returns
    -------
    (H, W, 3) float32, grey levels; known pixels as they are, ``ERASED`` where nothing at all is known.
    """
    known = (~unknown).astype(np.float32)
    values = pixels.astype(np.float32) * known[..., None]
    if not known.any():
        return np.full(pixels.shape, ERASED, np.float32)
    filled = np.broadcast_to(values.sum(axis=(0, 1)) / known.sum(), pixels.shape).astype(np.float32)
    for sigma in reversed(SIGMAS_PX):
        weight = cv2.GaussianBlur(known, (0, 0), sigma)
        mean = cv2.GaussianBlur(values, (0, 0), sigma) / np.maximum(weight, 1e-4)[..., None]
        trust = np.clip(weight * 6, 0, 1)[..., None]
        filled = np.asarray(filled + trust * (mean - filled), np.float32)
    return np.asarray(np.where(unknown[..., None], filled, pixels), np.float32)


def carry_on(pixels: NDArray[np.uint8], unknown: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Surroundings carried on into the unknown region: mirrored at its edge, smooth further in.

    Edges and tiles go on for some pixels; nothing under ``unknown`` is read.

    Parameters
    ----------
    pixels : (H, W, 3) uint8
    unknown : (H, W) bool
    """
    smooth = smooth_surroundings(pixels, unknown)
    if not unknown.any() or unknown.all():
        return np.clip(np.rint(smooth), 0, 255).astype(np.uint8)
    depth, label = cv2.distanceTransformWithLabels(
        unknown.astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    rows, columns = np.nonzero(~unknown)
    place = np.zeros((int(label.max()) + 1, 2), np.int64)
    place[label[rows, columns]] = np.stack([rows, columns], axis=-1)
    nearest = place[label]  # (H, W, 2) of the known pixel that is nearest
    here = np.moveaxis(np.indices(unknown.shape), 0, -1)
    limit = np.array(unknown.shape) - 1
    mirrored = np.clip(2 * nearest - here, 0, limit)
    known = ~unknown[mirrored[..., 0], mirrored[..., 1]]
    source = np.where(known[..., None], mirrored, nearest)
    texture = cv2.GaussianBlur(pixels[source[..., 0], source[..., 1]].astype(np.float32), (0, 0), 0.8)
    share = np.exp(-np.maximum(depth - 1, 0) / FADE_PX)[..., None].astype(np.float32)
    filled = smooth + share * (texture - smooth)
    return np.where(unknown[..., None], np.clip(np.rint(filled), 0, 255), pixels).astype(np.uint8)
