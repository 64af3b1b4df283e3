"""A finished track: gaps closed, ends lengthened, place and size steadied."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from understudy.attributes.head_pose import estimate_yaw_deg, yaw_bin
from understudy.video.tracks import ROW, Track

LARGEST_SHIFT = 0.08
"""Smoothing moves a centre, a side or a keypoint by this share of the box's size at most: the face stays covered."""
UNSEEN_MARGIN = 0.1
"""A box that was not found but worked out is larger by this share."""
EXTEND_LONELY = 2
"""A face that was found once has no velocity: so many frames are added at most, for they would stand still."""
SHORTEST_POSE = 5
"""A pose that is held for fewer frames is noise at the border of two bins."""
_ROWS_FOR_VELOCITY = 4


def complete(track: Track, *, scene_end: int, extend: int, smooth: float, height: int, width: int) -> NDArray[np.void]:
    """Rows of a track for every frame from a little before its first detection to a little after its last.

    Parameters
    ----------
    track : Track
    scene_end : int
        The first frame that is no more of its scene (or of the film): nothing is added from there on.
    extend : int
        Frames that are added at both ends, at constant velocity.
    smooth : float
        Standard deviation of the Gaussian that steadies place and size, frames.
    height, width : int
        Of the upright frame, px; rows that lie outside it are left out.

    Returns
    -------
    (N,) of ``ROW``, in order of frames
    """
    seen = np.array(track.rows, ROW)
    first, last = int(seen["frame"][0]), int(seen["frame"][-1])
    if len(seen) == 1:
        extend = min(extend, EXTEND_LONELY)
    begin, end = max(first - extend, track.scene_start), min(last + extend, scene_end - 1)
    rows = np.zeros(end - begin + 1, ROW)
    rows["frame"], rows["track"] = np.arange(begin, end + 1), track.track_id
    rows["observed"] = np.isin(rows["frame"], seen["frame"])
    at, known = rows["frame"].astype(np.float64), seen["frame"].astype(np.float64)
    rows["confidence"] = np.interp(at, known, seen["confidence"])
    rows["visibility"] = _visible(rows["frame"], seen)
    boxes = _interpolate(at, known, seen["xyxy"].astype(np.float64))
    points = _interpolate(at, known, seen["keypoints"].reshape(-1, 10).astype(np.float64)).reshape(-1, 5, 2)
    drift = _drift(at, first, last, seen)
    boxes += np.tile(drift, 2)
    points += drift[:, None]
    unseen = np.where(rows["observed"], 0, UNSEEN_MARGIN / 2)[:, None]
    size = boxes[:, 2:] - boxes[:, :2]
    boxes += np.concatenate([-unseen * size, unseen * size], axis=1)
    rows["xyxy"], rows["keypoints"] = _steady(boxes, points, rows["visibility"], smooth)
    rows["pose"] = _poses(rows)
    return rows[_inside(rows["xyxy"], height, width)]


def _interpolate(
    at: NDArray[np.float64], known: NDArray[np.float64], values: NDArray[np.float64]
) -> NDArray[np.float64]:
    return np.stack([np.interp(at, known, column) for column in values.T], axis=1)


def _visible(frames: NDArray[np.integer], seen: NDArray[np.void]) -> NDArray[np.float32]:
    """Between two detections a keypoint is there where it is there in both."""
    after = np.searchsorted(seen["frame"], frames).clip(0, len(seen) - 1)
    before = np.where(seen["frame"][after] == frames, after, (after - 1).clip(0))
    return np.asarray(np.minimum(seen["visibility"][before], seen["visibility"][after]), np.float32)


def _drift(at: NDArray[np.float64], first: int, last: int, seen: NDArray[np.void]) -> NDArray[np.float64]:
    """How far the added ends have moved, (N, 2) px: at the mean velocity of the nearest detections."""
    center = (seen["xyxy"][:, :2].astype(np.float64) + seen["xyxy"][:, 2:]) / 2
    drift = np.zeros((len(at), 2))
    n = min(_ROWS_FOR_VELOCITY, len(seen))
    if n < 2:
        return drift
    frame = seen["frame"].astype(np.float64)
    ahead = (center[-1] - center[-n]) / (frame[-1] - frame[-n])
    back = (center[n - 1] - center[0]) / (frame[n - 1] - frame[0])
    drift += (at - last).clip(0)[:, None] * ahead + (at - first).clip(max=0)[:, None] * back
    return drift


def _steady(
    boxes: NDArray[np.float64], points: NDArray[np.float64], shown: NDArray[np.float32], smooth: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Smooth centre, sides and keypoints, each within ``LARGEST_SHIFT`` of where it was found."""
    size = (boxes[:, 2:] - boxes[:, :2]).clip(1e-3)
    center = (boxes[:, 2:] + boxes[:, :2]) / 2
    reach = LARGEST_SHIFT * size.max(axis=1, keepdims=True)
    sides = np.maximum(_gaussian(size, smooth), (1 - LARGEST_SHIFT / 4) * size)
    middle = np.clip(_gaussian(center, smooth), center - reach, center + reach)
    relative = points - center[:, None]
    steady = _gaussian(np.where(shown[..., None] > 0, relative, 0).reshape(-1, 10), smooth).reshape(-1, 5, 2)
    weight = _gaussian((shown > 0).astype(np.float64), smooth)[..., None].clip(1e-6)
    moved = middle[:, None] + steady / weight
    near = np.clip(moved, points - reach[:, None], points + reach[:, None])
    return np.concatenate([middle - sides / 2, middle + sides / 2], axis=1), np.where(shown[..., None] > 0, near, 0)


def _poses(rows: NDArray[np.void]) -> NDArray[np.int8]:
    """Yaw bins of the steadied keypoints; one that is held for a moment only is taken for that before it."""
    poses = np.full(len(rows), -1, np.int8)
    for i, row in enumerate(rows):
        yaw = estimate_yaw_deg(row["keypoints"], row["visibility"], row["xyxy"])
        poses[i] = -1 if yaw is None else yaw_bin(yaw)
    starts = np.flatnonzero(np.concatenate([[True], poses[1:] != poses[:-1]]))
    for start, end in zip(starts, [*starts[1:], len(poses)], strict=True):
        if start > 0 and end - start < SHORTEST_POSE:
            poses[start:end] = poses[start - 1]
    return poses


def _gaussian(values: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    """Each column convolved with a Gaussian of 3 sigma reach; at the ends it goes on as it came."""
    reach = int(np.ceil(3 * sigma))
    if not reach or len(values) < 2:
        return values
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    padded = np.pad(values, ((reach, reach), (0, 0)), mode="reflect", reflect_type="odd")
    kernel /= kernel.sum()
    return np.stack([np.convolve(column, kernel, "valid") for column in padded.T], axis=1)


def _inside(boxes: NDArray[np.floating], height: int, width: int) -> NDArray[np.bool_]:
    return np.asarray((boxes[:, 0] < width) & (boxes[:, 1] < height) & (boxes[:, 2] > 0) & (boxes[:, 3] > 0))
