"""The values that flow through the pipeline. Each is checked where it is made and never changed afterwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from understudy.errors import InvalidInputError

ERASED = 127
"""Grey level that stands for "nothing is known here" in every erased pixel."""

FACE_KEYPOINTS = ("right_eye", "left_eye", "nose", "right_mouth", "left_mouth")
"""Order of the five face keypoints: the subject's right eye first, as it is on the left of a frontal picture."""

BODY_KEYPOINTS = (
    *("nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow"),
    *("right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee"),
    *("left_ankle", "right_ankle"),
)
"""Order of the 17 body keypoints, as in COCO; left and right are the subject's own."""


class Kind(StrEnum):
    """What a detection shows."""

    FACE = "face"
    BODY = "body"


class OutcomeKind(StrEnum):
    """What became of one region."""

    REPLACED = "replaced"
    """By a generated understudy."""
    FILLED = "filled"
    """With one colour of the surroundings."""
    OBSCURED = "obscured"
    """Baselines only: blurred, pixelated or painted over."""
    KEPT = "kept"
    """Null edit only: nothing was replaced. It measures the audit's own error and protects nobody."""


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise InvalidInputError(message)


def _freeze(array: NDArray[np.generic]) -> None:
    array.setflags(write=False)


@dataclass(frozen=True)
class Encoding:
    """How a picture was stored, so that it can be stored the same way again."""

    format: str
    """Pillow's format name: "JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "HEIF"."""
    quantization: tuple[tuple[int, ...], ...] | None = None
    """JPEG quantisation tables in the upright frame (transposed on quarter turns), 64 entries each, natural order."""
    subsampling: str | None = None
    """JPEG chroma subsampling in the upright frame: "4:4:4", "4:2:2", "4:4:0", "4:2:0", "4:1:1"."""
    options: Mapping[str, object] = field(default_factory=dict)
    """What else the encoder needs: dpi, TIFF compression, WebP lossless, the palette."""


@dataclass(frozen=True)
class SourceImage:
    """A decoded picture: ``native`` is composited into, ``view`` is what detectors and generators see."""

    image_id: str
    """Relative POSIX path of the file in its collection."""
    native: NDArray[np.generic]
    """(H, W) or (H, W, C), upright, at the file's own depth and mode."""
    mode: str
    """Pillow-like mode of ``native``: L, LA, RGB, RGBA, I;16, RGB;16, RGBA;16, ... (P and CMYK are converted)."""
    icc: bytes | None
    view: NDArray[np.uint8]
    """(H, W, 3) uint8 sRGB, upright."""
    digest: bytes
    """SHA-256 of the file's bytes, 32 bytes."""
    encoding: Encoding
    orientation: int = 1
    """EXIF orientation of the file, 1 to 8; everything here is upright already."""
    notes: tuple[str, ...] = ()
    """What the table should say, such as "cmyk written as srgb"."""

    def __post_init__(self) -> None:
        _require(
            self.view.dtype == np.uint8 and self.view.ndim == 3 and self.view.shape[2] == 3,
            f"view must be (H, W, 3) uint8, got {self.view.shape} {self.view.dtype}",
        )
        _require(
            self.native.shape[:2] == self.view.shape[:2],
            f"native and view must have one size, got {self.native.shape[:2]} and {self.view.shape[:2]}",
        )
        _require(len(self.digest) == 32, f"digest must have 32 bytes, got {len(self.digest)}")
        _freeze(self.view)
        _freeze(self.native)


@dataclass(frozen=True)
class Silhouette:
    """Which pixels of a picture one person covers, as a mask in its window."""

    window: tuple[int, int, int, int]
    """x0, y0, x1, y1, exclusive at the end, inside the picture."""
    mask: NDArray[np.bool_]  # (y1 - y0, x1 - x0)

    def __post_init__(self) -> None:
        x0, y0, x1, y1 = self.window
        _require(
            self.mask.shape == (y1 - y0, x1 - x0) and self.mask.dtype == np.bool_,
            f"mask must be bool of shape {(y1 - y0, x1 - x0)}, got {self.mask.dtype} {self.mask.shape}",
        )
        _freeze(self.mask)


