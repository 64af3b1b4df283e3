"""Networks that come as ONNX already (detector, embedder, probe): described, checked, and in other precisions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import onnx
import onnx.version_converter
from numpy.typing import NDArray
from onnx import ModelProto

from understudy.export.graph import OPSET, set_metadata
from understudy.export.parity import GraphParity, compare_graphs
from understudy.export.quantize import folded, to_fp16, to_int8
from understudy.export.reference import run_by_definition, run_onnx

_LEAST_OPSET = 13  # the first in which a quantised weight has a range for each channel

Feed = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Converted:
    """A network of another maker, and what is known of it."""

    role: str
    name: str
    """Of its file."""
    model: bytes
    licence: str
    source_sha256: Mapping[str, str]
    contract: str
    small: Sequence[Feed]
    """Inputs for the comparison with onnx's own evaluator, of several shapes and batch sizes."""
    precisions: tuple[str, ...] = ("fp32",)
    calibration: Sequence[Feed] = field(default=())
    """True inputs: ranges of 8-bit values are read from all but the last, losses are measured on the last."""


@dataclass(frozen=True)
class Version:
    """A network in one precision."""

    precision: str
    model: ModelProto
    parity: GraphParity


def versions(network: Converted, precisions: Sequence[str], said: Mapping[str, str]) -> list[Version]:
    """The network in those of the precisions in which it is offered; float32 always.

    Float32 is compared with onnx's own evaluator in numpy, the others with float32 on true inputs.

    Parameters
    ----------
    network : Converted
    precisions : sequence of str
    said : mapping
        Further metadata.
    """
    model = onnx.load_from_string(network.model)
    if opset_of(model) < _LEAST_OPSET:
        model = onnx.version_converter.convert_version(model, OPSET)
    model = onnx.shape_inference.infer_shapes(model)  # outputs get their shapes
    digests = {f"source_sha256.{name}": digest for name, digest in network.source_sha256.items()}
    own = {
        "licence": network.licence,
        "contract": network.contract,
        "graph": network.name,
        "opset": str(opset_of(model)),
    }
    set_metadata(model, {**said, **own, **digests, "precision": "fp32"})
    onnx.checker.check_model(model, full_check=True)
    run = run_onnx(model)
    against = "onnx's reference evaluator"
    made = [Version("fp32", model, compare_graphs(run, run_by_definition(model), network.small, against))]
    trial = network.calibration[-1:] or network.small
    for precision in precisions:
        if precision == "fp32" or precision not in network.precisions:
            continue
        other = to_fp16(model) if precision == "fp16" else to_int8(folded(model), network.calibration[:-1] or trial)
        made.append(Version(precision, other, compare_graphs(run_onnx(other), run, trial, "float32")))
    return made


def opset_of(model: ModelProto) -> int:
    """Version of ONNX's own operators."""
    return max(int(item.version) for item in model.opset_import if item.domain in {"", "ai.onnx"})
