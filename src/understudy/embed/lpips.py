"""LPIPS: how differently two pictures look to a network, calibrated on what people say of pairs of patches.

Zhang et al. 2018, arXiv:1801.03924, version 0.1 on torchvision's AlexNet. The calibration lies in the wheel of lpips
(BSD), which is read by path and never imported.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from understudy import weights as registry
from understudy.errors import ConfigError, InvalidInputError, MissingExtraError

if TYPE_CHECKING:
    import torch

ENDS = (1, 4, 7, 9, 11)
"""Layers of AlexNet's features after which (they are rectified) two pictures are compared."""
_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
_LEAST_PX = 63
"""A smaller picture has no last layer."""


def load_alexnet(path: Path) -> torch.nn.Sequential:
    """AlexNet's convolutions from a state dict of ``torchvision.models.alexnet``, ready to run.

    Raises
    ------
    MissingExtraError
        torch or torchvision is not installed.
    ConfigError
        The file holds another network.
    """
    try:
        import torch
        from torchvision.models import alexnet
    except ImportError as error:
        raise MissingExtraError(f"{error.name} is not installed: pip install 'understudy[torch]'") from error
    registry.refuse_pickle(path)
    state = torch.load(path, map_location="cpu", weights_only=True)
    with torch.device("meta"):  # the weights that a network is born with would be drawn only to be replaced
        features: torch.nn.Sequential = alexnet(weights=None).features
    try:
        features.load_state_dict(
            {name.removeprefix("features."): value for name, value in state.items() if name.startswith("features.")},
            assign=True,
        )
    except (RuntimeError, AttributeError) as error:
        raise ConfigError(f"{path} holds no alexnet of torchvision: {str(error)[:300]}") from error
    return features.eval()


def load_calibration(path: Path) -> list[torch.Tensor]:
    """Weights of each layer's channels, (C,) each, as lpips 0.1 stores them.

    Raises
    ------
    ConfigError
        The file holds something else.
    """
    import torch

    registry.refuse_pickle(path)
    state = torch.load(path, map_location="cpu", weights_only=True)
    try:
        return [state[f"lin{i}.model.1.weight"].reshape(-1) for i in range(len(ENDS))]
    except (KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path} holds no calibration of lpips 0.1: {error}") from error


class LpipsAlex:
    """LPIPS on AlexNet, over a part of the picture.

    Parameters
    ----------
    weights : str
        AlexNet: registry name or path.
    calibration : str
        Weights of its channels: registry name or path.
    device : str
        Of torch.
    """

    name = "lpips_alex"

    def __init__(
        self, weights: str = "alexnet_torchvision", calibration: str = "lpips_alex", *, device: str = "cpu"
    ) -> None:
        self._paths = {name: registry.resolve(name) for name in (weights, calibration)}
        self._device = device
        self._network = load_alexnet(self._paths[weights]).to(device)
        self._channels = [c.to(device) for c in load_calibration(self._paths[calibration])]
        widths = [c.shape[0] for c in self._channels]
        if widths != [64, 192, 384, 256, 256]:
            raise ConfigError(f"{self._paths[calibration]} is calibrated for another network: its layers have {widths}")

    def distance(self, before: NDArray[np.uint8], after: NDArray[np.uint8], keep: NDArray[np.bool_]) -> float:
        """How differently two pictures look outside the masks.

        What is not kept shows the same in both, so that no layer sees it; each cell of a layer counts by the share of
        it that is kept.

        Parameters
        ----------
        before, after : (H, W, 3) uint8 sRGB
        keep : (H, W) bool
            Where they are compared; everywhere: LPIPS as its authors define it.

        Returns
        -------
        float
            0 or more; NaN where nothing is kept or a side is under 63 px.
        """
        import torch

        if before.shape != after.shape or keep.shape != before.shape[:2]:
            raise InvalidInputError(f"pictures and mask must agree, got {before.shape}, {after.shape}, {keep.shape}")
        if min(before.shape[:2]) < _LEAST_PX or not keep.any():
            return float("nan")
        pair = np.stack([before, np.where(keep[..., None], after, before)]) / 127.5 - 1
        planes = ((pair - _SHIFT) / _SCALE).transpose(0, 3, 1, 2).astype(np.float32)  # (2, 3, H, W)
        total, h = 0.0, torch.from_numpy(planes).to(self._device)
        with torch.inference_mode():
            for i, layer in enumerate(self._network):
                h = layer(h)
                if i not in ENDS:
                    continue
                unit = h / (h.square().sum(dim=1, keepdim=True).sqrt() + 1e-10)  # (2, C, h, w)
                channels = self._channels[ENDS.index(i)][:, None, None]
                gap = ((unit[0] - unit[1]).square() * channels).sum(dim=0).cpu().numpy()  # (h, w)
                share = cv2.resize(keep.astype(np.float32), gap.shape[::-1], interpolation=cv2.INTER_AREA)
                total += float((gap * share).sum() / max(float(share.sum()), 1e-9))
        return total

    def digests(self) -> dict[str, str]:
        """SHA-256 of both files, by their names."""
        return {name: registry.file_digest(path) for name, path in self._paths.items()}
