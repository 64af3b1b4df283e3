"""What may lie behind somebody: the surroundings carried on into an erased region, from known pixels alone."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from understudy.types import ERASED

SIGMAS_PX = (3.0, 9.0, 27.0, 81.0)
FADE_PX = 7.0
"""Depth into the region at which mirrored texture has given way to smooth colour, by a factor e."""
MAX_STRIP_PX = 24


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
    """Surroundings carried on into the unknown region: mirrored along each row near its edge, smooth further in.

    Horizons, kerbs and tiles go on for some pixels; nothing under ``unknown`` is read.

    Parameters
    ----------
    pixels : (H, W, 3) uint8
    unknown : (H, W) bool
    """
    smooth = smooth_surroundings(pixels, unknown)
    depth = cv2.distanceTransform(unknown.astype(np.uint8), cv2.DIST_L2, 3)
    rows = np.flatnonzero(unknown.any(axis=1) & ~unknown.all(axis=1))
    texture, weight = smooth.copy(), np.zeros(unknown.shape, np.float32)
    for y in rows:
        texture[y], weight[y] = _mirrored_row(pixels[y].astype(np.float32), smooth[y], unknown[y])
    share = (weight * np.exp(-np.maximum(depth - 1, 0) / FADE_PX))[..., None]
    filled = smooth + share * (texture - smooth)
    return np.where(unknown[..., None], np.clip(np.rint(filled), 0, 255), pixels).astype(np.uint8)


def _mirrored_row(
    row: NDArray[np.float32], smooth: NDArray[np.float32], unknown: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """One row (W, 3) with its gaps filled by what lies beside them, mirrored, and how much of it is from there."""
    filled, weight = smooth.copy(), np.zeros(len(row), np.float32)
    edges = np.diff(np.concatenate([[0], unknown.astype(np.int8), [0]]))
    for start, end in zip(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1), strict=True):
        n = end - start
        total, share = np.zeros((n, 3), np.float32), np.zeros(n, np.float32)
        sides = (
            (row[:start][::-1], unknown[:start][::-1], np.arange(n)),
            (row[end:], unknown[end:], np.arange(n)[::-1]),
        )
        for source, gaps, near in sides:
            length = int(np.argmax(gaps)) if gaps.any() else len(source)
            length = min(length, MAX_STRIP_PX)
            if length < 3:
                continue
            folded = near % (2 * length)
            place = np.where(folded < length, folded, 2 * length - 1 - folded)
            trust = np.exp(-near / (0.35 * n + 1)).astype(np.float32)
            total += source[place] * trust[:, None]
            share += trust
        some = share > 0
        filled[start:end][some] = total[some] / share[some, None]
        weight[start:end] = some
    return filled, weight
