"""How large the region in the middle of a crop is, told from the crop's mask alone."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from understudy.errors import GenerationError

SLIVER = 0.06
"""Share of a line within the region that is masked at least."""
LEAST = 0.08
"""Of a crop's height or width, to which what is left of a region reaches to either side at least."""
LIMITING = 0.37
"""Of a crop's height or width: a region that reaches this far to both sides may be what the crop was scaled to."""
MOST = 0.42
"""Of a crop's height or width, to which a region reaches to either side at most."""
NARROW = 0.12
"""Share of the middle columns that a hull covers at its ends at least."""


def region_box(mask: NDArray[np.bool_]) -> tuple[tuple[float, float, float, float], bool]:
    """Box of the region in the middle of a crop, and whether the picture ends under it.

    The crop is centred on its region. Where the mask goes on to one side (a neighbour, the picture's end), the other
    side says how large the region is.

    Parameters
    ----------
    mask : (H, W) bool

    Raises
    ------
    GenerationError
        The middle of the crop is not masked, or everything is.
    """
    height, width = mask.shape
    if not mask[_middle(mask)].any():
        raise GenerationError("the middle of the crop is not erased: the region cannot be told")
    if mask.all():
        raise GenerationError("nothing is known around the person: the region cannot be told")
    own = _middle_part(mask)
    rows = own[height // 8 : -(height // 8)]
    half_w = _least_reach(np.asarray(rows.any(axis=0)))  # nearer to the border the picture may end
    half_h = _least_reach(own[:, _about(width, half_w)].mean(axis=1) > SLIVER)
    half_w = _least_reach(own[_about(height, half_h)].mean(axis=0) > SLIVER)
    # one of the two is what the crop was scaled to; where both may be, something hangs on to the region
    if min(half_h / height, half_w / width) > LIMITING:
        half_h, half_w = _in_picture(mask) or _in_the_middle(mask)
    x, y = width / 2, height / 2
    below = mask[min(int(y + half_h) + 3, height - 1) :]
    return (x - half_w, y - half_h, x + half_w, y + half_h), bool(below.mean() > 0.97)


def _middle(mask: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Some pixels in the middle of a crop."""
    height, width = mask.shape
    return slice(height // 2 - 8, height // 2 + 8), slice(width // 2 - 4, width // 2 + 4)


def _about(length: int, reach: float) -> slice:
    """The part of a line of this length that lies about its middle."""
    return slice(int(length / 2 - max(reach, 2)), int(length / 2 + max(reach, 2)))


def _middle_part(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The connected part of a mask that holds the most of the crop's middle."""
    labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)[1]
    counts = np.bincount(labels[_middle(mask)].ravel(), minlength=2)
    return np.asarray(labels == 1 + counts[1:].argmax())


def _in_picture(mask: NDArray[np.bool_]) -> tuple[float, float] | None:
    """Half height and width of a region where masked rows and columns are cut off at the crop's border.

    The crop is centred on its region: where such rows (the picture's end, neighbours side by side) took a part of it,
    the other side says how far it reaches. None where next to nothing is left, or what the crop was not scaled to.
    """
    ends = [np.flatnonzero(~mask.all(axis=axis)) for axis in (1, 0)]
    inside = np.zeros_like(mask)
    inside[ends[0][0] : ends[0][-1] + 1, ends[1][0] : ends[1][-1] + 1] = True
    own = _middle_part(mask & inside)
    halves, longer = np.zeros(2), np.zeros(2)
    for i, (length, known) in enumerate(zip(mask.shape, ends, strict=True)):
        filled = np.flatnonzero(own.any(axis=1 - i))
        before, after = length / 2 - filled[0], filled[-1] + 1 - length / 2
        cut = filled[0] == known[0] > 0 if before < after else filled[-1] == known[-1] < length - 1
        longer[i] = min(max(before, after) / length, MOST)
        halves[i] = longer[i] if cut else min(before, after) / length
    if halves.max() <= LIMITING:
        halves[longer.argmax()] = longer.max()
    if halves.min() < LEAST or halves.max() <= LIMITING:
        return None
    return float(halves[0] * mask.shape[0]), float(halves[1] * mask.shape[1])


def _in_the_middle(mask: NDArray[np.bool_]) -> tuple[float, float]:
    """Half height and width of a region among others, as its middle has them."""
    height, width = mask.shape
    half_w = _least_reach(mask[_about(height, height / 16)].mean(axis=0) > 0.5)
    half_h = _least_reach(mask[:, _about(width, 0.5 * half_w)].mean(axis=1) > NARROW)  # a hull ends in a head
    return half_h, max(half_w, 0.4 * width) if half_h < LIMITING * height else half_w


def _least_reach(line: NDArray[np.bool_]) -> float:
    """How far a run of True values reaches from the middle to the side on which it is shorter; most of the way."""
    middle = len(line) // 2
    return min(_reach(line[middle:]), _reach(line[:middle][::-1]), MOST * len(line))


def _reach(line: NDArray[np.bool_]) -> float:
    """Number of True values before the first False."""
    return float(np.argmin(line)) if not line.all() else float(len(line))