@dataclass(frozen=True)
class Detections:
    """What was found in one picture, as a struct of arrays in a stable order.

    Keypoints of a face are in the order of ``FACE_KEYPOINTS``, those of a body in the order of ``BODY_KEYPOINTS``;
    where both are in one picture, rows of faces are padded. ``visibility`` is 0 where a keypoint is absent, else in
    (0, 1]. A face and a body with one ``subject_id`` are one person's.
    """

    xyxy: NDArray[np.float32]  # (N, 4) px, x1 and y1 exclusive
    confidence: NDArray[np.float32]  # (N,) in [0, 1]
    kind: tuple[Kind, ...]
    keypoints: NDArray[np.float32]  # (N, K, 2) px
    visibility: NDArray[np.float32]  # (N, K)
    subject_id: NDArray[np.int64]  # (N,)
    silhouettes: tuple[Silhouette | None, ...] = ()
    """One entry a row, or nothing at all; None where only the box is known."""

    def __post_init__(self) -> None:
        n = len(self.xyxy)
        _require(
            len(self.silhouettes) in (0, n), f"silhouettes must have {n} entries or none, got {len(self.silhouettes)}"
        )
        _require(self.xyxy.shape == (n, 4), f"xyxy must be (N, 4), got {self.xyxy.shape}")
        _require(self.confidence.shape == (n,), f"confidence must be ({n},), got {self.confidence.shape}")
        _require(len(self.kind) == n, f"kind must have {n} entries, got {len(self.kind)}")
        _require(
            self.keypoints.ndim == 3 and self.keypoints.shape[0] == n and self.keypoints.shape[2] == 2,
            f"keypoints must be ({n}, K, 2), got {self.keypoints.shape}",
        )
        _require(
            self.visibility.shape == self.keypoints.shape[:2],
            f"visibility must be {self.keypoints.shape[:2]}, got {self.visibility.shape}",
        )
        _require(self.subject_id.shape == (n,), f"subject_id must be ({n},), got {self.subject_id.shape}")
        _require(bool(np.isfinite(self.xyxy).all()), "xyxy must be finite")
        _require(
            bool((self.xyxy[:, 2:] >= self.xyxy[:, :2]).all()), "xyxy must have x1 >= x0 and y1 >= y0 in every row"
        )
        for array in (self.xyxy, self.confidence, self.keypoints, self.visibility, self.subject_id):
            _freeze(array)

    def __len__(self) -> int:
        return len(self.xyxy)

    def silhouette(self, i: int) -> Silhouette | None:
        """Which pixels detection i covers, where that is known."""
        return self.silhouettes[i] if self.silhouettes else None

    def face_of(self, i: int) -> int | None:
        """Index of the face that belongs to body i, where there is one."""
        same = [j for j in np.flatnonzero(self.subject_id == self.subject_id[i]) if self.kind[j] is Kind.FACE]
        return int(same[0]) if same else None

    def keypoints_of(self, i: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Keypoints of detection i and their visibility, as many as its kind has.

        A body without a pose has the nose and the eyes of its face, where there is one.
        """
        n = len(FACE_KEYPOINTS if self.kind[i] is Kind.FACE else BODY_KEYPOINTS)
        points, shown = self.keypoints[i, :n], self.visibility[i, :n]
        face = self.face_of(i) if self.kind[i] is Kind.BODY else None
        if face is None or shown.any():
            return points, shown
        points, shown = points.copy(), shown.copy()
        for own, name in enumerate(FACE_KEYPOINTS):
            if name in BODY_KEYPOINTS and self.visibility[face, own] > 0:
                slot = BODY_KEYPOINTS.index(name)
                points[slot], shown[slot] = self.keypoints[face, own], self.visibility[face, own]
        return points, shown

    @classmethod
    def bodies(
        cls,
        xyxy: NDArray[np.floating],
        confidence: NDArray[np.floating],
        keypoints: NDArray[np.floating] | None = None,
        visibility: NDArray[np.floating] | None = None,
        silhouettes: Sequence[Silhouette | None] | None = None,
    ) -> Detections:
        """Bodies in the same stable order as ``faces``.

        Parameters
        ----------
        xyxy : (N, 4) px
        confidence : (N,) in [0, 1]
        keypoints : (N, 17, 2) px, optional
        visibility : (N, 17) in [0, 1], optional
        silhouettes : N entries, optional
        """
        boxes = np.asarray(xyxy, np.float32).reshape(-1, 4)
        value = np.asarray(confidence, np.float32).reshape(-1)
        n, k = len(boxes), len(BODY_KEYPOINTS)
        points = np.zeros((n, k, 2), np.float32) if keypoints is None else np.asarray(keypoints, np.float32)
        shown = np.zeros((n, k), np.float32) if visibility is None else np.asarray(visibility, np.float32)
        order = np.lexsort((-value, boxes[:, 3], boxes[:, 2], boxes[:, 0], boxes[:, 1]))
        return cls(
            xyxy=boxes[order],
            confidence=value[order],
            kind=(Kind.BODY,) * n,
            keypoints=np.where(shown[order, :, None] > 0, points[order], 0).astype(np.float32),
            visibility=shown[order],
            subject_id=np.arange(n, dtype=np.int64),
            silhouettes=() if silhouettes is None else tuple(silhouettes[i] for i in order),
        )

    @classmethod
    def faces(
        cls,
        xyxy: NDArray[np.floating],
        confidence: NDArray[np.floating],
        keypoints: NDArray[np.floating] | None = None,
    ) -> Detections:
        """Faces in stable order (top to bottom, left to right, then size and confidence), whatever order they came in.

        Parameters
        ----------
        xyxy : (N, 4) px
        confidence : (N,) in [0, 1]
        keypoints : (N, 5, 2) px, optional
            NaN, or the argument left out, means absent.
        """
        boxes = np.asarray(xyxy, np.float32).reshape(-1, 4)
        value = np.asarray(confidence, np.float32).reshape(-1)
        points = (
            np.full((len(boxes), 5, 2), np.nan, np.float32)
            if keypoints is None
            else np.asarray(keypoints, np.float32).reshape(-1, 5, 2)
        )
        order = np.lexsort((-value, boxes[:, 3], boxes[:, 2], boxes[:, 0], boxes[:, 1]))
        points = points[order]
        present = np.asarray(np.isfinite(points).all(axis=2))
        return cls(
            xyxy=boxes[order],
            confidence=value[order],
            kind=(Kind.FACE,) * len(boxes),
            keypoints=np.where(present[..., None], points, 0).astype(np.float32),
            visibility=present.astype(np.float32),
            subject_id=np.arange(len(boxes), dtype=np.int64),
        )


@dataclass(frozen=True)
class Crop:
    """A window of the canvas in the generator's size, with what will be replaced in it."""

    pixels: NDArray[np.uint8]  # (H, W, 3)
    replace_mask: NDArray[np.bool_]  # (H, W), True = will be replaced
    image_from_crop: NDArray[np.float64]  # (2, 3) affine, crop px -> image px

    def __post_init__(self) -> None:
        _require(
            self.pixels.ndim == 3 and self.pixels.shape[2] == 3 and self.pixels.dtype == np.uint8,
            f"pixels must be (H, W, 3) uint8, got {self.pixels.shape} {self.pixels.dtype}",
        )
        expected, mask = self.pixels.shape[:2], self.replace_mask
        _require(
            mask.shape == expected and mask.dtype == np.bool_,
            f"replace_mask must be bool of shape {expected}, got {mask.dtype} {mask.shape}",
        )
        affine = self.image_from_crop
        _require(affine.shape == (2, 3), f"image_from_crop must be (2, 3), got {affine.shape}")
        for array in (self.pixels, self.replace_mask, self.image_from_crop):
            _freeze(array)


@dataclass(frozen=True)
class Attributes:
    """Coarse bins that a policy lets travel; None means "not carried"."""

    skin_tone: int | None = None
    """ITA bin, 0 (very light) to 5 (dark)."""
    head_pose: int | None = None
    """Yaw bin, 0 (far to the subject's right) to 4 (far to the left); 2 is frontal."""
    age_group: int | None = None
    expression: int | None = None
    perceived_gender_expression: int | None = None
    glasses: int | None = None  # 0 none, 1 any
    beard: int | None = None  # 0 none, 1 any, from stubble on

    def __post_init__(self) -> None:
        for name, n in zip(self.__dataclass_fields__, (6, 5, 5, 4, 3, 2, 2), strict=True):
            value = getattr(self, name)
            _require(value is None or 0 <= value < n, f"{name} must be None or from 0 to {n - 1}, got {value}")


@dataclass(frozen=True, init=False)
class Condition:
    """The only thing a generator may see. The constructor erases every pixel under the mask."""

    context: NDArray[np.uint8]  # (H, W, 3), ERASED under the mask
    replace_mask: NDArray[np.bool_]  # (H, W)
    keypoints: NDArray[np.float32]  # (K, 2) crop px
    visibility: NDArray[np.float32]  # (K,)
    attributes: Attributes
    anchor: NDArray[np.float32] | None
    """Keypoints of the same person in another frame, (K, 2) px of any frame: what a generator chooses by them stays the
    same from frame to frame of a film; None = choose by ``keypoints``."""
    kind: Kind
    """What is to be generated: a face (keypoints as ``FACE_KEYPOINTS``) or a body (as ``BODY_KEYPOINTS``)."""

    def __init__(
        self,
        crop: Crop,
        keypoints: NDArray[np.float32] | None = None,
        visibility: NDArray[np.float32] | None = None,
        attributes: Attributes | None = None,
        anchor: NDArray[np.float32] | None = None,
        kind: Kind = Kind.FACE,
    ) -> None:
        k = len(FACE_KEYPOINTS if kind is Kind.FACE else BODY_KEYPOINTS)
        points = np.zeros((k, 2), np.float32) if keypoints is None else np.array(keypoints, np.float32)
        shown = np.zeros(len(points), np.float32) if visibility is None else np.array(visibility, np.float32)
        _require(shown.shape == points.shape[:1], f"visibility must be {points.shape[:1]}, got {shown.shape}")
        context = np.where(crop.replace_mask[..., None], np.uint8(ERASED), crop.pixels)
        points = np.where(shown[:, None] > 0, points, 0).astype(np.float32)
        for array in (context, points, shown):
            _freeze(array)
        object.__setattr__(self, "context", context)
        object.__setattr__(self, "replace_mask", crop.replace_mask)
        object.__setattr__(self, "keypoints", points)
        object.__setattr__(self, "visibility", shown)
        object.__setattr__(self, "attributes", attributes or Attributes())
        object.__setattr__(self, "anchor", None if anchor is None else np.array(anchor, np.float32))
        object.__setattr__(self, "kind", kind)


@dataclass(frozen=True)
class Generated:
    """What a generator made of one condition: the whole crop; only the masked part is used."""

    pixels: NDArray[np.uint8]  # (H, W, 3)
    seed: int
    n_steps: int
    cover: NDArray[np.bool_] | None = None  # (H, W)
    """Where a body's understudy itself is; elsewhere it may show who was drawn behind it. None = everywhere."""

    def __post_init__(self) -> None:
        _require(
            self.pixels.ndim == 3 and self.pixels.shape[2] == 3 and self.pixels.dtype == np.uint8,
            f"pixels must be (H, W, 3) uint8, got {self.pixels.shape} {self.pixels.dtype}",
        )
        cover = self.cover
        _require(
            cover is None or (cover.shape == self.pixels.shape[:2] and cover.dtype == np.bool_),
            f"cover must be bool of shape {self.pixels.shape[:2]}, got {None if cover is None else cover.shape}",
        )
        _freeze(self.pixels)


@dataclass(frozen=True)
class Outcome:
    """What became of one region, and why."""

    region: int
    xyxy: tuple[float, float, float, float]
    detected_as: Kind
    confidence: float
    kind: OutcomeKind
    attempts: int
    reason: str = ""
    """Why a region was filled, or why a face was left as it was drawn with its body; else empty."""
    readings: Mapping[str, float | str] = field(default_factory=dict)
    """Guard readings of the last attempt: identity_distance, face_confidence, identity, ..."""
    found_by: str = "primary"
    """"primary" (the detector, or the user's boxes) or "residual"."""
    subject: int | None = None
    """Regions with one number are one person's: a body and the face in it. None where only faces are looked for."""


@dataclass(frozen=True)
class AnonymizedImage:
    """A written picture in memory: native array, and one outcome for every region."""

    image_id: str
    native: NDArray[np.generic]
    outcomes: tuple[Outcome, ...]
    replace_mask: NDArray[np.bool_]  # (H, W), the union of what was replaced
