"""Calibrate a trained probe on held-out heads, measure it on others, and write it as one ONNX file."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from understudy.train.probe import (
    CENTERS,
    FLAGS,
    N_PROPORTIONS,
    NUMBERS,
    SPREADS,
    ProbeBank,
    ProbeNetwork,
    ProbeSettings,
    split_outputs,
)
from understudy.train.probe_views import centre

ONE_SIGMA = 0.6827
"""Share of a normal distribution within one standard deviation of its mean."""
_TEMPERATURES = np.exp(np.linspace(np.log(0.25), np.log(8.0), 121))
OUTPUTS = ("numbers", "scales", "expression", "flags")


@dataclass(frozen=True)
class Calibration:
    """What held-out heads say of the network's own uncertainty."""

    scale_factors: tuple[float, ...]
    """Of each number's scale: 68 % of the errors of the calibration heads lie within one scale then."""
    temperatures: tuple[float, float, float]
    """Of the logits of the expression and of the two flags."""


def raw_outputs(network: ProbeNetwork, bank: ProbeBank, settings: ProbeSettings) -> Tensor:
    """(N, n_outputs) of the crops as they are: mean over each and its mirror image."""
    parts = []
    yaw = NUMBERS.index("yaw")
    with torch.no_grad():
        for start in range(0, len(bank.pixels), 64):
            pixels = torch.from_numpy(bank.pixels[start : start + 64]).permute(0, 3, 1, 2).float() / 255
            seen = centre(pixels, settings.crop_size, settings.augmentation)
            shape = torch.from_numpy(bank.proportions[start : start + 64])
            direct, mirrored = network(seen, shape), network(seen.flip(3), shape)
            mirrored[:, yaw] *= -1
            parts.append((direct + mirrored) / 2)
    return torch.cat(parts)


def calibrate(outputs: Tensor, bank: ProbeBank, settings: ProbeSettings) -> Calibration:
    """Split-conformal factors of the scales, and temperatures of least negative log-likelihood.

    Lei et al. 2018, doi:10.1080/01621459.2017.1307116 (locally weighted); Guo et al. 2017, arXiv:1706.04599.

    Parameters
    ----------
    outputs : (N, n_outputs)
        Of the calibration heads, as ``raw_outputs`` gives them.
    """
    means, log_scales, expression, flags = split_outputs(outputs, settings.n_expressions)
    factors = []
    for i in range(len(NUMBERS)):
        known = np.isfinite(bank.numbers[:, i])
        error = np.abs((bank.numbers[known, i] - CENTERS[i]) / SPREADS[i] - means[:, i].numpy()[known])
        factors.append(_quantile(error / np.exp(log_scales[:, i].numpy()[known]), ONE_SIGMA))
    told = bank.expression >= 0
    temperatures = [_best_temperature(expression.numpy()[told], bank.expression[told])]
    for i in range(len(FLAGS)):
        known = np.isfinite(bank.flags[:, i])
        logits = np.stack([np.zeros(known.sum()), flags[:, i].numpy()[known]], axis=1)
        temperatures.append(_best_temperature(logits, (bank.flags[known, i] > 0.5).astype(np.int64)))
    return Calibration(tuple(factors), (temperatures[0], temperatures[1], temperatures[2]))


def _quantile(values: NDArray[np.floating], share: float) -> float:
    """The smallest value under or at which at least ``share`` of n + 1 would lie; 1 where there are none."""
    if not len(values):
        return 1.0
    rank = min(int(np.ceil(share * (len(values) + 1))), len(values))
    return float(np.sort(values)[rank - 1])


def _best_temperature(logits: NDArray[np.floating], codes: NDArray[np.int64]) -> float:
    """The temperature of least mean negative log-likelihood; 1 where nothing is known."""
    if not len(codes):
        return 1.0
    scaled = logits[None] / _TEMPERATURES[:, None, None]  # (T, N, K)
    log_sum = np.log(np.exp(scaled - scaled.max(axis=2, keepdims=True)).sum(axis=2)) + scaled.max(axis=2)
    likelihood = scaled[:, np.arange(len(codes)), codes] - log_sum
    return float(_TEMPERATURES[int(likelihood.mean(axis=1).argmax())])


class CalibratedProbe(nn.Module):
    """uint8 crops to numbers and scales in their units, and probabilities."""

    def __init__(self, network: ProbeNetwork, calibration: Calibration, settings: ProbeSettings) -> None:
        super().__init__()
        self.network = network
        self.n_expressions = settings.n_expressions
        self.centers: Tensor
        self.spreads: Tensor
        self.factors: Tensor
        self.temperatures: Tensor
        self.register_buffer("centers", torch.tensor(CENTERS))
        self.register_buffer("spreads", torch.tensor(SPREADS))
        self.register_buffer("factors", torch.tensor(calibration.scale_factors) * torch.tensor(SPREADS))
        self.register_buffer("temperatures", torch.tensor(calibration.temperatures))

    def forward(self, crops: Tensor, proportions: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(N, S, S, 3) uint8 and (N, 15) to numbers (N, 5), scales (N, 5), expression (N, E) and flags (N, 2)."""
        outputs = self.network(crops.permute(0, 3, 1, 2).float() / 255, proportions)
        means, log_scales, expression, flags = split_outputs(outputs, self.n_expressions)
        return (
            means * self.spreads + self.centers,
            torch.exp(log_scales) * self.factors,
            torch.softmax(expression / self.temperatures[0], dim=1),
            torch.sigmoid(flags / self.temperatures[1:]),
        )


def export_probe(network: ProbeNetwork, calibration: Calibration, settings: ProbeSettings, path: Path) -> None:
    """Write the calibrated probe as one ONNX file, checked by onnx."""
    model = CalibratedProbe(network, calibration, settings).eval()
    crops = torch.zeros(2, settings.crop_size, settings.crop_size, 3, dtype=torch.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns about its own internals
        torch.onnx.export(
            model,
            (crops, torch.zeros(2, N_PROPORTIONS)),
            str(path),
            input_names=["crops", "proportions"],
            output_names=list(OUTPUTS),
            dynamic_axes={name: {0: "n"} for name in ("crops", "proportions", *OUTPUTS)},
            opset_version=17,
            dynamo=False,
        )
    onnx.checker.check_model(str(path), full_check=True)
