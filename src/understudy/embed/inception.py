"""torchvision's Inception v3 as a feature extractor, for Frechet and kernel distances of collections.

Szegedy et al. 2015, arXiv:1512.00567. These are torchvision's weights, trained on ImageNet. They are not the network of
the FID paper (TensorFlow's of 2015, arXiv:1706.08500), so that their distances compare with each other only.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from understudy import weights as registry
from understudy.errors import ConfigError, InvalidInputError, MissingExtraError

if TYPE_CHECKING:
    import torch

BATCH = 8


def load_inception(path: Path) -> torch.nn.Module:
    """Inception v3 without its classifier, ready to give features.

    Parameters
    ----------
    path : Path
        A state dict of ``torchvision.models.inception_v3``; read with ``weights_only=True``.

    Raises
    ------
    MissingExtraError
        torch or torchvision is not installed.
    ConfigError
        The file holds another network.
    """
    try:
        import torch
        from torchvision.models import inception_v3
    except ImportError as error:
        raise MissingExtraError(f"{error.name} is not installed: pip install 'understudy[torch]'") from error
    registry.refuse_pickle(path)
    state = torch.load(path, map_location="cpu", weights_only=True)
    with torch.device("meta"):  # the weights that a network is born with would be drawn only to be replaced
        network = inception_v3(weights=None, aux_logits=True, transform_input=False, init_weights=False)
    try:
        network.load_state_dict(state, assign=True)
    except (RuntimeError, TypeError) as error:
        raise ConfigError(f"{path} holds no inception_v3 of torchvision: {str(error)[:300]}") from error
    network.fc = torch.nn.Identity()
    ready: torch.nn.Module = network.eval()
    return ready


class InceptionV3:
    """The 2,048 numbers before Inception v3's classifier.

    Parameters
    ----------
    weights : str
        Registry name or path.
    device : str
        Of torch.
    """

    name = "inception_v3_torchvision"
    size = 299
    """Side of the square pictures that it takes, px."""

    def __init__(self, weights: str = "inception_v3_torchvision", *, device: str = "cpu") -> None:
        self._weights, self._path, self._device = weights, registry.resolve(weights), device
        self._network = load_inception(self._path).to(device)

    def features(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Features of square pictures.

        Parameters
        ----------
        pictures : (N, 299, 299, 3) uint8 sRGB

        Returns
        -------
        (N, 2048) float32
        """
        import torch

        if pictures.shape[1:] != (self.size, self.size, 3) or pictures.dtype != np.uint8:
            raise InvalidInputError(
                f"pictures must be (N, {self.size}, {self.size}, 3) uint8, got {pictures.shape} {pictures.dtype}"
            )
        found = [np.zeros((0, 2048), np.float32)]
        for start in range(0, len(pictures), BATCH):
            part = pictures[start : start + BATCH].astype(np.float32) / 127.5 - 1  # as its weights expect: -1 to 1
            planes = torch.from_numpy(np.ascontiguousarray(part.transpose(0, 3, 1, 2)))
            with torch.inference_mode():
                found.append(self._network(planes.to(self._device)).cpu().numpy().astype(np.float32))
        return np.concatenate(found)

    def digests(self) -> dict[str, str]:
        """SHA-256 of the network in use, by its name."""
        return {self._weights: registry.file_digest(self._path)}
