"""Solid fill in the colour of the surroundings: a generator of its own, and the last rung of the pipeline's ladder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from understudy.errors import InvalidInputError
from understudy.types import Condition, Generated, OutcomeKind

MID_GREY = 128
"""Fill colour where nothing at all is known of the surroundings."""
RING_SHARE = 1 / 16
"""Width of the ring outside the mask whose median is the fill colour, over the side of the crop."""


def fill_color(condition: Condition) -> NDArray[np.uint8]:
    """Median colour of the ring just outside the mask.

    Only the part of the mask that lies around the middle of the crop counts as the region; neighbours' masks and what
    lies outside the picture are never read. Where no pixel of the ring is known, the median of all known pixels is
    taken; where none is known, mid grey.

    Parameters
    ----------
    condition : Condition

    Returns
    -------
    (3,) uint8
    """
    unknown = condition.replace_mask
    height, width = unknown.shape
    reach = max(2, round(RING_SHARE * max(height, width)))
    outside = (~_middle_part(unknown)).astype(np.uint8)
    near = cv2.distanceTransform(outside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) <= reach
    for known in (near & ~unknown, ~unknown):
        if known.any():
            return np.asarray(np.floor(np.median(condition.context[known], axis=0) + 0.5), np.uint8)
    return np.full(3, MID_GREY, np.uint8)


def _middle_part(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The connected part of a mask that holds its middle pixel; all of it where the middle is not masked."""
    height, width = mask.shape
    if not mask[height // 2, width // 2]:
        return mask
    _, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    return np.asarray(labels == labels[height // 2, width // 2])


class FillGenerator:
    """Paint every region in one colour of its surroundings. Its regions are FILLED: nobody is invented.

    Parameters
    ----------
    crop_size : int
        Side of the crops from which the colour is taken, px.
    batch_size : int
        Conditions a call.
    """

    name = "fill"
    min_face_px = 0.0
    outcome = OutcomeKind.FILLED

    def __init__(self, crop_size: int = 32, batch_size: int = 8) -> None:
        if crop_size < 8:
            raise InvalidInputError(f"crop_size must be 8 or more, got {crop_size}")
        if batch_size < 1:
            raise InvalidInputError(f"batch_size must be 1 or more, got {batch_size}")
        self.crop_size = crop_size
        self.batch_size = batch_size

    def __call__(self, conditions: Sequence[Condition], seeds: Sequence[int]) -> list[Generated]:
        """One solid crop for each condition; the seed is only recorded."""
        made = []
        for condition, seed in zip(conditions, seeds, strict=True):
            pixels = np.empty_like(condition.context)
            pixels[:] = fill_color(condition)
            made.append(Generated(pixels, seed, 0))
        return made

    def digests(self) -> Mapping[str, str]:
        """No weights."""
        return {}
