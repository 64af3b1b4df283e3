"""From the records of single pairs to arrays over all faces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from understudy.audit.beautification import LEAST_PEOPLE, PARTS
from understudy.audit.estimators import NOT_READ
from understudy.audit.faces import AttributeInfo, PictureFaces
from understudy.audit.pairing import pair_faces
from understudy.audit.pairs import NUMBERS, PairReadings
from understudy.audit.study import PairRecord
from understudy.audit.utility import Boxes
from understudy.errors import InvalidInputError

NAN = float("nan")
_NO_ROW = -1
COVERED = 0.5
"""Share of a face's box that a region must cover for the anonymiser to have seen the face."""
AVERAGENESS = list(PARTS).index("averageness")


@dataclass(frozen=True)
class Attribute:
    """One attribute of every face of before, in each stage."""

    info: AttributeInfo
    before: NDArray[np.generic]  # (N,)
    after: NDArray[np.generic]  # (N,)
    null: NDArray[np.generic] | None  # (N,)


@dataclass(frozen=True)
class Embeddings:
    """What one attacker made of every face of before, in each stage; rows of NaN are faces it could not find."""

    before: NDArray[np.float32]  # (N, D)
    after: NDArray[np.float32]  # (N, D)
    control: NDArray[np.float32]  # (N, D)
    null: NDArray[np.float32] | None
    placed: NDArray[np.float32]
    """(N, D) after, where somebody points out the places of faces that were not found."""


@dataclass(frozen=True)
class Study:
    """Everything that was read; rows of the arrays are the faces that were found in ``before``."""

    pictures: tuple[str, ...]
    face_picture: NDArray[np.int64]  # (N,) place in pictures
    xyxy: NDArray[np.float64]  # (N, 4)
    found_after: NDArray[np.bool_]  # (N,) a face was found in its place
    found_null: NDArray[np.bool_] | None
    n_new: int
    """Faces after that stand where none was before."""
    keypoints: NDArray[np.float64]  # (N, 5, 2)
    keypoints_after: NDArray[np.float64]  # (N, 5, 2) in the frame of before; NaN where no face was found
    keypoints_null: NDArray[np.float64] | None
    embeddings: Mapping[str, Embeddings]
    attributes: tuple[Attribute, ...]
    parts: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64] | None]  # (N, P) before, after, null
    change: NDArray[np.float64]  # (N,)
    null_change: NDArray[np.float64] | None
    covered: NDArray[np.bool_] | None  # (N,) by a region of the manifest; None without one
    second_after: NDArray[np.bool_]  # (N,) the second detector finds a face in its place after
    second_picture: NDArray[np.int64]  # (M,) faces before that only the second detector found
    second_change: NDArray[np.float64]  # (M,)
    numbers: Mapping[str, NDArray[np.float64]]  # (P,) of each pair
    null_numbers: Mapping[str, NDArray[np.float64]] | None
    boxes: Mapping[str, tuple[tuple[Boxes, ...], tuple[Boxes, ...]]]
    """Finds of each detector before and after, one entry a picture, in the frame of before."""
    n_resized: int
    features: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32] | None]
    """(N, F) in the place of each face before, after and in the null edit; F = 0 without an extractor."""
    digests: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """SHA-256 of the pictures, by stage and name."""

    @property
    def n(self) -> int:
        """Faces found in before."""
        return len(self.face_picture)


def collect(
    records: Sequence[PairRecord],
    *,
    regions: Mapping[str, NDArray[np.float64]] | None,
    detector: str,
    second: str | None,
    second_confidence: float,
    people: str | None = None,
) -> Study:
    """Put the records of all pairs side by side.

    Parameters
    ----------
    records : sequence of PairRecord
    regions : mapping or None
        What the anonymiser says it replaced, by the picture's path in after.
    detector, second, people : str
        Names of the detectors of faces, and of people.
    second_confidence : float
        Less confident finds of the second detector are no faces.

    Raises
    ------
    InvalidInputError
        No face at all was found in ``before``.
    """
    if not sum(len(r.before) for r in records):
        raise InvalidInputError(
            f"no face was found in any of the {len(records)} pictures of before: there is nothing to audit"
        )
    befores = [r.before for r in records]
    afters = [(r.after, _partners(len(r.before), r.faces.pairs)) for r in records]
    nulls: Stage | None = None
    if any(r.null is not None for r in records):
        nulls = [
            (
                r.null,
                _partners(len(r.before), np.zeros((0, 2), np.int64) if r.null_faces is None else r.null_faces.pairs),
            )
            for r in records
        ]
    alone, seconds = _second_only(records, second_confidence)
    return Study(
        pictures=tuple(r.files.name for r in records),
        face_picture=np.repeat(np.arange(len(records)), [len(p) for p in befores]),
        xyxy=np.concatenate([p.xyxy for p in befores]),
        found_after=_found(afters),
        found_null=None if nulls is None else _found(nulls),
        n_new=sum(len(r.faces.new) for r in records),
        keypoints=np.concatenate([p.keypoints for p in befores]),
        keypoints_after=_keypoints(befores, afters),
        keypoints_null=None if nulls is None else _keypoints(befores, nulls),
        embeddings=_embeddings(records, afters, nulls),
        attributes=_attributes(befores, afters, nulls),
        parts=_parts(befores, afters, nulls),
        change=np.concatenate([r.pair.change for r in records]),
        null_change=None if nulls is None else np.concatenate([_null_change(r) for r in records]),
        covered=None if regions is None else np.concatenate([_covered(r, regions) for r in records]),
        second_after=np.concatenate([_seen_again(r, second_confidence) for r in records]),
        second_picture=alone,
        second_change=seconds,
        numbers={name: np.array([r.pair.numbers[name] for r in records]) for name in NUMBERS},
        null_numbers=None if nulls is None else {name: _null_numbers(records, name) for name in NUMBERS},
        boxes=_boxes_by_detector(records, {detector: "", second: "second_", people: "people_"}),
        features=_features(records),
        n_resized=sum(r.pair.resized for r in records),
        digests={
            stage: {r.files.name: r.digests[i] for r in records if r.digests[i]}
            for i, stage in enumerate(("before", "after", "null"))
        },
    )


