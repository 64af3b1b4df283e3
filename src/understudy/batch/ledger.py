"""What was done with every input: one SQLite database in the output folder, which makes a run resumable.

A picture is written first and its row is committed after that, so that a row always stands for a whole file; a file
without a row is simply made again, to the same bytes. Raw digests of sources stay here; tables carry keyed ones.
"""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import cast

from understudy.batch.sources import printable
from understudy.errors import OutputError, StateMismatchError

LEDGER_FILE = "ledger.db"

_VERSION = 1
_LOCAL = frozenset(
    {"apfs", "bcachefs", "btrfs", "exfat", "ext2", "ext3", "ext4", "f2fs", "jfs", "ntfs", "ntfs3"}
    | {"overlay", "ramfs", "reiserfs", "tmpfs", "ufs", "vfat", "xfs", "zfs"}
)
"""File systems of disks in this machine, where SQLite's write-ahead log may share memory between processes."""

_SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE items (
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


_COLUMNS = tuple(Row.__dataclass_fields__)
_PATHS = frozenset({"image_id", "path", "output", "output_key"})
_INSERT = (
    f"INSERT INTO items ({', '.join(_COLUMNS)}) VALUES "  # noqa: S608 - names of our own columns
    f"({', '.join('CAST(? AS TEXT)' if name in _PATHS else '?' for name in _COLUMNS)}) "
    f"ON CONFLICT (image_id) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in _COLUMNS[1:])}"
)
_LOOKUP = (*(name for name in _COLUMNS if name not in {"notes", "regions"}),)
_FIND = f"SELECT {', '.join(_LOOKUP)} FROM items WHERE image_id = CAST(? AS TEXT)"  # noqa: S608 - as above


def _encoded(row: Row) -> list[object]:
    values: list[object] = []
    for name in _COLUMNS:
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


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


class Ledger:
    """An open ledger. Methods may be called from any thread; they take turns.

    Parameters
    ----------
    folder : Path
        The output folder; the caller holds its lock.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / LEDGER_FILE
        self._lock = threading.Lock()
        self.changed = False
        """Whether rows were written since it was opened."""
        with self._guarded():
            self._connection = sqlite3.connect(
                self.path, timeout=30, isolation_level=None, check_same_thread=False, cached_statements=32
            )
            self._connection.text_factory = _text
            self.journal = self._set_journal(is_local(folder))
            self._connection.execute("PRAGMA temp_store = FILE")
            self._create()

    def _set_journal(self, local: bool) -> str:
        """Write-ahead log on local disks, rollback journal elsewhere or where the log does not work."""
        if local:
            mode = str(self._connection.execute("PRAGMA journal_mode = WAL").fetchone()[0])
            if mode == "wal":
                # a lost power supply can take the last commits, never a half one; those pictures are made again
                self._connection.execute("PRAGMA synchronous = NORMAL")
                return mode
        mode = str(self._connection.execute("PRAGMA journal_mode = DELETE").fetchone()[0])
        self._connection.execute("PRAGMA synchronous = FULL")
        return mode

    def _create(self) -> None:
        tables = {name for (name,) in self._connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if not tables:
            self._connection.execute("BEGIN IMMEDIATE")
            for statement in _SCHEMA.split(";\n"):
                if statement.strip():
                    self._connection.execute(statement)
            self._set("version", _VERSION)
            self._set("fingerprint", None)
            self._set("run_key", secrets.token_hex(32))
            self._set("clean", False)
            self._connection.execute("COMMIT")
        version = self._get("version") if not tables or "meta" in tables else None
        if version != _VERSION:
            raise OutputError(
                f"{str(self.path)!r} is no ledger of this version (found {version!r}, expected {_VERSION}): "
                "give another output folder"
            )

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """One thread at a time, and SQLite's errors as ours."""
        with self._lock:
            try:
                yield
            except sqlite3.Error as error:
                raise OutputError(_explain(self.path, error)) from error

    def _get(self, name: str) -> object:
        found = self._connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return None if found is None else json.loads(found[0])

    def _set(self, name: str, value: object) -> None:
        self._connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, json.dumps(value)))

    @property
    def run_key(self) -> bytes:
        """Key of the run's keyed digests, 32 bytes."""
        with self._guarded():
            return bytes.fromhex(str(self._get("run_key")))

    @property
    def clean(self) -> bool:
        """Whether the last run ended by itself, so that it left no temporary files."""
        with self._guarded():
            return bool(self._get("clean"))

    def mark(self, *, clean: bool) -> None:
        """Write down that a run is under way, or that it ended."""
        with self._guarded():
            self._set("clean", clean)

    def match_fingerprint(self, fingerprint: Mapping[str, object]) -> None:
        """Keep what the run is made with; compare where there are results already.

        Parameters
        ----------
        fingerprint : mapping
            May be nested; keys are joined with dots. Values are JSON's.

        Raises
        ------
        StateMismatchError
            Names the keys that differ. Where nothing is done yet, the new fingerprint is taken instead.
        """
        new = dict(sorted(_flatten(fingerprint)))
        with self._guarded():
            old = cast("dict[str, object] | None", self._get("fingerprint"))
            if old is not None and old != new and self._any_done():
                changed = [
                    f"{key} was {_short(old.get(key))}, is {_short(new.get(key))}"
                    for key in sorted(old.keys() | new.keys())
                    if old.get(key) != new.get(key)
                ]
                raise StateMismatchError(
                    f"{str(self.path.parent)!r} was begun with other settings: {'; '.join(changed)}. "
                    "Give the earlier ones, another output folder, or resume=restart to begin anew"
                )
            if old != new:
                self.changed = True
                self._connection.execute("DELETE FROM items")
                self._set("fingerprint", new)

    def _any_done(self) -> bool:
        return self._connection.execute("SELECT 1 FROM items WHERE output IS NOT NULL LIMIT 1").fetchone() is not None

    def find(self, image_id: str) -> Row | None:
        """The row of one input, without its notes and regions."""
        with self._guarded():
            found = self._connection.execute(_FIND, (os.fsencode(image_id),)).fetchone()
        if found is None:
            return None
        values = dict(zip(_LOOKUP, found, strict=True))
        return Row(**{**values, "status": Status(values["status"])})

    def owner_of(self, output_key: str) -> str | None:
        """Id of the input whose output has this key."""
        with self._guarded():
            found = self._connection.execute(
                "SELECT image_id FROM items WHERE output_key = CAST(? AS TEXT)", (os.fsencode(output_key),)
            ).fetchone()
        return None if found is None else str(found[0])

    def record(self, rows: Iterable[Row]) -> None:
        """Commit rows in one transaction; a row of the same input is replaced."""
        values = [_encoded(row) for row in rows]
        self.changed = True
        with self._guarded():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                self._connection.executemany(_INSERT, values)
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def touch(self, image_id: str, source_bytes: int, source_mtime_ns: int) -> None:
        """Remember the new time stamp of a source whose bytes are unchanged."""
        with self._guarded():
            self._connection.execute(
                "UPDATE items SET source_bytes = ?, source_mtime_ns = ? WHERE image_id = CAST(? AS TEXT)",
                (source_bytes, source_mtime_ns, os.fsencode(image_id)),
            )

    def rows(self, *, after: str = "", limit: int = 1000) -> list[Row]:
        """Rows in the order of their ids, a page at a time: those with ids greater than ``after``."""
        with self._guarded():
            found = self._connection.execute(
                f"SELECT {', '.join(_COLUMNS)} FROM items WHERE image_id > CAST(? AS TEXT) "  # noqa: S608 - as above
                "ORDER BY image_id LIMIT ?",
                (os.fsencode(after), limit),
            ).fetchall()
        rows = []
        for values in (dict(zip(_COLUMNS, row, strict=True)) for row in found):
            values["status"] = Status(values["status"])
            values["notes"] = tuple(json.loads(values["notes"]))
            values["regions"] = tuple(json.loads(values["regions"]))
            rows.append(Row(**values))
        return rows

    def outputs(self) -> Iterator[str]:
        """Paths of everything that was written, relative to the output folder."""
        after = ""
        while True:
            with self._guarded():
                page = self._connection.execute(
                    "SELECT image_id, output FROM items WHERE image_id > CAST(? AS TEXT) AND output IS NOT NULL "
                    "ORDER BY image_id LIMIT 1000",
                    (os.fsencode(after),),
                ).fetchall()
            if not page:
                return
            yield from (str(output) for _, output in page)
            after = page[-1][0]

    def restart(self) -> None:
        """Forget everything, and take a new key."""
        self.changed = True
        with self._guarded():
            self._connection.execute("DELETE FROM items")
            self._set("fingerprint", None)
            self._set("run_key", secrets.token_hex(32))

    def close(self) -> None:
        """Close the database; with the write-ahead log, that folds the log into it."""
        with self._guarded():
            self._connection.close()


