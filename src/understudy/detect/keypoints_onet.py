"""MTCNN's last network as a reader of keypoints: it is shown faces that another detector has found, and finds nobody.

Zhang, Zhang, Li and Qiao: "Joint Face Detection and Alignment using Multi-task Cascaded Convolutional Networks",
doi:10.1109/LSP.2016.2603342.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from understudy import weights as registry
from understudy.detect.base import N_KEYPOINTS
from understudy.detect.mtcnn_networks import INPUT, JUDGE, open_judge
from understudy.runtime.onnx import CPU, ProviderReport

if TYPE_CHECKING:
    from understudy.detect.keypoints import View


class Onet:
    """Keypoints in crops of 48 px, each a square around a face.

    Parameters
    ----------
    least : float
        Least confidence of a reading, in [0, 1].
    providers, n_threads
        As in ``open_session``.

    Raises
    ------
    MissingWeightsError
        facenet-pytorch's wheel is not installed, and there is no mirror that holds its weights.
    """

    def __init__(self, *, least: float = 0.5, providers: Sequence[str] = (CPU,), n_threads: int = 1) -> None:
        self.least = least
        self._network = open_judge(tuple(providers), n_threads)

    @property
    def provider_report(self) -> ProviderReport:
        """Which execution provider really runs."""
        return self._network.provider_report

    def digests(self) -> dict[str, str]:
        """SHA-256 of the weight file, by its name in the registry."""
        return {JUDGE: registry.entry(JUDGE).sha256}

    def __call__(self, crops: NDArray[np.uint8], view: View) -> NDArray[np.float32]:
        """Keypoints (B, 5, 2) in pixels of crops (B, 48, 48, 3); NaN where it is unsure of a face."""
        heads = self._network.run({INPUT: crops.transpose(0, 3, 1, 2).astype(np.float32)})[0]  # (B, 15)
        points = heads[:, 5:].reshape(-1, 2, N_KEYPOINTS).transpose(0, 2, 1) * np.float32(view.crop_px)
        confidence = 1 / (1 + np.exp(-heads[:, 0].astype(np.float64)))
        return np.where((confidence >= self.least)[:, None, None], points, np.float32(np.nan)).astype(np.float32)
