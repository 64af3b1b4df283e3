"""How far graphs, and whole understudies, are apart: from torch, and between precisions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from understudy.errors import InvalidInputError
from understudy.types import Condition, Generated

Generate = Callable[[Sequence[Condition], Sequence[int]], list[Generated]]
Run = Callable[[Mapping[str, NDArray[Any]]], Sequence[NDArray[Any]]]
"""Inputs by name to outputs, in a fixed order."""

BATCHES = (1, 2, 5)
"""Batch sizes at which graphs are compared."""


@dataclass(frozen=True)
class Parity:
    """Differences of 8-bit values over all crops, and the peak signal-to-noise ratio under the masks."""

    n_crops: int
    max_difference: int
    mean_difference: float
    psnr_median_db: float = math.inf
    """Of the crops, under the mask, data range 255; infinite where they are the same."""
    psnr_min_db: float = math.inf


@dataclass(frozen=True)
class GraphParity:
    """Differences of a graph's outputs from a reference's, on the outputs' own scale."""

    against: str
    n_runs: int
    max_difference: float
    mean_difference: float
    largest_output: float
    """Largest absolute value of the reference: what the differences are to be seen against."""


def compare(first: Generate, second: Generate, conditions: Sequence[Condition], seeds: Sequence[int]) -> Parity:
    """Make the same crops twice and compare them.

    Parameters
    ----------
    first, second : callable
        Generators.
    conditions : sequence of Condition
    seeds : sequence of int
    """
    ours, theirs = first(conditions, seeds), second(conditions, seeds)
    difference = np.stack(
        [np.abs(a.pixels.astype(np.int16) - b.pixels.astype(np.int16)) for a, b in zip(ours, theirs, strict=True)]
    )
    ratios = [psnr_db(d[c.replace_mask]) for d, c in zip(difference, conditions, strict=True)]
    return Parity(
        len(ours), int(difference.max()), float(difference.mean()), float(np.median(ratios)), float(min(ratios))
    )


def psnr_db(difference: NDArray[np.number]) -> float:
    """10 log10(255^2 / mean squared difference), dB; infinite where there is no difference."""
    error = float(np.mean(np.square(difference, dtype=np.float64))) if difference.size else 0.0
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


def compare_graphs(run: Run, reference: Run, feeds: Sequence[Mapping[str, NDArray[Any]]], against: str) -> GraphParity:
    """Run a graph and its reference on the same inputs.

    Parameters
    ----------
    run, reference : callable
        Inputs by name to outputs in the same order.
    feeds : sequence of mappings
    against : str
        What the reference is, in words.
    """
    if not feeds:
        raise InvalidInputError("graphs are compared on at least one input")
    largest, total, n, scale = 0.0, 0.0, 0, 0.0
    for feed in feeds:
        for ours, theirs in zip(run(feed), reference(feed), strict=True):
            if ours.shape != theirs.shape:
                raise InvalidInputError(f"the graph gave {ours.shape}, {against} gave {theirs.shape}")
            difference = np.abs(ours.astype(np.float64) - theirs.astype(np.float64))
            largest = max(largest, float(difference.max()))
            scale = max(scale, float(np.abs(theirs).max()))
            total, n = total + float(difference.sum()), n + difference.size
    return GraphParity(against, len(feeds), largest, total / n, scale)


def random_feeds(
    shapes: Mapping[str, Sequence[int]], batches: Sequence[int] = BATCHES, seed: int = 0
) -> list[dict[str, NDArray[np.float32]]]:
    """Inputs of several batch sizes: standard normal numbers, and times in (0, 1).

    Parameters
    ----------
    shapes : mapping
        Shape of each input without the batch.
    """
    random = np.random.default_rng(seed)
    return [
        {
            name: (
                random.uniform(0.05, 1, n) if name == "time" else np.clip(random.standard_normal((n, *shape)), -3, 3)
            ).astype(np.float32)
            for name, shape in shapes.items()
        }
        for n in batches
    ]


def stack_feeds(feeds: Sequence[Mapping[str, NDArray[Any]]], batches: Sequence[int]) -> list[dict[str, NDArray[Any]]]:
    """Inputs with a batch of one, put together to batches of the given sizes, one after the other."""
    made, at = [], 0
    for n in batches:
        members = [feeds[i % len(feeds)] for i in range(at, at + n)]
        made.append({name: np.concatenate([member[name] for member in members]) for name in members[0]})
        at += n
    return made
