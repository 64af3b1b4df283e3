"""Fit the attribute probe: ridge regression on oriented gradients, colours and proportions, on renders alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from numpy.typing import NDArray
from torch import Tensor, nn

from understudy.errors import InvalidInputError
from understudy.train.probe_views import Augmentation, centre, vary

NUMBERS = ("age", "gender_expression", "ita", "yaw", "pitch")
"""Heads that estimate a number with its scale."""
CENTERS = (45.0, 0.5, 0.0, 0.0, 0.0)
SPREADS = (20.0, 0.4, 35.0, 35.0, 12.0)
"""Years, 0 to 1, and degrees: the network works on (value - center) / spread."""
FLAGS = ("glasses", "beard")
N_PROPORTIONS = 15
MIN_LOG_SCALE, MAX_LOG_SCALE = -3.0, 1.5
N_DIRECTIONS, CELL_PX = 8, 8
_CHUNK = 64


@dataclass(frozen=True)
class ProbeBank:
    """Crops and what is true of them, as a struct of arrays."""

    pixels: NDArray[np.uint8]  # (N, B, B, 3)
    proportions: NDArray[np.float32]  # (N, 15); NaN = no keypoints
    numbers: NDArray[np.float32]  # (N, 5) in the order of NUMBERS; NaN = not known
    expression: NDArray[np.int64]  # (N,); -1 = not known
    flags: NDArray[np.float32]  # (N, 2) in the order of FLAGS; NaN = not known
    head: NDArray[np.int64]  # (N,) which head a crop shows

    def __post_init__(self) -> None:
        n = len(self.pixels)
        shapes: dict[str, tuple[NDArray[np.generic], tuple[int, ...]]] = {
            "proportions": (self.proportions, (n, N_PROPORTIONS)),
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
    """What the network sees, and how strongly it is held back."""

    crop_size: int = 64
    """Side of what the network sees, px."""
    context: float = 1.1
    """Side of the window over the longer side of the region that would be replaced."""
    n_views: int = 2
    """Varied views of each crop, beside the one that is not varied."""
    n_expressions: int = 4
    ridge: Mapping[str, float] = field(
        default_factory=lambda: {
            "age": 0.3,
            "gender_expression": 10.0,
            "ita": 0.3,
            "yaw": 0.1,
            "pitch": 0.1,
            "expression": 0.3,
            "glasses": 0.3,
            "beard": 0.3,
            "scale": 30.0,
        }
    )
    """Strength of each ridge, over the mean eigenvalue of the features' second moments."""
    block_weights: tuple[float, float, float] = (1.0, 0.1, 0.03)
    """Variance that gradients, colours and proportions have before the ridge."""
    n_folds: int = 4
    shares: tuple[float, float] = (0.08, 0.12)
    """Of the heads: held out to calibrate, and held out to measure."""
    augmentation: Augmentation = field(default_factory=Augmentation)


