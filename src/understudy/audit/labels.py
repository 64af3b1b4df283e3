"""Labels that people gave: read from a table, brought to one form and joined with pictures, or with faces by box."""

from __future__ import annotations

import ast
import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from understudy.audit.pairing import pair_faces
from understudy.errors import ConfigError, InvalidInputError

MAX_CATEGORIES = 20
"""A column of text with more different values is no attribute to group by; it is named in a message and left out."""


@dataclass(frozen=True)
class LabelFormat:
    """How a label file says what: one small YAML for each data set.

    Raises
    ------
    ConfigError
        For a value that cannot be meant.
    """

    picture: str = "picture"
    """Column with the picture's path."""
    subject: str | None = None
    """Column with the person's id: pictures of one person are searched for together."""
    attributes: Mapping[str, str] | None = None
    """Name in the report: column. None takes every column that is nothing else."""
    box: Sequence[str] = ()
    """Column with the face's box as a list, or four columns."""
    box_form: Literal["xyxy", "xywh"] = "xyxy"
    delimiter: str = ","
    """Between columns; a space stands for any run of blanks."""
    skip_lines: int = 0
    """Lines before the header."""
    values: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Name in the report: value in the file: value in the report."""
    lists: Sequence[str] = ()
    """Attributes whose cell holds a list, such as "['he/him', 'they/them']": joined with " + "."""
    bins: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """Name in the report: cuts that make groups of a number; the number itself is compared as well."""
    drop_parts: int = 0
    """Folders at the start of the file's paths that the collection's paths do not have."""
    self_reported: bool = False
    """True where people said it of themselves; else the report calls it annotated."""

    def __post_init__(self) -> None:
        if self.box_form not in ("xyxy", "xywh") or len(self.box) not in (0, 1, 4):
            raise ConfigError(
                f"labels: box must be one column or four, and box_form xyxy or xywh, got {list(self.box)} "
                f"and {self.box_form!r}"
            )
        if self.skip_lines < 0 or self.drop_parts < 0:
            raise ConfigError("labels: skip_lines and drop_parts must be 0 or more")


@dataclass(frozen=True)
class LabelColumn:
    """One attribute of every labelled row."""

    name: str
    kind: Literal["categorical", "numeric"]
    categories: tuple[str, ...]
    """In the order of the format's ``values``, then sorted; empty for numbers."""
    values: tuple[str, ...] | NDArray[np.float64]
    """Text ("" = none), or numbers (NaN = none)."""


@dataclass(frozen=True)
class Labels:
    """A label file, row by row."""

    pictures: tuple[str, ...]
    subjects: tuple[str, ...] | None
    boxes: NDArray[np.float64] | None  # (R, 4) xyxy px, NaN = none
    columns: tuple[LabelColumn, ...]
    left_out: Mapping[str, str]
    """Columns that are no attribute, with the reason."""
    self_reported: bool


@dataclass(frozen=True)
class JoinedLabels:
    """Labels of each face."""

    row: NDArray[np.int64]  # (N,) row of the label file, -1 = none
    subjects: tuple[str, ...] | None  # (N,) "" = none
    n_unused: int
    """Rows of the file that belong to no picture or face."""
    n_unlabelled: int
    """Faces without a row."""


