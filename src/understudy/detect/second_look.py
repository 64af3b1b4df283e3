"""A second look at doubtful finds: each is cut out, brought to one size, turned, and shown to the network again.

A face that one pass barely sees (tiny, rolled, dim) is seen in several turns of its crop; what only looks like a face
once is not. This costs a small part of a pass over the whole picture, and takes the place of whole passes in many
sizes and rotations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from understudy.detect.base import Found
from understudy.detect.frames import Levels, map_found
from understudy.errors import InvalidInputError

_BATCH = 24
_FLOOR = 0.05
"""Confidences under it count as nothing seen."""
_UPRIGHT_CROP_PX, _UPRIGHT_FACE_PX, _UPRIGHT_ACCEPT = 96, 42.0, 0.3


class Finder(Protocol):
    """A network that gives raw finds for a batch of views of one size."""

    @property
    def name(self) -> str:
        """What tables and messages call it."""
        ...

    @property
    def families(self) -> frozenset[str]:
        """As in ``Detector``."""
        ...

    def find(self, views: NDArray[np.uint8], threshold: float) -> list[Found]:
        """Finds over a threshold for each of the views (B, H, W, 3)."""
        ...


@dataclass(frozen=True)
class SecondLook:
    """How doubtful finds are looked at again.

    Parameters
    ----------
    rotations_deg : sequence of float
        Turns of a crop.
    n_votes : int
        The score of a find is the mean confidence of the best so many turns (0 where nothing is seen).
    accept : float
        Least score of a face.
    n_first : int
        So many of the turns, the first ones, are tried first; a find that none of them sees with at least
        ``first_accept`` is let go. Most doubtful finds go there.
    first_accept : float
    crop_px, face_px
        Side of a crop (a multiple of 32), and the size to which the find in it is brought.
    max_looks : int
        At most so many finds of a picture are looked at again, the most confident ones; the others are let go.
    """

    rotations_deg: Sequence[float] = (30, -30, 180, 0, 60, -60, 90, -90)
    n_votes: int = 3
    accept: float = 0.3
    n_first: int = 3
    first_accept: float = 0.1
    crop_px: int = 64
    face_px: float = 28
    max_looks: int = 120

    def __post_init__(self) -> None:
        n = len(self.rotations_deg)
        for name, value in (("n_votes", self.n_votes), ("n_first", self.n_first)):
            if not 1 <= value <= n:
                raise InvalidInputError(f"{name} must lie between 1 and the number of rotations {n}, got {value}")
        if not 0 < self.face_px < self.crop_px:
            raise InvalidInputError(f"face_px must lie in (0, crop_px {self.crop_px}), got {self.face_px}")

    def accepted(self, levels: Levels, doubtful: Found, finder: Finder) -> Found:
        """Those of the doubtful finds that turn out to be faces, as seen in their best turn.

        Parameters
        ----------
        levels : Levels
            Of the view.
        doubtful : Found
            In pixels of the view.
        finder : Finder

        Returns
        -------
        Found
            Boxes and keypoints of the best turn, mapped back; the confidence is the best one seen.
        """
        doubtful = doubtful.sorted().take(np.arange(min(len(doubtful), self.max_looks)))
        first, rest = self.rotations_deg[: self.n_first], self.rotations_deg[self.n_first :]
        seen = self._look(levels, doubtful, first, finder)
        worth = np.array([max(scores(one), default=0) >= self.first_accept for one in seen], np.bool_)
        again = self._look(levels, doubtful.take(worth), rest, finder)
        faces = []
        for i, more in zip(np.flatnonzero(worth), again, strict=True):
            sights = [*seen[i], *more]
            if sum(sorted(scores(sights))[-self.n_votes :]) / self.n_votes >= self.accept:
                best = Found.concatenate(sights).sorted().take(np.s_[:1])
                faces.append(
                    Found(best.xyxy, np.maximum(best.confidence, doubtful.confidence[i : i + 1]), best.keypoints)
                )
        return Found.concatenate(faces)

    def _look(
        self, levels: Levels, doubtful: Found, rotations_deg: Sequence[float], finder: Finder
    ) -> list[list[Found]]:
        """What is seen of each find in each turn: one face in pixels of the view, or none."""
        looks = [(box, rotation) for box in doubtful.xyxy for rotation in rotations_deg]
        sights = look_again(levels, looks, finder, crop_px=self.crop_px, face_px=self.face_px)
        n = len(rotations_deg)
        return [sights[i * n : (i + 1) * n] for i in range(len(doubtful))]


def scores(sights: Sequence[Found]) -> list[float]:
    """Confidences of sights, 0 for those of nothing."""
    return [float(sight.confidence[0]) if len(sight) else 0.0 for sight in sights]


def look_again(
    levels: Levels,
    looks: Sequence[tuple[NDArray[np.float32], float]],
    finder: Finder,
    *,
    crop_px: int,
    face_px: float,
) -> list[Found]:
    """What the network sees in the middle of turned crops.

    Parameters
    ----------
    levels : Levels
        Of the view.
    looks : sequence of (box (4,), rotation in degrees)
    finder : Finder
    crop_px, face_px
        As in ``Levels.cut``.

    Returns
    -------
    list of Found
        For each look one face in pixels of the view, or none.
    """
    sights = []
    for start in range(0, len(looks), _BATCH):
        cut = [
            levels.cut(box, rotation, crop_px=crop_px, face_px=face_px)
            for box, rotation in looks[start : start + _BATCH]
        ]
        found = finder.find(np.stack([crop for crop, _ in cut]), _FLOOR)
        sights += [map_found(central(one, crop_px, face_px), back) for one, (_, back) in zip(found, cut, strict=True)]
    return sights


def central(seen: Found, crop_px: int, face_px: float) -> Found:
    """The most confident find in the middle of a crop that has about the right size, or none."""
    middle = np.abs((seen.xyxy[:, :2] + seen.xyxy[:, 2:]) / 2 - crop_px / 2).max(axis=1, initial=0)
    size = np.sqrt((seen.xyxy[:, 2:] - seen.xyxy[:, :2]).prod(axis=1)) / face_px
    return seen.take((middle < 0.35 * face_px) & (size > 0.5) & (size < 1.8)).sorted().take(np.s_[:1])


def straightened(levels: Levels, faces: Found, finder: Finder, *, least_roll_deg: float, n_rounds: int = 2) -> Found:
    """Faces with those that are rolled seen once more upright, for better boxes and keypoints; none is let go.

    Parameters
    ----------
    levels : Levels
        Of the view.
    faces : Found
        In pixels of the view.
    finder : Finder
    least_roll_deg : float
        Heads that are rolled less stay as they are.
    n_rounds : int
        The roll is read from the keypoints, which get better with each round.

    Returns
    -------
    Found
    """
    roll = roll_deg(faces.keypoints)
    rolled = np.abs(roll) > least_roll_deg
    for _ in range(n_rounds if rolled.any() else 0):
        looks = [(box, -float(angle)) for box, angle in zip(faces.xyxy[rolled], roll[rolled], strict=True)]
        sights = look_again(levels, looks, finder, crop_px=_UPRIGHT_CROP_PX, face_px=_UPRIGHT_FACE_PX)
        parts = [faces.take(np.array([i])) for i in range(len(faces))]
        for i, sight in zip(np.flatnonzero(rolled), sights, strict=True):
            if len(sight) and sight.confidence[0] >= _UPRIGHT_ACCEPT:
                confidence = np.maximum(sight.confidence, parts[i].confidence)
                parts[i] = Found(sight.xyxy, confidence, sight.keypoints)
        faces = Found.concatenate(parts)
        roll = roll_deg(faces.keypoints)
    return faces


def roll_deg(keypoints: NDArray[np.float32]) -> NDArray[np.float64]:
    """Counter-clockwise roll of faces in degrees, from the eyes' middle to the mouth's; 0 where they are absent."""
    down = (keypoints[:, 3:5].mean(axis=1) - keypoints[:, 0:2].mean(axis=1)).astype(np.float64)
    angle = np.degrees(np.arctan2(down[:, 0], down[:, 1]))
    return np.asarray(np.nan_to_num(angle, nan=0.0))
