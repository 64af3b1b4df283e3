"""ArcFace-type face embedders as ONNX files: an aligned crop in, a vector out.

Deng et al. 2019, doi:10.1109/CVPR.2019.00482. Which crop a network wants is part of its weights: template, size, order
of the channels, mean and scale stand in the config of each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from understudy import weights as registry
from understudy.embed.dlib_chip import is_frontal
from understudy.errors import ConfigError, InvalidInputError
from understudy.runtime.onnx import CPU, open_session

TEMPLATES: Mapping[str, tuple[tuple[float, float], ...]] = {
    "arcface": (
        (0.341916, 0.461574),
        (0.656534, 0.459834),
        (0.500225, 0.640505),
        (0.370976, 0.824692),
        (0.631517, 0.823251),
    ),
    "retail_0095": (
        (0.315569, 0.461574),
        (0.682623, 0.461574),
        (0.500263, 0.640505),
        (0.349472, 0.824692),
        (0.653436, 0.823251),
    ),
}
"""Where the five keypoints lie in the crop, as shares of its side. ``arcface``: the 112 px template of insightface.
``retail_0095``: that of Open Model Zoo's face-reidentification-retail-0095, an upright face in a square crop."""


class AlignedOnnxEmbedder:
    """An embedder that reads a crop aligned by five keypoints; may be shared by threads.

    Parameters
    ----------
    name : str
        As tables call it.
    weights : str
        Registry name, or path of an ONNX file with one input (1, 3, S, S) and one output (1, D).
    size : int
        Side of the crop, px.
    template : str or sequence of (x, y)
        A key of ``TEMPLATES``, or five points as shares of the side.
    channels : "rgb" or "bgr"
    scale : float
        Pixels are multiplied by it first: 1/255 for networks that want [0, 1], 1 for raw values.
    mean, deviation : sequence of 3 float
        Subtracted, then divided by, in the order of ``channels``.
    min_face_px : float
        Faces whose box has a shorter side cannot be judged.
    providers, n_threads
        As in ``open_session``.

    Raises
    ------
    ConfigError
        For a template, an order of channels or a network of another shape.
    MissingWeightsError, WeightsDigestError
        The weights are not on this machine.
    """

    def __init__(
        self,
        name: str,
        weights: str,
        *,
        size: int = 112,
        template: str | Sequence[Sequence[float]] = "arcface",
        channels: Literal["rgb", "bgr"] = "rgb",
        scale: float = 1 / 255,
        mean: Sequence[float] = (0.5, 0.5, 0.5),
        deviation: Sequence[float] = (0.5, 0.5, 0.5),
        min_face_px: float = 20.0,
        providers: Sequence[str] = (CPU,),
        n_threads: int = 1,
    ) -> None:
        points = TEMPLATES.get(template) if isinstance(template, str) else template
        if points is None or np.shape(points) != (5, 2):
            raise ConfigError(f"template must be one of {', '.join(TEMPLATES)} or five (x, y), got {template!r}")
        if channels not in ("rgb", "bgr"):
            raise ConfigError(f"channels must be rgb or bgr, got {channels!r}")
        self.name = name
        self.size = size
        self.min_face_px = min_face_px
        self._template = np.asarray(points, np.float64) * size
        self._flip = channels == "bgr"
        self._scale = scale
        self._mean = np.asarray(mean, np.float32)
        self._deviation = np.asarray(deviation, np.float32)
        self._weights = weights
        self._path = registry.resolve(weights)
        self._session = open_session(self._path, providers=providers, n_threads=n_threads)
        shape = self._session.input_shapes[0]
        wanted = (3, size, size)
        if (
            len(self._session.input_names) != 1
            or len(shape) != 4
            or any(isinstance(have, int) and have != want for have, want in zip(shape[1:], wanted, strict=True))
        ):
            raise ConfigError(f"{weights}: the network must take one input (1, 3, {size}, {size}), it takes {shape}")

    def can_judge(
        self, keypoints: NDArray[np.floating], visibility: NDArray[np.floating], xyxy: NDArray[np.floating]
    ) -> bool:
        """Whether a face is large enough, and turned by less than about 55 degrees; see ``Embedder``."""
        x0, y0, x1, y1 = (float(v) for v in xyxy)
        return min(x1 - x0, y1 - y0) >= self.min_face_px and is_frontal(keypoints, visibility)

    def crop(
        self, view: NDArray[np.uint8], keypoints: NDArray[np.floating], visibility: NDArray[np.floating]
    ) -> NDArray[np.uint8]:
        """(size, size, 3) uint8 sRGB crop in which the keypoints lie on the template; see ``aligned_crop``."""
        return aligned_crop(view, keypoints, visibility, self._template, self.size)

    def embed(
        self, view: NDArray[np.uint8], keypoints: NDArray[np.floating], visibility: NDArray[np.floating]
    ) -> NDArray[np.float32]:
        """(D,) float32 embedding of one face, on the network's own scale; see ``Embedder``."""
        crop = self.crop(view, keypoints, visibility)
        pixels = np.asarray(crop[..., ::-1] if self._flip else crop, np.float32) * np.float32(self._scale)
        planes = ((pixels - self._mean) / self._deviation).transpose(2, 0, 1)[None]
        inputs = {self._session.input_names[0]: np.ascontiguousarray(planes, np.float32)}
        return np.asarray(self._session.run(inputs)[0], np.float32).reshape(-1)

    def digests(self) -> dict[str, str]:
        """SHA-256 of the network in use, by its name."""
        return {self._weights: registry.file_digest(self._path)}


