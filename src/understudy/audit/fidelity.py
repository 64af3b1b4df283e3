"""What stayed: pixels outside the masks, the seam, keypoints, and structure of the context."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from understudy.errors import InvalidInputError

NAN = float("nan")
RING = 3
"""Pixels on each side of a mask's edge that count as seam."""
SURROUNDINGS = 12
"""Pixels on each side within which the seam is compared with what lies around it."""
SSIM_SIGMA = 1.5
SSIM_WINDOW = 11
MIN_CONTEXT_PX = 64


@dataclass(frozen=True)
class ContextFidelity:
    """Two pictures outside the masks."""

    changed_share: float
    """Share of context pixels of which any channel differs."""
    max_abs: float
    mean_abs: float
    psnr_db: float
    """NaN where nothing differs, since it has no finite value then: see ``changed_share``."""
    ssim: float
    n: int
    """Context pixels."""


def _check(before: NDArray[np.uint8], after: NDArray[np.uint8], mask: NDArray[np.bool_]) -> None:
    for name, image in (("before", before), ("after", after)):
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise InvalidInputError(f"{name} must be (H, W, 3) uint8, got {image.shape} {image.dtype}")
    if before.shape != after.shape or mask.shape != before.shape[:2] or mask.dtype != np.bool_:
        raise InvalidInputError(
            f"before, after and a bool mask must have one size, got {before.shape}, {after.shape} and {mask.shape}"
        )


def context_fidelity(
    before: NDArray[np.uint8], after: NDArray[np.uint8], replace_mask: NDArray[np.bool_]
) -> ContextFidelity:
    """How far the context, everything outside the masks, was kept.

    Parameters
    ----------
    before, after : (H, W, 3) uint8 sRGB
    replace_mask : (H, W) bool
        True = replaced.

    Returns
    -------
    ContextFidelity
        NaN throughout with fewer than 64 context pixels.
    """
    _check(before, after, replace_mask)
    context = ~replace_mask
    n = int(context.sum())
    if n < MIN_CONTEXT_PX:
        return ContextFidelity(NAN, NAN, NAN, NAN, NAN, n)
    gap = cv2.absdiff(before, after)[context].astype(np.float64)  # (n, 3)
    square = float((gap**2).mean())
    return ContextFidelity(
        changed_share=float((gap > 0).any(axis=1).mean()),
        max_abs=float(gap.max()),
        mean_abs=float(gap.mean()),
        psnr_db=10 * float(np.log10(255.0**2 / square)) if square > 0 else NAN,
        ssim=ssim(before, after, context),
        n=n,
    )


def _gray(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Luma of Rec. 601, 0 to 255."""
    return np.asarray(np.asarray(image, np.float64) @ np.array([0.299, 0.587, 0.114]), np.float64)


def ssim(before: NDArray[np.uint8], after: NDArray[np.uint8], keep: NDArray[np.bool_]) -> float:
    """Mean structural similarity of luma over windows that lie wholly in the kept pixels.

    Parameters
    ----------
    before, after : (H, W, 3) uint8
    keep : (H, W) bool

    Returns
    -------
    float
        In [-1, 1]; NaN where no window fits.

    Notes
    -----
    Wang et al. 2004, doi:10.1109/TIP.2003.819861: Gaussian window of 11 px with sigma 1.5, K1 = 0.01,
    K2 = 0.03, data range 255.
    """
    window = np.ones((SSIM_WINDOW, SSIM_WINDOW), np.uint8)
    whole = cv2.erode(keep.astype(np.uint8), window, borderType=cv2.BORDER_CONSTANT, borderValue=0) > 0
    if not whole.any():
        return NAN
    x, y = _gray(before), _gray(after)

    def mean(image: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(cv2.GaussianBlur(image, (SSIM_WINDOW, SSIM_WINDOW), SSIM_SIGMA), np.float64)

    mx, my = mean(x), mean(y)
    vx, vy, cov = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    value = (2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    return float(value[whole].mean())


def seam_visibility(image: NDArray[np.uint8], replace_mask: NDArray[np.bool_]) -> float:
    """How much stronger gradients across the mask's edge are than those beside it, as a natural logarithm.

    Only the component across the edge counts, so that lines which run into the face are no seam.

    Parameters
    ----------
    image : (H, W, 3) uint8
    replace_mask : (H, W) bool

    Returns
    -------
    float
        About 0 where no seam shows, over 0 where one does; NaN where the mask has no edge in the picture. Compare with
        the same reading of ``before`` on the same mask.
    """
    _check(image, image, replace_mask)
    inside = replace_mask.astype(np.uint8)
    if not replace_mask.any() or replace_mask.all():
        return NAN
    distance = np.asarray(
        cv2.distanceTransform(inside, cv2.DIST_L2, 5) - cv2.distanceTransform(1 - inside, cv2.DIST_L2, 5), np.float64
    )  # px, over 0 inside
    ny, nx = np.gradient(cv2.GaussianBlur(distance, (0, 0), 1.5))
    length = np.maximum(np.hypot(nx, ny), 1e-6)
    gray = _gray(image)
    across = np.abs(cv2.Sobel(gray, cv2.CV_64F, 1, 0) * nx + cv2.Sobel(gray, cv2.CV_64F, 0, 1) * ny) / length / 8
    frame = np.zeros_like(replace_mask)
    frame[1:-1, 1:-1] = True  # the picture's border is no seam
    seam = (np.abs(distance) <= RING) & frame
    beside = (np.abs(distance) > RING) & (np.abs(distance) <= SURROUNDINGS) & frame
    if seam.sum() < 16 or beside.sum() < 16:
        return NAN
    return float(np.log((across[seam].mean() + 0.5) / (across[beside].mean() + 0.5)))


def keypoint_nme(before: NDArray[np.floating], after: NDArray[np.floating]) -> NDArray[np.float64]:
    """Mean distance of keypoints over the face's size before, for each face.

    Parameters
    ----------
    before, after : (N, 5, 2) px, in the order of ``FACE_KEYPOINTS``
        NaN where absent: such a point is left out.

    Returns
    -------
    (N,) float64
        In shares of the square root of the distance between the eyes times that from eyes to mouth, which survives a
        turned head; NaN where this or every point is unknown.
    """
    a, b = np.asarray(before, np.float64), np.asarray(after, np.float64)
    if a.ndim != 3 or a.shape[1:] != (5, 2) or a.shape != b.shape:
        raise InvalidInputError(f"keypoints must be (N, 5, 2) in both, got {a.shape} and {b.shape}")
    eyes = np.linalg.norm(a[:, 1] - a[:, 0], axis=1)
    down = np.linalg.norm((a[:, 3] + a[:, 4] - a[:, 0] - a[:, 1]) / 2, axis=1)
    size = np.sqrt(np.maximum(eyes, 0.25 * down) * np.maximum(down, 0.25 * eyes))
    shift = np.linalg.norm(b - a, axis=2)
    known = np.isfinite(shift)
    total = np.where(known, shift, 0).sum(axis=1)
    usable = known.any(axis=1) & (size > 0)
    error = np.divide(total, known.sum(axis=1) * size, out=np.full(len(a), NAN), where=usable)
    return np.asarray(error, np.float64)
