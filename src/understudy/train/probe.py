"""Fit the attribute probe: ridge regression on inner layers of a face detector, on renders alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from understudy.errors import InvalidInputError
from understudy.train.probe_trunk import Trunk
from understudy.train.probe_views import Augmentation, centre, vary

NUMBERS = ("age", "gender_expression", "ita", "yaw", "pitch")
"""What is estimated as a number with its scale."""
CENTERS = (45.0, 0.5, 0.0, 0.0, 0.0)
SPREADS = (20.0, 0.4, 35.0, 35.0, 12.0)
"""Years, 0 to 1, and degrees: what is fitted is (value - center) / spread."""
FLAGS = ("glasses", "beard")
N_EXPRESSIONS = 4
MIN_LOG_SCALE, MAX_LOG_SCALE = -3.0, 1.5
WORLD_AGE_CUTS = (13.0, 18.0, 30.0, 45.0, 60.0)
WORLD_AGE_SHARES = (0.21, 0.08, 0.18, 0.21, 0.17, 0.15)
"""Shares of the world's people between those years, about: United Nations, World Population Prospects 2024."""
_CHUNK = 64


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
    """What the probe sees, and how strongly it is held back."""

    crop_size: int = 128
    """Side of what the probe sees, px."""
    context: float = 0.95
    """Side of the window over the longer side of the region that would be replaced."""
    layers: Mapping[str, int] = field(default_factory=lambda: {"401": 8, "448": 8})
    """Values of CenterFace's graph, at an eighth and a sixteenth of the crop's side, and into how many cells a side."""
    n_views: int = 2
    """Varied views of each crop, beside the one that is not varied."""
    ridge: Mapping[str, float] = field(
        default_factory=lambda: {
            "age": 0.2,
            "gender_expression": 5.0,
            "ita": 1.0,
            "yaw": 0.1,
            "pitch": 0.1,
            "expression": 0.5,
            "glasses": 0.5,
            "beard": 0.5,
            "scale": 10.0,
        }
    )
    """Strength of each ridge, over the mean eigenvalue of the kernel."""
    n_folds: int = 4
    shares: tuple[float, float] = (0.08, 0.12)
    """Of the heads: held out to calibrate, and held out to measure."""
    augmentation: Augmentation = field(default_factory=Augmentation)


