"""How far mouth and eyes are open, from 68 landmarks: opt-in, since the landmarks' weights are for research only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from understudy.audit.estimators import Reading
from understudy.embed.dlib_chip import is_frontal

EYES = ((36, 37, 38, 39, 40, 41), (42, 43, 44, 45, 46, 47))
"""Corner, two points of the upper lid, corner, two of the lower, of each eye, in iBUG's order."""
LIPS = ((61, 67), (62, 66), (63, 65))
"""Points of the inner upper lip over points of the inner lower lip."""
CORNERS = (60, 64)
"""Inner corners of the mouth."""


class Landmarks(Protocol):
    """Finds 68 landmarks of a face."""

    def points(self, view: NDArray[np.uint8], keypoints: NDArray[np.floating]) -> NDArray[np.float64]:
        """(68, 2) px of the face with these keypoints (5, 2)."""
        ...

    def digests(self) -> dict[str, str]:
        """SHA-256 of the weights, by their name."""
        ...


class OpeningEstimator:
    """Openings of mouth and eyes; the policy does not read them.

    Parameters
    ----------
    landmarks : Landmarks
    min_face_px : float
        Shorter side of a box under which landmarks are guesses.
    """

    name = "landmarks"
    used_by_policy = False

    def __init__(self, landmarks: Landmarks, *, min_face_px: float = 48.0) -> None:
        self._landmarks, self.min_face_px = landmarks, min_face_px

    def read(
        self,
        views: Sequence[NDArray[np.uint8]],
        xyxy: NDArray[np.floating],
        keypoints: NDArray[np.floating],
        visibility: NDArray[np.floating],
        embeddings: NDArray[np.floating] | None = None,  # noqa: ARG002 - the protocol's
    ) -> tuple[Reading, ...]:
        """``mouth_opening`` and ``eye_opening``, shares of the width of mouth and eye; see ``Estimator.read``."""
        found = np.full((len(views), 2), np.nan)
        for i, (view, box, points, shown) in enumerate(zip(views, xyxy, keypoints, visibility, strict=True)):
            side = min(float(box[2] - box[0]), float(box[3] - box[1]))
            if side >= self.min_face_px and (shown > 0).all() and is_frontal(points, shown):
                found[i] = openings(self._landmarks.points(view, points))
        return (
            Reading.numbers("mouth_opening", "of its width", found[:, 0]),
            Reading.numbers("eye_opening", "of its width", found[:, 1]),
        )

    def digests(self) -> dict[str, str]:
        """SHA-256 of the landmarks' weights."""
        return self._landmarks.digests()


def openings(points: NDArray[np.floating]) -> tuple[float, float]:
    """Opening of the mouth and mean opening of the eyes.

    Parameters
    ----------
    points : (68, 2) px, in iBUG's order

    Returns
    -------
    (mouth, eyes)
        Mean gap over width: 0 closed; an open eye has about 0.3. NaN where a width is 0.

    Notes
    -----
    The eye aspect ratio of Soukupova and Cech 2016 (Computer Vision Winter Workshop), and the same of the inner lips.
    """
    p = np.asarray(points, np.float64)

    def gap(a: int, b: int) -> float:
        return float(np.linalg.norm(p[a] - p[b]))

    def over(gaps: float, width: float) -> float:
        return gaps / width if width > 0 else float("nan")

    mouth = over(sum(gap(a, b) for a, b in LIPS) / len(LIPS), gap(*CORNERS))
    eyes = [over((gap(b, f) + gap(c, e)) / 2, gap(a, d)) for a, b, c, d, e, f in EYES]
    return mouth, float(np.mean(eyes))
