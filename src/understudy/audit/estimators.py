"""Read perceived attributes of faces for the audit: the protocol, and the estimators that need no network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from understudy.attributes.bins import HEAD_POSES, SKIN_TONES
from understudy.attributes.head_pose import estimate_yaw_deg, yaw_bin
from understudy.attributes.monk import MONK_SRGB, monk_tone
from understudy.attributes.skin_tone import ita_bin, measure_face_lab
from understudy.errors import InvalidInputError

NOT_READ = -1
"""The code of a categorical value that could not be read."""


@dataclass(frozen=True)
class Reading:
    """One perceived attribute, read on N faces."""

    name: str
    """As the glossary calls it: ``ita``, ``skin_tone``, ``perceived_age``, ..."""
    kind: Literal["numeric", "categorical"]
    unit: str
    """``years``, ``deg``, ``0 to 1``; empty for categories."""
    categories: tuple[str, ...]
    """Name of each code in order; empty for numbers."""
    values: NDArray[np.float64] | NDArray[np.int64]
    """(N,) float64, NaN = not read; or int64 codes, -1 = not read."""

    def __post_init__(self) -> None:
        wanted = np.dtype(np.float64 if self.kind == "numeric" else np.int64)
        if self.values.ndim != 1 or self.values.dtype != wanted:
            raise InvalidInputError(
                f"{self.name}: values of a {self.kind} reading must be (N,) {wanted}, "
                f"got {self.values.shape} {self.values.dtype}"
            )
        if (self.kind == "categorical") != bool(self.categories):
            raise InvalidInputError(f"{self.name}: a {self.kind} reading cannot have the categories {self.categories}")
        out_of_range = self.kind == "categorical" and (
            (self.values < NOT_READ).any() or (self.values >= len(self.categories)).any()
        )
        if out_of_range:
            raise InvalidInputError(
                f"{self.name}: codes must lie between -1 and {len(self.categories) - 1}, "
                f"got {self.values.min()} to {self.values.max()}"
            )

    @classmethod
    def numbers(cls, name: str, unit: str, values: Sequence[float] | NDArray[np.floating]) -> Reading:
        """A numeric reading; NaN = not read."""
        return cls(name, "numeric", unit, (), np.asarray(values, np.float64).reshape(-1))

    @classmethod
    def codes(cls, name: str, categories: Sequence[str], values: Sequence[int] | NDArray[np.integer]) -> Reading:
        """A categorical reading; -1 = not read."""
        return cls(name, "categorical", "", tuple(categories), np.asarray(values, np.int64).reshape(-1))


class Estimator(Protocol):
    """Reads attributes of faces; one view, box and row of keypoints a face."""

    name: str
    used_by_policy: bool
    """Whether the attribute policy reads with the same network; such an estimator is no default of the audit."""

    def read(
        self,
        views: Sequence[NDArray[np.uint8]],
        xyxy: NDArray[np.floating],
        keypoints: NDArray[np.floating],
        visibility: NDArray[np.floating],
        embeddings: NDArray[np.floating] | None = None,
    ) -> tuple[Reading, ...]:
        """Read the attributes of N faces.

        Parameters
        ----------
        views : N arrays (H, W, 3) uint8 sRGB; may be one array several times
        xyxy : (N, 4) px
        keypoints : (N, 5, 2) px, in the order of ``FACE_KEYPOINTS``
        visibility : (N, 5), 0 = absent
        embeddings : (N, 128), optional
            dlib's embedding of each face on its own scale; a row of NaN = no embedding.

        Returns
        -------
        tuple of Reading
            In an order that never changes.
        """
        ...


class SkinToneEstimator:
    """Skin tone measured on the whole face: ITA, its bin, and the nearest tone of the Monk scale.

    Nothing of it is learnt. The policy carries a bin of another measure, the tone angle of the matte part
    (``measure_tone_deg``), so that an understudy that was held to its bin is not held to this ITA by the same formula;
    the pixels of both overlap. Against rated skin colour ITA has r .55 (95 % .41 to .67, 126 portraits): it follows
    light, too, and so says how much lighter or darker faces became, and little of single people.
    """

    name = "skin_tone"
    used_by_policy = False

    def read(
        self,
        views: Sequence[NDArray[np.uint8]],
        xyxy: NDArray[np.floating],
        keypoints: NDArray[np.floating],
        visibility: NDArray[np.floating],
        embeddings: NDArray[np.floating] | None = None,  # noqa: ARG002 - the protocol's
    ) -> tuple[Reading, ...]:
        """``ita`` (deg), ``skin_tone`` (six bins) and ``monk_tone`` (ten tones); see ``Estimator.read``."""
        faces = list(zip(views, xyxy, keypoints, visibility, strict=True))
        colours = [measure_face_lab(*face) for face in faces]
        ita = [float(np.degrees(np.arctan2(lightness - 50, b))) for lightness, _, b in colours]
        tones = [monk_tone(c) - 1 if np.isfinite(c).all() else NOT_READ for c in colours]
        return (
            Reading.numbers("ita", "deg", ita),
            Reading.codes("skin_tone", SKIN_TONES, [ita_bin(v) if np.isfinite(v) else NOT_READ for v in ita]),
            Reading.codes("monk_tone", [f"MST {i + 1}" for i in range(len(MONK_SRGB))], tones),
        )


class HeadPoseEstimator:
    """Yaw of the head from the five keypoints, and its bin; nothing of it is learnt but one constant."""

    name = "head_pose"
    used_by_policy = False

    def read(
        self,
        views: Sequence[NDArray[np.uint8]],  # noqa: ARG002 - the protocol's
        xyxy: NDArray[np.floating],
        keypoints: NDArray[np.floating],
        visibility: NDArray[np.floating],
        embeddings: NDArray[np.floating] | None = None,  # noqa: ARG002 - the protocol's
    ) -> tuple[Reading, ...]:
        """``yaw`` (deg) and ``head_pose`` (five bins); see ``Estimator.read``."""
        faces = zip(keypoints, visibility, xyxy, strict=True)
        yaw = [estimate_yaw_deg(*face) for face in faces]
        return (
            Reading.numbers("yaw", "deg", [np.nan if v is None else v for v in yaw]),
            Reading.codes("head_pose", HEAD_POSES, [NOT_READ if v is None else yaw_bin(v) for v in yaw]),
        )
