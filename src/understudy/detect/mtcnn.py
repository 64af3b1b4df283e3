"""MTCNN of facenet-pytorch on onnxruntime, with weights by path and digest; its Python code is not needed.

Zhang, Zhang, Li and Qiao: "Joint Face Detection and Alignment using Multi-task Cascaded Convolutional Networks",
doi:10.1109/LSP.2016.2603342. Every step is that of facenet-pytorch 2.5.3 (``detect_face``), so that the same faces are
found; a large picture goes through the first network strip by strip, which bounds memory and changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from understudy import weights as registry
from understudy.detect.base import N_KEYPOINTS, Found, require_view
from understudy.detect.mtcnn_networks import INPUT, PARTS, open_networks
from understudy.detect.mtcnn_pooling import AreaMeans, Bins, bins_of
from understudy.errors import InvalidInputError
from understudy.runtime.onnx import CPU, ProviderReport, Session
from understudy.types import Detections

_CELL_PX, _STRIDE_PX = 12, 2
_PYRAMID_FACTOR = 0.709
_SMALLEST_SIDE_PX = 24
_STRIP_PX = 300_000
_BATCH = 128
_NMS_LEVEL, _NMS = 0.5, 0.7


@dataclass(frozen=True)
class _Proposals:
    """Boxes on their way through the cascade, with the corrections that the last network wants."""

    xyxy: NDArray[np.float32]  # (N, 4) px
    confidence: NDArray[np.float32]  # (N,)
    shifts: NDArray[np.float32]  # (N, 4), or (N, 14) with keypoints, in parts of the box

    def take(self, index: NDArray[np.generic]) -> _Proposals:
        return _Proposals(self.xyxy[index], self.confidence[index], self.shifts[index])


class Mtcnn:
    """MTCNN over a pyramid of sizes.

    Parameters
    ----------
    threshold : float
        Least confidence of the last network, in (0, 1).
    stage_thresholds : tuple of float
        Least confidences of the first and second network.
    min_face_px : int
        Least size of a face that is looked for.
    providers, n_threads
        As in ``open_session``.

    Raises
    ------
    MissingWeightsError
        facenet-pytorch's wheel is not installed, and there is no mirror that holds its weights.
    """

    name = "mtcnn"
    families = frozenset({"mtcnn"})

    def __init__(
        self,
        *,
        threshold: float = 0.8,
        stage_thresholds: tuple[float, float] = (0.6, 0.7),
        min_face_px: int = 14,
        providers: Sequence[str] = (CPU,),
        n_threads: int = 1,
    ) -> None:
        if not 0 < threshold < 1 or min_face_px < 4:
            raise InvalidInputError(
                f"threshold must lie in (0, 1) and min_face_px be 4 or more, got {threshold}, {min_face_px}"
            )
        self.thresholds = (*stage_thresholds, threshold)
        self.min_face_px = min_face_px
        self._networks = open_networks(tuple(providers), n_threads)

    @property
    def provider_report(self) -> ProviderReport:
        """Which execution provider really runs."""
        return self._networks.proposals.provider_report

    def digests(self) -> dict[str, str]:
        """SHA-256 of the three weight files, by their names in the registry."""
        return {name: registry.entry(name).sha256 for name in PARTS}

    def __call__(self, view: NDArray[np.uint8]) -> Detections:
        """Find faces in a view (H, W, 3) of any size."""
        require_view(view)
        height, width = view.shape[:2]
        smallest = max(_SMALLEST_SIDE_PX, self.min_face_px)
        rows, columns = max(0, smallest - height), max(0, smallest - width)
        padded = np.pad(view, ((0, rows), (0, columns), (0, 0))) if rows or columns else view
        picture = AreaMeans(padded)
        faces = self._judged(picture, self._refined(picture, self._proposed(picture)))
        return faces.clipped(height, width).detections()

    def _proposed(self, picture: AreaMeans) -> _Proposals:
        """First stage: cells of a pyramid that may hold a face."""
        levels = [self._level(picture, scale) for scale in pyramid(*picture.size, self.min_face_px)]
        kept = [level.take(suppress(level.xyxy, level.confidence, _NMS_LEVEL)) for level in levels]
        found = _joined(kept)
        found = found.take(suppress(found.xyxy, found.confidence, _NMS))
        size = found.xyxy[:, 2:] - found.xyxy[:, :2]
        return _Proposals(found.xyxy + found.shifts * np.tile(size, 2), found.confidence, found.shifts)

    def _level(self, picture: AreaMeans, scale: float) -> _Proposals:
        """Cells of one size of the picture; their boxes are in pixels of the picture."""
        height, width = picture.size
        rows, columns = bins_of(height, int(height * scale + 1)), bins_of(width, int(width * scale + 1))
        least = _logit(self.thresholds[0])
        parts = []
        for start, strip in _strips(rows, len(columns)):
            heads = self._networks.proposals.run({INPUT: picture.grid(strip, columns)[None]})[0][0]  # (5, h, w)
            y, x = np.nonzero(heads[0] >= least)
            corner = np.stack([x, y + start // _STRIDE_PX], axis=1).astype(np.float32) * _STRIDE_PX
            boxes = [np.floor((corner + 1) / np.float32(scale)), np.floor((corner + _CELL_PX) / np.float32(scale))]
            parts.append(_Proposals(np.concatenate(boxes, axis=1), _sigmoid(heads[0, y, x]), heads[1:, y, x].T.copy()))
        return _joined(parts)

    def _refined(self, picture: AreaMeans, found: _Proposals) -> _Proposals:
        """Second stage: crops of 24 px."""
        found = self._look(picture, found, self._networks.refiner, self.thresholds[1], 24)
        found = found.take(suppress(found.xyxy, found.confidence, _NMS))
        return _Proposals(_corrected(found), found.confidence, found.shifts)

    def _judged(self, picture: AreaMeans, found: _Proposals) -> Found:
        """Third stage: crops of 48 px, and keypoints."""
        found = self._look(picture, found, self._networks.judge, self.thresholds[2], 48)
        corner, size = found.xyxy[:, :2], found.xyxy[:, 2:] - found.xyxy[:, :2] + 1
        points = found.shifts[:, 4:].reshape(-1, 2, N_KEYPOINTS).transpose(0, 2, 1)  # (N, 5, 2)
        points = points * size[:, None] + corner[:, None] - 1
        boxes = _corrected(found)
        keep = suppress(boxes, found.confidence, _NMS, of_smaller=True)
        return Found(boxes, found.confidence, points.astype(np.float32)).take(keep)

    def _look(
        self, picture: AreaMeans, found: _Proposals, network: Session, threshold: float, crop_px: int
    ) -> _Proposals:
        """The proposals, as squares, that a network takes for faces."""
        boxes = squares(found.xyxy)
        crops, inside = crops_of(picture, boxes, crop_px)
        boxes = boxes[inside]
        heads = [network.run({INPUT: crops[i : i + _BATCH]})[0] for i in range(0, len(crops), _BATCH)]
        if not heads:
            return _joined([])
        seen = np.concatenate(heads)
        keep = seen[:, 0] > _logit(threshold)
        return _Proposals(boxes[keep], _sigmoid(seen[keep, 0]), seen[keep, 1:])


def pyramid(height: int, width: int, min_face_px: int) -> list[float]:
    """Scales at which a face of at least ``min_face_px`` fills the first network's 12 px."""
    scales, scale = [], _CELL_PX / min_face_px
    side = min(height, width) * scale
    while side >= _CELL_PX:
        scales.append(scale)
        scale, side = scale * _PYRAMID_FACTOR, side * _PYRAMID_FACTOR
    return scales