Stage = Sequence[tuple[PictureFaces | None, NDArray[np.int64]]]
"""Pictures of one stage, each with the row of the partner of every face of before, -1 = none."""


def _partners(n: int, pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    rows = np.full(n, _NO_ROW, np.int64)
    rows[pairs[:, 0]] = pairs[:, 1]
    return rows


def _found(stage: Stage) -> NDArray[np.bool_]:
    return np.concatenate([rows >= 0 for _, rows in stage])


def _placed(
    values: NDArray[np.generic], rows: NDArray[np.int64], fill: float, like: tuple[int, ...]
) -> NDArray[np.float64]:
    """Values of the partners in the order of before; ``fill`` for faces without one."""
    placed = np.full((len(rows), *like), fill)
    known = rows >= 0
    if known.any() and values.shape[1:] == like:
        placed[known] = values[rows[known]]
    return placed


def _keypoints(befores: Sequence[PictureFaces], stage: Stage) -> NDArray[np.float64]:
    """(N, 5, 2) of the partners, in the frame of before."""
    placed = []
    for before, (picture, rows) in zip(befores, stage, strict=True):
        points = np.zeros((0, 5, 2)) if picture is None else picture.keypoints
        scale = [1.0, 1.0] if picture is None else [before.size[1] / picture.size[1], before.size[0] / picture.size[0]]
        placed.append(_placed(points * scale, rows, NAN, (5, 2)))
    return np.concatenate(placed)


def _embeddings(records: Sequence[PairRecord], afters: Stage, nulls: Stage | None) -> dict[str, Embeddings]:
    befores = [r.before for r in records]
    own = [(p, np.arange(len(p))) for p in befores]
    found = {}
    for name in befores[0].embeddings:
        width = max(p.embeddings[name].shape[1] for p in befores)

        def stage_of(stage: Stage, of: str = "embeddings", name: str = name, width: int = width) -> NDArray[np.float32]:
            parts = [
                _placed(np.zeros((0, width)) if p is None else getattr(p, of)[name], rows, NAN, (width,))
                for p, rows in stage
            ]
            return np.concatenate(parts).astype(np.float32)

        after = stage_of(afters)
        pointed = np.full_like(after, np.nan)
        start = 0
        for record in records:
            values = record.placed.get(name)
            if values is not None and values.shape[1] == width:
                pointed[start : start + len(values)] = values
            start += len(record.before)
        lost = np.asarray(~np.isfinite(after).all(axis=1), np.bool_)
        found[name] = Embeddings(
            before=stage_of(own),
            after=after,
            control=stage_of(own, "control"),
            null=None if nulls is None else stage_of(nulls),
            placed=np.where(lost[:, None], pointed, after),
        )
    return found


def _attributes(befores: Sequence[PictureFaces], afters: Stage, nulls: Stage | None) -> tuple[Attribute, ...]:
    infos = {info.name: info for p in befores for info, _ in p.readings}
    own = [(p, np.arange(len(p))) for p in befores]

    def stage_of(stage: Stage, info: AttributeInfo) -> NDArray[np.generic]:
        fill = float(NOT_READ) if info.kind == "categorical" else NAN
        parts = []
        for picture, rows in stage:
            read = {} if picture is None else {known.name: values for known, values in picture.readings}
            parts.append(_placed(read.get(info.name, np.zeros(0)), rows, fill, ()))
        joined = np.concatenate(parts)
        return joined.astype(np.int64) if info.kind == "categorical" else joined

    return tuple(
        Attribute(info, stage_of(own, info), stage_of(afters, info), None if nulls is None else stage_of(nulls, info))
        for info in infos.values()
    )


def _parts(
    befores: Sequence[PictureFaces], afters: Stage, nulls: Stage | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64] | None]:
    """(N, P) parts of each stage; averageness is the correlation with the mean face of before, if there are enough."""
    smalls = np.concatenate([p.small for p in befores]).astype(np.float64)
    known = smalls[np.isfinite(smalls).all(axis=1)]
    mean = known.mean(axis=0) if len(known) >= LEAST_PEOPLE else np.full(smalls.shape[1], NAN)
    mean /= max(float(np.linalg.norm(np.nan_to_num(mean))), 1e-9)

    def stage_of(stage: Stage) -> NDArray[np.float64]:
        parts = []
        for picture, rows in stage:
            values = np.zeros((0, len(PARTS))) if picture is None else picture.parts.copy()
            if picture is not None and len(picture):
                values[:, AVERAGENESS] = picture.small.astype(np.float64) @ mean
            parts.append(_placed(values, rows, NAN, (len(PARTS),)))
        return np.concatenate(parts)

    own = [(p, np.arange(len(p))) for p in befores]
    return stage_of(own), stage_of(afters), None if nulls is None else stage_of(nulls)


