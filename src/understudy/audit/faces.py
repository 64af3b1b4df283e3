"""What an audit reads of one picture: its faces, their embeddings, attributes and parts; small arrays, no pixels."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from understudy.audit.aligned import align
from understudy.audit.attackers import Attack, altered_copy, dlib_attack
from understudy.audit.beautification import AVERAGE_SIZE, PARTS, measure, small_face
from understudy.audit.estimators import Estimator, Reading
from understudy.audit.extractors import FeatureExtractor, PerceptualDistance
from understudy.detect.base import Detector
from understudy.types import Detections

AGE = "perceived_age"
NAN = float("nan")


@dataclass(frozen=True)
class Readers:
    """Everything that looks at a picture; handed in by the configuration."""

    detector: Detector
    """Finds the faces that are followed from before to after; must give keypoints."""
    second: Detector | None
    """Another detector than the anonymiser's: looks for residual faces and for whom the first one misses."""
    attacks: tuple[Attack, ...]
    estimators: tuple[Estimator, ...]
    people: Detector | None = None
    """Finds whole people, so that a team knows whether its detector of people still works."""
    extractor: FeatureExtractor | None = None
    """Of the features that FID and KID compare."""
    perceptual: PerceptualDistance | None = None
    """LPIPS."""


@dataclass(frozen=True)
class AttributeInfo:
    """What a reading is, without its values."""

    name: str
    kind: Literal["numeric", "categorical"]
    unit: str
    categories: tuple[str, ...]
    estimator: str
    selected: bool
    """The anonymiser reads with the same thing, which is then no independent judge."""


@dataclass(frozen=True)
class PictureFaces:
    """The faces of one picture."""

    size: tuple[int, int]
    """Height and width, px."""
    xyxy: NDArray[np.float64]  # (N, 4)
    confidence: NDArray[np.float64]  # (N,)
    keypoints: NDArray[np.float64]  # (N, 5, 2), NaN where absent
    second_xyxy: NDArray[np.float64]  # (M, 4) of the second detector
    second_confidence: NDArray[np.float64]  # (M,)
    people_xyxy: NDArray[np.float64]  # (P, 4) of the detector of people
    people_confidence: NDArray[np.float64]  # (P,)
    embeddings: Mapping[str, NDArray[np.float32]]  # by attacker, (N, D)
    control: Mapping[str, NDArray[np.float32]]  # the same of an altered copy; empty where none was asked for
    readings: tuple[tuple[AttributeInfo, NDArray[np.generic]], ...]  # (N,) each
    parts: NDArray[np.float64]  # (N, P) of beautification, in the order of PARTS
    small: NDArray[np.float16]  # (N, AVERAGE_SIZE ** 2): what averageness compares

    def __len__(self) -> int:
        return len(self.xyxy)

    def pack(self) -> dict[str, NDArray[np.generic]]:
        """As named arrays, for the cache."""
        infos = [info.__dict__ for info, _ in self.readings]
        packed: dict[str, NDArray[np.generic]] = {
            "size": np.array(self.size),
            "attributes": np.array(json.dumps(infos)),
            **{name: getattr(self, name) for name in _ARRAYS},
        }
        packed |= {f"embedding/{name}": value for name, value in self.embeddings.items()}
        packed |= {f"control/{name}": value for name, value in self.control.items()}
        return packed | {f"reading/{i}": values for i, (_, values) in enumerate(self.readings)}

    @classmethod
    def unpack(cls, packed: Mapping[str, NDArray[np.generic]]) -> PictureFaces:
        """What ``pack`` made; raises KeyError or ValueError for anything else."""
        infos = json.loads(str(packed["attributes"]))
        return cls(
            size=(int(packed["size"][0]), int(packed["size"][1])),
            embeddings=_under(packed, "embedding/"),
            control=_under(packed, "control/"),
            readings=tuple((_info(info), packed[f"reading/{i}"]) for i, info in enumerate(infos)),
            **{name: packed[name] for name in _ARRAYS},  # type: ignore[arg-type]  # of the types that were packed
        )


_ARRAYS = (
    "xyxy",
    "confidence",
    "keypoints",
    "second_xyxy",
    "second_confidence",
    "people_xyxy",
    "people_confidence",
    "parts",
    "small",
)


def _info(fields: dict[str, Any]) -> AttributeInfo:
    return AttributeInfo(**{**fields, "categories": tuple(fields["categories"])})


def _under(packed: Mapping[str, NDArray[np.generic]], prefix: str) -> dict[str, NDArray[np.float32]]:
    return {
        name.removeprefix(prefix): np.asarray(value, np.float32)
        for name, value in packed.items()
        if name.startswith(prefix)
    }


