"""YOLOX on onnxruntime with our own decoding: people, and whatever else of COCO's classes is asked for.

Ge, Liu, Wang, Li and Sun: "YOLOX: Exceeding YOLO Series in 2021", arXiv:2107.08430. The published ONNX files give
offsets and logarithmic sizes on three grids, which are decoded here as OpenCV Zoo's ``yolox.py`` does it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from understudy import weights as registry
from understudy.detect.base import N_KEYPOINTS, Found, require_view
from understudy.detect.overlap import keep_best
from understudy.errors import ConfigError, InvalidInputError
from understudy.runtime.onnx import CPU, ProviderReport, Session, open_session
from understudy.runtime.onnx_shapes import free_dimensions
from understudy.types import Detections

PERSON = 0
"""COCO's first class."""
STRIDES = (8, 16, 32)
_INPUT = "images"
_PADDING = 114.0
_MAX_FINDS = 4096
_LARGEST_LOG_SIZE = 10.0


class YoloX:
    """YOLOX in one pass over the whole picture.

    Parameters
    ----------
    weights : str
        Registry name (``yolox_nano`` to ``yolox_x``), or path of an ONNX file with the same input and output.
    threshold : float
        Least confidence (objectness times class probability) of a detection, in (0, 1).
    nms_iou : float
        Of two boxes that overlap more, the less confident is left out.
    class_index : int
        Which of the network's classes is looked for.
    providers, n_threads
        As in ``open_session``.
    """

    name = "yolox"
    families = frozenset({"yolox"})

    def __init__(
        self,
        weights: str = "yolox_nano",
        *,
        threshold: float = 0.3,
        nms_iou: float = 0.5,
        class_index: int = PERSON,
        providers: Sequence[str] = (CPU,),
        n_threads: int = 1,
    ) -> None:
        if not 0 < threshold < 1:
            raise InvalidInputError(f"threshold must lie in (0, 1), got {threshold}")
        if class_index < 0:
            raise InvalidInputError(f"class_index must be 0 or more, got {class_index}")
        self.threshold = threshold
        self.nms_iou = nms_iou
        self.class_index = class_index
        self._session = _open(str(registry.resolve(weights)), tuple(providers), n_threads)

    @property
    def provider_report(self) -> ProviderReport:
        """Which execution provider really runs."""
        return self._session.provider_report

    def __call__(self, view: NDArray[np.uint8]) -> Detections:
        """Find people in a view (H, W, 3) of any size."""
        require_view(view)
        found = self.find(view[None], self.threshold)[0].clipped(*view.shape[:2])
        return Detections.bodies(found.xyxy, found.confidence.clip(0, 1))

    def find(self, views: NDArray[np.uint8], threshold: float) -> list[Found]:
        """Raw finds over a threshold in a batch of views of one size, after non-maximum suppression.

        Parameters
        ----------
        views : (B, H, W, 3) uint8 sRGB
        threshold : float

        Returns
        -------
        list of B Found
            Boxes may reach over the border.
        """
        n, height, width = views.shape[:3]
        high, wide = (length + -length % STRIDES[-1] for length in (height, width))
        blob = np.full((n, 3, high, wide), _PADDING, np.float32)  # (B, 3, H32, W32), blue first
        blob[:, :, :height, :width] = views[..., ::-1].transpose(0, 3, 1, 2)
        raw = split_batch(self._session.run({_INPUT: blob})[0], n, high, wide)
        if self.class_index >= raw.shape[2] - 5:
            raise ConfigError(f"class_index must be under {raw.shape[2] - 5}, got {self.class_index}")
        return [
            keep_best(decode(one, high, wide, threshold=threshold, class_index=self.class_index), self.nms_iou)
            for one in raw
        ]


@lru_cache(maxsize=4)
def _open(path: str, providers: tuple[str, ...], n_threads: int) -> Session:
    """One session for every detector with the same weights; the file's fixed input is freed."""
    model = free_dimensions(Path(path).read_bytes(), _INPUT, ("batch", 3, "height", "width"))
    return open_session(model, providers=providers, n_threads=n_threads, varying_shapes=True)


def split_batch(raw: NDArray[np.float32], n: int, height: int, width: int) -> NDArray[np.float32]:
    """Outputs of the pictures of a batch, (n, anchors, 85), out of what the published files give for it.

    Their reshape is fixed to a batch of one: each grid's (n, 85, cells) comes as (1, 85, n * cells), and the three of
    them are joined and turned then.

    Parameters
    ----------
    raw : (1, n * anchors, 85) or (n, anchors, 85)
    n : int
    height, width : int
        Of the input, multiples of 32.
    """
    cells = [(height // stride) * (width // stride) for stride in STRIDES]
    if raw.shape[0] == n and raw.shape[1] == sum(cells):
        return raw
    if raw.shape[:2] != (1, n * sum(cells)):
        raise ConfigError(
            f"the network gave {raw.shape} for {n} inputs of {height}x{width}, expected {sum(cells)} rows"
        )
    turned, start, parts = raw[0].T, 0, []
    for count in cells:
        parts.append(np.ascontiguousarray(turned[:, start : start + n * count]).reshape(n, -1, count))
        start += n * count
    return np.concatenate(parts, axis=2).transpose(0, 2, 1)


def grids(height: int, width: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Cells (A, 2) as column and row, and strides (A, 1), of an input of that size, in the network's order."""
    cells, strides = [], []
    for stride in STRIDES:
        rows, columns = np.mgrid[0 : height // stride, 0 : width // stride]
        cells.append(np.stack([columns, rows], axis=-1).reshape(-1, 2))
        strides.append(np.full((len(cells[-1]), 1), stride))
    return np.concatenate(cells).astype(np.float32), np.concatenate(strides).astype(np.float32)


def decode(raw: NDArray[np.float32], height: int, width: int, *, threshold: float, class_index: int = PERSON) -> Found:
    """Boxes of one class at the cells over a threshold.

    A cell (column, row) of stride s with (dx, dy, log w, log h) stands for a box of s exp(log w) by s exp(log h) px
    around (s (column + dx), s (row + dy)). A cell counts for the class only where that is its most probable one: a dog
    is no person.

    Parameters
    ----------
    raw : (A, 5 + classes)
        Place, size, objectness and class probabilities of each cell.
    height, width : int
        Of the input, multiples of 32.
    threshold : float
    class_index : int

    Returns
    -------
    Found
        Without keypoints.
    """
    confidence = raw[:, 4] * raw[:, 5 + class_index]
    index = np.flatnonzero((confidence > threshold) & (raw[:, 5:].argmax(axis=1) == class_index))
    if len(index) > _MAX_FINDS:
        index = np.sort(index[np.argsort(-confidence[index], kind="stable")[:_MAX_FINDS]])
    cells, strides = grids(height, width)
    centre = (raw[index, :2] + cells[index]) * strides[index]
    size = np.exp(raw[index, 2:4].clip(max=_LARGEST_LOG_SIZE)) * strides[index]
    boxes = np.concatenate([centre - size / 2, centre + size / 2], axis=1)
    return Found(
        boxes.astype(np.float32),
        confidence[index].astype(np.float32),
        np.full((len(index), N_KEYPOINTS, 2), np.nan, np.float32),
    )
