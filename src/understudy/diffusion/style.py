"""Styles: a small vector that tells one invented subject from another, drawn from the seed and from nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from understudy.errors import InvalidInputError


@dataclass(frozen=True)
class StyleBank:
    """Vectors that training learnt, one for each (rendered) subject, and what is known of each."""

    vectors: NDArray[np.float32]  # (N, D)
    tags: NDArray[np.int64]  # (N, T), -1 = not known

    def __post_init__(self) -> None:
        if self.vectors.ndim != 2 or len(self.vectors) == 0 or self.tags.shape[:1] != self.vectors.shape[:1]:
            raise InvalidInputError(
                f"a style bank needs vectors (N, D) and tags (N, T), got {self.vectors.shape} and {self.tags.shape}"
            )

    def draw(self, seed: int, wanted: Sequence[int | None] = (), n_least: int = 24) -> NDArray[np.float32]:
        """A new vector: a random mixture of two subjects that are nearest in the wanted tags.

        Parameters
        ----------
        seed : int
        wanted : sequence of int or None
            One value for each tag; None = anything.
        n_least : int
            At least so many subjects stay in the draw, those with the nearest tags.

        Returns
        -------
        (D,) float32
            cos(angle) a + sin(angle) b about the bank's mean, so that the mixture spreads as the bank does.
        """
        random = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, 1])))
        distance = np.zeros(len(self.vectors))
        for column, value in zip(self.tags.T, wanted, strict=False):
            if value is not None:
                distance += np.where(column < 0, 0.5, np.abs(column - value))
        eligible = np.flatnonzero(distance <= np.sort(distance)[min(n_least, len(distance)) - 1])
        first, second = eligible[random.integers(0, len(eligible), 2)]
        angle = random.uniform(0, np.pi / 4)
        mean = self.vectors.mean(axis=0, dtype=np.float32)
        mixed = np.cos(angle) * (self.vectors[first] - mean) + np.sin(angle) * (self.vectors[second] - mean)
        return np.asarray(mean + mixed, np.float32)
