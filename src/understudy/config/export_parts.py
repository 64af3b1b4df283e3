"""Detector, embedder and probe as ``export`` takes them: weights, licence, contract, and inputs to try them on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from understudy import weights
from understudy.attributes.probe import PROBE
from understudy.config.conditions import PICTURES, readable
from understudy.config.training import needs_torch
from understudy.detect.base import Detector
from understudy.detect.centerface import CenterFace
from understudy.embed import dlib_onnx
from understudy.errors import ConfigError
from understudy.runtime.onnx_shapes import free_dimensions

if TYPE_CHECKING:
    from understudy.export.convert import Converted

Pictures = Sequence[NDArray[np.uint8]]


def detector_for(name: str) -> Detector:
    """The detector that finds faces to calibrate with."""
    return CenterFace(name)


def converted_networks(parts: Sequence[str], calibration: str | None, n: int) -> list[Converted]:
    """The named parts, each ready to be exported.

    Parameters
    ----------
    parts : sequence of str
        Of ``PARTS``.
    calibration : str, optional
        Folder of pictures.
    n : int
        How many of them.

    Raises
    ------
    ConfigError
        A part is not known.
    MissingWeightsError, MissingExtraError
        Its weights are not on this machine.
    """
    unknown = sorted(set(parts) - set(PARTS))
    if unknown:
        raise ConfigError(f"no part is called {unknown[0]!r}: parts may hold {', '.join(PARTS)}")
    views = [] if calibration is None else pictures_in(Path(calibration), n)
    return [PARTS[name](views) for name in parts]


def pictures_in(folder: Path, n: int) -> list[NDArray[np.uint8]]:
    """Views of n pictures of a folder."""
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURES)[:n]
    return [source.view for source in readable(paths)]


def _detector(views: Pictures) -> Converted:
    path = weights.resolve("centerface")
    item = weights.entry("centerface")
    model = free_dimensions(path.read_bytes(), "input.1", ("batch", 3, "height", "width"))
    random = np.random.default_rng(0)
    small = [
        {"input.1": random.integers(0, 256, (n, 3, h, w)).astype(np.float32)}
        for n, h, w in ((1, 64, 96), (2, 32, 32), (3, 96, 64))
    ]
    made: Converted = needs_torch("understudy.export.convert").Converted(
        role="detector",
        name="centerface",
        model=model,
        licence=item.licence,
        source_sha256={"centerface": item.sha256},
        contract="input.1: RGB, 0 to 255, sides multiples of 32 -> 537 heatmap, 538 scale, 539 offset, 540 keypoints",
        small=small,
        precisions=("fp32", "fp16"),  # in 8 bits its boxes shrank: foreheads and chins stayed in the picture
        calibration=[{"input.1": _padded(view)} for view in views] or small,
    )
    return made


def _padded(view: NDArray[np.uint8]) -> NDArray[np.float32]:
    height, width = view.shape[:2]
    blob = np.zeros((1, 3, height + -height % 32, width + -width % 32), np.float32)
    blob[0, :, :height, :width] = view.transpose(2, 0, 1)
    return blob


def _embedder(views: Pictures) -> Converted:
    del views
    network = dlib_onnx.converted_network()
    item = weights.entry(dlib_onnx.CONVERTED)
    random = np.random.default_rng(0)
    made: Converted = needs_torch("understudy.export.convert").Converted(
        role="embedder",
        name=Path(item.file).stem,
        model=network if isinstance(network, bytes) else network.read_bytes(),
        licence=item.licence,
        source_sha256={dlib_onnx.SOURCE: weights.entry(dlib_onnx.SOURCE).sha256},
        contract="chips: aligned faces, RGB uint8, 150 x 150 -> embedding: Euclidean distance, 0.6 = same person",
        small=[{"chips": random.integers(0, 256, (n, 150, 150, 3), dtype=np.uint8)} for n in (1, 2)],
        precisions=("fp32", "fp16"),
    )
    return made


def _probe(views: Pictures) -> Converted:
    del views
    path, item = weights.resolve(PROBE), weights.entry(PROBE)
    made: Converted = needs_torch("understudy.export.convert").Converted(
        role="probe",
        name="probe",
        model=path.read_bytes(),
        licence=item.licence,
        source_sha256={PROBE: item.sha256},
        contract="crops: upright faces, RGB uint8 (see AttributeProbe) -> numbers, scales, expression, flags",
        small=[random_inputs(path.read_bytes(), n) for n in (1, 3)],
    )
    return made


def random_inputs(model: bytes, n: int) -> dict[str, NDArray[Any]]:
    """Inputs for a graph whose shapes are fixed but for the batch: bytes where it takes bytes, else normal numbers."""
    import onnx

    random = np.random.default_rng(n)
    made: dict[str, NDArray[Any]] = {}
    for item in onnx.load_from_string(model).graph.input:
        shape = (n, *(dim.dim_value for dim in item.type.tensor_type.shape.dim[1:]))
        takes_bytes = item.type.tensor_type.elem_type == onnx.TensorProto.UINT8
        values = random.integers(0, 256, shape) if takes_bytes else random.standard_normal(shape)
        made[item.name] = values.astype(np.uint8 if takes_bytes else np.float32)
    return made


PARTS: dict[str, Callable[[Pictures], Any]] = {"detector": _detector, "embedder": _embedder, "probe": _probe}
"""What a bundle holds besides the generator. None of them is offered in 8 bits."""
