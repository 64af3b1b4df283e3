"""Accept or refuse an understudy: is it somebody else, is it a face, is it more than a smudge?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from understudy.detect.base import Detector
from understudy.embed.base import BodyEmbedder, Embedder
from understudy.types import Detections

DLIB_SAME_PERSON = 0.6
"""Euclidean distance under which dlib's ResNet calls two faces one person."""


@dataclass(frozen=True)
class Reference:
    """The original as the guard remembers it: an embedding, in memory only, or the reason why there is none."""

    embedding: NDArray[np.float32] | None
    why_not: str = ""


@dataclass(frozen=True)
class Verdict:
    """What the guard says of one candidate."""

    accepted: bool
    reason: str
    """Empty when accepted."""
    readings: Mapping[str, float | str] = field(default_factory=dict)


class FaceGuard:
    """Judges candidates on the crop in which they were generated.

    Parameters
    ----------
    detector : Detector
        Finds the face in the candidate.
    embedder : Embedder or None
        Identity embedder; None (its extra is not installed) leaves identity undecided.
    min_distance : float
        Least Euclidean distance between the embeddings of original and candidate.
    min_confidence : float
        Least confidence of the face that must be found in the candidate.
    min_overlap : float
        Least share of that face's box that must lie in the replaced region.
    min_sd : float
        Least standard deviation of luminance under the mask, grey levels: flatter is degenerate.
    max_clipped : float
        Largest share of pixels under the mask that may be black or white in every channel.
    """

    def __init__(
        self,
        detector: Detector,
        embedder: Embedder | None,
        min_distance: float = DLIB_SAME_PERSON,
        min_confidence: float = 0.5,
        min_overlap: float = 0.5,
        min_sd: float = 4.0,
        max_clipped: float = 0.5,
    ) -> None:
        self.detector = detector
        self.embedder = embedder
        self.min_distance = min_distance
        self.min_confidence = min_confidence
        self.min_overlap = min_overlap
        self.min_sd = min_sd
        self.max_clipped = max_clipped

    def reference(
        self,
        view: NDArray[np.uint8],
        xyxy: NDArray[np.floating],
        keypoints: NDArray[np.floating],
        visibility: NDArray[np.floating],
    ) -> Reference:
        """Remember the original of one face, before it is erased.

        Parameters
        ----------
        view : (H, W, 3) uint8 sRGB
        xyxy : (4,) px
        keypoints : (5, 2) px
        visibility : (5,), 0 = absent
        """
        if self.embedder is None:
            return Reference(None, "no identity embedder is installed")
        if not self.embedder.can_judge(keypoints, visibility, xyxy):
            return Reference(None, "the original is too small, turned away or without keypoints")
        return Reference(self.embedder.embed(view, keypoints, visibility))

    def judge(self, reference: Reference, candidate: NDArray[np.uint8], mask: NDArray[np.bool_]) -> Verdict:
        """Accept or refuse one candidate.

        Parameters
        ----------
        reference : Reference
        candidate : (S, S, 3) uint8
            The crop with the candidate in it.
        mask : (S, S) bool
            What was replaced in it.
        """
        looks = _judge_pixels(candidate, mask, self.min_sd, self.max_clipped)
        if not looks.accepted:
            return looks
        readings = dict(looks.readings)
        found = self.detector(candidate)
        best = self._face_in_mask(found, mask)
        if best is None:
            return Verdict(False, "no face found in it", {**readings, "face_confidence": 0.0})
        readings["face_confidence"] = round(float(found.confidence[best]), 4)
        return self._judge_identity(reference, candidate, found, best, readings)

    def _face_in_mask(self, found: Detections, mask: NDArray[np.bool_]) -> int | None:
        """Index of the most confident face that lies in the replaced region, if there is one."""
        inside = [
            i
            for i in range(len(found))
            if found.confidence[i] >= self.min_confidence and _share_in(found.xyxy[i], mask) >= self.min_overlap
        ]
        return max(inside, key=lambda i: (float(found.confidence[i]), -i)) if inside else None

    def _judge_identity(
        self,
        reference: Reference,
        candidate: NDArray[np.uint8],
        found: Detections,
        best: int,
        readings: dict[str, float | str],
    ) -> Verdict:
        if reference.embedding is None or self.embedder is None:
            return Verdict(True, "", {**readings, "identity": "undecided", "why": reference.why_not})
        points, shown = found.keypoints[best], found.visibility[best]
        if not (shown > 0).all():
            return Verdict(True, "", {**readings, "identity": "undecided", "why": "no keypoints in the candidate"})
        distance = float(np.linalg.norm(self.embedder.embed(candidate, points, shown) - reference.embedding))
        readings["identity_distance"] = round(distance, 4)
        if not distance >= self.min_distance:  # so that a distance that is no number is refused too
            return Verdict(
                False,
                f"too near the original: distance {distance:.3f} under {self.min_distance:.2f}",
                {**readings, "identity": "same"},
            )
        return Verdict(True, "", {**readings, "identity": "other"})

    def still_original(
        self, references: list[Reference], view: NDArray[np.uint8], found: Detections, index: int
    ) -> bool:
        """Whether a face found in the finished picture is one of the originals by the guard's own threshold."""
        points, shown = found.keypoints[index], found.visibility[index]
        known = [r.embedding for r in references if r.embedding is not None]
        if not known or self.embedder is None or not self.embedder.can_judge(points, shown, found.xyxy[index]):
            return False
        embedding = self.embedder.embed(view, points, shown)
        return bool(min(np.linalg.norm(embedding - k) for k in known) < self.min_distance)


