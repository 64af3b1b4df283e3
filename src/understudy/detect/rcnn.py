"""torchvision's Mask R-CNN and Keypoint R-CNN: people with masks, or with 17 keypoints.

He, Gkioxari, Dollár and Girshick: "Mask R-CNN", arXiv:1703.06870. Slower than YOLOX by far, and better in crowds.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from understudy import weights as registry
from understudy.detect.base import require_view
from understudy.detect.frames import resized
from understudy.errors import ConfigError, InvalidInputError, MissingExtraError
from understudy.types import Detections, Silhouette

if TYPE_CHECKING:
    import torch

PERSON = 1
"""Label of people; 0 is the background."""
Head = Literal["masks", "keypoints"]
_NETWORKS: dict[Head, str] = {"masks": "maskrcnn_resnet50_fpn", "keypoints": "keypointrcnn_resnet50_fpn"}
_SURE_LOGIT = 2.0
"""Keypoints are given with a logit, which is about this where they are right more often than not."""


class RcnnPeople:
    """Mask R-CNN or Keypoint R-CNN with a ResNet-50 and a feature pyramid, trained on COCO.

    Parameters
    ----------
    head : "masks" or "keypoints"
        Which of the two networks.
    weights : str, optional
        Registry name, or path of a state dict as safetensors; the published one where left out.
    threshold : float
        Least confidence of a detection, in (0, 1).
    mask_threshold : float
        Least probability of a person's pixel, in (0, 1).
    min_side, max_side : int
        The network sees pictures scaled to this shorter side, but to no longer side than that.
    device : str
        Of torch.

    Raises
    ------
    MissingExtraError
        torchvision is not installed.
    ConfigError
        The weights are those of another network.
    """

    def __init__(
        self,
        head: Head,
        weights: str | None = None,
        *,
        threshold: float = 0.5,
        mask_threshold: float = 0.5,
        min_side: int = 800,
        max_side: int = 1333,
        device: str = "cpu",
    ) -> None:
        if head not in _NETWORKS:
            raise InvalidInputError(f"head must be one of {', '.join(_NETWORKS)}, got {head!r}")
        if not 0 < threshold < 1:
            raise InvalidInputError(f"threshold must lie in (0, 1), got {threshold}")
        self.name = _NETWORKS[head]
        self.families = frozenset({"torchvision_rcnn"})
        self.threshold = threshold
        self.mask_threshold = mask_threshold
        self.max_side = max_side
        self.device = device
        self._lock = threading.Lock()
        path = registry.resolve(weights or self.name)
        self._network = _load(self.name, path, threshold, min_side, max_side).to(device).eval()

    def __call__(self, view: NDArray[np.uint8]) -> Detections:
        """Find people in a view (H, W, 3) of any size."""
        import torch

        require_view(view)
        # masks come at the size of the picture that is given, a hundred of them: so none is larger than the network's
        small, _ = resized(view, min(1.0, self.max_side / max(view.shape[:2])))
        pixels = torch.from_numpy(np.ascontiguousarray(small)).permute(2, 0, 1).float() / 255  # (3, H, W)
        with self._lock, torch.inference_mode():
            (found,) = self._network([pixels.to(self.device)])
        plain = {name: value.float().cpu().numpy() for name, value in found.items()}
        high, wide = small.shape[:2]
        seen = detections_of(plain, high, wide, threshold=self.threshold, mask_threshold=self.mask_threshold)
        return enlarged(seen, (high, wide), (view.shape[0], view.shape[1]))


def detections_of(
    found: Mapping[str, NDArray[np.float32]], height: int, width: int, *, threshold: float, mask_threshold: float
) -> Detections:
    """What torchvision gives for one picture, as Detections of bodies.

    Parameters
    ----------
    found : mapping
        ``boxes`` (N, 4), ``labels`` (N,), ``scores`` (N,); ``masks`` (N, 1, H, W) in [0, 1], or ``keypoints``
        (N, 17, 3) with their logits ``keypoints_scores`` (N, 17).
    height, width : int
        Of the picture.
    threshold, mask_threshold : float
    """
    boxes = found["boxes"].reshape(-1, 4).clip(0, np.tile([width, height], 2)).astype(np.float32)
    right = (found["labels"] == PERSON) & (found["scores"] >= threshold)
    keep = np.flatnonzero(right & (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1]))
    boxes, confidence = boxes[keep], found["scores"][keep].clip(0, 1)
    points = shown = silhouettes = None
    if "masks" in found:
        silhouettes = [_silhouette(found["masks"][i, 0] > mask_threshold, boxes[n]) for n, i in enumerate(keep)]
    if "keypoints" in found:
        points = found["keypoints"][keep, :, :2]
        logits = found["keypoints_scores"][keep]
        sure = 1 / (1 + np.exp(-np.clip(logits - _SURE_LOGIT, -30, 30)))
        shown = np.where(sure >= 0.5, sure, 0).astype(np.float32)
    return Detections.bodies(boxes, confidence, points, shown, silhouettes)


def enlarged(found: Detections, small: tuple[int, int], size: tuple[int, int]) -> Detections:
    """Detections in a reduced picture of a height and width, in pixels of the picture of another."""
    if small == size:
        return found
    scale = np.array([size[1] / small[1], size[0] / small[0]], np.float32)
    return replace(
        found,
        xyxy=found.xyxy * np.tile(scale, 2),
        keypoints=found.keypoints * scale,
        silhouettes=tuple(None if s is None else _larger(s, scale, size) for s in found.silhouettes),
    )


def _larger(silhouette: Silhouette, scale: NDArray[np.float32], size: tuple[int, int]) -> Silhouette:
    x0, y0, x1, y1 = silhouette.window
    left, top = int(x0 * scale[0]), int(y0 * scale[1])
    right, bottom = min(int(np.ceil(x1 * scale[0])), size[1]), min(int(np.ceil(y1 * scale[1])), size[0])
    share = cv2.resize(silhouette.mask.astype(np.float32), (right - left, bottom - top))
    return Silhouette((left, top, right, bottom), np.asarray(share >= 0.5))


def _silhouette(mask: NDArray[np.bool_], box: NDArray[np.float32]) -> Silhouette | None:
    """A mask of the whole picture, cut to its own window; None where it holds no pixel."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if len(rows) == 0:
        return None
    x0, y0 = min(int(columns[0]), int(box[0])), min(int(rows[0]), int(box[1]))
    x1, y1 = max(int(columns[-1]) + 1, int(np.ceil(box[2]))), max(int(rows[-1]) + 1, int(np.ceil(box[3])))
    x1, y1 = min(x1, mask.shape[1]), min(y1, mask.shape[0])
    return Silhouette((x0, y0, x1, y1), mask[y0:y1, x0:x1].copy())


def _load(name: str, path: Path, threshold: float, min_side: int, max_side: int) -> torch.nn.Module:
    """The network of torchvision with a state dict."""
    try:
        import torch
        from torchvision.models import detection
    except ImportError as error:
        raise MissingExtraError("torchvision is not installed: pip install 'understudy[torch]'") from error
    build = getattr(detection, name)
    network: torch.nn.Module = build(
        weights=None, weights_backbone=None, min_size=min_side, max_size=max_side, box_score_thresh=threshold
    )
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        state = load_file(path)
    else:
        registry.refuse_pickle(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise ConfigError(f"{path.name} holds no weights of {name}: {str(error).splitlines()[0]}") from error
    return network