def aligned_crop(
    view: NDArray[np.uint8],
    keypoints: NDArray[np.floating],
    visibility: NDArray[np.floating],
    template: NDArray[np.float64],
    size: int,
) -> NDArray[np.uint8]:
    """Cut a face so that its keypoints lie on a template, as nearly as rotation, scale and shift allow.

    Parameters
    ----------
    view : (H, W, 3) uint8 sRGB
    keypoints : (5, 2) px, in the order of ``FACE_KEYPOINTS``
    visibility : (5,), 0 = absent
    template : (5, 2) px of the crop
    size : int
        Side of the crop, px.

    Returns
    -------
    (size, size, 3) uint8; black where it leaves the view

    Raises
    ------
    InvalidInputError
        Fewer than two keypoints are there, or they lie in one place.
    """
    shown = np.asarray(visibility) > 0
    affine = similarity(np.asarray(keypoints, np.float64)[shown], template[shown])
    scale = float(np.hypot(*affine[:, 0]))
    source = view if scale >= 0.6 else np.asarray(cv2.GaussianBlur(view, (0, 0), 0.4 / scale), np.uint8)
    centred = np.column_stack([affine[:, :2], affine @ [0.5, 0.5, 1.0] - 0.5])  # OpenCV: centres at whole numbers
    return np.asarray(cv2.warpAffine(source, centred, (size, size), flags=cv2.INTER_LINEAR), np.uint8)


def similarity(points: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """Least-squares similarity (2, 3) that brings points onto a target.

    Notes
    -----
    Umeyama 1991, doi:10.1109/34.88573, without reflection; in the plane it is a regression of complex numbers.
    """
    if len(points) < 2:
        raise InvalidInputError(f"an alignment needs two keypoints or more, got {len(points)}")
    source, goal = points @ [1, 1j], target @ [1, 1j]
    spread = source - source.mean()
    norm = float((np.abs(spread) ** 2).sum())
    if not norm > 1e-6:
        raise InvalidInputError("keypoints must not all be in one place")
    turn = complex((spread.conj() * (goal - goal.mean())).sum() / norm)
    if not abs(turn) > 1e-6:
        raise InvalidInputError(f"keypoints {points.tolist()} do not lie as in a face")
    shift = goal.mean() - turn * source.mean()
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])
