"""Whether a detector still finds what it found: average precision of the boxes after against those before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from understudy.audit.resampling import Plan, bootstrap_statistic
from understudy.audit.statistics import Interval
from understudy.errors import InvalidInputError

NAN = float("nan")
IOU = 0.5


@dataclass(frozen=True)
class Boxes:
    """What a detector found in one picture."""

    xyxy: NDArray[np.floating]  # (N, 4) px
    confidence: NDArray[np.floating]  # (N,)

    def __post_init__(self) -> None:
        if self.xyxy.shape != (len(self.confidence), 4):
            raise InvalidInputError(
                f"xyxy must be ({len(self.confidence)}, 4), as there are confidences, got {self.xyxy.shape}"
            )


@dataclass(frozen=True)
class _Matched:
    """Finds of one picture, most confident first, and whether each is a box of before."""

    confidence: NDArray[np.float64]
    hit: NDArray[np.bool_]
    n_truth: int


def _iou(box: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    sides = (np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])).clip(0)
    shared = sides.prod(axis=1)
    union = (box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(axis=1) - shared
    return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0), np.float64)


def _match(before: Boxes, after: Boxes, iou: float) -> _Matched:
    """Greedy, the most confident find first: each box of before is found once, a second find of it is wrong."""
    truth = np.asarray(before.xyxy, np.float64)
    order = np.argsort(-np.asarray(after.confidence, np.float64), kind="stable")
    free = np.ones(len(truth), np.bool_)
    hit = np.zeros(len(order), np.bool_)
    for place, i in enumerate(order):
        overlap = np.where(free, _iou(np.asarray(after.xyxy[i], np.float64), truth), -1)
        if len(overlap) and overlap.max() >= iou:
            free[overlap.argmax()] = False
            hit[place] = True
    return _Matched(np.asarray(after.confidence, np.float64)[order], hit, len(truth))


def _area(parts: Sequence[_Matched]) -> float:
    """Area under the interpolated precision-recall curve; NaN without a box of before."""
    n_truth = sum(part.n_truth for part in parts)
    if n_truth == 0:
        return NAN
    confidence = np.concatenate([part.confidence for part in parts])
    hit = np.concatenate([part.hit for part in parts])[np.argsort(-confidence, kind="stable")]
    hits = np.cumsum(hit)
    precision = hits / np.arange(1, len(hits) + 1)
    best_from_here = np.maximum.accumulate(precision[::-1])[::-1]
    return float(best_from_here[hit].sum() / n_truth)


def average_precision(before: Sequence[Boxes], after: Sequence[Boxes], plan: Plan, *, iou: float = IOU) -> Interval:
    """Average precision of a detector's boxes after, with its own boxes before as the truth.

    Parameters
    ----------
    before, after : sequence of Boxes
        One for each picture, in the same order.
    plan : Plan
        Pictures are drawn again.
    iou : float
        Least intersection over union of a find.

    Returns
    -------
    Interval
        In [0, 1]: 1 where every box is found again and nothing else; NaN where nothing was there before.

    Notes
    -----
    Area under the precision-recall curve with interpolated precision at every recall, as PASCAL VOC since 2010,
    doi:10.1007/s11263-014-0733-5.
    """
    if len(before) != len(after):
        raise InvalidInputError(f"before and after must be as many pictures, got {len(before)} and {len(after)}")
    if not 0 < iou <= 1:
        raise InvalidInputError(f"iou must lie in (0, 1], got {iou}")
    if not before:
        return Interval(NAN, NAN, NAN)
    parts = [_match(a, b, iou) for a, b in zip(before, after, strict=True)]

    def area(rows: NDArray[np.int64]) -> float:
        return _area([parts[i] for i in rows])

    found = bootstrap_statistic(area, np.arange(len(parts)), plan.draws(len(parts)))
    return found if len(parts) > 1 else Interval(found.value, NAN, NAN)
