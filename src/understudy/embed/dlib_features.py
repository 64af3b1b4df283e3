"""What dlib's face recognition network sees on the way to its embedding: inputs of linear read-outs.

Its embedding was taught to forget age and expression; layers before it have not forgotten them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from understudy.embed.dlib_onnx import converted_network
from understudy.errors import MissingExtraError, MissingWeightsError
from understudy.runtime.onnx import open_session

FINE_LAYER, MIDDLE_LAYER, COARSE_LAYER, LAST_LAYER = "relu_43", "relu_62", "relu_78", "relu_85"
"""The last with 64 channels (17x17), the first with 256 (3x3), the last of the blocks with 256 (4x4), and the one whose
means the embedding is made of (2x2); the conversion names them so."""
FINE_STARTS, FINE_CELL = (0, 3, 6, 8, 11, 14), 3
"""Cells of the fine layer, symmetric: the middle row and column belong to two."""
N_FINE, N_MIDDLE, N_COARSE, N_LAST = 64 * len(FINE_STARTS) ** 2, 256, 256 * 4, 256 * 4


@dataclass(frozen=True)
class FaceFeatures:
    """Features of N faces, channel by channel, then row by row."""

    fine: NDArray[np.float32]  # (N, 2304), 64 channels in 6x6 cells
    middle: NDArray[np.float32]  # (N, 256), means over the whole chip
    coarse: NDArray[np.float32]  # (N, 1024), 256 channels in 2x2 cells
    last: NDArray[np.float32]  # (N, 1024), 256 channels in 2x2 cells


class DlibFeatures:
    """dlib's network on onnxruntime with four of its inner layers as outputs; may be shared by threads.

    Parameters
    ----------
    n_threads : int
        As in ``open_session``.

    Raises
    ------
    MissingExtraError
        The weights, or the package onnx, are not on this machine; the extra [identity] brings both.
    """

    def __init__(self, *, n_threads: int = 1) -> None:
        try:
            import onnx

            network = converted_network()
        except (ImportError, MissingWeightsError) as error:
            raise MissingExtraError(f"no read-outs: {error}; `pip install 'understudy[identity]'`") from error
        model = onnx.load_from_string(network) if isinstance(network, bytes) else onnx.load(str(network))
        for name in (FINE_LAYER, MIDDLE_LAYER, COARSE_LAYER, LAST_LAYER):
            model.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
        self._session = open_session(model.SerializeToString(), n_threads=n_threads)

    def __call__(self, chips: NDArray[np.uint8]) -> FaceFeatures:
        """Features of aligned faces, as ``aligned_chip`` cuts them: mean over each chip and its mirror image.

        Parameters
        ----------
        chips : (N, 150, 150, 3) uint8 sRGB
        """
        return self.of_pairs(np.stack([chips, chips[:, :, ::-1]], axis=1))

    def of_pairs(self, pairs: NDArray[np.uint8]) -> FaceFeatures:
        """Mean features of two chips of each face.

        Parameters
        ----------
        pairs : (N, 2, 150, 150, 3) uint8 sRGB
        """
        layers = [FINE_LAYER, MIDDLE_LAYER, COARSE_LAYER, LAST_LAYER]
        rows = []
        for pair in pairs:
            fine, middle, coarse, last = self._session.run({"chips": np.ascontiguousarray(pair)}, layers)
            parts = (_cells(fine), middle.mean(axis=(2, 3)), _quarters(coarse), last)
            rows.append([part.mean(axis=0).reshape(-1) for part in parts])
        sizes = (N_FINE, N_MIDDLE, N_COARSE, N_LAST)
        return FaceFeatures(
            *(np.array([row[i] for row in rows], np.float32).reshape(len(pairs), n) for i, n in enumerate(sizes))
        )


def _cells(layer: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n, 64, 17, 17) to the means of its cells, (n, 64, 6, 6)."""
    down = np.stack([layer[:, :, i : i + FINE_CELL].mean(axis=2) for i in FINE_STARTS], axis=2)
    return np.stack([down[..., i : i + FINE_CELL].mean(axis=3) for i in FINE_STARTS], axis=3)


def _quarters(layer: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n, 256, 4, 4) to the means of its quarters, (n, 256, 2, 2)."""
    n, c, height, width = layer.shape
    return np.asarray(layer.reshape(n, c, 2, height // 2, 2, width // 2).mean(axis=(3, 5)), np.float32)
