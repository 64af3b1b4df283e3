"""The two protocols behind the config group ``generator``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from understudy.types import Condition, Generated, OutcomeKind


@runtime_checkable
class Generator(Protocol):
    """Identity-free by type: it sees conditions only, and no condition holds an erased pixel."""

    name: str
    crop_size: int
    """Side of the square crops it works on, px; one with a ``crop_height`` takes crops of that height instead."""
    batch_size: int
    """Conditions a call; the caller pads to it, so that results do not depend on who shares a batch."""
    min_face_px: float
    """Faces with a shorter box side than this, and bodies with a lower box, are filled instead."""
    outcome: OutcomeKind
    """What a region becomes that this generator made: REPLACED for an understudy, FILLED for solid fill."""

    def __call__(self, conditions: Sequence[Condition], seeds: Sequence[int]) -> list[Generated]:
        """Invent one understudy for each condition.

        Raises
        ------
        GenerationError
            Where the result is unusable: not finite, black, of the wrong size.
        """
        ...

    def digests(self) -> Mapping[str, str]:
        """SHA-256 of every weight file in use, by name."""
        ...


def crop_shape(generator: Generator) -> tuple[int, int]:
    """Height and width of the crops that a generator works on, px."""
    return int(getattr(generator, "crop_height", generator.crop_size)), generator.crop_size


@runtime_checkable
class Obscurer(Protocol):
    """A baseline that needs the person's pixels: blur, pixelate, solid, and the null edit. Not identity-free."""

    name: str
    outcome: OutcomeKind
    """OBSCURED, or KEPT for the null edit."""

    def obscure(self, pixels: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """Obscure what lies under the mask.

        Parameters
        ----------
        pixels : (H, W, 3) uint8
            Window of the source that holds one region with some margin.
        mask : (H, W) bool
            True = to be obscured.

        Returns
        -------
        (H, W, 3) uint8; only its pixels under the mask are used.
        """
        ...
