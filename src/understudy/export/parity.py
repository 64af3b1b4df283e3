"""How far two runtimes are apart on the same conditions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from understudy.types import Condition, Generated

Generate = Callable[[Sequence[Condition], Sequence[int]], list[Generated]]


@dataclass(frozen=True)
class Parity:
    """Differences of 8-bit values over all crops."""

    n_crops: int
    max_difference: int
    mean_difference: float


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
    return Parity(len(ours), int(difference.max()), float(difference.mean()))