def read_picture(view: NDArray[np.uint8], readers: Readers, *, control_seed: int | None = None) -> PictureFaces:
    """Read one picture with everything.

    Parameters
    ----------
    view : (H, W, 3) uint8 sRGB
    readers : Readers
    control_seed : int, optional
        With it, an altered copy is embedded too: the raw control.
    """
    found = readers.detector(view)
    second, people = (_boxes(detector, view) for detector in (readers.second, readers.people))
    xyxy = np.asarray(found.xyxy, np.float64)
    points = np.where(found.visibility[..., None] > 0, found.keypoints, np.nan).astype(np.float64)
    embeddings = {a.name: a.embed(view, xyxy, found.keypoints, found.visibility) for a in readers.attacks}
    control = {} if control_seed is None else _control(view, found, readers.attacks, control_seed)
    readings = _attributes(view, found, readers, embeddings)
    ages = next((values for info, values in readings if info.name == AGE), np.full(len(xyxy), NAN))
    parts, small = _beauty(view, points, np.asarray(ages, np.float64))
    return PictureFaces(
        size=(int(view.shape[0]), int(view.shape[1])),
        xyxy=xyxy,
        confidence=np.asarray(found.confidence, np.float64),
        keypoints=points,
        second_xyxy=second[0],
        second_confidence=second[1],
        people_xyxy=people[0],
        people_confidence=people[1],
        embeddings=embeddings,
        control=control,
        readings=readings,
        parts=parts,
        small=small,
    )


def _boxes(detector: Detector | None, view: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(M, 4) boxes and (M,) confidences; none without a detector."""
    if detector is None:
        return np.zeros((0, 4)), np.zeros(0)
    found = detector(view)
    return np.asarray(found.xyxy, np.float64), np.asarray(found.confidence, np.float64)


def _control(
    view: NDArray[np.uint8], found: Detections, attacks: Sequence[Attack], seed: int
) -> dict[str, NDArray[np.float32]]:
    copy, points = altered_copy(view, found.keypoints, seed)
    return {a.name: a.embed(copy, found.xyxy, points, found.visibility) for a in attacks}


def _attributes(
    view: NDArray[np.uint8], found: Detections, readers: Readers, embeddings: Mapping[str, NDArray[np.float32]]
) -> tuple[tuple[AttributeInfo, NDArray[np.generic]], ...]:
    if not len(found):
        return ()
    dlib = dlib_attack(readers.attacks)
    vectors = None if dlib is None else embeddings[dlib.name]
    if vectors is not None and vectors.shape[1] == 0:  # no face at all has an embedding
        vectors = np.full((len(found), 128), np.nan, np.float32)
    views = [view] * len(found)
    return tuple(
        (describe(reading, estimator), reading.values)
        for estimator in readers.estimators
        for reading in estimator.read(views, found.xyxy, found.keypoints, found.visibility, vectors)
    )


def embed_in_place(
    view: NDArray[np.uint8],
    attacks: Sequence[Attack],
    before: PictureFaces,
    size: tuple[int, int],
    rows: NDArray[np.int64],
) -> dict[str, NDArray[np.float32]]:
    """Embeddings of a picture after in the places where faces were before.

    Parameters
    ----------
    view : (H, W, 3) uint8 sRGB
        The picture after.
    attacks : sequence of Attack
    before : PictureFaces
    size : (height, width)
        Of the picture after.
    rows : (K,) int
        Faces of before to look at.

    Returns
    -------
    dict of (N, D) float32
        By attacker; NaN for all other faces.
    """
    scale = np.array([size[1] / before.size[1], size[0] / before.size[0]])
    points = before.keypoints[rows] * scale
    shown = np.isfinite(points).all(axis=2).astype(np.float64)
    boxes = before.xyxy[rows] * np.tile(scale, 2)
    found = {}
    for attack in attacks:
        embedded = attack.embed(view, boxes, np.nan_to_num(points), shown)
        values = np.full((len(before), embedded.shape[1]), np.nan, np.float32)
        values[rows] = embedded
        found[attack.name] = values
    return found


def describe(reading: Reading, estimator: Estimator) -> AttributeInfo:
    """What a reading is, without its values."""
    return AttributeInfo(
        reading.name, reading.kind, reading.unit, reading.categories, estimator.name, bool(estimator.used_by_policy)
    )


def _beauty(
    view: NDArray[np.uint8], keypoints: NDArray[np.float64], ages: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float16]]:
    """(N, P) parts without averageness, and (N, AVERAGE_SIZE ** 2) coarse faces; NaN where a face shows no skin."""
    parts = np.full((len(keypoints), len(PARTS)), NAN)
    small = np.full((len(keypoints), AVERAGE_SIZE**2), np.nan, np.float16)
    for i, points in enumerate(keypoints):
        if not np.isfinite(points).all() or np.ptp(points, axis=0).max() < 2:
            continue
        face = align(view, points)
        if face is None:
            continue
        measured = measure(face, None, float(ages[i]))
        parts[i] = [measured[name] for name in PARTS]
        small[i] = small_face(face)
    return parts, small


def seed_of(digest: str) -> int:
    """A seed that depends on a picture alone."""
    return int.from_bytes(hashlib.sha256(f"control {digest}".encode()).digest()[:8], "big")
