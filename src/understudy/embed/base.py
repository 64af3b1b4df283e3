"""Protocol of the identity embedders."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray


@runtime_checkable
class Embedder(Protocol):
    """Face -> embedding; two faces of one person lie near each other by Euclidean distance."""

    name: str

    def can_judge(
        self, keypoints: NDArray[np.floating], visibility: NDArray[np.floating], xyxy: NDArray[np.floating]
    ) -> bool:
        """Whether this face is large and frontal enough for its embedding to mean anything.

        Parameters
        ----------
        keypoints : (5, 2) px, in the order of ``FACE_KEYPOINTS``
        visibility : (5,), 0 = absent
        xyxy : (4,) px
        """
        ...

    def embed(
        self, view: NDArray[np.uint8], keypoints: NDArray[np.floating], visibility: NDArray[np.floating]
    ) -> NDArray[np.float32]:
        """Embedding of one face, on the network's own scale.

        Parameters
        ----------
        view : (H, W, 3) uint8 sRGB
        keypoints : (5, 2) px
        visibility : (5,)

        Returns
        -------
        (D,) float32
        """
        ...


@runtime_checkable
class BodyEmbedder(Protocol):
    """Whole person -> embedding; two views of one person in the same clothes have a small cosine distance."""

    name: str

    def can_judge(self, xyxy: NDArray[np.floating]) -> bool:
        """Whether a person's box (4,) px is large enough for its embedding to mean anything."""
        ...

    def embed(self, view: NDArray[np.uint8], xyxy: NDArray[np.floating]) -> NDArray[np.float32]:
        """(D,) float32 embedding of the person in a box (4,) px of a view (H, W, 3) uint8 sRGB."""
        ...
