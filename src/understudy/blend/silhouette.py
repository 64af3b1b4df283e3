"""How much of the picture is erased for one body: its box, a hull, or its own outline made wider."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from understudy.errors import InvalidInputError
from understudy.geometry import Region, united
from understudy.types import Silhouette

How = Literal["box", "hull", "dilated"]
HOWS: tuple[How, ...] = ("box", "hull", "dilated")
CORNER = 0.12
"""Radius of a box's corners over its shorter side."""


class Outline:
    """The region that is erased and generated for a body.

    Parameters
    ----------
    how : "box", "hull" or "dilated"
        The detector's box; the convex hull of the person's mask; or the mask itself, widened. The tighter it follows
        the person, the more of the background stays, and the more of figure and gait shows in the shape of what was
        replaced. Where there is no mask, the box is taken.
    margin : float
        Added on every side, over the longer side of the box, in [0, 1].
    """

    def __init__(self, how: How = "hull", margin: float = 0.04) -> None:
        if how not in HOWS:
            raise InvalidInputError(f"silhouette must be one of {', '.join(HOWS)}, got {how!r}")
        if not 0 <= margin <= 1:
            raise InvalidInputError(f"silhouette_margin must lie in [0, 1], got {margin}")
        self.how = how
        self.margin = margin

    def __call__(
        self,
        xyxy: NDArray[np.floating],
        silhouette: Silhouette | None,
        height: int,
        width: int,
        also: Region | None = None,
    ) -> Region:
        """The region of one body.

        Parameters
        ----------
        xyxy : (4,) px
        silhouette : Silhouette, optional
            Which pixels the person covers.
        height, width : int
            Of the picture.
        also : Region, optional
            What must be part of it, such as the region of the person's face.
        """
        x0, y0, x1, y1 = (float(v) for v in xyxy)
        pad = max(self.margin * max(x1 - x0, y1 - y0), 1.0)
        if silhouette is None or self.how == "box" or not silhouette.mask.any():
            region = box_region((x0 - pad, y0 - pad, x1 + pad, y1 + pad), height, width)
        else:
            region = _grown(silhouette, round(pad), height, width, hull=self.how == "hull")
        return region if also is None else united(region, also)


def box_region(xyxy: tuple[float, float, float, float], height: int, width: int) -> Region:
    """A box with rounded corners; straight where the picture cuts it. It holds at least one pixel."""
    x0, y0, x1, y1 = xyxy
    left, top = (int(np.clip(np.floor(v), 0, n - 1)) for v, n in ((x0, width), (y0, height)))
    right, bottom = (int(np.clip(np.ceil(v), low + 1, n)) for v, low, n in ((x1, left, width), (y1, top, height)))
    radius = CORNER * min(x1 - x0, y1 - y0)
    xs, ys = np.arange(left, right) + 0.5, np.arange(top, bottom) + 0.5
    beyond_x = np.maximum(np.maximum(x0 + radius - xs, xs - (x1 - radius)), 0)
    beyond_y = np.maximum(np.maximum(y0 + radius - ys, ys - (y1 - radius)), 0)
    mask = beyond_x[None, :] ** 2 + beyond_y[:, None] ** 2 <= (radius + 0.75) ** 2
    if not mask.any():
        mask[mask.shape[0] // 2, mask.shape[1] // 2] = True
    return Region((left, top, right, bottom), mask)


def _grown(silhouette: Silhouette, by_px: int, height: int, width: int, *, hull: bool) -> Region:
    """A mask, or its convex hull, made wider by some pixels."""
    by_px = max(by_px, 1)
    padded = np.pad(silhouette.mask.astype(np.uint8), by_px)
    if hull:
        points = np.asarray(cv2.findNonZero(padded), np.int32)
        cv2.fillConvexPoly(padded, np.asarray(cv2.convexHull(points), np.int32), (1,))
    # the distance from the mask, so that no limb's outline shows through the margin as with a small square kernel
    far = cv2.distanceTransform(1 - padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    mask = far <= by_px
    x0, y0 = silhouette.window[0] - by_px, silhouette.window[1] - by_px
    left, top = max(x0, 0), max(y0, 0)
    right, bottom = min(x0 + mask.shape[1], width), min(y0 + mask.shape[0], height)
    return _tight(Region((left, top, right, bottom), mask[top - y0 : bottom - y0, left - x0 : right - x0].copy()))


def _tight(region: Region) -> Region:
    """A region in the smallest window: crops are centred on it and scaled to it."""
    rows, columns = np.flatnonzero(region.mask.any(axis=1)), np.flatnonzero(region.mask.any(axis=0))
    if not len(rows):
        return region
    inner = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    x0, y0 = region.window[0] + int(columns[0]), region.window[1] + int(rows[0])
    mask = region.mask[inner].copy()
    return Region((x0, y0, x0 + mask.shape[1], y0 + mask.shape[0]), mask)
