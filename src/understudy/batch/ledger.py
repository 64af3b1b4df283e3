"""What was done with every input: one SQLite database, which makes a run resumable.

It lies in the output folder, or in a state folder of this machine where the output is at an address. A picture is
written first and its row is committed after that, so that a row always stands for a whole file; a file without a row is
simply made again, to the same bytes. Raw digests of sources stay here; tables carry keyed ones.
"""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import cast

from understudy.batch.ledger_reader import LEDGER_FILE, VERSION, LedgerReader, explain
from understudy.batch.rows import INSERT, SCHEMA, ContainerRow, Row, Status, encoded
from understudy.errors import OutputError, StateMismatchError

__all__ = ["LEDGER_FILE", "ContainerRow", "Ledger", "Row", "Status", "is_local"]

N_NAMED = 6
"""Changed settings that a message names."""
_LOCAL = frozenset(
    {"apfs", "bcachefs", "btrfs", "exfat", "ext2", "ext3", "ext4", "f2fs", "jfs", "ntfs", "ntfs3"}
    | {"overlay", "ramfs", "reiserfs", "tmpfs", "ufs", "vfat", "xfs", "zfs"}
)
"""File systems of disks in this machine, where SQLite's write-ahead log may share memory between processes."""


class Ledger(LedgerReader):
    """An open ledger. Methods may be called from any thread; they take turns.

    Parameters
    ----------
    folder : Path
        The output folder, or the state folder; the caller holds its lock.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / LEDGER_FILE
        self.changed = False
        """Whether rows were written since it was opened."""
        try:
            connection = sqlite3.connect(
                path, timeout=30, isolation_level=None, check_same_thread=False, cached_statements=32
            )
        except sqlite3.Error as error:
            raise OutputError(explain(path, error)) from error
        super().__init__(path, connection)
        with self._guarded():
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
            self._add_tables()
            self._set("version", VERSION)
            self._set("fingerprint", None)
            self._set("run_key", secrets.token_hex(32))
            self._set("clean", False)
            self._connection.execute("COMMIT")
        version = self._get("version") if not tables or "meta" in tables else None
        if version != VERSION:
            raise OutputError(
                f"{str(self.path)!r} is no ledger of this version (found {version!r}, expected {VERSION}): "
                "give another output folder"
            )
        if tables and "containers" not in tables:
            self._add_tables()

    def _add_tables(self) -> None:
        for statement in SCHEMA.split(";\n"):
            if statement.strip():
                self._connection.execute(statement)

    def _set(self, name: str, value: object) -> None:
        self._connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, json.dumps(value)))

    def put(self, name: str, value: object) -> None:
        """Write a value of JSON down beside the rows."""
        with self._guarded():
            self._set(name, value)

    def mark(self, *, clean: bool) -> None:
        """Write down that a run is under way, or that it ended."""
        self.put("clean", clean)

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
                raise StateMismatchError(
                    f"{str(self.path.parent)!r} was begun with other settings: {differences(old, new)}. "
                    "Give the earlier ones, another output folder, or resume=restart to begin anew"
                )
            if old != new:
                self.changed = True
                self._connection.execute("DELETE FROM items")
                self._connection.execute("DELETE FROM containers")
                self._set("fingerprint", new)

    def _any_done(self) -> bool:
        return self._connection.execute("SELECT 1 FROM items WHERE output IS NOT NULL LIMIT 1").fetchone() is not None

    def record(self, rows: Iterable[Row]) -> None:
        """Commit rows in one transaction; a row of the same input is replaced."""
        values = [encoded(row) for row in rows]
        self.changed = True
        with self._guarded():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                self._connection.executemany(INSERT, values)
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def touch(self, image_id: str, source_bytes: int, source_mtime_ns: int) -> None:
        """Remember the new time stamp of a source whose bytes are unchanged."""
        with self._guarded():
            for table in ("items", "containers"):
                self._connection.execute(
                    f"UPDATE {table} SET source_bytes = ?, source_mtime_ns = ? "  # noqa: S608 - one of two names
                    "WHERE image_id = CAST(? AS TEXT)",
                    (source_bytes, source_mtime_ns, os.fsencode(image_id)),
                )

    def record_container(self, row: ContainerRow) -> None:
        """Commit that a container is there whole."""
        self.changed = True
        with self._guarded():
            self._connection.execute(
                "INSERT OR REPLACE INTO containers VALUES (CAST(? AS TEXT), ?, ?, ?, CAST(? AS TEXT), ?)",
                (
                    os.fsencode(row.image_id),
                    row.digest,
                    row.source_bytes,
                    row.source_mtime_ns,
                    os.fsencode(row.output),
                    row.output_bytes,
                ),
            )

    def forget_members(self, image_id: str) -> None:
        """Delete the rows of a container's pictures: nothing was made of them after all."""
        self.changed = True
        with self._guarded():
            self._connection.execute(
                "DELETE FROM items WHERE image_id > CAST(? AS TEXT) AND image_id < CAST(? AS TEXT)",
                (os.fsencode(f"{image_id}/"), os.fsencode(f"{image_id}0")),
            )

    def restart(self) -> None:
        """Forget everything, and take a new key."""
        self.changed = True
        with self._guarded():
            self._connection.execute("DELETE FROM items")
            self._connection.execute("DELETE FROM containers")
            self._set("fingerprint", None)
            self._set("films", None)
            self._set("run_key", secrets.token_hex(32))


def _flatten(value: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, inner in value.items():
        name = f"{prefix}{key}"
        if isinstance(inner, Mapping):
            yield from _flatten(inner, f"{name}.")
        else:
            yield name, json.loads(json.dumps(inner, default=str))


def differences(old: Mapping[str, object], new: Mapping[str, object]) -> str:
    """The keys of two flat mappings that differ, with both values: those of whole parts first, ``N_NAMED`` at most."""
    keys = sorted(
        (key for key in old.keys() | new.keys() if old.get(key) != new.get(key)),
        key=lambda key: (not key.endswith("_target_"), key.count(".") if key.endswith("_target_") else 0, key),
    )
    named = [f"{key} was {_short(old.get(key))}, is {_short(new.get(key))}" for key in keys[:N_NAMED]]
    more = [f"and {len(keys) - N_NAMED} more"] if len(keys) > N_NAMED else []
    return "; ".join([*named, *more])


def _short(value: object) -> str:
    text = "absent" if value is None else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


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
