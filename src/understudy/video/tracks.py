"""Detections of consecutive frames joined to tracks.

Association by overlap with a box that moves on at constant velocity, confident detections first, as in ByteTrack
(Zhang et al., 2022, arXiv:2110.06864), with two differences that privacy asks for: a detection of low confidence that
belongs to no track begins one (nobody who was found is left out), and matching is greedy by overlap. Who moves by more
than a box from frame to frame is met in a third round, with boxes that are enlarged on all sides, as in C-BIoU (Yang et
al., 2022, arXiv:2211.14317): else each detection of a fast face would be a track of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from understudy.detect.overlap import pairwise_iou
from understudy.types import Detections

FIRST_IOU = 0.2
"""Least overlap of a confident detection with a track."""
SECOND_IOU = 0.3
"""Least overlap of a detection of low confidence."""
THIRD_IOU = 0.25
"""Least overlap of enlarged boxes, for what is left then."""
BUFFER = 0.7
"""By this share of its size a box is enlarged on each side in the third round."""
MAX_SIZE_RATIO = 1.6
"""How far sides may differ there."""
MAX_WAIT = 3
"""Frames since a track's last detection up to which it takes part there."""
_MEMORY = 0.7
"""Weight of the velocity so far against that of the last step."""

ROW = np.dtype(
    [
        ("frame", "<i8"),
        ("track", "<i4"),
        ("observed", "?"),
        ("pose", "i1"),
        ("confidence", "<f4"),
        ("xyxy", "<f4", (4,)),
        ("keypoints", "<f4", (5, 2)),
        ("visibility", "<f4", (5,)),
    ]
)
"""One face in one frame; ``observed`` is False where it was interpolated or added at an end,
``pose`` the bin of the head's yaw, -1 where it is not known."""


@dataclass
class Track:
    """One person from one cut to the next, as far as is known."""

    track_id: int
    scene_start: int
    """First frame of its scene."""
    rows: list[NDArray[np.void]] = field(default_factory=list)
    velocity: NDArray[np.float64] = field(default_factory=lambda: np.zeros(2))
    """Of the box's centre, px a frame."""

    @property
    def last_frame(self) -> int:
        """The frame of its last detection."""
        return int(self.rows[-1]["frame"])

    def expected(self, frame: int) -> NDArray[np.float64]:
        """Where its box would be in a frame, (4,) px."""
        shift = np.tile(self.velocity * (frame - self.last_frame), 2)
        return np.asarray(self.rows[-1]["xyxy"] + shift, np.float64)

    def add(self, row: NDArray[np.void]) -> None:
        """Take a detection."""
        if self.rows:
            before = self.rows[-1]
            step = (_center(row["xyxy"]) - _center(before["xyxy"])) / max(int(row["frame"] - before["frame"]), 1)
            self.velocity = step if len(self.rows) == 1 else _MEMORY * self.velocity + (1 - _MEMORY) * step
        self.rows.append(row)


def _center(xyxy: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.asarray((xyxy[:2] + xyxy[2:]) / 2, np.float64)


def _buffered_iou(one: NDArray[np.floating], other: NDArray[np.floating]) -> NDArray[np.floating]:
    """Overlap of boxes (N, 4) and (M, 4) px that are enlarged on all sides; 0 where their sizes differ too much."""
    sides = [(boxes[:, 2:] - boxes[:, :2]).clip(1e-6) for boxes in (one, other)]
    large = [
        np.concatenate([boxes[:, :2] - BUFFER * side, boxes[:, 2:] + BUFFER * side], axis=1)
        for boxes, side in zip((one, other), sides, strict=True)
    ]
    ratio = sides[0][:, None] / sides[1][None]  # (N, M, 2)
    alike = (np.maximum(ratio, 1 / ratio) <= MAX_SIZE_RATIO).all(axis=2)
    return np.where(alike, pairwise_iou(*large), 0)


def rows_of(found: Detections, frame: int) -> NDArray[np.void]:
    """Detections as rows that belong to no track yet."""
    rows = np.zeros(len(found), ROW)
    rows["frame"], rows["track"], rows["observed"] = frame, -1, True
    rows["confidence"], rows["xyxy"] = found.confidence, found.xyxy
    n = min(found.keypoints.shape[1], 5)
    rows["keypoints"][:, :n], rows["visibility"][:, :n] = found.keypoints[:, :n], found.visibility[:, :n]
    return rows


class Tracker:
    """Joins rows frame by frame; a track that has ended is handed out once and forgotten.

    Parameters
    ----------
    max_gap : int
        Frames without a detection after which a track ends.
    high_confidence : float
        Detections that are matched first.
    """

    def __init__(self, *, max_gap: int, high_confidence: float) -> None:
        self.max_gap = max_gap
        self.high_confidence = high_confidence
        self.live: list[Track] = []
        self._next_id = 0
        self._scene_start = 0

    def __call__(self, frame: int, rows: NDArray[np.void], *, cut: bool) -> list[Track]:
        """Take the detections of the next frame.

        Returns
        -------
        list of Track
            Those that have ended before this frame.
        """
        ended = []
        if cut:
            ended, self.live = self.live, []
            self._scene_start = frame
        else:
            ended = [t for t in self.live if frame - t.last_frame > self.max_gap + 1]
            self.live = [t for t in self.live if frame - t.last_frame <= self.max_gap + 1]
        confident = rows["confidence"] >= self.high_confidence
        left = self._match(frame, rows[confident], self.live, FIRST_IOU)
        free = [t for t in self.live if t.last_frame != frame]
        left += self._match(frame, rows[~confident], free, SECOND_IOU)
        if left:
            near = [t for t in self.live if t.last_frame != frame and frame - t.last_frame <= MAX_WAIT]
            left = self._match(frame, np.stack(left), near, THIRD_IOU, overlap=_buffered_iou)
        for row in left:
            track = Track(self._next_id, self._scene_start)
            self._next_id += 1
            track.add(row)
            self.live.append(track)
        return ended

    def finish(self) -> list[Track]:
        """The tracks that live to the end of the film."""
        ended, self.live = self.live, []
        return ended

    def _match(
        self,
        frame: int,
        rows: NDArray[np.void],
        tracks: Sequence[Track],
        least: float,
        overlap: Callable[[NDArray[np.floating], NDArray[np.floating]], NDArray[np.floating]] = pairwise_iou,
    ) -> list[NDArray[np.void]]:
        """Give each row to the track that it overlaps most; those that are left over."""
        if not len(rows) or not tracks:
            return list(rows)
        iou = overlap(np.stack([t.expected(frame) for t in tracks]), rows["xyxy"].astype(np.float64))
        taken: set[int] = set()
        order = np.lexsort((np.tile(np.arange(len(rows)), len(tracks)), -iou.reshape(-1)))
        for t, r in zip(*np.unravel_index(order, iou.shape), strict=True):
            if iou[t, r] < least:
                break
            if r in taken or tracks[t].last_frame == frame:
                continue
            tracks[t].add(rows[r])
            taken.add(int(r))
        return [row for r, row in enumerate(rows) if r not in taken]