def _null_change(record: PairRecord) -> NDArray[np.float64]:
    return np.full(len(record.before), NAN) if record.null_pair is None else record.null_pair.change


def _null_numbers(records: Sequence[PairRecord], name: str) -> NDArray[np.float64]:
    return np.array([NAN if r.null_pair is None else r.null_pair.numbers[name] for r in records])


def _covered(record: PairRecord, regions: Mapping[str, NDArray[np.float64]]) -> NDArray[np.bool_]:
    """Faces of before whose box lies for the most part in one that the manifest names."""
    boxes = regions.get(record.files.after_name, np.zeros((0, 4)))
    a = record.before.xyxy
    sides = (np.minimum(a[:, None, 2:], boxes[None, :, 2:]) - np.maximum(a[:, None, :2], boxes[None, :, :2])).clip(0)
    area = np.maximum((a[:, 2:] - a[:, :2]).prod(axis=1), 1e-9)
    return np.asarray(sides.prod(axis=2).max(axis=1, initial=0.0) / area >= COVERED, np.bool_)


def _confident(picture: PictureFaces, least: float) -> NDArray[np.float64]:
    return picture.second_xyxy[picture.second_confidence >= least]


def _second_only(records: Sequence[PairRecord], least: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Picture and change of each face of before that only the second detector found."""
    pictures, changes = [], []
    for i, record in enumerate(records):
        sure = record.before.second_confidence >= least
        boxes = record.before.second_xyxy[sure]
        alone = pair_faces(boxes, record.before.xyxy).lost
        pictures += [i] * len(alone)
        changes += record.pair.second_change[sure][alone].tolist()
    return np.array(pictures, np.int64), np.array(changes, np.float64)


def _seen_again(record: PairRecord, least: float) -> NDArray[np.bool_]:
    """Faces of before in whose place the second detector finds one after."""
    pairs = pair_faces(
        record.before.xyxy,
        _confident(record.after, least),
        before_size=record.before.size,
        after_size=record.after.size,
    ).pairs
    seen = np.zeros(len(record.before), np.bool_)
    seen[pairs[:, 0]] = True
    return seen


def _features(
    records: Sequence[PairRecord],
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32] | None]:
    """Features of each face before, and in its place after and in the null edit; a row of NaN was not read."""
    width = max(r.pair.own_features.shape[1] for r in records)

    def of(pairs: Sequence[PairReadings | None], name: str) -> NDArray[np.float32]:
        parts = []
        for record, pair in zip(records, pairs, strict=True):
            values = np.full((len(record.before), width), np.nan, np.float32)
            if pair is not None and getattr(pair, name).shape == values.shape:
                values[:] = getattr(pair, name)
            parts.append(values)
        return np.concatenate(parts)

    pairs, nulls = [r.pair for r in records], [r.null_pair for r in records]
    still = None if all(pair is None for pair in nulls) else of(nulls, "features")
    return of(pairs, "own_features"), of(pairs, "features"), still


def _boxes_by_detector(
    records: Sequence[PairRecord], prefixes: Mapping[str | None, str]
) -> dict[str, tuple[tuple[Boxes, ...], tuple[Boxes, ...]]]:
    """Finds of each detector that there is, by the prefix of its fields."""
    return {
        name: _boxes(records, f"{prefix}xyxy", f"{prefix}confidence")
        for name, prefix in prefixes.items()
        if name is not None
    }


def _boxes(records: Sequence[PairRecord], boxes: str, confidences: str) -> tuple[tuple[Boxes, ...], tuple[Boxes, ...]]:
    def of(picture: PictureFaces, size: tuple[int, int]) -> Boxes:
        xyxy, confidence = getattr(picture, boxes), getattr(picture, confidences)
        scale = np.tile([size[1] / picture.size[1], size[0] / picture.size[0]], 2)
        return Boxes(xyxy * scale, confidence)

    return (
        tuple(of(r.before, r.before.size) for r in records),
        tuple(of(r.after, r.before.size) for r in records),
    )
