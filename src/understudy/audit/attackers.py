"""Attackers: an embedder with a name and a metric, what it makes of each face, and the copies that check it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from understudy.embed.base import Embedder
from understudy.errors import ConfigError, UnderstudyError

DLIB = "dlib_resnet"
"""Name of the embedder whose embeddings the linear estimators read."""
LEAST_FACE_PX = 12.0
"""Smaller faces are none for an attacker."""
COPY_ROLL_DEG = 6.0
COPY_SCALE = 0.88
COPY_JPEG_QUALITY = 70
COPY_GAMMA = 0.15
COPY_JITTER = 0.025
"""How far a copy is turned, made smaller, compressed, lightened or darkened, and how inexactly its keypoints are found
(a share of the distance from eyes to mouth): at most, each drawn anew for each picture."""


@dataclass(frozen=True)
class Attack:
    """One attacker.

    Parameters
    ----------
    name : str
        As the table calls it.
    embedder : Embedder
    metric : "cosine" or "euclidean"
        How its embeddings are compared.

    Raises
    ------
    ConfigError
        For another metric.
    """

    name: str
    embedder: Embedder
    metric: Literal["cosine", "euclidean"] = "cosine"

    def __post_init__(self) -> None:
        if self.metric not in ("cosine", "euclidean"):
            raise ConfigError(f"attacker {self.name}: metric must be cosine or euclidean, got {self.metric!r}")

    def embed(
        self,
        view: NDArray[np.uint8],
        xyxy: NDArray[np.floating],
        keypoints: NDArray[np.floating],
        visibility: NDArray[np.floating],
    ) -> NDArray[np.float32]:
        """Embeddings of the faces of one picture.

        Parameters
        ----------
        view : (H, W, 3) uint8 sRGB
        xyxy : (N, 4) px
        keypoints : (N, 5, 2) px
        visibility : (N, 5)

        Returns
        -------
        (N, D) float32
            NaN where the face is under 12 px or its keypoints fix no alignment; (0, 0) where there is no such face.
        """
        rows: list[NDArray[np.float32] | None] = []
        for box, points, shown in zip(xyxy, keypoints, visibility, strict=True):
            small = min(box[2] - box[0], box[3] - box[1]) < LEAST_FACE_PX
            rows.append(None if small or (shown > 0).sum() < 3 else self._one(view, points, shown))
        known = next((row for row in rows if row is not None), None)
        if known is None:
            return np.full((len(rows), 0), np.nan, np.float32)
        return np.stack([np.full(known.shape, np.nan, np.float32) if row is None else row for row in rows])

    def _one(
        self, view: NDArray[np.uint8], keypoints: NDArray[np.floating], visibility: NDArray[np.floating]
    ) -> NDArray[np.float32] | None:
        try:
            return np.asarray(self.embedder.embed(view, keypoints, visibility), np.float32)
        except UnderstudyError:
            return None  # keypoints in one place or mirrored: no face for this attacker


def altered_copy(
    view: NDArray[np.uint8], keypoints: NDArray[np.floating], seed: int
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Another picture of the same people, as far as one picture can give one: the raw control where nobody has two.

    Turned, made smaller, lightened or darkened, compressed, and with keypoints found a little inexactly.

    Parameters
    ----------
    view : (H, W, 3) uint8 sRGB
    keypoints : (N, 5, 2) px
    seed : int

    Returns
    -------
    (H, W, 3) uint8, (N, 5, 2) px
    """
    rng = np.random.default_rng(seed)
    height, width = view.shape[:2]
    roll = float(rng.uniform(-COPY_ROLL_DEG, COPY_ROLL_DEG))
    affine = np.asarray(cv2.getRotationMatrix2D((width / 2, height / 2), roll, rng.uniform(COPY_SCALE, 1)), np.float64)
    turned = cv2.warpAffine(view, affine, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    gamma = float(np.exp(rng.uniform(-COPY_GAMMA, COPY_GAMMA)))
    curve = np.round(255 * (np.arange(256) / 255) ** gamma).astype(np.uint8)
    lit = curve[np.asarray(turned)]
    _, packed = cv2.imencode(".jpg", lit[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, COPY_JPEG_QUALITY])
    copy = np.ascontiguousarray(np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)[..., ::-1])
    points = np.asarray(keypoints, np.float64).reshape(-1, 5, 2)
    moved = points @ affine[:, :2].T + affine[:, 2]
    down = np.linalg.norm((moved[:, 3] + moved[:, 4] - moved[:, 0] - moved[:, 1]) / 2, axis=1)
    jitter = rng.normal(0, 1, moved.shape) * (COPY_JITTER / 2 * down)[:, None, None]
    return copy, moved + jitter


def dlib_attack(attacks: Sequence[Attack]) -> Attack | None:
    """The attacker whose embeddings the linear estimators read; None without it."""
    return next((attack for attack in attacks if attack.embedder.name == DLIB), None)
