"""One long table for every figure of an audit, in memory, JSON and Parquet."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from understudy.audit.statistics import holm
from understudy.errors import InvalidInputError
from understudy.imaging.files import write_atomic

SCHEMA_VERSION = 1
NAN = float("nan")

COLUMNS: Mapping[str, str] = {
    "metric": "what was measured, such as rank1_rate or js_distance",
    "attribute": "of what: an attribute, an attacker or a part of the index; empty where the metric names it all",
    "group": "'overall', or attribute=name of the people it was measured on",
    "n": "readings that the value rests on",
    "n_missing": "readings that should have been there and were not valid",
    "value": "the figure; null where it could not be measured or is withheld",
    "unit": "share, deg, px, bit, sd, ...; empty for pure numbers",
    "ci_low": "lower bound of the interval; null without one",
    "ci_high": "upper bound of the interval; null without one",
    "p_adjusted": "two-sided p-value after Holm within its section; null where nothing was tested",
    "null_value": "the same figure where nothing happened: null edit, chance or permutation floor",
    "status": "ok, too_few, not_measured, selected or undecided",
}
"""The columns in their order, and what each holds."""
_TEXT = ("metric", "attribute", "group", "unit", "status")
_WHOLE = ("n", "n_missing")


class Status(StrEnum):
    """Whether a figure can be relied on."""

    OK = "ok"
    TOO_FEW = "too_few"
    """Withheld: the group has fewer people than the minimum."""
    NOT_MEASURED = "not_measured"
    """Nothing valid to measure, or what measures it is not installed."""
    SELECTED = "selected"
    """Measured with an attacker or estimator that the anonymiser itself selected with: not independent."""
    UNDECIDED = "undecided"
    """Measured, but the data do not carry a verdict."""


@dataclass(frozen=True)
class Row:
    """One figure. Infinite numbers are refused, since JSON has none."""

    metric: str
    n: int
    value: float
    attribute: str = ""
    group: str = "overall"
    n_missing: int = 0
    unit: str = ""
    ci_low: float = NAN
    ci_high: float = NAN
    p_adjusted: float = NAN
    null_value: float = NAN
    status: Status = Status.OK

    def __post_init__(self) -> None:
        if not self.metric:
            raise InvalidInputError("a row must name its metric")
        if self.n < 0 or self.n_missing < 0:
            raise InvalidInputError(f"{self.metric}: counts must be 0 or more, got {self.n} and {self.n_missing}")
        for name in ("value", "ci_low", "ci_high", "p_adjusted", "null_value"):
            if np.isinf(getattr(self, name)):
                raise InvalidInputError(f"{self.metric}: {name} must be finite or NaN, got {getattr(self, name)}")
        if self.ci_low > self.ci_high:
            raise InvalidInputError(f"{self.metric}: the interval is upside down: {self.ci_low} to {self.ci_high}")
        if not np.isnan(self.p_adjusted) and not 0 <= self.p_adjusted <= 1:
            raise InvalidInputError(f"{self.metric}: p_adjusted must lie in [0, 1], got {self.p_adjusted}")


@dataclass(frozen=True)
class Finding:
    """A row whose p-value still has to be adjusted together with those of its family."""

    row: Row
    p_value: float = NAN
    family: str = ""


def adjusted_rows(findings: Iterable[Finding]) -> list[Row]:
    """Rows with p-values after Holm's method, each family by itself.

    Parameters
    ----------
    findings : iterable of Finding
        All findings of a section; those without a p-value stay without.
    """
    listed = list(findings)
    adjusted = np.full(len(listed), NAN)
    for family in sorted({finding.family for finding in listed}):
        members = [i for i, finding in enumerate(listed) if finding.family == family]
        adjusted[members] = holm([listed[i].p_value for i in members])
    return [replace(f.row, p_adjusted=float(p)) for f, p in zip(listed, adjusted, strict=True)]


class AuditTable:
    """The figures of an audit, one row each; a metric, attribute and group together name one row.

    Parameters
    ----------
    rows : iterable of Row

    Raises
    ------
    InvalidInputError
        Where two rows have one name.
    """

    def __init__(self, rows: Iterable[Row]) -> None:
        self._rows = tuple(rows)
        self._place: dict[tuple[str, str, str], int] = {}
        for i, row in enumerate(self._rows):
            name = (row.metric, row.attribute, row.group)
            if name in self._place:
                raise InvalidInputError(f"the table holds two rows for {name}")
            self._place[name] = i

    @property
    def rows(self) -> tuple[Row, ...]:
        """All rows in the order in which they were given."""
        return self._rows

    def __len__(self) -> int:
        return len(self._rows)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AuditTable) and self.digest() == other.digest()

    def __hash__(self) -> int:
        return hash(self.digest())

    def get(self, metric: str, attribute: str = "", group: str = "overall") -> Row | None:
        """The row of that name, or None."""
        place = self._place.get((metric, attribute, group))
        return None if place is None else self._rows[place]

    def frame(self) -> pd.DataFrame:
        """A new long frame with the columns of ``COLUMNS``; text is str, counts are int64, figures float64."""
        data = {name: [getattr(row, name) for row in self._rows] for name in COLUMNS}
        data["status"] = [str(row.status) for row in self._rows]
        frame = pd.DataFrame(data, columns=list(COLUMNS))
        kinds = {name: "str" if name in _TEXT else "int64" if name in _WHOLE else "float64" for name in COLUMNS}
        return frame.astype(kinds)

    @classmethod
    def from_frame(cls, frame: pd.DataFrame) -> AuditTable:
        """A table from a frame with the columns of ``COLUMNS``."""
        if list(frame.columns) != list(COLUMNS):
            raise InvalidInputError(f"columns must be {list(COLUMNS)}, got {list(frame.columns)}")
        return cls(_row(record) for record in frame.to_dict("records"))

    def records(self) -> list[dict[str, Any]]:
        """One dictionary for each row, with None for NaN: what the JSON file holds."""
        return [{name: _plain(asdict(row)[name]) for name in COLUMNS} for row in self._rows]

    def digest(self) -> str:
        """SHA-256 of the figures in their order, as hexadecimal."""
        text = json.dumps(self.records(), sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def to_json(self) -> str:
        """The table as a JSON document with its schema version and digest."""
        document = {"schema_version": SCHEMA_VERSION, "sha256": self.digest(), "figures": self.records()}
        return json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> AuditTable:
        """Read what ``to_json`` wrote.

        Raises
        ------
        InvalidInputError
            For another schema version, missing columns, or figures that are not those of the digest.
        """
        try:
            document = json.loads(text)
        except json.JSONDecodeError as error:
            raise InvalidInputError(f"this is no JSON document: {error}") from error
        version = document.get("schema_version") if isinstance(document, dict) else None
        if version != SCHEMA_VERSION:
            raise InvalidInputError(f"schema_version must be {SCHEMA_VERSION}, got {version!r}")
        table = cls(_row(record) for record in document.get("figures", ()))
        if table.digest() != document.get("sha256"):
            raise InvalidInputError(
                f"the figures were changed: their SHA-256 is {table.digest()}, the file says {document.get('sha256')}"
            )
        return table

    def to_parquet(self, path: Path) -> None:
        """Write the frame as Parquet, with schema version and digest among its metadata."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pa.Table.from_pandas(self.frame(), preserve_index=False)
        own = {b"understudy.schema_version": str(SCHEMA_VERSION).encode(), b"understudy.sha256": self.digest().encode()}
        buffer = io.BytesIO()
        pq.write_table(table.replace_schema_metadata({**(table.schema.metadata or {}), **own}), buffer)
        write_atomic(path, buffer.getvalue())

    @classmethod
    def from_parquet(cls, path: Path) -> AuditTable:
        """Read what ``to_parquet`` wrote."""
        import pyarrow.parquet as pq

        stored = pq.read_table(path)
        version = (stored.schema.metadata or {}).get(b"understudy.schema_version", b"none").decode()
        if version != str(SCHEMA_VERSION):
            raise InvalidInputError(f"{path}: schema_version must be {SCHEMA_VERSION}, got {version}")
        return cls.from_frame(stored.to_pandas())


def _plain(value: object) -> object:
    """A value as JSON has it: None for NaN, Python numbers."""
    if isinstance(value, StrEnum):
        return str(value)
    if isinstance(value, float | np.floating):
        return None if np.isnan(value) else float(value)
    return int(value) if isinstance(value, np.integer) else value


def _row(record: Mapping[Any, Any]) -> Row:
    """A row from a dictionary with exactly the columns."""
    if set(record) != set(COLUMNS):
        raise InvalidInputError(f"a row must have {sorted(COLUMNS)}, got {sorted(map(str, record))}")
    values = dict(record)
    for field in fields(Row):
        value = values[field.name]
        if field.name in _WHOLE:
            values[field.name] = int(value)
        elif field.name not in _TEXT:
            values[field.name] = NAN if value is None else float(value)
    try:
        values["status"] = Status(values["status"])
    except ValueError as error:
        raise InvalidInputError(
            f"status must be one of {[str(s) for s in Status]}, got {values['status']!r}"
        ) from error
    return Row(**values)


def group_name(attribute: str, name: str) -> str:
    """How a group is written in the table: "skin_tone=dark"."""
    return f"{attribute}={name}"
