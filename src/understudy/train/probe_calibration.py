"""Calibrate a fitted probe on held-out heads, and write trunk and matrix as one ONNX file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from understudy.train.probe import (
    CENTERS,
    FLAGS,
    MAX_LOG_SCALE,
    MIN_LOG_SCALE,
    N_EXPRESSIONS,
    NUMBERS,
    SPREADS,
    ProbeBank,
    ProbeMatrix,
    ProbeSettings,
    as_tensor,
    split_outputs,
    world_weights,
)
from understudy.train.probe_trunk import FEATURES, IR_VERSION, OPSET, PIXELS, Trunk
from understudy.train.probe_views import centre

ONE_SIGMA = 0.6827
"""Share of a normal distribution within one standard deviation of its mean."""
N_PROPORTIONS = 15
"""Of the input that callers give beside the crops; this probe does not read it."""
_TEMPERATURES = np.exp(np.linspace(np.log(0.25), np.log(8.0), 121))
OUTPUTS = {"numbers": len(NUMBERS), "scales": len(NUMBERS), "expression": N_EXPRESSIONS, "flags": len(FLAGS)}


@dataclass(frozen=True)
class Calibration:
    """What held-out heads say of the fit's own uncertainty."""

    scale_factors: tuple[float, ...]
    """Of each number's scale: 68 % of the errors of the calibration heads lie within one scale then."""
    temperatures: tuple[float, float, float]
    """Of the logits of the expression and of the two flags."""


def raw_outputs(matrix: ProbeMatrix, trunk: Trunk, bank: ProbeBank, settings: ProbeSettings) -> NDArray[np.float64]:
    """(N, 16) of the crops as they are: mean over each and its mirror image."""
    parts = []
    for start in range(0, len(bank.pixels), 64):
        seen = centre(as_tensor(bank.pixels[start : start + 64]), settings.crop_size, settings.augmentation)
        direct, mirrored = matrix(trunk(seen)), matrix(trunk(seen.flip(3)))
        mirrored[:, NUMBERS.index("yaw")] *= -1
        parts.append((direct + mirrored) / 2)
    return np.concatenate(parts)


def calibrate(outputs: NDArray[np.float64], bank: ProbeBank) -> Calibration:
    """Split-conformal factors of the scales, and temperatures of least negative log-likelihood.

    Lei et al. 2018, doi:10.1080/01621459.2017.1307116 (locally weighted), for the age with the weights of
    ``world_weights`` (Tibshirani et al. 2019, arXiv:1904.06019) and after its mean error was taken off, since its level
    is not that of the renders (see ``fit_probe``); Guo et al. 2017, arXiv:1706.04599.

    Parameters
    ----------
    outputs : (N, 16)
        Of the calibration heads, as ``raw_outputs`` gives them.
    bank : ProbeBank
    """
    means, log_scales, expression, flags = split_outputs(outputs)
    factors = []
    for i, name in enumerate(NUMBERS):
        known = np.isfinite(bank.numbers[:, i])
        error = means[known, i] - (bank.numbers[known, i] - CENTERS[i]) / SPREADS[i]
        weights = np.ones(len(error))
        if name == "age":
            weights = world_weights(bank.numbers[known, i], bank.head[known])
            error = error - np.average(error, weights=weights)
        factors.append(weighted_quantile(np.abs(error) / np.exp(log_scales[known, i]), weights, ONE_SIGMA))
    told = bank.expression >= 0
    temperatures = [_best_temperature(expression[told], bank.expression[told])]
    for i in range(len(FLAGS)):
        known = np.isfinite(bank.flags[:, i])
        logits = np.stack([np.zeros(known.sum()), flags[known, i]], axis=1)
        temperatures.append(_best_temperature(logits, (bank.flags[known, i] > 0.5).astype(np.int64)))
    return Calibration(tuple(factors), (temperatures[0], temperatures[1], temperatures[2]))


