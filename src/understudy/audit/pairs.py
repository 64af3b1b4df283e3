"""What an audit reads of two pictures side by side: where they differ, and what shows at the masks' edges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from understudy.audit.extractors import FeatureExtractor, PerceptualDistance, face_crops
from understudy.audit.fidelity import context_fidelity, seam_visibility
from understudy.audit.pairing import pair_faces
from understudy.audit.residual import box_change
from understudy.geometry import face_shape, shape_region, union_mask

NAN = float("nan")
CONTEXT_MARGIN = 0.08
"""The context begins this share of a face's height outside its mask: soft edges and JPEG blocks are no context."""
CHANGED = 12
"""Grey levels by which a pixel must differ to count as replaced, where the mask is read off the pixels."""
LEAST_CHANGED = 0.2
"""Share of a region that must have changed for its mask to be read off the pixels."""
NUMBERS = ("changed_share", "mean_abs", "max_abs", "psnr_db", "ssim", "n_context", "seam", "seam_before", "lpips")


@dataclass(frozen=True)
class PairReadings:
    """One picture before beside its partner after, or beside its null edit."""

    numbers: Mapping[str, float]
    """By the names in ``NUMBERS``; NaN where the sizes differ or nothing can be measured."""
    change: NDArray[np.float64]  # (N,) grey levels in the box of each face before
    second_change: NDArray[np.float64]  # (M,) the same in each box of the second detector before
    resized: bool
    """The two differ in size: the partner was scaled for ``change``, and has no other figure."""
    features: NDArray[np.float32]  # (N, F) of the partner in the place of each face before; F = 0 without an extractor
    own_features: NDArray[np.float32]  # (N, F) of each face before; F = 0 in a null edit's record

    def pack(self) -> dict[str, NDArray[np.generic]]:
        """As named arrays, for the cache."""
        return {
            "numbers": np.array([self.numbers[name] for name in NUMBERS]),
            "change": self.change,
            "second_change": self.second_change,
            "resized": np.array(self.resized),
            "features": self.features,
            "own_features": self.own_features,
        }

    @classmethod
    def unpack(cls, packed: Mapping[str, NDArray[np.generic]]) -> PairReadings:
        """What ``pack`` made."""
        numbers = dict(zip(NUMBERS, np.asarray(packed["numbers"], np.float64).tolist(), strict=True))
        change, second = (np.asarray(packed[name], np.float64) for name in ("change", "second_change"))
        features, own = (np.asarray(packed[name], np.float32) for name in ("features", "own_features"))
        return cls(numbers, change, second, bool(packed["resized"]), features, own)


def region_mask(
    regions: NDArray[np.floating],
    xyxy: NDArray[np.floating],
    keypoints: NDArray[np.floating],
    size: tuple[int, int],
) -> NDArray[np.bool_]:
    """Where faces were replaced, from boxes: the shape that understudy replaces for a box, rolled as the face in it.

    Parameters
    ----------
    regions : (R, 4) px
        Boxes of a manifest, or the faces themselves where there is none.
    xyxy, keypoints : (N, 4), (N, 5, 2) px
        Faces that the audit found before.
    size : (height, width)

    Returns
    -------
    (H, W) bool
    """
    matched = dict(pair_faces(regions, xyxy).pairs.tolist())
    shapes = []
    for i, box in enumerate(np.asarray(regions, np.float64).reshape(-1, 4)):
        points = keypoints[matched[i]] if i in matched else np.full((5, 2), np.nan)
        shown = np.isfinite(points).all(axis=1)
        shapes.append(shape_region(face_shape(box, np.where(shown[:, None], points, 0), shown.astype(float)), *size))
    return union_mask(shapes, *size)


def grown(mask: NDArray[np.bool_], share: float) -> NDArray[np.bool_]:
    """A mask grown by a share of the largest part's height, 2 px at least."""
    if not mask.any():
        return mask
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    reach = max(2, round(share * float(stats[1:, cv2.CC_STAT_HEIGHT].max())))
    return np.asarray(cv2.distanceTransform(1 - mask.astype(np.uint8), cv2.DIST_L2, 5) <= reach, np.bool_)


def seen_mask(before: NDArray[np.uint8], after: NDArray[np.uint8], near: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """What was really replaced near the expected regions, read off the pixels; the regions where little changed.

    Parameters
    ----------
    before, after : (H, W, 3) uint8
    near : (H, W) bool
        The expected regions.
    """
    if not near.any():
        return near
    gap = cv2.absdiff(before, after).max(axis=2)
    changed = ((gap > CHANGED) & grown(near, 0.5)).astype(np.uint8)
    closed = cv2.morphologyEx(changed, cv2.MORPH_CLOSE, np.ones((9, 9), np.uint8))
    opened = cv2.morphologyEx(closed, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    outlines, _ = cv2.findContours(opened, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = np.zeros_like(changed)
    least = 0.01 * near.sum()
    cv2.drawContours(filled, [o for o in outlines if cv2.contourArea(o) >= least], -1, 1, cv2.FILLED)
    seen = filled > 0
    return seen if (seen & near).sum() >= LEAST_CHANGED * near.sum() else near


def read_pair(
    before: NDArray[np.uint8],
    after: NDArray[np.uint8],
    faces: NDArray[np.float64],
    second: NDArray[np.float64],
    expected: NDArray[np.bool_],
    replaced: NDArray[np.bool_],
    extractor: FeatureExtractor | None = None,
    perceptual: PerceptualDistance | None = None,
    *,
    own: bool = True,
) -> PairReadings:
    """Compare two pictures.

    Parameters
    ----------
    before, after : (H, W, 3) uint8 sRGB
    faces, second : (N, 4), (M, 4) px
        Boxes before, of both detectors.
    expected : (H, W) bool
        From ``region_mask``: everything farther from it than ``CONTEXT_MARGIN`` is context.
    replaced : (H, W) bool
        From ``seen_mask``: along its edge lies the seam.
    extractor, perceptual : optional
    own : bool
        Whether the features of before are wanted too.
    """
    partner, scale = after, np.tile([after.shape[1] / before.shape[1], after.shape[0] / before.shape[0]], 2)
    resized = before.shape != after.shape
    if resized:
        size = (before.shape[1], before.shape[0])
        after = np.asarray(cv2.resize(after, size, interpolation=cv2.INTER_AREA), np.uint8)
    numbers = dict.fromkeys(NUMBERS, NAN)
    if not resized:
        context = context_fidelity(before, after, grown(expected, CONTEXT_MARGIN))
        numbers |= {name: float(getattr(context, name)) for name in NUMBERS[:5]}
        numbers["n_context"] = float(context.n)
        numbers["seam"] = seam_visibility(after, replaced)
        numbers["seam_before"] = seam_visibility(before, replaced)
        if perceptual is not None:
            numbers["lpips"] = perceptual.distance(before, after, ~grown(expected, CONTEXT_MARGIN))
    return PairReadings(
        numbers,
        box_change(before, after, faces),
        box_change(before, after, second),
        resized,
        _features(extractor, partner, faces * scale),
        _features(extractor if own else None, before, faces),
    )


def _features(
    extractor: FeatureExtractor | None, view: NDArray[np.uint8], xyxy: NDArray[np.float64]
) -> NDArray[np.float32]:
    """(N, F) of the faces of a picture; (N, 0) without an extractor."""
    if extractor is None or not len(xyxy):
        return np.zeros((len(xyxy), 0), np.float32)
    return extractor.features(face_crops(view, xyxy, extractor.size))