def _flatten(value: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, inner in value.items():
        name = f"{prefix}{key}"
        if isinstance(inner, Mapping):
            yield from _flatten(inner, f"{name}.")
        else:
            yield name, json.loads(json.dumps(inner, default=str))


def _short(value: object) -> str:
    text = "absent" if value is None else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _explain(path: Path, error: sqlite3.Error) -> str:
    text = str(error)
    if "full" in text:
        return f"no space is left for {str(path)!r}: make room and start the same command again"
    if "readonly" in text or "unable to open" in text:
        return f"{str(path)!r} cannot be written ({text}): check the folder's permissions, or give another one"
    if "malformed" in text or "not a database" in text:
        return f"{str(path)!r} is damaged ({text}): give another output folder, or delete this one and begin anew"
    return f"{str(path)!r} cannot be used: {text}"


def is_local(folder: Path) -> bool:
    """Whether a folder lies on a disk of this machine; False where that cannot be told."""
    try:
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return False
    real = os.path.realpath(folder)
    best, kind = "", ""
    for line in mounts:
        fields, _, rest = line.partition(" - ")
        point = fields.split(" ")[4].replace("\\040", " ")
        if (real == point or real.startswith(point.rstrip("/") + "/")) and len(point) >= len(best):
            best, kind = point, rest.split(" ")[0]
    return kind in _LOCAL
