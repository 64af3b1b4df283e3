"""MTCNN of facenet-pytorch, with weights by path and digest.

Zhang, Zhang, Li and Qiao: "Joint Face Detection and Alignment using Multi-task Cascaded Convolutional Networks",
doi:10.1109/LSP.2016.2603342.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from understudy import weights as registry
from understudy.detect.base import N_KEYPOINTS, Found, require_view
from understudy.errors import InvalidInputError, MissingExtraError
from understudy.types import Detections

if TYPE_CHECKING:
    import torch

_SMALLEST_SIDE_PX = 24
_PYRAMID_FACTOR = 0.709


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
    device : str
        torch device.

    Raises
    ------
    MissingExtraError
        torch or facenet-pytorch is not installed.
    """

    name = "mtcnn"
    families = frozenset({"mtcnn"})

    def __init__(
        self,
        *,
        threshold: float = 0.8,
        stage_thresholds: tuple[float, float] = (0.6, 0.7),
        min_face_px: int = 14,
        device: str = "cpu",
    ) -> None:
        if not 0 < threshold < 1 or min_face_px < 4:
            raise InvalidInputError(
                f"threshold must lie in (0, 1) and min_face_px be 4 or more, got {threshold}, {min_face_px}"
            )
        self.thresholds = (*stage_thresholds, threshold)
        self.min_face_px = min_face_px
        self._device = device
        self._networks = _load(device)

    def __call__(self, view: NDArray[np.uint8]) -> Detections:
        """Find faces in a view (H, W, 3) of any size."""
        import torch
        from facenet_pytorch.models.utils.detect_face import detect_face

        require_view(view)
        height, width = view.shape[:2]
        smallest = max(_SMALLEST_SIDE_PX, self.min_face_px)
        rows, columns = max(0, smallest - height), max(0, smallest - width)
        padded = np.pad(view, ((0, rows), (0, columns), (0, 0)))
        with torch.inference_mode():
            boxes, keypoints = detect_face(
                padded, self.min_face_px, *self._networks, self.thresholds, _PYRAMID_FACTOR, self._device
            )
        rows_found = np.asarray(boxes[0], np.float32).reshape(-1, 5)
        points = np.asarray(keypoints[0], np.float32).reshape(-1, N_KEYPOINTS, 2)
        return Found(rows_found[:, :4], rows_found[:, 4], points).clipped(height, width).detections()


def _load(device: str) -> tuple[torch.nn.Module, ...]:
    """The three networks with checked weights; facenet-pytorch's own loading is passed by."""
    try:
        import torch
        from facenet_pytorch.models.mtcnn import ONet, PNet, RNet
    except ImportError as error:
        raise MissingExtraError(
            "detector=mtcnn needs torch and facenet-pytorch: pip install 'understudy[torch]'"
        ) from error
    networks = []
    for part, build in (("pnet", PNet), ("rnet", RNet), ("onet", ONet)):
        network = build(pretrained=False)
        state = torch.load(registry.find(f"mtcnn_{part}"), map_location="cpu", weights_only=True)
        network.load_state_dict(state)
        networks.append(network.to(device).eval())
    return tuple(networks)
