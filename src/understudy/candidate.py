"""One region on its way through the ladder, with the best of what was accepted for it so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from understudy.attributes.policy import AttributePolicy
from understudy.canvas import Canvas
from understudy.generate.base import Generator, crop_shape
from understudy.geometry import apply_affine, invert_affine
from understudy.subject import Subject
from understudy.types import Condition, OutcomeKind


@dataclass(frozen=True)
class Accepted:
    """A candidate that the guard accepted and that waits for better ones."""

    mismatch: float
    pixels: NDArray[np.uint8]
    outcome: OutcomeKind
    n_attempts: int
    readings: Mapping[str, float | str]


@dataclass
class Candidate:
    """One region on its way through the ladder."""

    canvas: Canvas
    subject: Subject
    condition: Condition
    image_from_crop: NDArray[np.float64]
    generator: Generator
    before: tuple[NDArray[np.uint8], NDArray[np.bool_]]
    """What the region's window showed of others' understudies, and which of its pixels nobody has drawn yet."""
    attempt: int = 0
    how: Mapping[str, float] = field(default_factory=dict)
    """Where memory did not suffice for the generator's batch size: the smaller one."""
    reason: str = ""
    readings: Mapping[str, float | str] = field(default_factory=dict)
    best: Accepted | None = None

    def keep(self, accepted: Accepted) -> None:
        """Remember an accepted candidate if it matches better than all before; of equal ones the first stays."""
        if self.best is None or accepted.mismatch < self.best.mismatch:
            self.best = accepted

    def put_best(self) -> bool:
        """Put the best into the canvas; False where none was accepted."""
        if self.best is None:
            return False
        best, readings = self.best, {**self.best.readings, "attribute_mismatch": round(self.best.mismatch, 4)}
        self.canvas.put(self.subject, best.pixels, best.outcome, best.n_attempts, "", readings)
        return True

    def accepted(
        self, policy: AttributePolicy, pixels: NDArray[np.uint8], outcome: OutcomeKind, attempt: int
    ) -> Accepted:
        """What was accepted at an attempt, with how far its own readings are from the attributes that travelled."""
        size = crop_shape(self.generator)
        view, _ = self.canvas.preview(self.subject, pixels, self.image_from_crop, size)
        points, shown = self.subject.points_in(self.image_from_crop)
        x0, y0, x1, y1 = self.subject.xyxy.tolist()
        corners = apply_affine(invert_affine(self.image_from_crop), np.array([[x0, y0], [x1, y1]]))
        mismatch = policy.mismatch(self.condition.attributes, view, corners.reshape(4), points, shown)
        return Accepted(mismatch, pixels, outcome, attempt + 1, self.readings)
