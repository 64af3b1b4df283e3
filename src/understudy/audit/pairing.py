"""Which picture belongs to which, and which face: by name and by place. What has no partner is kept and counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from understudy.errors import InvalidInputError

MIN_IOU = 0.2
MAX_SHIFT = 0.5
"""Distance of two boxes' centres over their mean size, up to which they may be one face though they hardly overlap."""
MAX_SIZE_RATIO = 2.5
"""Of two boxes' sizes (square roots of the areas)."""
_NOT_ALLOWED = 1e6


@dataclass(frozen=True)
class FacePairing:
    """The faces of one picture before and after; every face is in exactly one of the three fields."""

    pairs: NDArray[np.int64]  # (K, 2) rows of before and after, in the order of before
    lost: NDArray[np.int64]  # rows of before without a partner
    new: NDArray[np.int64]  # rows of after without a partner


@dataclass(frozen=True)
class PicturePairing:
    """The pictures of two folders; every picture is in exactly one of the three fields."""

    pairs: tuple[tuple[str, str], ...]
    """Relative paths before and after, in the order of before."""
    only_before: tuple[str, ...]
    only_after: tuple[str, ...]


def _boxes(name: str, xyxy: NDArray[np.floating]) -> NDArray[np.float64]:
    boxes = np.asarray(xyxy, np.float64)
    if boxes.size == 0:
        return np.zeros((0, 4))
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise InvalidInputError(f"{name} must be (N, 4), got {boxes.shape}")
    if not np.isfinite(boxes).all() or (boxes[:, 2:] < boxes[:, :2]).any():
        raise InvalidInputError(f"{name} must be finite boxes x0 y0 x1 y1 with x1 >= x0 and y1 >= y0")
    return boxes


def pair_faces(
    before: NDArray[np.floating],
    after: NDArray[np.floating],
    *,
    before_size: tuple[int, int] | None = None,
    after_size: tuple[int, int] | None = None,
    min_iou: float = MIN_IOU,
    max_shift: float = MAX_SHIFT,
    max_size_ratio: float = MAX_SIZE_RATIO,
) -> FacePairing:
    """Match the faces of one picture before and after by place.

    As many faces as possible find a partner, and among these matchings the one with the most overlap and the smallest
    distance is taken.

    Parameters
    ----------
    before, after : (N, 4), (M, 4) px
    before_size, after_size : (height, width), optional
        Where the pictures differ in size, the boxes after are scaled to the size before.
    min_iou : float
        Two boxes may be one face with at least this intersection over union ...
    max_shift : float
        ... or with their centres no farther apart than this share of their mean size.
    max_size_ratio : float
        Boxes of less alike sizes are never one face.

    Returns
    -------
    FacePairing
    """
    a, b = _boxes("before", before), _boxes("after", after)
    if before_size is not None and after_size is not None:
        if min(*before_size, *after_size) < 1:
            raise InvalidInputError(f"sizes must be 1 px or more, got {before_size} and {after_size}")
        b = b * np.tile([before_size[1] / after_size[1], before_size[0] / after_size[0]], 2)
    if not len(a) or not len(b):
        return FacePairing(np.zeros((0, 2), np.int64), np.arange(len(a)), np.arange(len(b)))
    iou, shift, size_ratio = _overlap(a, b)
    allowed = ((iou >= min_iou) | (shift <= max_shift)) & (size_ratio <= max_size_ratio)
    cost = np.where(allowed, 1 - iou + shift, _NOT_ALLOWED)
    rows, columns = linear_sum_assignment(cost)
    kept = allowed[rows, columns]
    pairs = np.stack([rows[kept], columns[kept]], axis=1).astype(np.int64)
    return FacePairing(
        pairs, np.setdiff1d(np.arange(len(a)), pairs[:, 0]), np.setdiff1d(np.arange(len(b)), pairs[:, 1])
    )


def _overlap(
    a: NDArray[np.float64], b: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """(N, M) intersection over union, distance of centres over mean size, and ratio of sizes."""
    sides = (np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2])).clip(0)
    shared = sides.prod(axis=2)
    area_a, area_b = ((x[:, 2:] - x[:, :2]).prod(axis=1) for x in (a, b))
    union = area_a[:, None] + area_b[None] - shared
    iou = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    size_a, size_b = np.sqrt(area_a).clip(1e-6)[:, None], np.sqrt(area_b).clip(1e-6)[None]
    centre_a, centre_b = ((x[:, :2] + x[:, 2:]) / 2 for x in (a, b))
    distance = np.linalg.norm(centre_a[:, None] - centre_b[None], axis=2)
    ratio = np.maximum(size_a / size_b, size_b / size_a)
    return iou, np.asarray(distance / ((size_a + size_b) / 2), np.float64), np.asarray(ratio, np.float64)


def pair_pictures(before: Iterable[str], after: Iterable[str]) -> PicturePairing:
    """Match the pictures of two folders by relative path.

    A picture has the partner of its own name; without one, that of its name with a suffix added ("a.heic" and
    "a.heic.png"); without one, the only picture of the same folder whose name differs in the suffix alone. A rule that
    fits two pictures fits none.

    Parameters
    ----------
    before, after : iterable of str
        Relative POSIX paths.
    """
    first, second = sorted(set(before)), sorted(set(after))
    partner = {name: name for name in set(first) & set(second)}
    for key_before, key_after in ((str, _stem), (_stem, _stem)):
        open_before = [name for name in first if name not in partner]
        taken = set(partner.values())
        open_after = [name for name in second if name not in taken]
        lone_before = _lone([(key_before(name), name) for name in open_before])
        lone_after = _lone([(key_after(name), name) for name in open_after])
        partner |= {name: lone_after[key] for key, name in lone_before.items() if key in lone_after}
    taken = set(partner.values())
    return PicturePairing(
        tuple((name, partner[name]) for name in first if name in partner),
        tuple(name for name in first if name not in partner),
        tuple(name for name in second if name not in taken),
    )


def _stem(path: str) -> str:
    return str(PurePosixPath(path).with_suffix(""))


def _lone(named: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Names by their key, without keys that two names share."""
    uses = Counter(key for key, _ in named)
    return {key: name for key, name in named if uses[key] == 1}
