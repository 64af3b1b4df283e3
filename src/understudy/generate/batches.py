"""Calling a generator with a micro-batch of constant size, and what is done where that fails."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from understudy.errors import GenerationError, MemoryLimitError, UnderstudyError, is_out_of_memory
from understudy.generate.base import Generator
from understudy.types import Condition, Generated


@dataclass(frozen=True)
class Made:
    """What came of one condition."""

    result: Generated | UnderstudyError
    batch_size: int
    """Of the call that it came from: less than the generator's own where memory did not suffice for that."""


def generate(
    generator: Generator, conditions: Sequence[Condition], seeds: Sequence[int], batch_size: int | None = None
) -> list[Made]:
    """Generate for at most ``generator.batch_size`` conditions; the failure of one is its value.

    The call is padded to the generator's batch size, so that a result does not depend on who shares the call. Where it
    fails, its members are halved until the one that makes it fail is alone, in calls of the same size: all others come
    out as they would without it. One that runs out of memory even so is given smaller calls, down to a size of one.

    Parameters
    ----------
    generator : Generator
    conditions, seeds : one entry for each region
    batch_size : int, optional
        Size of the call in place of the generator's own.
    """
    size = generator.batch_size if batch_size is None else batch_size
    pad = size - len(conditions)
    error = ""
    try:
        made = generator([*conditions, *[conditions[-1]] * pad], [*seeds, *[seeds[-1]] * pad])
        if len(made) == size:
            return [Made(one, size) for one in made[: len(conditions)]]
        starved = False
        error = f"{generator.name} returned {len(made)} results for {size} conditions"
    except Exception as raised:  # noqa: BLE001 - whatever it is ends in the next rung, never in the original
        starved = is_out_of_memory(raised)
        error = f"{generator.name} failed: {type(raised).__name__}: {raised}"
    # only here, where the failed call's arrays are no longer held by its traceback
    if starved:
        _free()
    if len(conditions) > 1:
        half = len(conditions) // 2
        return [
            *generate(generator, conditions[:half], seeds[:half], size),
            *generate(generator, conditions[half:], seeds[half:], size),
        ]
    if starved and size > 1:
        return generate(generator, conditions, seeds, size // 2)
    if starved:
        return [Made(MemoryLimitError(f"out of memory for one region, in a batch of one: {error}"), size)]
    return [Made(GenerationError(error), size)]


def _free() -> None:
    """Give memory back that nobody holds."""
    gc.collect()
    if (torch := sys.modules.get("torch")) is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
