"""Which pixels are replaced, and how a window of the picture becomes a crop. Pure; px throughout, x before y."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from understudy.errors import InvalidInputError
from understudy.types import ERASED, Crop

WIDTH_MARGIN = 1.02
HEIGHT_MARGIN = 1.05
"""Over the detector's box, where the box is generous already."""
WIDTH_BY_KEYPOINTS = 1.25
HEIGHT_BY_KEYPOINTS = 1.65
"""Half width and half height of the region over the distance from eyes to mouth: these widen a tight box."""
LARGEST_WIDENING = 1.3
"""Keypoints never widen the box by more than this."""
FOREHEAD_SHIFT = 0.02
"""The region's centre lies this share of its half height nearer to the forehead than the box's centre."""
EXPONENT = 2.5
"""Of the superellipse |x/a|^n + |y/b|^n <= 1: fuller at forehead and jaw than an ellipse, no corners in the hair."""
ASPECT_RANGE = (1.05, 1.6)
"""Height over width that a face's region may have."""
DEFAULT_ASPECT = 1.3

_Pixels = np.ndarray[Any, np.dtype[np.integer[Any] | np.floating[Any]]]  # what OpenCV says that it returns


@dataclass(frozen=True)
class FaceShape:
    """A rolled superellipse around forehead, cheeks and jaw."""

    center: tuple[float, float]
    semi_axes: tuple[float, float]
    """Half width and half height in the face's own frame, px."""
    roll_deg: float
    """Angle by which the head is rolled clockwise in the picture, degrees in (-180, 180]."""


@dataclass(frozen=True)
class Region:
    """A mask inside its integer window of the picture."""

    window: tuple[int, int, int, int]
    """x0, y0, x1, y1, exclusive at the end, inside the picture."""
    mask: NDArray[np.bool_]  # (y1 - y0, x1 - x0)

    @property
    def area(self) -> int:
        """Pixels under the mask."""
        return int(self.mask.sum())

    @property
    def slices(self) -> tuple[slice, slice]:
        """Row and column slices of the window."""
        x0, y0, x1, y1 = self.window
        return slice(y0, y1), slice(x0, x1)


def roll_deg(keypoints: NDArray[np.floating], visibility: NDArray[np.floating]) -> float:
    """Roll of a head from its five keypoints: eyes to mouth first, since that axis survives a profile; 0 if unknown.

    Parameters
    ----------
    keypoints : (5, 2) px, in the order of ``FACE_KEYPOINTS``
    visibility : (5,), 0 = absent
    """
    if len(visibility) < 5 or not (visibility[[0, 1, 3, 4]] > 0).all():
        return 0.0
    points = np.asarray(keypoints, np.float64)
    down = (points[3] + points[4] - points[0] - points[1]) / 2
    across = points[1] - points[0]
    # a quarter turn brings the eye line onto the eyes-to-mouth axis; both vote by their length
    axis = down + np.array([-across[1], across[0]])
    if not np.hypot(*axis) > 1e-6:
        return 0.0
    return float(np.degrees(np.arctan2(-axis[0], axis[1])))


def face_shape(
    xyxy: NDArray[np.floating], keypoints: NDArray[np.floating], visibility: NDArray[np.floating]
) -> FaceShape:
    """The region that is replaced for one face: forehead, cheeks and jaw with a margin, from box and keypoints.

    The box gives place and size; the keypoints give the roll, and every keypoint with a margin around it lies inside.

    Parameters
    ----------
    xyxy : (4,) px
    keypoints : (5, 2) px
    visibility : (5,), 0 = absent
    """
    x0, y0, x1, y1 = (float(v) for v in xyxy)
    half_w, half_h = max((x1 - x0) / 2, 0.5), max((y1 - y0) / 2, 0.5)
    roll = roll_deg(keypoints, visibility)
    a, b = _semi_axes(half_w, half_h, roll)
    reach = _eyes_to_mouth(keypoints, visibility)
    a = max(a * WIDTH_MARGIN, min(reach * WIDTH_BY_KEYPOINTS, a * LARGEST_WIDENING))
    b = max(b * HEIGHT_MARGIN, min(reach * HEIGHT_BY_KEYPOINTS, b * LARGEST_WIDENING))
    theta = np.radians(roll)
    up = np.array([np.sin(theta), -np.cos(theta)])
    center = np.array([(x0 + x1) / 2, (y0 + y1) / 2]) + up * (FOREHEAD_SHIFT * b)
    grow = _growth_to_hold(np.asarray(keypoints, np.float64)[np.asarray(visibility) > 0], center, (a, b), roll)
    return FaceShape((float(center[0]), float(center[1])), (a * grow, b * grow), roll)


