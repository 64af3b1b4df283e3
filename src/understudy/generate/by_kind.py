"""Two generators as one: faces go to the one, bodies to the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from understudy.generate.base import Generator
from understudy.types import Condition, Generated, Kind


class ByKind:
    """A generator for faces and one for bodies.

    The pipeline asks :meth:`of` for the generator of a kind, cuts crops as that one wants them, and calls it. Called
    itself, it sorts conditions by their kind.

    Parameters
    ----------
    face, body : Generator
    """

    def __init__(self, face: Generator, body: Generator) -> None:
        self.face = face
        self.body = body
        self.name = f"{face.name}, {body.name}"
        self.crop_size = face.crop_size
        self.batch_size = face.batch_size
        self.min_face_px = face.min_face_px
        self.outcome = face.outcome

    def of(self, kind: Kind) -> Generator:
        """The generator of a kind."""
        return self.body if kind is Kind.BODY else self.face

    def __call__(self, conditions: Sequence[Condition], seeds: Sequence[int]) -> list[Generated]:
        """One understudy for each condition, in their order; each generator is called with as many as it wants."""
        made: dict[int, Generated] = {}
        for kind in Kind:
            generator = self.of(kind)
            own = [i for i, condition in enumerate(conditions) if condition.kind is kind]
            for start in range(0, len(own), generator.batch_size):
                part = own[start : start + generator.batch_size]
                padded = part + part[-1:] * (generator.batch_size - len(part))
                results = generator([conditions[i] for i in padded], [seeds[i] for i in padded])
                made.update(zip(part, results, strict=False))  # what padded the batch is dropped
        return [made[i] for i in range(len(conditions))]

    def digests(self) -> Mapping[str, str]:
        """SHA-256 of every weight file of either."""
        return {**self.face.digests(), **self.body.digests()}


def generator_of(generator: Generator, kind: Kind) -> Generator:
    """What generates a kind: one of two generators, or the only one."""
    return generator.of(kind) if isinstance(generator, ByKind) else generator
