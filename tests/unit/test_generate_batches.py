"""A generator that fails in a micro-batch: who makes it fail is found, and all others come out as they would have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from understudy.errors import GenerationError, MemoryLimitError, is_out_of_memory
from understudy.generate.batches import generate
from understudy.types import Condition, Crop, Generated, OutcomeKind


@dataclass
class Starving:
    """Runs out of memory in calls of more than ``most`` conditions, and with every one whose seed is in ``bad``."""

    most: int = 8
    bad: frozenset[int] = frozenset()
    error: type[Exception] = MemoryError
    calls: list[list[int]] = field(default_factory=list)
    name: str = "starving"
    crop_size: int = 8
    batch_size: int = 8
    min_face_px: float = 1.0
    outcome: OutcomeKind = OutcomeKind.REPLACED

    def __call__(self, conditions: Sequence[Condition], seeds: Sequence[int]) -> list[Generated]:
        self.calls.append(list(seeds))
        if len(seeds) > self.most or self.bad & set(seeds):
            raise self.error("planted")
        # as a network whose last bits depend on the shape of its input
        return [Generated(np.full((8, 8, 3), seed + len(seeds), np.uint8), seed, 1) for seed in seeds]

    def digests(self) -> Mapping[str, str]:
        return {}


def conditions(n: int) -> list[Condition]:
    crop = Crop(np.zeros((8, 8, 3), np.uint8), np.ones((8, 8), bool), np.eye(3)[:2])
    return [Condition(crop)] * n


def values(made: Sequence[object]) -> list[object]:
    return [
        int(one.result.pixels[0, 0, 0]) if isinstance(one.result, Generated) else type(one.result)  # type: ignore[attr-defined]
        for one in made
    ]


def test_one_that_runs_out_of_memory_is_found_by_halving_and_the_others_keep_the_shape_of_their_call() -> None:
    generator = Starving(bad=frozenset({5}))
    made = generate(generator, conditions(8), list(range(8)))
    assert values(made) == [8, 9, 10, 11, 12, MemoryLimitError, 14, 15]
    assert {one.batch_size for k, one in enumerate(made) if k != 5} == {8}
    # 8, its halves, the halves of the second, the two of its first: then the one alone, in calls of 8, 4, 2 and 1
    assert [len(set(seeds)) for seeds in generator.calls] == [8, 4, 4, 2, 1, 1, 1, 1, 1, 2]
    assert [len(seeds) for seeds in generator.calls] == [8, 8, 8, 8, 8, 8, 4, 2, 1, 8]


def test_where_memory_suffices_for_smaller_calls_only_they_are_made_and_their_size_is_told() -> None:
    made = generate(Starving(most=2), conditions(3), [1, 2, 3])
    assert values(made) == [3, 4, 5]
    assert [one.batch_size for one in made] == [2, 2, 2]


def test_an_error_that_is_not_about_memory_is_no_reason_for_smaller_calls() -> None:
    generator = Starving(bad=frozenset({1}), error=ZeroDivisionError)
    made = generate(generator, conditions(2), [0, 1])
    assert values(made) == [8, GenerationError]
    assert {len(seeds) for seeds in generator.calls} == {8}


class OutOfMemoryError(RuntimeError):
    """Named as torch's."""


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OutOfMemoryError("CUDA"),
        RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB (GPU 0)"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory: you tried to"),
        RuntimeError(
            "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Failed to allocate memory for requested buffer of size 9"
        ),
        RuntimeError("Available memory of 1024 is smaller than requested bytes of 4096"),
        RuntimeError("std::bad_alloc"),
        RuntimeError("bad allocation"),
    ],
    ids=str,
)
def test_what_libraries_say_when_memory_does_not_suffice_is_understood(error: Exception) -> None:
    assert is_out_of_memory(error)


@pytest.mark.parametrize(
    "error", [ValueError("shape (2,)"), GenerationError("black"), OSError("No space left on device")]
)
def test_other_errors_are_not_taken_for_a_lack_of_memory(error: Exception) -> None:
    assert not is_out_of_memory(error)
