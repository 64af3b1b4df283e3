"""CenterFace on onnxruntime with our own decoding.

Xu, Yan, Sun, Yang and Luo: "CenterFace: Joint Face Detection and Alignment Using Face as Point", arXiv:1911.03599.
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
from understudy.errors import InvalidInputError
from understudy.runtime.onnx import CPU, ProviderReport, Session, open_session
from understudy.runtime.onnx_shapes import free_dimensions
from understudy.types import Detections

_INPUT = "input.1"
_OUTPUTS = ("537", "538", "539", "540")  # heatmap, scale, offset, keypoints
_STRIDE = 4
_MULTIPLE = 32
_MAX_FINDS = 4096


class CenterFace:
    """CenterFace in one pass over the whole picture.

    Parameters
    ----------
    weights : str
        Registry name, or path of the ONNX file.
    threshold : float
        Least confidence of a detection, in (0, 1).
    nms_iou : float
        Of two boxes that overlap more, the less confident is left out.
    providers, n_threads
        As in ``open_session``.
    """

    name = "centerface"
    families = frozenset({"centerface"})

    def __init__(
        self,
        weights: str = "centerface",
        *,
        threshold: float = 0.5,
        nms_iou: float = 0.3,
        providers: Sequence[str] = (CPU,),
        n_threads: int = 1,
    ) -> None:
        if not 0 < threshold < 1:
            raise InvalidInputError(f"threshold must lie in (0, 1), got {threshold}")
        self.threshold = threshold
        self.nms_iou = nms_iou
        self._session = _open(str(registry.resolve(weights)), tuple(providers), n_threads)

    @property
    def provider_report(self) -> ProviderReport:
        """Which execution provider really runs."""
        return self._session.provider_report

    def __call__(self, view: NDArray[np.uint8]) -> Detections:
        """Find faces in a view (H, W, 3) of any size."""
        require_view(view)
        return self.find(view[None], self.threshold)[0].clipped(*view.shape[:2]).detections()

    def find(self, views: NDArray[np.uint8], threshold: float) -> list[Found]:
        """Raw finds over a threshold in a batch of views of one size, after non-maximum suppression.

        Parameters
        ----------
        views : (B, H, W, 3) uint8
        threshold : float

        Returns
        -------
        list of B Found
            Boxes may reach over the border.
        """
        n, height, width = views.shape[:3]
        rows, columns = -height % _MULTIPLE, -width % _MULTIPLE
        blob = np.zeros((n, 3, height + rows, width + columns), np.float32)  # (B, 3, H32, W32)
        blob[:, :, :height, :width] = views.transpose(0, 3, 1, 2)
        outputs = self._session.run({_INPUT: blob}, _OUTPUTS)
        return [
            keep_best(decode(*(output[i] for output in outputs), threshold=threshold), self.nms_iou) for i in range(n)
        ]


@lru_cache(maxsize=4)
def _open(path: str, providers: tuple[str, ...], n_threads: int) -> Session:
    """One session for every detector with the same weights; the file's fixed 10x3x32x32 input is freed."""
    model = free_dimensions(Path(path).read_bytes(), _INPUT, ("batch", 3, "height", "width"))
    return open_session(model, providers=providers, n_threads=n_threads, varying_shapes=True)


def decode(
    heatmap: NDArray[np.float32],
    scale: NDArray[np.float32],
    offset: NDArray[np.float32],
    keypoints: NDArray[np.float32],
    *,
    threshold: float,
) -> Found:
    """Boxes and keypoints at the cells of a heatmap over a threshold.

    A cell (row, column) with offsets (dy, dx) and logarithmic sizes (log h, log w) stands for a box of 4 exp(log h) by
    4 exp(log w) px around (4 (row + dy + 0.5), 4 (column + dx + 0.5)); keypoints are fractions of the box.

    Parameters
    ----------
    heatmap : (1, h, w) in [0, 1]
    scale, offset : (2, h, w), vertical first
    keypoints : (10, h, w), five pairs, vertical first, in the order of ``FACE_KEYPOINTS``
    threshold : float

    Returns
    -------
    Found
    """
    rows, columns = np.nonzero(heatmap[0] > threshold)
    confidence = heatmap[0, rows, columns]
    if len(rows) > _MAX_FINDS:
        best = np.sort(np.argsort(-confidence, kind="stable")[:_MAX_FINDS])
        rows, columns, confidence = rows[best], columns[best], confidence[best]
    size = np.exp(scale[::-1, rows, columns].T) * _STRIDE  # (N, 2) width, height
    centre = (np.stack([columns, rows], 1) + offset[::-1, rows, columns].T + 0.5) * _STRIDE  # (N, 2) x, y
    low = centre - size / 2
    fractions = keypoints[:, rows, columns].T.reshape(-1, N_KEYPOINTS, 2)[..., ::-1]  # (N, 5, 2) x, y
    return Found(
        np.concatenate([low, low + size], 1).astype(np.float32),
        confidence.astype(np.float32),
        (low[:, None] + fractions * size[:, None]).astype(np.float32),
    )
