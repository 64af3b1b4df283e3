"""What every detector is: a callable from a view to Detections, and the raw finds that detectors share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from understudy.errors import InvalidInputError
from understudy.types import Detections, Kind

N_KEYPOINTS = 5


class Detector(Protocol):
    """Finds faces, or people, in one picture. One detector may be called from several threads at once."""

    @property
    def name(self) -> str:
        """What tables and messages call it."""
        ...

    @property
    def families(self) -> frozenset[str]:
        """Networks or methods behind it; two detectors that share one miss the same faces."""
        ...

    def __call__(self, view: NDArray[np.uint8]) -> Detections:
        """Find faces in a view of shape (H, W, 3), sRGB, in its pixels and in stable order."""
        ...


@dataclass(frozen=True)
class Found:
    """Raw finds in no particular order; ``keypoints`` are NaN where there are none."""

    xyxy: NDArray[np.float32]  # (N, 4) px
    confidence: NDArray[np.float32]  # (N,)
    keypoints: NDArray[np.float32]  # (N, 5, 2) px

    def __len__(self) -> int:
        return len(self.xyxy)

    def take(self, index: NDArray[np.generic] | slice) -> Found:
        """The finds at an index or under a boolean mask."""
        return Found(self.xyxy[index], self.confidence[index], self.keypoints[index])

    @classmethod
    def nothing(cls) -> Found:
        """No finds."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros((0, N_KEYPOINTS, 2), np.float32))

    @classmethod
    def concatenate(cls, parts: Sequence[Found]) -> Found:
        """All finds of several parts, one after the other."""
        if not parts:
            return cls.nothing()
        return cls(
            np.concatenate([part.xyxy for part in parts]),
            np.concatenate([part.confidence for part in parts]),
            np.concatenate([part.keypoints for part in parts]),
        )

    def sorted(self) -> Found:
        """In an order that depends on the values only: most confident first, then by place."""
        return self.take(np.lexsort((*self.xyxy.T[::-1], -self.confidence)))

    def clipped(self, height: int, width: int) -> Found:
        """Boxes cut at the picture's border; those that lie outside it are left out."""
        boxes = self.xyxy.copy()
        boxes[:, 0::2] = boxes[:, 0::2].clip(0, width)
        boxes[:, 1::2] = boxes[:, 1::2].clip(0, height)
        inside = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        return Found(boxes, self.confidence, self.keypoints).take(inside)

    def detections(self, kind: Kind = Kind.FACE) -> Detections:
        """As Detections in their stable order; bodies have no keypoints here."""
        if kind is Kind.BODY:
            return Detections.bodies(self.xyxy, self.confidence.clip(0, 1))
        return Detections.faces(self.xyxy, self.confidence.clip(0, 1), self.keypoints)


def require_view(view: NDArray[np.uint8]) -> None:
    """Raise InvalidInputError unless ``view`` is (H, W, 3) uint8 with at least one pixel."""
    if view.dtype != np.uint8 or view.ndim != 3 or view.shape[2] != 3 or 0 in view.shape:
        raise InvalidInputError(f"a view must be (H, W, 3) uint8 with H, W > 0, got {view.shape} {view.dtype}")


def digests_of(detectors: Iterable[Detector]) -> dict[str, str]:
    """SHA-256 of the weights that detectors tell of, by their names in the registry."""
    told: list[dict[str, str]] = [getattr(detector, "digests", dict)() for detector in detectors]
    return {name: digest for digests in told for name, digest in digests.items()}