def _eyes_to_mouth(keypoints: NDArray[np.floating], visibility: NDArray[np.floating]) -> float:
    """Distance from the middle of the eyes to the middle of the mouth, px; 0 where one of them is absent."""
    if len(visibility) < 5 or not (visibility[[0, 1, 3, 4]] > 0).all():
        return 0.0
    points = np.asarray(keypoints, np.float64)
    return float(np.hypot(*(points[3] + points[4] - points[0] - points[1]) / 2))


def _semi_axes(half_w: float, half_h: float, roll: float) -> tuple[float, float]:
    """Semi-axes of the ellipse of that roll whose upright bounding box is the given one."""
    total = half_w**2 + half_h**2
    cos2 = float(np.cos(np.radians(2 * roll)))
    default = -total * (DEFAULT_ASPECT**2 - 1) / (DEFAULT_ASPECT**2 + 1)
    difference = (half_w**2 - half_h**2) / cos2 if abs(cos2) > 0.5 else default
    low, high = (-(r**2 - 1) / (r**2 + 1) * total for r in reversed(ASPECT_RANGE))
    difference = float(np.clip(difference, low, high))
    a, b = np.sqrt((total + difference) / 2), np.sqrt((total - difference) / 2)
    if abs(cos2) > 0.5:  # never narrower than the box itself, whatever the aspect range says
        w, h = (half_w, half_h) if cos2 > 0 else (half_h, half_w)
        a, b = max(a, w), max(b, h)
    return float(a), float(b)


def _growth_to_hold(
    points: NDArray[np.float64], center: NDArray[np.float64], semi_axes: tuple[float, float], roll: float
) -> float:
    """Factor (1 or more, 1.5 at most) by which the shape must grow for all points to lie within 85 % of it."""
    if len(points) == 0:
        return 1.0
    local = _to_local(points - center, roll) / np.array(semi_axes)
    reach = float(((np.abs(local) ** EXPONENT).sum(axis=1) ** (1 / EXPONENT)).max())
    return float(np.clip(reach / 0.85, 1.0, 1.5))


def _to_local(offsets: NDArray[np.float64], roll: float) -> NDArray[np.float64]:
    theta = np.radians(roll)
    c, s = np.cos(theta), np.sin(theta)
    return np.asarray(offsets @ np.array([[c, -s], [s, c]]), np.float64)  # rows times the matrix: turns by minus theta


def shape_region(shape: FaceShape, height: int, width: int) -> Region:
    """Rasterise a shape: every pixel that it touches belongs to the region, and at least one pixel always does."""
    a, b = shape.semi_axes
    theta = np.radians(shape.roll_deg)
    reach_x = float(np.hypot(a * np.cos(theta), b * np.sin(theta))) * 1.15 + 1
    reach_y = float(np.hypot(a * np.sin(theta), b * np.cos(theta))) * 1.15 + 1
    cx, cy = shape.center
    x0, x1 = (int(np.clip(v, 0, width)) for v in (np.floor(cx - reach_x), np.ceil(cx + reach_x)))
    y0, y1 = (int(np.clip(v, 0, height)) for v in (np.floor(cy - reach_y), np.ceil(cy + reach_y)))
    x0, y0 = min(x0, width - 1), min(y0, height - 1)
    x1, y1 = max(x1, x0 + 1), max(y1, y0 + 1)
    ys, xs = np.mgrid[y0:y1, x0:x1]
    offsets = np.stack([xs + 0.5 - cx, ys + 0.5 - cy], axis=-1).reshape(-1, 2)
    local = np.abs(_to_local(offsets, shape.roll_deg)) / (np.array([a, b]) + 0.5)
    mask = _in_unit_shape(local).reshape(y1 - y0, x1 - x0)
    if not mask.any():
        mask[np.clip(int(cy) - y0, 0, y1 - y0 - 1), np.clip(int(cx) - x0, 0, x1 - x0 - 1)] = True
    return Region((x0, y0, x1, y1), mask)


