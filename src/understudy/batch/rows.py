"""One row of the ledger: an input and what became of it, and how SQLite keeps it."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from understudy.batch.sources import printable
from understudy.types import AnonymizedImage

SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS items (
  image_id TEXT PRIMARY KEY,      -- relative POSIX path; bytes as the file system has them
  path TEXT NOT NULL,             -- where it was read
  status TEXT NOT NULL,           -- done, failed, quarantined, refused, skipped
  error TEXT NOT NULL,            -- why it is not done
  digest BLOB,                    -- SHA-256 of the source's bytes
  source_bytes INTEGER, source_mtime_ns INTEGER,
  width INTEGER, height INTEGER,  -- upright pixels
  output TEXT,                    -- relative to the output folder
  output_key TEXT UNIQUE,         -- the same as the file system compares it
  output_digest BLOB, output_bytes INTEGER,
  n_regions INTEGER NOT NULL, n_replaced INTEGER NOT NULL, n_filled INTEGER NOT NULL, n_obscured INTEGER NOT NULL,
  seconds REAL NOT NULL,          -- work on this picture, its share of a batch
  notes TEXT NOT NULL,            -- JSON list of strings
  regions TEXT NOT NULL           -- JSON list, one object for each region
);
CREATE TABLE IF NOT EXISTS containers (
  image_id TEXT PRIMARY KEY,      -- of a file that holds many pictures, whose rows begin with it and a slash
  digest BLOB NOT NULL, source_bytes INTEGER NOT NULL, source_mtime_ns INTEGER NOT NULL,
  output TEXT NOT NULL, output_bytes INTEGER NOT NULL
) WITHOUT ROWID;
"""


class Status(StrEnum):
    """What became of one input."""

    DONE = "done"
    FAILED = "failed"
    """Could not be read or decoded."""
    QUARANTINED = "quarantined"
    """Could be read, but not anonymised with certainty: nothing is written for it."""
    REFUSED = "refused"
    """Not worked on, on purpose: over a limit, animated, a video."""
    SKIPPED = "skipped"
    """No picture, or a link out of the tree: without effect."""


@dataclass(frozen=True, slots=True)
class Row:
    """One input and what became of it."""

    image_id: str
    path: str
    status: Status
    error: str = ""
    digest: bytes | None = None
    source_bytes: int | None = None
    source_mtime_ns: int | None = None
    width: int | None = None
    height: int | None = None
    output: str | None = None
    output_key: str | None = None
    output_digest: bytes | None = None
    output_bytes: int | None = None
    n_regions: int = 0
    n_replaced: int = 0
    n_filled: int = 0
    n_obscured: int = 0
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    regions: tuple[Mapping[str, object], ...] = ()


COLUMNS = tuple(Row.__dataclass_fields__)
_PATHS = frozenset({"image_id", "path", "output", "output_key"})
INSERT = (
    f"INSERT INTO items ({', '.join(COLUMNS)}) VALUES "  # noqa: S608 - names of our own columns
    f"({', '.join('CAST(? AS TEXT)' if name in _PATHS else '?' for name in COLUMNS)}) "
    f"ON CONFLICT (image_id) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in COLUMNS[1:])}"
)
LOOKUP = (*(name for name in COLUMNS if name not in {"notes", "regions"}),)
FIND = f"SELECT {', '.join(LOOKUP)} FROM items WHERE image_id = CAST(? AS TEXT)"  # noqa: S608 - as above


def encoded(row: Row) -> list[object]:
    """A row as the values of ``INSERT``."""
    values: list[object] = []
    for name in COLUMNS:
        value = getattr(row, name)
        if value is None:
            values.append(None)
        elif name in _PATHS:
            values.append(os.fsencode(value))
        elif name in {"notes", "regions"}:
            values.append(json.dumps(value, default=str))
        else:
            values.append(printable(value) if isinstance(value, str) else value)
    return values


def as_text(raw: bytes) -> str:
    """SQLite's text as Python's, whatever bytes it holds."""
    return raw.decode("utf-8", "surrogateescape")


def decoded(values: Iterable[object]) -> Row:
    """A row of all ``COLUMNS`` as it was recorded."""
    found = dict(zip(COLUMNS, values, strict=True))
    return Row(
        **{  # type: ignore[arg-type]  # the columns are the fields
            **found,
            "status": Status(str(found["status"])),
            "notes": tuple(json.loads(str(found["notes"]))),
            "regions": tuple(json.loads(str(found["regions"]))),
        }
    )


def looked_up(values: Iterable[object]) -> Row:
    """A row of the columns in ``LOOKUP``: without notes and regions."""
    found = dict(zip(LOOKUP, values, strict=True))
    return Row(**{**found, "status": Status(str(found["status"]))})  # type: ignore[arg-type]  # as above


@dataclass(frozen=True, slots=True)
class ContainerRow:
    """A file with many pictures that was written again, whole."""

    image_id: str
    digest: bytes
    source_bytes: int
    source_mtime_ns: int
    output: str
    output_bytes: int


def region_rows(anonymized: AnonymizedImage) -> list[dict[str, object]]:
    """What became of each region, for the ledger."""
    return [
        {
            "region": outcome.region,
            "xyxy": [round(float(value), 3) for value in outcome.xyxy],
            "kind": str(outcome.detected_as),
            "confidence": round(float(outcome.confidence), 6),
            "outcome": str(outcome.kind),
            "attempts": outcome.attempts,
            "reason": outcome.reason,
            "found_by": outcome.found_by,
            "subject": outcome.subject,
            "readings": {
                name: value if isinstance(value, str) else round(float(value), 6) if math.isfinite(value) else None
                for name, value in outcome.readings.items()
            },
        }
        for outcome in anonymized.outcomes
    ]