def read_labels(path: Path, how: LabelFormat) -> Labels:
    """Read a label file.

    Parameters
    ----------
    path : Path
        ``.parquet``, or text with a header.
    how : LabelFormat

    Raises
    ------
    InvalidInputError
        It cannot be read, or lacks a column that the format names.
    """
    rows = _parquet(path) if path.suffix.lower() == ".parquet" else _text(path, how)
    if not rows:
        raise InvalidInputError(f"labels={str(path)!r} holds no row")
    header = list(rows[0])
    wanted = [how.picture, *([how.subject] if how.subject else []), *how.box, *(how.attributes or {}).values()]
    missing = [name for name in wanted if name not in header]
    if missing:
        raise InvalidInputError(
            f"labels={str(path)!r} has no column {missing[0]!r}: its columns are {', '.join(map(str, header[:40]))}; "
            "choose label_format=plain|fhibe|fairface|celeba, or name the columns (label_format.picture=...)"
        )
    taken = {how.picture, how.subject, *how.box}
    named = how.attributes if how.attributes is not None else {name: name for name in header if name not in taken}
    columns, left_out = [], {}
    for name, column in named.items():
        made = _column(name, [row[column] for row in rows], how)
        if isinstance(made, str):
            left_out[name] = made
        else:
            columns += made
    return Labels(
        pictures=tuple(_picture(row[how.picture], how.drop_parts) for row in rows),
        subjects=tuple(_cell(row[how.subject]) for row in rows) if how.subject else None,
        boxes=np.array([_box(row, how) for row in rows]) if how.box else None,
        columns=tuple(columns),
        left_out=left_out,
        self_reported=how.self_reported,
    )


