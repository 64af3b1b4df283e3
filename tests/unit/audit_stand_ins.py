"""Stand-ins for what an audit reads with: a detector of drawn faces, an embedder that reads colours, small pictures."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from understudy.audit.attackers import Attack
from understudy.audit.estimators import Reading
from understudy.audit.faces import Readers
from understudy.types import Detections

SIDE = 96
BOX = np.array([[24.0, 20.0, 72.0, 80.0]])
POINTS = np.array([[[38.0, 42.0], [58.0, 42.0], [48.0, 52.0], [40.0, 64.0], [56.0, 64.0]]])


class FindsDrawn:
    """Finds the one face that ``draw`` draws, where its middle is not of one colour."""

    families = frozenset({"drawn"})

    def __init__(self, name: str = "drawn", shift: float = 0.0) -> None:
        self.name = name
        self.shift = shift

    def __call__(self, view: NDArray[np.uint8]) -> Detections:
        """One face or none."""
        if view[40:60, 36:60].std() < 4:
            return Detections.faces(np.zeros((0, 4)), np.zeros(0))
        return Detections.faces(BOX + self.shift, np.array([0.9]), POINTS + self.shift)


class ReadsColours:
    """An embedding of 12 numbers: the colours of the four quarters of the face."""

    name = "colours"

    def can_judge(
        self, keypoints: NDArray[np.floating], visibility: NDArray[np.floating], xyxy: NDArray[np.floating]
    ) -> bool:
        """Always."""
        del keypoints, visibility, xyxy
        return True

    def embed(
        self, view: NDArray[np.uint8], keypoints: NDArray[np.floating], visibility: NDArray[np.floating]
    ) -> NDArray[np.float32]:
        """Means of the quarters around the nose."""
        del visibility
        x, y = (round(float(v)) for v in keypoints[2])
        quarters = [view[y - 16 : y, x - 16 : x], view[y - 16 : y, x : x + 16]]
        quarters += [view[y : y + 16, x - 16 : x], view[y : y + 16, x : x + 16]]
        return np.concatenate([q.reshape(-1, 3).mean(axis=0) for q in quarters]).astype(np.float32) - 128

    def digests(self) -> dict[str, str]:
        """No weights."""
        return {}


class ReadsLight:
    """Reads how light a face is: a number, and one of two words."""

    name = "light"
    used_by_policy = False

    def read(
        self,
        views: list[NDArray[np.uint8]],
        xyxy: NDArray[np.floating],
        keypoints: NDArray[np.floating],
        visibility: NDArray[np.floating],
        embeddings: NDArray[np.floating] | None = None,
    ) -> tuple[Reading, ...]:
        """``lightness`` (grey levels) and ``tone`` (dark, light)."""
        del keypoints, visibility, embeddings
        light = [
            float(v[int(b[1]) : int(b[3]), int(b[0]) : int(b[2])].mean()) for v, b in zip(views, xyxy, strict=True)
        ]
        return (
            Reading.numbers("lightness", "grey levels", light),
            Reading.codes("tone", ("dark", "light"), [int(v > 128) for v in light]),
        )


def stand_ins(*, second: bool = True, name: str = "colours") -> Readers:
    """Readers of drawn faces."""
    return Readers(
        FindsDrawn(), FindsDrawn("second", 1.0) if second else None, (Attack(name, ReadsColours()),), (ReadsLight(),)
    )


def draw(seed: int) -> NDArray[np.uint8]:
    """(SIDE, SIDE, 3) a face of its own colours, the same for the same seed."""
    rng = np.random.default_rng(seed)
    picture = np.full((SIDE, SIDE, 3), rng.integers(60, 200, 3), np.uint8)
    coarse = rng.integers(20, 236, (4, 4, 3)).astype(np.uint8)
    picture[20:80, 24:72] = cv2.resize(coarse, (48, 60), interpolation=cv2.INTER_LINEAR)
    return picture


def write(folder: Path, pictures: dict[str, NDArray[np.uint8]]) -> Path:
    """Write pictures as PNG files."""
    for name, picture in pictures.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), picture[..., ::-1])
    return folder
