"""FaceNet's InceptionResnetV1 as facenet-pytorch trained it: the state dict on torch, or an ONNX export.

Schroff et al. 2015, doi:10.1109/CVPR.2015.7298682; https://github.com/timesler/facenet-pytorch.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from understudy import weights as registry
from understudy.embed.arcface import AlignedOnnxEmbedder, aligned_crop
from understudy.embed.dlib_chip import is_frontal
from understudy.errors import ConfigError, MissingExtraError
from understudy.runtime.onnx import CPU

if TYPE_CHECKING:
    import torch

SIZE = 160
TEMPLATE = ((0.315, 0.395), (0.685, 0.395), (0.5, 0.585), (0.345, 0.755), (0.655, 0.755))
"""Where the keypoints of an upright face lie in the 160 px crop that MTCNN cuts with its default margin of 0."""
_MEAN, _DEVIATION = (127.5, 127.5, 127.5), (128.0, 128.0, 128.0)


def facenet_onnx(
    weights: str, *, providers: Sequence[str] = (CPU,), n_threads: int = 1, min_face_px: float = 20.0
) -> AlignedOnnxEmbedder:
    """FaceNet from an ONNX export, which needs no torch.

    Parameters
    ----------
    weights : str
        Registry name or path; input (n, 3, 160, 160), pixels minus 127.5 over 128.
    providers, n_threads, min_face_px
        As for ``AlignedOnnxEmbedder``.
    """
    return AlignedOnnxEmbedder(
        "facenet",
        weights,
        size=SIZE,
        template=TEMPLATE,
        scale=1.0,
        mean=_MEAN,
        deviation=_DEVIATION,
        min_face_px=min_face_px,
        providers=providers,
        n_threads=n_threads,
    )


def load_facenet(path: Path) -> torch.nn.Module:
    """InceptionResnetV1 with a state dict of facenet-pytorch, ready to embed.

    Parameters
    ----------
    path : Path
        ``20180402-114759-vggface2.pt`` or one like it; read with ``weights_only=True``. The classifier is left out.

    Raises
    ------
    MissingExtraError
        torch or facenet-pytorch is not installed.
    ConfigError
        The file holds another network.
    """
    try:
        import torch
        from facenet_pytorch import InceptionResnetV1
    except ImportError as error:
        raise MissingExtraError(f"{error.name} is not installed: pip install 'understudy[torch]'") from error
    registry.refuse_pickle(path)
    state = torch.load(path, map_location="cpu", weights_only=True)
    network = InceptionResnetV1(pretrained=None, classify=False)
    kept = {name: value for name, value in state.items() if not name.startswith("logits.")}
    try:
        network.load_state_dict(kept)
    except RuntimeError as error:
        raise ConfigError(f"{path} holds no InceptionResnetV1 of facenet-pytorch: {str(error)[:300]}") from error
    ready: torch.nn.Module = network.eval()
    return ready


def export_onnx(weights: Path, target: Path) -> None:
    """Write FaceNet as ONNX, so that an audit runs it without torch.

    Parameters
    ----------
    weights : Path
        For ``load_facenet``.
    target : Path
    """
    import torch

    network = load_facenet(weights)
    example = torch.zeros(1, 3, SIZE, SIZE)
    torch.onnx.export(
        network,
        (example,),
        str(target),
        input_names=["crops"],
        output_names=["embedding"],
        dynamic_axes={"crops": {0: "n"}, "embedding": {0: "n"}},
        opset_version=17,
        dynamo=False,
    )


class FaceNetTorch:
    """FaceNet on torch, from the state dict that facenet-pytorch publishes.

    Parameters
    ----------
    weights : str
        Registry name or path.
    device : str
        Of torch.
    """

    name = "facenet"

    def __init__(self, weights: str = "facenet_vggface2", *, device: str = "cpu", min_face_px: float = 20.0) -> None:
        self._weights = weights
        self._path = registry.resolve(weights)
        self.device = device
        self.min_face_px = min_face_px
        self._network = load_facenet(self._path).to(device)

    def can_judge(
        self, keypoints: NDArray[np.floating], visibility: NDArray[np.floating], xyxy: NDArray[np.floating]
    ) -> bool:
        """Whether a face is large and frontal enough; see ``Embedder``."""
        x0, y0, x1, y1 = (float(v) for v in xyxy)
        return min(x1 - x0, y1 - y0) >= self.min_face_px and is_frontal(keypoints, visibility)

    def embed(
        self, view: NDArray[np.uint8], keypoints: NDArray[np.floating], visibility: NDArray[np.floating]
    ) -> NDArray[np.float32]:
        """(512,) float32 embedding of one face, of length 1; see ``Embedder``."""
        import torch

        crop = aligned_crop(view, keypoints, visibility, np.asarray(TEMPLATE) * SIZE, SIZE)
        planes = ((np.asarray(crop, np.float32) - 127.5) / 128).transpose(2, 0, 1)[None]
        with torch.inference_mode():
            found = self._network(torch.from_numpy(np.ascontiguousarray(planes)).to(self.device))
        return np.asarray(found[0].cpu().numpy(), np.float32)

    def digests(self) -> dict[str, str]:
        """SHA-256 of the network in use, by its name."""
        return {self._weights: registry.file_digest(self._path)}