def _text(path: Path, how: LabelFormat) -> list[dict[str, object]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no UTF-8 text"
        raise InvalidInputError(f"labels={str(path)!r} cannot be read: {str(reason).lower()}") from error
    lines = text.splitlines()[how.skip_lines :]
    if how.delimiter == " ":
        table = [line.split() for line in lines if line.strip()]
        header = table[0] if table else []
        if table[1:] and len(table[1]) == len(header) + 1:  # CelebA's header does not name the file's column
            header = [how.picture, *header]
        return [dict(zip(header, row, strict=False)) for row in table[1:]]
    return [dict(row) for row in csv.DictReader(io.StringIO("\n".join(lines)), delimiter=how.delimiter)]


def _parquet(path: Path) -> list[dict[str, object]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows: list[dict[str, object]] = pq.read_table(path).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise InvalidInputError(f"labels={str(path)!r} cannot be read: {error}") from error
    return rows


def _cell(value: object) -> str:
    text = "" if value is None or value != value else str(value).strip()
    return "" if text.lower() in {"nan", "none", "null", "na", "n/a"} else text


def _picture(value: object, drop_parts: int) -> str:
    parts = [part for part in str(value).strip().replace("\\", "/").split("/") if part not in ("", ".")]
    return "/".join(parts[drop_parts:])


def _list_of(value: object) -> list[str]:
    text = _cell(value)
    if isinstance(value, list | tuple):
        return [_cell(item) for item in value]
    if text.startswith(("[", "(")):
        try:
            return [_cell(item) for item in ast.literal_eval(text)]
        except (ValueError, SyntaxError, TypeError):
            return [text]
    return [text] if text else []


def _box(row: Mapping[str, object], how: LabelFormat) -> list[float]:
    cells = _list_of(row[how.box[0]]) if len(how.box) == 1 else [_cell(row[name]) for name in how.box]
    try:
        x, y, a, b = (float(cell) for cell in cells)
    except ValueError:
        return [np.nan] * 4
    return [x, y, x + a, y + b] if how.box_form == "xywh" else [x, y, a, b]


def _column(name: str, cells: Sequence[object], how: LabelFormat) -> list[LabelColumn] | str:
    """The columns that a column of the file makes, or why it makes none."""
    words = how.values.get(name, {})
    if name in how.lists:
        texts = [" + ".join(words.get(item, item) for item in sorted(_list_of(cell))) for cell in cells]
    else:
        texts = [words.get(_cell(cell), _cell(cell)) for cell in cells]
    numbers = _numbers(texts)
    known = [text for text in texts if text]
    if not known:
        return "is empty"
    if numbers is not None and (name in how.bins or len(set(known)) > 2) and name not in how.values:
        made = [LabelColumn(name, "numeric", (), numbers)]
        if name in how.bins:
            binned, names = _binned(numbers, how.bins[name])
            made.append(LabelColumn(f"{name}_group", "categorical", names, binned))
        return made
    different = sorted(set(known))
    if len(different) > MAX_CATEGORIES:
        return f"has {len(different)} different values, and a group needs people: {MAX_CATEGORIES} at most"
    order = [value for value in dict.fromkeys(words.values()) if value in different]
    return [LabelColumn(name, "categorical", (*order, *(v for v in different if v not in order)), tuple(texts))]


def _numbers(texts: Iterable[str]) -> NDArray[np.float64] | None:
    try:
        return np.array([float(text) if text else np.nan for text in texts])
    except ValueError:
        return None


def _binned(numbers: NDArray[np.float64], cuts: Sequence[float]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Text of each number's bin, and all bins in order."""
    edges = [f"{cut:g}" for cut in cuts]
    names = (f"under {edges[0]}", *(f"{a} to {b}" for a, b in pairwise(edges)), f"{edges[-1]} up")
    place = np.digitize(numbers, cuts)
    return tuple(names[i] if np.isfinite(v) else "" for i, v in zip(place, numbers, strict=True)), names


def join_labels(
    labels: Labels, pictures: Sequence[str], faces: NDArray[np.int64], xyxy: NDArray[np.float64]
) -> JoinedLabels:
    """Find each face's row: by picture, or by picture and box.

    Without boxes, a picture's only row belongs to its largest face; a picture with as many rows as faces and no boxes
    is ambiguous, and its faces stay without labels.

    Parameters
    ----------
    labels : Labels
    pictures : sequence of str
        Paths of the collection; a label file that knows only file names is joined by them where they are unique.
    faces : (N,) int
        Picture of each face.
    xyxy : (N, 4) px

    Raises
    ------
    InvalidInputError
        No row belongs to any picture.
    """
    place = _places(labels.pictures, pictures)
    by_picture: dict[int, list[int]] = {}
    for row, name in enumerate(labels.pictures):
        if name in place:
            by_picture.setdefault(place[name], []).append(row)
    if not by_picture:
        raise InvalidInputError(
            f"no row of labels belongs to a picture of before: the labels speak of {labels.pictures[0]!r}, "
            f"the pictures are called {pictures[0]!r}; try label_format.drop_parts=1"
        )
    row_of = np.full(len(faces), -1, np.int64)
    used: set[int] = set()
    for picture, rows in by_picture.items():
        members = np.flatnonzero(faces == picture)
        for face, row in _match(rows, members, xyxy, labels.boxes):
            row_of[face] = row
            used.add(row)
    subjects = None
    if labels.subjects is not None:
        subjects = tuple(labels.subjects[row] if row >= 0 else "" for row in row_of)
    return JoinedLabels(row_of, subjects, len(labels.pictures) - len(used), int((row_of < 0).sum()))


def _places(labelled: Sequence[str], pictures: Sequence[str]) -> dict[str, int]:
    """Picture of each name in the labels: by path, else by file name where that is unique on both sides."""
    place = {name: i for i, name in enumerate(pictures)}
    found = {name: place[name] for name in set(labelled) if name in place}
    if found:
        return found
    for shorten in (_file_name, _file_stem):
        by_short: dict[str, list[int]] = {}
        for i, name in enumerate(pictures):
            by_short.setdefault(shorten(name), []).append(i)
        found = {
            name: by_short[shorten(name)][0] for name in set(labelled) if len(by_short.get(shorten(name), ())) == 1
        }
        if found:
            return found
    return {}


def _file_name(path: str) -> str:
    return path.rsplit("/", 1)[-1]


def _file_stem(path: str) -> str:
    return _file_name(path).rsplit(".", 1)[0]


def _match(
    rows: Sequence[int], members: NDArray[np.int64], xyxy: NDArray[np.float64], boxes: NDArray[np.float64] | None
) -> list[tuple[int, int]]:
    """(face, row) of one picture."""
    if not len(members):
        return []
    if boxes is not None:
        known = [row for row in rows if np.isfinite(boxes[row]).all()]
        pairs = pair_faces(xyxy[members], boxes[known]).pairs if known else np.zeros((0, 2), np.int64)
        return [(int(members[i]), known[j]) for i, j in pairs]
    if len(rows) > 1:
        return []
    sides = xyxy[members, 2:] - xyxy[members, :2]
    return [(int(members[int(sides.prod(axis=1).argmax())]), rows[0])]