def gradient_features(pixels: Tensor) -> Tensor:
    """Oriented gradients in overlapping cells, each over the gradients around it, at two sizes.

    After Dalal and Triggs 2005, doi:10.1109/CVPR.2005.177.

    Parameters
    ----------
    pixels : (N, 3, S, S) in [0, 1]
    """
    grey = (pixels * pixels.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)
    angles = torch.arange(N_DIRECTIONS) * (2 * math.pi / N_DIRECTIONS)
    cosines, sines = torch.cos(angles).view(1, -1, 1, 1), torch.sin(angles).view(1, -1, 1, 1)
    parts = []
    for plane in (grey, F.avg_pool2d(grey, 2)):
        wide, tall = (F.pad(plane, pad, mode="replicate") for pad in ((1, 1, 0, 0), (0, 0, 1, 1)))
        across, down = wide[..., 2:] - wide[..., :-2], tall[..., 2:, :] - tall[..., :-2, :]
        power = F.relu(across * cosines + down * sines) ** 2  # (N, 8, s, s)
        cells = F.avg_pool2d(power, CELL_PX, CELL_PX // 2)
        around = F.avg_pool2d(
            power.sum(dim=1, keepdim=True), 3 * CELL_PX, CELL_PX // 2, padding=CELL_PX, count_include_pad=False
        )
        side = cells.shape[-1]
        parts.append(torch.sqrt(cells / (around[..., :side, :side] + 2e-4) + 1e-6).flatten(1))
    return torch.cat(parts, dim=1)


def colour_features(pixels: Tensor) -> Tensor:
    """Chroma and lightness of cells, also against the whole crop's lightness."""
    cells = F.avg_pool2d(pixels, CELL_PX)
    light = cells.mean(dim=1, keepdim=True)
    whole = light.mean(dim=(2, 3), keepdim=True)
    return torch.cat([(cells - light) / (light + 0.05), (light - whole) / (whole + 0.1), light], dim=1).flatten(1)


def proportion_features(proportions: Tensor) -> Tensor:
    """What a mirror does not change: distance of eyes, width of mouth, place of nose, forehead, chin, box; NaN kept."""
    x, y = proportions[:, 0:10:2], proportions[:, 1:10:2]
    own = torch.stack([x[:, 1] - x[:, 0], x[:, 4] - x[:, 3], x[:, 2].abs(), y[:, 2]], dim=1)
    return torch.cat([own, proportions[:, 10:]], dim=1).clamp(-4, 6)


class ProbeNetwork(nn.Module):
    """Crops and proportions to outputs: standardised features times coefficients.

    Outputs are means and log scales of the numbers, then logits of expression and flags.

    Parameters
    ----------
    shift, scale : (n_features,)
    coefficients : (n_features, n_outputs)
    constants : (n_outputs,)
    """

    def __init__(self, shift: Tensor, scale: Tensor, coefficients: Tensor, constants: Tensor) -> None:
        super().__init__()
        self.shift: Tensor
        self.scale: Tensor
        self.coefficients: Tensor
        self.constants: Tensor
        for name, value in (
            ("shift", shift),
            ("scale", scale),
            ("coefficients", coefficients),
            ("constants", constants),
        ):
            self.register_buffer(name, value.float())

    def forward(self, pixels: Tensor, proportions: Tensor) -> Tensor:
        """(N, 3, S, S) in [0, 1] and (N, 15) to (N, n_outputs); absent proportions count as average ones."""
        return self.standardised(pixels, proportions) @ self.coefficients + self.constants

    def standardised(self, pixels: Tensor, proportions: Tensor) -> Tensor:
        """(N, n_features)."""
        value = (all_features(pixels, proportions) - self.shift) / self.scale
        return torch.where(torch.isnan(value), torch.zeros_like(value), value)


def all_features(pixels: Tensor, proportions: Tensor) -> Tensor:
    """(N, n_features), the proportions last; NaN where there are no keypoints."""
    return torch.cat([gradient_features(pixels), colour_features(pixels), proportion_features(proportions)], dim=1)


def split_outputs(outputs: Tensor, n_expressions: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Means (N, 5), log scales (N, 5), expression logits (N, E), flag logits (N, 2)."""
    k = len(NUMBERS)
    means, scales, expression, flags = torch.split(outputs, [k, k, n_expressions, len(FLAGS)], dim=1)
    return means, scales.clamp(MIN_LOG_SCALE, MAX_LOG_SCALE), expression, flags


def split_heads(
    head: NDArray[np.int64], shares: tuple[float, float], seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Heads to learn from, to calibrate on and to measure on; all views of a head are on one side."""
    heads = np.random.default_rng(seed).permutation(np.unique(head))
    first, second = (round(share * len(heads)) for share in shares)
    return heads[first + second :], heads[:first], heads[first : first + second]


@dataclass(frozen=True)
class Views:
    """Features of varied views, and the truth of each."""

    features: NDArray[np.float32]  # (M, n_features), NaN where there are no keypoints
    targets: dict[str, NDArray[np.float64]]
    """(M,) each; NaN = not known."""
    head: NDArray[np.int64]  # (M,)


def varied_views(bank: ProbeBank, settings: ProbeSettings, *, seed: int) -> Views:
    """Features of every crop as it is and of ``n_views`` varied views of it."""
    random = torch.Generator().manual_seed(seed)
    features, mirrored = [], []
    for k in range(settings.n_views + 1):
        for start in range(0, len(bank.pixels), _CHUNK):
            rows = slice(start, start + _CHUNK)
            pixels = torch.from_numpy(bank.pixels[rows]).permute(0, 3, 1, 2).float() / 255
            shape = torch.from_numpy(bank.proportions[rows])
            if k == 0:
                seen, flipped = centre(pixels, settings.crop_size, settings.augmentation), torch.zeros(len(pixels)) > 0
            else:
                seen, flipped = vary(pixels, settings.crop_size, settings.augmentation, random)
                shape = shape + 0.03 * torch.randn(shape.shape, generator=random)
            features.append(all_features(seen, shape).numpy())
            mirrored.append(flipped.numpy())
    sign = np.where(np.concatenate(mirrored), -1.0, 1.0)
    times = settings.n_views + 1
    numbers = np.tile((bank.numbers - np.array(CENTERS)) / np.array(SPREADS), (times, 1))
    targets = {name: numbers[:, i] * (sign if name == "yaw" else 1.0) for i, name in enumerate(NUMBERS)}
    codes = np.tile(bank.expression, times)
    for code in range(settings.n_expressions):
        targets[f"expression_{code}"] = np.where(codes < 0, np.nan, codes == code)
    targets |= {name: np.tile(bank.flags[:, i], times).astype(np.float64) for i, name in enumerate(FLAGS)}
    return Views(np.concatenate(features), targets, np.tile(bank.head, times))


def fit_probe(views: Views, settings: ProbeSettings) -> ProbeNetwork:
    """Ridge regression of every output; scales from the logarithm of what is wrong with heads that were left out.

    Every head counts once, whatever its number of crops.
    """
    shift = np.nanmean(views.features, axis=0)
    scale = np.nanstd(views.features, axis=0)
    scale = np.maximum(scale, 0.1 * np.nanmean(scale)) / np.sqrt(_block_variances(views.features.shape[1], settings))
    features = np.nan_to_num((views.features - shift) / scale).astype(np.float32)
    share = 1 / np.bincount(views.head)[views.head]
    fold = views.head % settings.n_folds
    moments = [_moments(features[fold == k], share[fold == k]) for k in range(settings.n_folds)]
    total = sum(moments[1:], moments[0])
    numbers, logits = [], []
    for name, target in views.targets.items():
        strength = settings.ridge[name.partition("_")[0] if name.startswith("expression") else name]
        solution = _solve(total, features, target, share, strength)
        if name not in NUMBERS:
            logits.append(_as_logits(solution))
            continue
        wrong = np.full(len(target), np.nan)
        for k in range(settings.n_folds):
            rest = fold != k
            part = _solve(total - moments[k], features[rest], target[rest], share[rest], strength)
            wrong[~rest] = features[~rest] @ part[0] + part[1] - target[~rest]
        size = np.log(np.abs(wrong) + 0.02) + 0.635  # the mean of log |z| of a standard normal z is -0.635
        numbers.append((solution, _solve(total, features, size, share, settings.ridge["scale"])))
    columns = [n[0] for n in numbers] + [n[1] for n in numbers] + logits
    coefficients = torch.from_numpy(np.stack([c[0] for c in columns], axis=1))
    constants = torch.tensor([c[1] for c in columns])
    return ProbeNetwork(torch.from_numpy(shift), torch.from_numpy(scale), coefficients, constants)


def _block_variances(n_features: int, settings: ProbeSettings) -> NDArray[np.float64]:
    """Variance of each feature, so that every block has its weight in all."""
    n_colours = 5 * (settings.crop_size // CELL_PX) ** 2
    sizes = (n_features - n_colours - 9, n_colours, 9)
    return np.concatenate([np.full(n, w / n) for n, w in zip(sizes, settings.block_weights, strict=True)])


def _moments(features: NDArray[np.float32], share: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray((features * share[:, None].astype(np.float32)).T @ features, np.float64)


def _solve(
    moments: NDArray[np.float64],
    features: NDArray[np.float32],
    target: NDArray[np.float64],
    share: NDArray[np.float64],
    strength: float,
) -> tuple[NDArray[np.float64], float]:
    """Coefficients and constant; rows whose target is not known count as average ones."""
    known = np.isfinite(target)
    mean = float(np.average(target[known], weights=share[known]))
    pull = features.T @ (share * np.where(known, target - mean, 0.0)).astype(np.float32)
    held = moments + strength * np.trace(moments) / len(moments) * np.eye(len(moments))
    return np.linalg.solve(held, pull), mean


def _as_logits(solution: tuple[NDArray[np.float64], float]) -> tuple[NDArray[np.float64], float]:
    """A share p as 6 (p - 1/2); calibration finds the right slope."""
    return 6 * solution[0], 6 * (solution[1] - 0.5)