@dataclass(frozen=True)
class ProbeMatrix:
    """Features to outputs: standardised features times coefficients.

    Outputs are means and log scales of the numbers, then logits of expression and flags.
    """

    shift: NDArray[np.float32]  # (F,)
    scale: NDArray[np.float32]  # (F,)
    coefficients: NDArray[np.float64]  # (F, 16)
    constants: NDArray[np.float64]  # (16,)

    def __call__(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """(N, F) to (N, 16)."""
        return np.asarray((features - self.shift) / self.scale, np.float64) @ self.coefficients + self.constants


Line = tuple[NDArray[np.float32], float]
"""Coefficients (F,) and a constant."""
Outputs = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


def split_outputs(outputs: NDArray[np.float64]) -> Outputs:
    """Means (N, 5), log scales (N, 5), expression logits (N, 4), flag logits (N, 2)."""
    k = len(NUMBERS)
    means, scales, expression, flags = np.split(outputs, np.cumsum([k, k, N_EXPRESSIONS]), axis=1)
    return means, scales.clip(MIN_LOG_SCALE, MAX_LOG_SCALE), expression, flags


def split_heads(
    head: NDArray[np.int64], shares: tuple[float, float], seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Heads to learn from, to calibrate on and to measure on; all views of a head are on one side."""
    heads = np.random.default_rng(seed).permutation(np.unique(head))
    first, second = (round(share * len(heads)) for share in shares)
    return heads[first + second :], heads[:first], heads[first : first + second]


def world_weights(age: NDArray[np.floating], head: NDArray[np.int64]) -> NDArray[np.float64]:
    """Weights (N,) under which heads are as old as the world's people, each head with all its crops; NaN weighs 0."""
    heads, first, of = np.unique(head, return_index=True, return_inverse=True)
    years = age[first]
    band = np.where(np.isfinite(years), np.digitize(years, WORLD_AGE_CUTS), len(WORLD_AGE_SHARES))
    counts = np.bincount(band, minlength=len(WORLD_AGE_SHARES) + 1)
    of_band = np.append(WORLD_AGE_SHARES, 0.0) / np.maximum(counts, 1)
    return np.asarray((of_band[band] * len(heads) / np.bincount(of))[of], np.float64)


@dataclass(frozen=True)
class Views:
    """Features of varied views, and the truth of each."""

    features: NDArray[np.float32]  # (M, F)
    sizes: tuple[int, ...]
    """Number of features of each layer, F in all."""
    targets: dict[str, NDArray[np.float64]]
    """(M,) each; NaN = not known."""
    head: NDArray[np.int64]  # (M,)


def varied_views(bank: ProbeBank, trunk: Trunk, settings: ProbeSettings, *, seed: int) -> Views:
    """Features of every crop as it is and of ``n_views`` varied views of it."""
    random = torch.Generator().manual_seed(seed)
    features, mirrored = [], []
    for k in range(settings.n_views + 1):
        for start in range(0, len(bank.pixels), _CHUNK):
            pixels = as_tensor(bank.pixels[start : start + _CHUNK])
            if k == 0:
                seen, flipped = centre(pixels, settings.crop_size, settings.augmentation), torch.zeros(len(pixels)) > 0
            else:
                seen, flipped = vary(pixels, settings.crop_size, settings.augmentation, random)
            features.append(trunk(seen))
            mirrored.append(flipped.numpy())
    sign = np.where(np.concatenate(mirrored), -1.0, 1.0)
    times = settings.n_views + 1
    numbers = np.tile((bank.numbers - np.array(CENTERS)) / np.array(SPREADS), (times, 1))
    targets = {name: numbers[:, i] * (sign if name == "yaw" else 1.0) for i, name in enumerate(NUMBERS)}
    codes = np.tile(bank.expression, times)
    for code in range(N_EXPRESSIONS):
        targets[f"expression_{code}"] = np.where(codes < 0, np.nan, codes == code)
    targets |= {name: np.tile(bank.flags[:, i], times).astype(np.float64) for i, name in enumerate(FLAGS)}
    return Views(np.concatenate(features), trunk.sizes, targets, np.tile(bank.head, times))


def as_tensor(crops: NDArray[np.uint8]) -> torch.Tensor:
    """(N, B, B, 3) bytes as (N, 3, B, B) in [0, 1]."""
    return torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 255


class Ridge:
    """Weighted ridge regression in the dual (as many unknowns as rows), for any number of targets and strengths.

    Parameters
    ----------
    features : (M, F)
    weights : (M,)
        Any scale; rows of weight 0 take no part.
    free_constant : bool
        Whether the constant is fitted. Otherwise it is the targets' weighted mean, which features of 0 then get.
    """

    def __init__(
        self, features: NDArray[np.float32], weights: NDArray[np.float64], *, free_constant: bool = True
    ) -> None:
        self._weights = weights / weights.mean()
        self._rows = features * np.sqrt(self._weights).astype(np.float32)[:, None]
        self._kernel = np.asarray(self._rows @ self._rows.T, np.float64)
        self._free_constant = free_constant

    def solve(self, target: NDArray[np.float64], strength: float, left_out: NDArray[np.bool_] | None = None) -> Line:
        """Coefficients and constant for a target (M,), whose unknown values count as average ones.

        ``left_out`` (M,): rows that take no part.
        """
        rows = np.ones(len(target), np.bool_) if left_out is None else ~left_out
        weights, seen = self._weights[rows], target[rows]
        known = np.isfinite(seen)
        mean = float(np.average(seen[known], weights=weights[known]))
        roots = np.sqrt(weights)
        kernel = self._kernel[np.ix_(rows, rows)]
        system = kernel + strength * kernel.trace() / len(kernel) * np.eye(len(kernel))
        pull = roots * np.where(known, seen - mean, 0.0)
        if self._free_constant:  # one more unknown, which is not held back
            system = np.block([[system, roots[:, None]], [roots[None], np.zeros((1, 1))]])
            pull = np.append(pull, 0.0)
        dual = np.linalg.solve(system, pull)
        offset = float(dual[-1]) if self._free_constant else 0.0
        return self._rows[rows].T @ dual[: len(roots)].astype(np.float32), mean + offset


def fit_probe(views: Views, settings: ProbeSettings) -> ProbeMatrix:
    """Ridge regression of every output; scales from the logarithm of what is wrong with heads that were left out.

    Every head counts once, whatever its number of crops. For the age, heads count as ``world_weights`` says, and a face
    that is average among the renders gets the mean age of the world's people: photographs, which are like no render,
    come out near there otherwise, but at the renders' age. What is wrong is taken after its mean was taken off.
    """
    shift, scale = _standards(views)
    features = (views.features - shift) / scale
    share = 1 / np.bincount(views.head)[views.head]
    once = Ridge(features, share)
    by_world = world_weights(views.targets["age"] * SPREADS[0] + CENTERS[0], views.head)
    ages = Ridge(features, by_world, free_constant=False)
    means, scales, logits = [], [], []
    for name, target in views.targets.items():
        ridge, weights = (ages, by_world) if name == "age" else (once, share)
        strength = settings.ridge["expression" if name.startswith("expression") else name]
        line = ridge.solve(target, strength)
        if name not in NUMBERS:
            logits.append((6 * line[0], 6 * (line[1] - 0.5)))  # calibration finds the right slope
            continue
        means.append(line)
        wrong = _left_out_errors(ridge, features, target, views.head % settings.n_folds, strength)
        known = np.isfinite(wrong)
        size = np.log(np.abs(wrong - np.average(wrong[known], weights=weights[known])) + 0.02)
        scales.append(once.solve(size + 0.635, settings.ridge["scale"]))  # the mean of log |normal| is -0.635
    columns = means + scales + logits
    coefficients = np.stack([c[0] for c in columns], axis=1).astype(np.float64)
    return ProbeMatrix(shift, scale, coefficients, np.array([c[1] for c in columns], np.float64))


def _left_out_errors(
    ridge: Ridge,
    features: NDArray[np.float32],
    target: NDArray[np.float64],
    fold: NDArray[np.int64],
    strength: float,
) -> NDArray[np.float64]:
    """What is estimated of each row by a fit without its fold, less what is true."""
    wrong = np.full(len(target), np.nan)
    for k in np.unique(fold):
        coefficients, constant = ridge.solve(target, strength, left_out=fold == k)
        wrong[fold == k] = features[fold == k] @ coefficients + constant - target[fold == k]
    return wrong


def _standards(views: Views) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What is taken off each feature, and by what it is divided: every layer has the same variance in all then."""
    shift, scale = views.features.mean(axis=0), views.features.std(axis=0)
    parts = np.split(scale, np.cumsum(views.sizes)[:-1])
    held = [np.maximum(part, 0.1 * part.mean()) * np.sqrt(len(part) * len(parts)) for part in parts]
    return shift, np.concatenate(held).astype(np.float32)
