"""Keypoints of faces that are found already, read again in several views of each face and averaged.

One reading of a face errs by several degrees of yaw, and errs differently in its mirror image or a little turned.
Every view is cut out upright, by the keypoints so far. No face is added, moved or let go here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from understudy.detect.base import N_KEYPOINTS, Found
from understudy.detect.frames import Levels
from understudy.detect.keypoints_onet import Onet
from understudy.detect.mtcnn import squares
from understudy.detect.second_look import Finder, central, roll_deg
from understudy.errors import InvalidInputError
from understudy.runtime.onnx import CPU

_BATCH = 24
_FLOOR = 0.05
_SWAPPED = (1, 0, 2, 4, 3)
"""``FACE_KEYPOINTS`` with right and left exchanged."""


@dataclass(frozen=True)
class View:
    """One view of a face.

    Parameters
    ----------
    face_px : float
        Size (square root of the box's area, or the square's side) to which the face is brought.
    crop_px : int
        Side of the crop.
    rotation_deg : float
        Counter-clockwise turn off the upright.
    mirrored : bool
    """

    face_px: float
    crop_px: int
    rotation_deg: float = 0.0
    mirrored: bool = False

    def __post_init__(self) -> None:
        if self.face_px <= 0 or self.crop_px <= 0:
            raise InvalidInputError(f"face_px and crop_px must be over 0, got {self.face_px}, {self.crop_px}")

    def cut(
        self, levels: Levels, xyxy: NDArray[np.float32], roll_deg: float
    ) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
        """The crop, and the map (2, 3) from its pixels, mirrored back, to the view's."""
        turn = self.rotation_deg - roll_deg
        crop, back = levels.cut(xyxy, turn, crop_px=self.crop_px, face_px=self.face_px)
        return (np.ascontiguousarray(crop[:, ::-1]) if self.mirrored else crop), back

    def put_back(self, keypoints: NDArray[np.float32], back: NDArray[np.float64]) -> NDArray[np.float64]:
        """Keypoints (5, 2) of the crop in pixels of the view, the subject's right first."""
        points = keypoints.astype(np.float64)
        if self.mirrored:
            points = (points * (-1, 1) + (self.crop_px, 0))[list(_SWAPPED)]
        return np.asarray(points @ back[:, :2].T + back[:, 2])


OWN_VIEWS = (
    View(42, 96, 10),
    View(42, 96, -10, mirrored=True),
    View(56, 128),
    View(56, 128, mirrored=True),
)
"""What CenterFace is shown: two sizes, and each other view mirrored, in which its errors differ most."""
ONET_VIEWS = tuple(View(53.3, 48, turn, mirrored) for turn in (0, 10, -10) for mirrored in (False, True))
"""What MTCNN's last network is shown: nine tenths of the square on the box's longer side."""


class Reader(Protocol):
    """Reads keypoints in crops of faces."""

    def __call__(self, crops: NDArray[np.uint8], view: View) -> NDArray[np.float32]:
        """Keypoints (B, 5, 2) in pixels of crops (B, crop_px, crop_px, 3); NaN where it is unsure of a face."""
        ...


@dataclass(frozen=True)
class FinderReader:
    """The detector's own network, on crops."""

    finder: Finder
    least: float
    """Least confidence of a reading."""

    def __call__(self, crops: NDArray[np.uint8], view: View) -> NDArray[np.float32]:
        """As in ``Reader``."""
        points = np.full((len(crops), N_KEYPOINTS, 2), np.nan, np.float32)
        for i, seen in enumerate(self.finder.find(crops, _FLOOR)):
            best = central(seen, view.crop_px, view.face_px)
            if len(best) and best.confidence[0] >= self.least:
                points[i] = best.keypoints[0]
        return points