def _in_unit_shape(local: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether points (N, 2) with coordinates of 0 or more lie in the superellipse with semi-axes of 1."""
    reach = np.maximum(local[:, 0], local[:, 1])
    # powers are slow, and needed only between this square and the unit one
    inside: NDArray[np.bool_] = reach <= 0.5 ** (1 / EXPONENT) - 1e-6
    near = np.flatnonzero(~inside & (reach <= 1))
    inside[near] = (local[near] ** EXPONENT).sum(axis=1) <= 1
    return inside


def copy_under(mask: NDArray[np.bool_], source: NDArray[np.uint8], into: NDArray[np.uint8]) -> None:
    """Copy the pixels under a mask in place; the same as ``into[mask] = source[mask]``, many times faster.

    Parameters
    ----------
    mask : (H, W) bool
    source, into : (H, W, C) uint8
    """
    if mask.size == 0:
        return
    target = into if min(into.strides) > 0 else into.copy()  # OpenCV cannot address turned views
    done = cv2.copyTo(np.ascontiguousarray(source), np.ascontiguousarray(mask).view(np.uint8), target)
    if done is not into:
        into[...] = done


def union_mask(regions: Sequence[Region], height: int, width: int) -> NDArray[np.bool_]:
    """(height, width) mask that is True under any of the regions."""
    union = np.zeros((height, width), np.bool_)
    for region in regions:
        union[region.slices] |= region.mask
    return union


def in_window(region: Region, window: tuple[int, int, int, int]) -> NDArray[np.bool_]:
    """A region's mask in another window."""
    x0, y0, x1, y1 = window
    mask = np.zeros((y1 - y0, x1 - x0), np.bool_)
    left, top = max(x0, region.window[0]), max(y0, region.window[1])
    right, bottom = min(x1, region.window[2]), min(y1, region.window[3])
    if left < right and top < bottom:
        own = region.mask[top - region.window[1] :, left - region.window[0] :][: bottom - top, : right - left]
        mask[top - y0 : bottom - y0, left - x0 : right - x0] = own
    return mask


def share_of(inner: Region, outer: Region) -> float:
    """Share of the one region that lies in the other."""
    return float((inner.mask & in_window(outer, inner.window)).sum()) / max(inner.area, 1)


def united(a: Region, b: Region) -> Region:
    """One region that holds both."""
    low, high = np.minimum(a.window, b.window)[:2].tolist(), np.maximum(a.window, b.window)[2:].tolist()
    window = (low[0], low[1], high[0], high[1])
    return Region(window, in_window(a, window) | in_window(b, window))


def without(region: Region, taken: Sequence[Region], kept: Sequence[Region]) -> Region:
    """A region less some parts, but for those that are kept; the region itself where nothing changes."""
    mask = region.mask.copy()
    for part in taken:
        mask &= ~in_window(part, region.window)
    for part in kept:
        mask |= region.mask & in_window(part, region.window)
    return region if (mask == region.mask).all() else Region(region.window, mask)


def size_of(crop_size: int | tuple[int, int]) -> tuple[int, int]:
    """Height and width of a crop that is given by its side, or by both."""
    return (crop_size, crop_size) if isinstance(crop_size, int) else crop_size


def crop_frame(shape: FaceShape, crop_size: int | tuple[int, int], context: float = 1.45) -> NDArray[np.float64]:
    """Affine (2, 3) from crop px to image px: a window that is upright in the region's own frame.

    Parameters
    ----------
    shape : FaceShape
    crop_size : int or (height, width)
        Side of a square crop, or its height and width, px.
    context : float
        Size of the window over that of the region, along the axis in which the region needs more of it.
    """
    height, width = size_of(crop_size)
    a, b = shape.semi_axes
    if height == width:
        scale = 2 * max(a, b, 1.0) * context / width
    else:
        scale = 2 * max(max(a, 1.0) / width, max(b, 1.0) / height) * context
    theta = np.radians(shape.roll_deg)
    linear = scale * np.array([[np.cos(theta), -np.sin(theta)], [np.sin(theta), np.cos(theta)]])
    middle = np.array([width / 2, height / 2])
    return np.column_stack([linear, np.array(shape.center) - linear @ middle])


def invert_affine(affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """Inverse of a (2, 3) affine."""
    linear = np.linalg.inv(affine[:, :2])
    return np.column_stack([linear, -linear @ affine[:, 2]])


def apply_affine(affine: NDArray[np.float64], points: NDArray[np.floating]) -> NDArray[np.float64]:
    """Map (..., 2) points by a (2, 3) affine."""
    return np.asarray(points, np.float64) @ affine[:, :2].T + affine[:, 2]


def _pixel_centers(affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same map for OpenCV, which puts pixel centres at whole numbers."""
    return np.column_stack([affine[:, :2], affine @ np.array([0.5, 0.5, 1.0]) - 0.5])


def _overlap(start: int, stop: int, length: int) -> slice:
    """The part of start:stop that lies in 0:length, empty where there is none."""
    first = min(max(start, 0), length)
    return slice(first, max(min(stop, length), first))


def cut_crop(
    canvas: NDArray[np.uint8],
    erased: NDArray[np.bool_],
    image_from_crop: NDArray[np.float64],
    size: int | tuple[int, int],
) -> Crop:
    """Cut a crop out of a canvas whose people are erased already.

    A crop pixel is masked when any erased source pixel contributes to it, and where the crop leaves the picture.

    Parameters
    ----------
    canvas : (H, W, 3) uint8
    erased : (H, W) bool
        What is not known in the canvas. Pixels under it are overwritten before they are read.
    image_from_crop : (2, 3)
    size : int or (height, width)
        Side of a square crop, or its height and width, px.
    """
    if canvas.shape[:2] != erased.shape:
        raise InvalidInputError(f"erased must have shape {canvas.shape[:2]}, got {erased.shape}")
    height, width = erased.shape
    high, wide = size_of(size)
    corners = apply_affine(image_from_crop, np.array([[0, 0], [wide, 0], [0, high], [wide, high]], np.float64))
    scale = float(np.hypot(*image_from_crop[:, 0]))
    pad = int(np.ceil(2 * max(scale, 1.0))) + 1
    x0, y0 = (int(np.floor(v)) - pad for v in corners.min(axis=0))
    x1, y1 = (int(np.ceil(v)) + pad for v in corners.max(axis=0))
    inside = (_overlap(y0, y1, height), _overlap(x0, x1, width))
    known: _Pixels = np.zeros((y1 - y0, x1 - x0), np.float32)
    blank = np.full((y1 - y0, x1 - x0, 3), ERASED, np.uint8)
    place = (slice(inside[0].start - y0, inside[0].stop - y0), slice(inside[1].start - x0, inside[1].stop - x0))
    known[place] = ~erased[inside]
    copy_under(~erased[inside], canvas[inside], blank[place])
    pixels: _Pixels = blank
    factor = max(int(np.floor(scale)), 1)
    local = image_from_crop - np.array([[0, 0, x0], [0, 0, y0]])
    if factor > 1:
        shape = (-(-pixels.shape[1] // factor), -(-pixels.shape[0] // factor))
        grown = (shape[1] * factor - pixels.shape[0], shape[0] * factor - pixels.shape[1])
        pixels = cv2.copyMakeBorder(pixels, 0, grown[0], 0, grown[1], cv2.BORDER_REPLICATE)
        known = cv2.copyMakeBorder(known, 0, grown[0], 0, grown[1], cv2.BORDER_CONSTANT, value=0.0)
        pixels = cv2.resize(pixels, shape, interpolation=cv2.INTER_AREA)
        share = cv2.resize(known, shape, interpolation=cv2.INTER_AREA)
        known = (share > 1 - 0.5 / factor**2).astype(np.float32)  # one erased pixel makes its whole block unknown
        local = local / factor
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    matrix = _pixel_centers(local)
    crop = cv2.warpAffine(pixels, matrix, (wide, high), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    sure = cv2.warpAffine(known, matrix, (wide, high), flags=flags, borderMode=cv2.BORDER_CONSTANT, borderValue=0.0)
    return Crop(np.asarray(crop, np.uint8), np.asarray(sure < 1 - 1e-4), np.array(image_from_crop, np.float64))


def paste_window(
    image_from_crop: NDArray[np.float64],
    pixels: NDArray[np.uint8] | NDArray[np.float32],
    window: tuple[int, int, int, int],
) -> NDArray[np.float32]:
    """Resample crop pixels onto a window of the picture (cubic where that enlarges), float32, not clipped.

    Parameters
    ----------
    image_from_crop : (2, 3)
    pixels : (height, width, C)
    window : x0, y0, x1, y1 in image px
    """
    x0, y0, x1, y1 = window
    local = image_from_crop - np.array([[0, 0, x0], [0, 0, y0]])
    scale = float(np.hypot(*image_from_crop[:, 0]))
    source: _Pixels = np.asarray(pixels, np.float32)
    if scale < 0.75:  # the picture is coarser than the crop: soften first, so that nothing aliases
        source = cv2.GaussianBlur(source, (0, 0), 0.45 / scale)
    interpolation = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_LINEAR
    placed = cv2.warpAffine(
        source, _pixel_centers(local), (x1 - x0, y1 - y0), flags=interpolation, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(placed, np.float32)


def nose_offset(keypoints: NDArray[np.floating]) -> NDArray[np.float64]:
    """How far the nose of five keypoints (..., 5, 2) lies to the right of the line between eyes and mouth, over their
    distance: about 0.008 a degree of yaw.
    """
    points = np.asarray(keypoints, np.float64)
    eyes, mouth = points[..., :2, :].mean(axis=-2), points[..., 3:5, :].mean(axis=-2)
    down = mouth - eyes
    off = points[..., 2, :] - (eyes + mouth) / 2
    squares = np.maximum((down**2).sum(axis=-1), 1e-12)
    return np.asarray((off[..., 0] * down[..., 1] - off[..., 1] * down[..., 0]) / squares)