def _strips(rows: Bins, width: int) -> Iterator[tuple[int, Bins]]:
    """First row, and rows, of strips whose cells together are the cells of the whole."""
    n = len(rows)
    step = max(_STRIDE_PX * 8, _STRIP_PX // width // _STRIDE_PX * _STRIDE_PX)
    start = 0
    while True:
        stop = start + step + _CELL_PX - _STRIDE_PX
        last = stop >= n - _STRIDE_PX
        yield start, rows.between(start, n if last else stop)
        if last:
            return
        start += step


def squares(xyxy: NDArray[np.float32]) -> NDArray[np.float32]:
    """Squares on the longer side of boxes (N, 4), with the same middle."""
    size = xyxy[:, 2:] - xyxy[:, :2]
    longer = size.max(axis=1, keepdims=True)
    corner = xyxy[:, :2] + size * np.float32(0.5) - longer * np.float32(0.5)
    return np.concatenate([corner, corner + longer], axis=1)


def crops_of(
    picture: AreaMeans, xyxy: NDArray[np.float32], crop_px: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Crops of boxes, brought to one size, and which of the boxes have one.

    Parameters
    ----------
    picture : AreaMeans
    xyxy : (N, 4) px, cut at the border of the picture
    crop_px : int

    Returns
    -------
    crops : (M, 3, crop_px, crop_px) float32
    inside : (N,) bool
        Whether a box shares a pixel with the picture; M of them.
    """
    whole = np.trunc(xyxy).astype(np.int64)
    low = np.maximum(whole[:, :2], 1) - 1
    high = np.minimum(whole[:, 2:], np.array(picture.size[::-1]))
    inside = (high > low).all(axis=1)
    return picture.crops(low[inside], high[inside], crop_px), inside


def suppress(
    xyxy: NDArray[np.float32], confidence: NDArray[np.float32], iou: float, *, of_smaller: bool = False
) -> NDArray[np.int64]:
    """Greedy non-maximum suppression: indices of the boxes that are kept, the most confident first.

    Parameters
    ----------
    xyxy : (N, 4) px
    confidence : (N,)
    iou : float
        A box that overlaps a kept one by more is left out.
    of_smaller : bool
        Overlap is the shared part of the smaller box, its border pixels counted, and not intersection over union.
    """
    if not of_smaller and len(xyxy):
        boxes = np.concatenate([xyxy[:, :2], xyxy[:, 2:] - xyxy[:, :2]], axis=1)  # x, y, width, height
        kept = cv2.dnn.NMSBoxes(boxes, confidence, 0.0, iou)  # type: ignore[arg-type] # arrays are sequences to it
        return np.asarray(kept, np.int64).reshape(-1)
    order = np.argsort(-confidence, kind="stable")
    low, high = xyxy[order, :2], xyxy[order, 2:] + np.float32(1)
    area = (high - low).prod(axis=1)
    keep = []
    while len(order):
        keep.append(order[0])
        shared = (np.minimum(high[0], high[1:]) - np.maximum(low[0], low[1:])).clip(0).prod(axis=1)
        alive = np.flatnonzero(shared <= np.float32(iou) * np.minimum(area[0], area[1:])) + 1
        order, low, high, area = order[alive], low[alive], high[alive], area[alive]
    return np.array(keep, np.int64)


def _corrected(found: _Proposals) -> NDArray[np.float32]:
    size = found.xyxy[:, 2:] - found.xyxy[:, :2] + 1
    return np.asarray(found.xyxy + found.shifts[:, :4] * np.tile(size, 2), np.float32)


def _joined(parts: Sequence[_Proposals]) -> _Proposals:
    if not parts:
        return _Proposals(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros((0, 14), np.float32))
    return _Proposals(
        np.concatenate([part.xyxy for part in parts]),
        np.concatenate([part.confidence for part in parts]),
        np.concatenate([part.shifts for part in parts]),
    )


def _sigmoid(logit: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(1 / (1 + np.exp(-logit.astype(np.float64))), np.float32)


def _logit(probability: float) -> np.float32:
    return np.float32(np.log(probability / (1 - probability)))
