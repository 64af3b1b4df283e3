"""Overlap of boxes, and keeping one box for each face."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from understudy.detect.base import Found


def box_area(xyxy: NDArray[np.floating]) -> NDArray[np.floating]:
    """Areas of boxes, (N,)."""
    return np.asarray((xyxy[..., 2] - xyxy[..., 0]) * (xyxy[..., 3] - xyxy[..., 1]))


def intersection(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.floating]:
    """Areas that each box of ``a`` (N, 4) shares with each of ``b`` (M, 4), (N, M)."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    return np.asarray((high - low).clip(0).prod(axis=2))


def pairwise_iou(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.floating]:
    """Intersection over union of each box of ``a`` (N, 4) with each of ``b`` (M, 4), (N, M); 0 for empty boxes."""
    shared = intersection(a, b)
    union = box_area(a)[:, None] + box_area(b)[None, :] - shared
    return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0))


def keep_best(found: Found, iou: float, *, containment: float = 1.0) -> Found:
    """Greedy non-maximum suppression: the most confident first, and nothing that overlaps it.

    Parameters
    ----------
    found : Found
    iou : float
        A find with a larger intersection over union with a kept one is left out.
    containment : float
        A find is also left out where the shared area is more than this part of the smaller of the two boxes.

    Returns
    -------
    Found
        Sorted; does not depend on the order of the input.
    """
    found = found.sorted()
    alive = np.ones(len(found), bool)
    area = box_area(found.xyxy)
    keep = []
    for i in range(len(found)):
        if not alive[i]:
            continue
        keep.append(i)
        shared = intersection(found.xyxy[i : i + 1], found.xyxy)[0]
        union = (area[i] + area - shared).clip(1e-9)
        smaller = np.minimum(area[i], area).clip(1e-9)
        alive &= (shared / union <= iou) & (shared / smaller <= containment)
    return found.take(np.array(keep, np.int64))
