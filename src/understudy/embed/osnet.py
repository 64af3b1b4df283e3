"""OSNet: embeddings of whole people, by clothes and figure more than by face.

Zhou, Yang, Cavallaro and Xiang: "Omni-Scale Feature Learning for Person Re-Identification", arXiv:1905.00953.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from understudy import weights as registry
from understudy.errors import ConfigError, InvalidInputError
from understudy.runtime.onnx import CPU, ProviderReport, open_session

HEIGHT, WIDTH = 256, 128
_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)


class OsnetEmbedder:
    """OSNet as an ONNX file with an input of (1, 3, 256, 128).

    The published weights learnt from data for research only (MSMT17): for trials, never a default.

    Parameters
    ----------
    weights : str
        Registry name, or path of the ONNX file.
    min_height_px : float
        People with a lower box cannot be judged.
    providers, n_threads
        As in ``open_session``.

    Raises
    ------
    ConfigError
        The network takes another input.
    """

    name = "osnet"

    def __init__(
        self,
        weights: str = "osnet_x0_25_msmt17",
        *,
        min_height_px: float = 64.0,
        providers: Sequence[str] = (CPU,),
        n_threads: int = 1,
    ) -> None:
        self.min_height_px = min_height_px
        self._weights = weights
        self._path = registry.resolve(weights)
        self._session = open_session(self._path, providers=providers, n_threads=n_threads)
        shape = self._session.input_shapes[0]
        if len(self._session.input_names) != 1 or tuple(shape[1:]) != (3, HEIGHT, WIDTH):
            raise ConfigError(f"{weights}: the network must take one input (1, 3, {HEIGHT}, {WIDTH}), it takes {shape}")

    @property
    def provider_report(self) -> ProviderReport:
        """Which execution provider really runs."""
        return self._session.provider_report

    def can_judge(self, xyxy: NDArray[np.floating]) -> bool:
        """Whether a person is large enough."""
        return float(xyxy[3] - xyxy[1]) >= self.min_height_px

    def crop(self, view: NDArray[np.uint8], xyxy: NDArray[np.floating]) -> NDArray[np.uint8]:
        """(256, 128, 3) uint8 sRGB: the box, stretched to the network's size as in its training.

        Raises
        ------
        InvalidInputError
            No pixel of the box lies in the picture.
        """
        height, width = view.shape[:2]
        x0, x1 = (int(np.clip(round(float(v)), 0, width)) for v in xyxy[[0, 2]])
        y0, y1 = (int(np.clip(round(float(v)), 0, height)) for v in xyxy[[1, 3]])
        if x1 <= x0 or y1 <= y0:
            raise InvalidInputError(f"the box {[float(v) for v in xyxy]} has no pixel in a picture of {width}x{height}")
        way = cv2.INTER_AREA if y1 - y0 > HEIGHT else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(view[y0:y1, x0:x1], (WIDTH, HEIGHT), interpolation=way), np.uint8)

    def embed(self, view: NDArray[np.uint8], xyxy: NDArray[np.floating]) -> NDArray[np.float32]:
        """(512,) float32 embedding with a norm of 1; see ``BodyEmbedder``."""
        planes = ((self.crop(view, xyxy).astype(np.float32) / 255 - _MEAN) / _DEVIATION).transpose(2, 0, 1)[None]
        made = self._session.run({self._session.input_names[0]: np.ascontiguousarray(planes)})[0].reshape(-1)
        return np.asarray(made / max(float(np.linalg.norm(made)), 1e-12), np.float32)

    def digests(self) -> dict[str, str]:
        """SHA-256 of the network in use, by its name."""
        return {self._weights: registry.file_digest(self._path)}