class BodyGuard:
    """Judges understudies of bodies on the crop in which they were generated.

    Parameters
    ----------
    detector : Detector, optional
        Finds the person in the candidate; without one, whether it looks like a person is not asked.
    embedder : BodyEmbedder, optional
        Identity embedder of whole people; without one (the default: those that exist learnt from data for research
        only), identity stays undecided.
    min_distance : float
        Least cosine distance between the embeddings of original and candidate, in [0, 2].
    min_confidence : float
        Least confidence of the person that must be found in the candidate.
    min_overlap : float
        Least share of that person's box that must lie in the replaced region.
    min_sd, max_clipped : float
        As in ``FaceGuard``.
    """

    def __init__(
        self,
        detector: Detector | None = None,
        embedder: BodyEmbedder | None = None,
        min_distance: float = 0.3,
        min_confidence: float = 0.3,
        min_overlap: float = 0.5,
        min_sd: float = 4.0,
        max_clipped: float = 0.5,
    ) -> None:
        self.detector = detector
        self.embedder = embedder
        self.min_distance = min_distance
        self.min_confidence = min_confidence
        self.min_overlap = min_overlap
        self.min_sd = min_sd
        self.max_clipped = max_clipped

    def reference(self, view: NDArray[np.uint8], xyxy: NDArray[np.floating]) -> Reference:
        """Remember the original of one body, before it is erased.

        Parameters
        ----------
        view : (H, W, 3) uint8 sRGB
        xyxy : (4,) px
        """
        if self.embedder is None:
            return Reference(None, "no identity embedder of bodies is configured")
        if not self.embedder.can_judge(xyxy):
            return Reference(None, "the original is too small")
        return Reference(self.embedder.embed(view, xyxy))

    def judge(self, reference: Reference, candidate: NDArray[np.uint8], mask: NDArray[np.bool_]) -> Verdict:
        """Accept or refuse one candidate.

        Parameters
        ----------
        reference : Reference
        candidate : (H, W, 3) uint8
            The crop with the candidate in it.
        mask : (H, W) bool
            What was replaced in it.
        """
        looks = _judge_pixels(candidate, mask, self.min_sd, self.max_clipped)
        if not looks.accepted:
            return looks
        readings = dict(looks.readings)
        if self.detector is not None:
            found = self.detector(candidate)
            sure = [
                float(found.confidence[i])
                for i in range(len(found))
                if _share_in(found.xyxy[i], mask) >= self.min_overlap
            ]
            readings["person_confidence"] = round(max(sure, default=0.0), 4)
            if max(sure, default=0.0) < self.min_confidence:
                return Verdict(False, "no person found in it", readings)
        if reference.embedding is None or self.embedder is None:
            return Verdict(True, "", {**readings, "identity": "undecided", "why": reference.why_not})
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        box = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float32)
        distance = cosine_distance(self.embedder.embed(candidate, box), reference.embedding)
        readings["identity_distance"] = round(distance, 4)
        if not distance >= self.min_distance:
            why = f"too near the original: cosine distance {distance:.3f} under {self.min_distance:.2f}"
            return Verdict(False, why, {**readings, "identity": "same"})
        return Verdict(True, "", {**readings, "identity": "other"})

    def still_original(
        self, references: list[Reference], view: NDArray[np.uint8], found: Detections, index: int
    ) -> bool:
        """Whether a person found in the finished picture is one of the originals by the guard's own threshold."""
        known = [r.embedding for r in references if r.embedding is not None]
        if not known or self.embedder is None or not self.embedder.can_judge(found.xyxy[index]):
            return False
        embedding = self.embedder.embed(view, found.xyxy[index])
        return bool(min(cosine_distance(embedding, k) for k in known) < self.min_distance)


def cosine_distance(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """One less the cosine of the angle between two vectors, in [0, 2]; nan where one of them is zero."""
    norm = float(np.linalg.norm(a)) * float(np.linalg.norm(b))
    return 1 - float(a @ b) / norm if norm > 0 else float("nan")


def _judge_pixels(candidate: NDArray[np.uint8], mask: NDArray[np.bool_], min_sd: float, max_clipped: float) -> Verdict:
    """Whether there is more than a smudge under the mask, with the readings."""
    if not mask.any():
        return Verdict(False, "nothing of it lies in its crop")
    luminance = cv2.cvtColor(candidate, cv2.COLOR_RGB2GRAY)[mask].astype(np.float32)
    sd = float(luminance.std())
    inside = candidate[mask]
    clipped = float(((inside <= 2).all(axis=1) | (inside >= 253).all(axis=1)).mean())
    readings: dict[str, float | str] = {"sd": round(sd, 2), "clipped": round(clipped, 4)}
    if sd < min_sd:
        return Verdict(False, f"flat: standard deviation {sd:.1f} under {min_sd:.1f}", readings)
    if clipped > max_clipped:
        return Verdict(False, f"saturated: {clipped:.0%} of pixels over {max_clipped:.0%}", readings)
    return Verdict(True, "", readings)


def _share_in(xyxy: NDArray[np.floating], mask: NDArray[np.bool_]) -> float:
    """Share of a box's pixels that lie under a mask."""
    height, width = mask.shape
    x0, x1 = (int(np.clip(round(float(v)), 0, width)) for v in xyxy[[0, 2]])
    y0, y1 = (int(np.clip(round(float(v)), 0, height)) for v in xyxy[[1, 3]])
    window = mask[y0:y1, x0:x1]
    return float(window.mean()) if window.size else 0.0
