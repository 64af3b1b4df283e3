"""Drawn scenes of people for tests: who stands where, and the detections that a perfect detector would give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from understudy.detect.persons import join
from understudy.types import Detections

FACE = np.array([[-0.2, -0.12], [0.2, -0.12], [0.0, 0.06], [-0.16, 0.26], [0.16, 0.26]])
"""Keypoints over the height of a face, about the middle of its box."""


@dataclass(frozen=True)
class Person:
    """A standing person: feet at (x, y), so many px high; with or without a face that is seen, or a face alone."""

    x: float
    y: float
    height: float
    face: bool = True
    body: bool = True

    def body_box(self) -> list[float]:
        return [self.x - self.height * 0.2, self.y - self.height, self.x + self.height * 0.2, self.y]

    def face_box(self) -> list[float]:
        side, top = self.height * 0.13, self.y - self.height * 0.97
        return [self.x - side * 0.4, top, self.x + side * 0.4, top + side]

    def face_points(self) -> np.ndarray:
        x0, y0, x1, y1 = self.face_box()
        return FACE * (y1 - y0) + ((x0 + x1) / 2, (y0 + y1) / 2)


def people(*persons: Person) -> Detections:
    """Bodies and faces of a scene, joined."""
    bodies = [p.body_box() for p in persons if p.body]
    faces = [p for p in persons if p.face]
    return join(
        Detections.faces(
            np.array([p.face_box() for p in faces]).reshape(-1, 4),
            np.full(len(faces), 0.9),
            np.array([p.face_points() for p in faces]).reshape(-1, 5, 2),
        ),
        Detections.bodies(np.array(bodies).reshape(-1, 4), np.full(len(bodies), 0.8)),
    )


def crowd(n: int, width: int, height: int, seed: int = 0) -> Sequence[Person]:
    """Many people of many sizes, a third of them turned away."""
    random = np.random.default_rng(seed)
    return [
        Person(
            float(random.uniform(0, width)),
            float(random.uniform(0.4, 1.02) * height),
            float(random.uniform(0.12, 0.6) * height),
            face=bool(random.random() > 0.33),
        )
        for _ in range(n)
    ]
