"""Train the attribute probe: a small network that reads perceived attributes off a face crop, on renders alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from numpy.typing import NDArray
from torch import Tensor, nn

from understudy.errors import InvalidInputError
from understudy.train.loop import Schedule, fit
from understudy.train.probe_views import Augmentation, vary

NUMBERS = ("age", "gender_expression", "ita", "yaw", "pitch")
"""Heads that estimate a number with its scale."""
CENTERS = (45.0, 0.5, 0.0, 0.0, 0.0)
SPREADS = (20.0, 0.4, 35.0, 35.0, 12.0)
"""Years, 0 to 1, and degrees: the network works on (value - center) / spread."""
FLAGS = ("glasses", "beard")
MIN_LOG_SCALE, MAX_LOG_SCALE = -3.0, 1.5


@dataclass(frozen=True)
class ProbeBank:
    """Crops and what is true of them, as a struct of arrays."""

    pixels: NDArray[np.uint8]  # (N, B, B, 3)
    numbers: NDArray[np.float32]  # (N, 5) in the order of NUMBERS; NaN = not known
    expression: NDArray[np.int64]  # (N,); -1 = not known
    flags: NDArray[np.float32]  # (N, 2) in the order of FLAGS; NaN = not known
    head: NDArray[np.int64]  # (N,) which head a crop shows

    def __post_init__(self) -> None:
        n = len(self.pixels)
        shapes: dict[str, tuple[NDArray[np.generic], tuple[int, ...]]] = {
            "numbers": (self.numbers, (n, len(NUMBERS))),
            "expression": (self.expression, (n,)),
            "flags": (self.flags, (n, len(FLAGS))),
            "head": (self.head, (n,)),
        }
        for name, (array, expected) in shapes.items():
            if array.shape != expected:
                raise InvalidInputError(f"{name} must have shape {expected}, got {array.shape}")

    def of_heads(self, heads: NDArray[np.int64]) -> ProbeBank:
        """The crops that show some of the heads."""
        rows = np.isin(self.head, heads)
        return ProbeBank(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


@dataclass(frozen=True)
class ProbeSettings:
    """What the network looks like, and how it learns."""

    crop_size: int = 64
    """Side of what the network sees, px."""
    context: float = 1.1
    """Side of the window over the longer side of the region that would be replaced."""
    widths: tuple[int, ...] = (20, 32, 64, 112)
    n_expressions: int = 4
    dropout: float = 0.2
    beta: float = 0.5
    """Of the beta-NLL, Seitzer et al. 2022, arXiv:2203.09168: how much a large scale still counts."""
    loss_weights: tuple[float, ...] = (1.0, 1.0, 1.0, 0.7, 0.5, 0.8, 0.4, 0.5)
    """Of the five numbers, the expression and the two flags."""
    shares: tuple[float, float] = (0.08, 0.12)
    """Of the heads: held out to calibrate, and held out to measure."""
    augmentation: Augmentation = field(default_factory=Augmentation)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width))
        self.second = nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        """Same shape."""
        return F.relu(x + self.second(F.relu(self.first(x))))


class ProbeNetwork(nn.Module):
    """Crops to readings: means and log scales of the numbers, logits of expression and flags.

    Parameters
    ----------
    widths : sequence of int
        Channels of each stage; each halves the resolution.
    """

    def __init__(self, widths: tuple[int, ...], n_expressions: int, dropout: float) -> None:
        super().__init__()
        stages: list[nn.Module] = []
        for i, (n_in, n_out) in enumerate(zip((3, *widths), widths, strict=False)):
            stages += [nn.Conv2d(n_in, n_out, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(n_out), nn.ReLU()]
            stages += [ResidualBlock(n_out)] if i else []
        self.stages = nn.Sequential(*stages)
        self.n_outputs = 2 * len(NUMBERS) + n_expressions + len(FLAGS)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(2 * widths[-1], self.n_outputs))

    def forward(self, pixels: Tensor) -> Tensor:
        """(N, 3, S, S) in [0, 1] to (N, n_outputs)."""
        x = self.stages((pixels - 0.45) / 0.25)  # (N, C, s, s)
        pooled = torch.cat([x.mean(dim=(2, 3)), x.amax(dim=(2, 3))], dim=1)
        return self.head(pooled)  # type: ignore[no-any-return]


def split_outputs(outputs: Tensor, n_expressions: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Means (N, 5), log scales (N, 5), expression logits (N, E), flag logits (N, 2)."""
    k = len(NUMBERS)
    means, scales, expression, flags = torch.split(outputs, [k, k, n_expressions, len(FLAGS)], dim=1)
    return means, scales.clamp(MIN_LOG_SCALE, MAX_LOG_SCALE), expression, flags