class Keypoints:
    """Better keypoints of faces: the mean of several views, by the detector's own network and by MTCNN's last one.

    Parameters
    ----------
    views : sequence of View
        What the detector's own network is shown; the size is that of the box.
    least : float
        Least confidence of its readings.
    onet : bool
        Whether MTCNN's last network reads them, too. It finds nobody: the detector's families stay what they are.
    onet_views : sequence of View
        What it is shown, in crops of 48 px; the size is that of the square on the box's longer side.
    onet_share : float
        Weight of its mean; that of the detector's own is the rest.
    onet_least : float
        Least confidence of its readings.
    largest_move : float
        Where a keypoint would move by more than this part of the face's size (square root of the box's area), and where
        the detector's own network is unsure in half of the views or more, the first keypoints stay.
    providers, n_threads
        As in ``open_session``; of MTCNN's network.
    """

    def __init__(
        self,
        views: Sequence[View] = OWN_VIEWS,
        *,
        least: float = 0.3,
        onet: bool = False,
        onet_views: Sequence[View] = ONET_VIEWS,
        onet_share: float = 0.65,
        onet_least: float = 0.5,
        largest_move: float = 0.15,
        providers: Sequence[str] = (CPU,),
        n_threads: int = 1,
    ) -> None:
        if not views or not onet_views:
            raise InvalidInputError(f"at least one view each is needed, got {len(views)} and {len(onet_views)}")
        if not 0 <= onet_share <= 1 or largest_move <= 0:
            raise InvalidInputError(
                f"onet_share must lie in [0, 1] and largest_move be over 0, got {onet_share}, {largest_move}"
            )
        self.views = tuple(views)
        self.least = least
        self.onet_views = tuple(onet_views)
        self.onet_share = onet_share
        self.largest_move = largest_move
        self.onet = Onet(least=onet_least, providers=providers, n_threads=n_threads) if onet else None

    def digests(self) -> dict[str, str]:
        """SHA-256 of the weights of MTCNN's last network, where it reads."""
        return {} if self.onet is None else self.onet.digests()

    def __call__(self, levels: Levels, faces: Found, finder: Finder) -> Found:
        """The same faces with better keypoints.

        Parameters
        ----------
        levels : Levels
            Of the view.
        faces : Found
            In pixels of the view; those without keypoints stay as they are.
        finder : Finder

        Returns
        -------
        Found
            In the same order, with the same boxes and confidences.
        """
        if not len(faces):
            return faces
        size = np.sqrt((faces.xyxy[:, 2:] - faces.xyxy[:, :2]).prod(axis=1)).clip(1)
        seen = readings(levels, faces.xyxy, faces.keypoints, self.views, FinderReader(finder, self.least))
        sure = 2 * np.isfinite(seen).all(axis=(2, 3)).sum(axis=0) > len(self.views)
        better = averaged(seen, self.largest_move * size)
        if self.onet is not None:
            seen = readings(levels, squares(faces.xyxy), faces.keypoints, self.onet_views, self.onet)
            other = averaged(seen, self.largest_move * size)
            known = np.isfinite(other).all(axis=(1, 2))
            better[known] += self.onet_share * (other[known] - better[known])
        with np.errstate(invalid="ignore"):
            moved = np.linalg.norm(better - faces.keypoints, axis=2).max(axis=1)
            taken = sure & (moved <= self.largest_move * size)  # not where either is NaN
        keypoints = np.where(taken[:, None, None], better, faces.keypoints).astype(np.float32)
        return Found(faces.xyxy, faces.confidence, keypoints)


def readings(
    levels: Levels,
    xyxy: NDArray[np.float32],
    keypoints: NDArray[np.float32],
    views: Sequence[View],
    reader: Reader,
) -> NDArray[np.float64]:
    """What a reader sees of each face in each view.

    Parameters
    ----------
    levels : Levels
    xyxy : (N, 4) px
    keypoints : (N, 5, 2) px
        For the roll alone.
    views : sequence of V View
    reader : Reader

    Returns
    -------
    (V, N, 5, 2) px
        NaN where it is unsure.
    """
    roll = roll_deg(keypoints)
    read = np.full((len(views), len(xyxy), N_KEYPOINTS, 2), np.nan)
    for v, view in enumerate(views):
        for start in range(0, len(xyxy), _BATCH):
            some = range(start, min(start + _BATCH, len(xyxy)))
            cut = [view.cut(levels, xyxy[i], float(roll[i])) for i in some]
            points = reader(np.stack([crop for crop, _ in cut]), view)
            for i, one, (_, back) in zip(some, points, cut, strict=True):
                read[v, i] = view.put_back(one, back)
    return read


def averaged(seen: NDArray[np.float64], reach: NDArray[np.floating]) -> NDArray[np.float64]:
    """Mean of the readings of each face that agree with their median.

    Parameters
    ----------
    seen : (V, N, 5, 2) px
        NaN where a view has no reading.
    reach : (N,) px
        A reading with a keypoint farther than this from the median of that keypoint is left out.

    Returns
    -------
    (N, 5, 2) px
        NaN where no reading is left.
    """
    mean = np.full(seen.shape[1:], np.nan)
    for i in range(seen.shape[1]):
        known = seen[np.isfinite(seen[:, i]).all(axis=(1, 2)), i]  # (M, 5, 2)
        if len(known):
            off = np.linalg.norm(known - np.median(known, axis=0), axis=2).max(axis=1)
            if (off <= reach[i]).any():
                mean[i] = known[off <= reach[i]].mean(axis=0)
    return mean