def weighted_quantile(values: NDArray[np.floating], weights: NDArray[np.floating], share: float) -> float:
    """The smallest value under or at which a share of all weight lies, one more value of mean weight counted.

    With equal weights, the value of rank ``share * (n + 1)``, rounded up; 1 where there are no values.
    """
    if not len(values):
        return 1.0
    order = np.argsort(values)
    below = np.cumsum(weights[order])
    wanted = share * (below[-1] + weights.mean())
    return float(values[order][min(int(np.searchsorted(below, wanted - 1e-9)), len(values) - 1)])


def _best_temperature(logits: NDArray[np.floating], codes: NDArray[np.int64]) -> float:
    """The temperature of least mean negative log-likelihood; 1 where nothing is known."""
    if not len(codes):
        return 1.0
    scaled = logits[None] / _TEMPERATURES[:, None, None]  # (T, N, K)
    log_sum = np.log(np.exp(scaled - scaled.max(axis=2, keepdims=True)).sum(axis=2)) + scaled.max(axis=2)
    likelihood = scaled[:, np.arange(len(codes)), codes] - log_sum
    return float(_TEMPERATURES[int(likelihood.mean(axis=1).argmax())])


def export_probe(
    matrix: ProbeMatrix, trunk: Trunk, calibration: Calibration, settings: ProbeSettings, path: Path
) -> None:
    """Write trunk and calibrated matrix as one ONNX file, checked by onnx.

    It maps crops (n, S, S, 3) uint8 to numbers (n, 5), scales (n, 5), expression (n, 4) and flags (n, 2).
    """
    weights, constants = _folded(matrix, calibration)
    factors = np.array(calibration.scale_factors) * SPREADS
    named = {"matrix": weights, "constants": constants, "factors": factors}
    named |= {"least": np.array(MIN_LOG_SCALE), "largest": np.array(MAX_LOG_SCALE)}
    held = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in named.items()]
    held.append(numpy_helper.from_array(np.array(list(OUTPUTS.values()), np.int64), "widths"))
    crops = helper.make_tensor_value_info("crops", TensorProto.UINT8, ["n", settings.crop_size, settings.crop_size, 3])
    unread = helper.make_tensor_value_info("proportions", TensorProto.FLOAT, ["n", N_PROPORTIONS])
    graph = helper.make_graph(
        [*_entrance(), *trunk.model.graph.node, *_head()],
        "probe",
        [crops, unread],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", width]) for name, width in OUTPUTS.items()],
        [*trunk.model.graph.initializer, *held],
    )
    model: ModelProto = helper.make_model(
        graph, producer_name="understudy", opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
    )
    onnx.checker.check_model(model, full_check=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(path))


def _folded(matrix: ProbeMatrix, calibration: Calibration) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Coefficients of the features themselves, of numbers in their own units and of logits at their temperature."""
    cool, flags = calibration.temperatures[0], calibration.temperatures[1:]
    gain = np.array(
        [*SPREADS, *(1.0 for _ in NUMBERS), *(1 / cool for _ in range(N_EXPRESSIONS)), *(1 / t for t in flags)]
    )
    offset = np.concatenate([CENTERS, np.zeros(len(gain) - len(CENTERS))])
    coefficients = matrix.coefficients / matrix.scale[:, None]
    constants = matrix.constants - matrix.shift @ coefficients
    return coefficients * gain, constants * gain + offset


def _entrance() -> list[NodeProto]:
    """Bytes with the colours last to float32 with the colours first."""
    return [
        helper.make_node("Cast", ["crops"], ["crops_float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["crops_float"], [PIXELS], perm=[0, 3, 1, 2]),
    ]


def _head() -> list[NodeProto]:
    """Features to the four outputs."""
    return [
        helper.make_node("MatMul", [FEATURES, "matrix"], ["product"]),
        helper.make_node("Add", ["product", "constants"], ["columns"]),
        helper.make_node("Split", ["columns", "widths"], ["numbers", "log_scales", "logits", "flag_logits"], axis=1),
        helper.make_node("Clip", ["log_scales", "least", "largest"], ["held_scales"]),
        helper.make_node("Exp", ["held_scales"], ["unit_scales"]),
        helper.make_node("Mul", ["unit_scales", "factors"], ["scales"]),
        helper.make_node("Softmax", ["logits"], ["expression"], axis=1),
        helper.make_node("Sigmoid", ["flag_logits"], ["flags"]),
    ]