def probe_losses(
    outputs: Tensor, numbers: Tensor, expression: Tensor, flags: Tensor, settings: ProbeSettings
) -> dict[str, Tensor]:
    """Loss of each head and their weighted sum; what is not known counts for nothing."""
    means, log_scales, expression_logits, flag_logits = split_outputs(outputs, settings.n_expressions)
    targets = (numbers - numbers.new_tensor(CENTERS)) / numbers.new_tensor(SPREADS)
    known = torch.isfinite(targets)
    error = torch.where(known, targets, means) - means
    nll = 0.5 * error**2 * torch.exp(-2 * log_scales) + log_scales
    nll = nll * torch.exp(2 * settings.beta * log_scales).detach()
    values = {name: _mean(nll[:, i], known[:, i]) for i, name in enumerate(NUMBERS)}
    told = expression >= 0
    each = F.cross_entropy(expression_logits, expression.clamp(min=0), reduction="none", label_smoothing=0.05)
    values["expression"] = _mean(each, told)
    for i, name in enumerate(FLAGS):
        there = torch.isfinite(flags[:, i])
        target = torch.where(there, flags[:, i], torch.zeros_like(flags[:, i]))
        each = F.binary_cross_entropy_with_logits(flag_logits[:, i], target, reduction="none")
        values[name] = _mean(each, there)
    values["loss"] = sum(
        (w * v for w, v in zip(settings.loss_weights, values.values(), strict=True)), means.new_zeros(())
    )
    return values


def _mean(values: Tensor, known: Tensor) -> Tensor:
    return torch.where(known, values, torch.zeros_like(values)).sum() / known.sum().clamp(min=1)


def split_heads(
    head: NDArray[np.int64], shares: tuple[float, float], seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Heads to learn from, to calibrate on and to measure on; all views of a head are on one side."""
    heads = np.random.default_rng(seed).permutation(np.unique(head))
    first, second = (round(share * len(heads)) for share in shares)
    return heads[first + second :], heads[:first], heads[first : first + second]


def train_probe(
    bank: ProbeBank, work: Path, schedule: Schedule, settings: ProbeSettings, *, seed: int = 0
) -> ProbeNetwork:
    """Learn from a bank, or go on where ``work`` holds a checkpoint; the average of the weights is returned.

    Parameters
    ----------
    bank : ProbeBank
        Of the heads to learn from; its crops have the side ``augmentation.margin * crop_size``.
    work : Path
        Holds the checkpoint.
    """
    torch.manual_seed(seed)
    network = ProbeNetwork(settings.widths, settings.n_expressions, settings.dropout)
    network.to(memory_format=torch.channels_last)
    pixels = torch.from_numpy(bank.pixels).permute(0, 3, 1, 2)
    numbers, expression, flags = (torch.from_numpy(a) for a in (bank.numbers, bank.expression, bank.flags))
    of_head = torch.bincount(torch.from_numpy(np.unique(bank.head, return_inverse=True)[1]))
    weights = 1 / of_head[torch.from_numpy(np.unique(bank.head, return_inverse=True)[1])].float()

    def losses(net: nn.Module, n: int, random: torch.Generator) -> Mapping[str, Tensor]:
        rows = torch.multinomial(weights, n, replacement=True, generator=random)
        seen, mirrored = vary(pixels[rows].float() / 255, settings.crop_size, settings.augmentation, random)
        truth = numbers[rows].clone()
        yaw = NUMBERS.index("yaw")
        truth[:, yaw] = torch.where(mirrored, -truth[:, yaw], truth[:, yaw])
        outputs = net(seen.contiguous(memory_format=torch.channels_last))
        return probe_losses(outputs, truth, expression[rows], flags[rows], settings)

    kept = {"crop_size": settings.crop_size, "widths": list(settings.widths), "seed": seed}
    average = fit(network, losses, schedule, work, seed=seed, settings=kept, save_every=250)
    average.copy_to(network)
    return network.eval()
