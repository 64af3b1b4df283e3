"""Reading a ledger, of a run that is under way, that has ended, or that was killed, without disturbing it."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from understudy.batch.rows import COLUMNS, FIND, LOOKUP, ContainerRow, Row, Status, as_text, decoded, looked_up
from understudy.errors import OutputError

LEDGER_FILE = "ledger.db"
VERSION = 1
_MANY = 500


class LedgerReader:
    """What can be asked of a ledger. Methods may be called from any thread; they take turns.

    Parameters
    ----------
    path : Path
    connection : sqlite3.Connection
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._connection = connection
        self._connection.text_factory = as_text

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """One thread at a time, and SQLite's errors as ours."""
        with self._lock:
            try:
                yield
            except sqlite3.Error as error:
                raise OutputError(explain(self.path, error)) from error

    def _get(self, name: str) -> object:
        found = self._connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return None if found is None else json.loads(found[0])

    def get(self, name: str) -> object:
        """A value that a run wrote down beside its rows; None where it did not."""
        with self._guarded():
            return self._get(name)

    @property
    def run_key(self) -> bytes:
        """Key of the run's keyed digests, 32 bytes."""
        return bytes.fromhex(str(self.get("run_key")))

    @property
    def clean(self) -> bool:
        """Whether the last run ended by itself, so that it left no temporary files."""
        return bool(self.get("clean"))

    @property
    def stopped(self) -> bool:
        """Whether the last run ended before it was through: by a signal, or by an error such as a full disk."""
        return bool(self.get("stopped"))

    def find(self, image_id: str) -> Row | None:
        """The row of one input, without its notes and regions."""
        with self._guarded():
            found = self._connection.execute(FIND, (os.fsencode(image_id),)).fetchone()
        return None if found is None else looked_up(found)

    def find_many(self, image_ids: Sequence[str]) -> dict[str, Row]:
        """The rows of those inputs that have one, without notes and regions."""
        found: dict[str, Row] = {}
        for start in range(0, len(image_ids), _MANY):
            wanted = image_ids[start : start + _MANY]
            marks = ", ".join(["CAST(? AS TEXT)"] * len(wanted))
            with self._guarded():
                rows = self._connection.execute(
                    f"SELECT {', '.join(LOOKUP)} FROM items WHERE image_id IN ({marks})",  # noqa: S608 - our own names
                    [os.fsencode(image_id) for image_id in wanted],
                ).fetchall()
            found.update((row.image_id, row) for row in map(looked_up, rows))
        return found

    def owner_of(self, output_key: str) -> str | None:
        """Id of the input whose output has this key."""
        with self._guarded():
            found = self._connection.execute(
                "SELECT image_id FROM items WHERE output_key = CAST(? AS TEXT)", (os.fsencode(output_key),)
            ).fetchone()
        return None if found is None else str(found[0])

    def rows(self, *, after: str = "", below: str | None = None, limit: int = 1000) -> list[Row]:
        """Rows in the order of their ids, a page at a time: those with ids greater than ``after``.

        ``below`` is the id of a container: only rows of pictures in it.
        """
        first, last = _span(below)
        with self._guarded():
            found = self._connection.execute(
                f"SELECT {', '.join(COLUMNS)} FROM items WHERE image_id > CAST(? AS TEXT) "  # noqa: S608 - our own names
                "AND image_id < CAST(? AS TEXT) ORDER BY image_id LIMIT ?",
                (os.fsencode(after or first), last, limit),
            ).fetchall()
        return [decoded(row) for row in found]

    def counts(self, below: str | None = None) -> dict[Status, tuple[int, int, int, int]]:
        """Inputs by status, with their regions that were replaced, filled and obscured; see ``rows``."""
        first, last = _span(below)
        with self._guarded():
            found = self._connection.execute(
                "SELECT status, COUNT(*), SUM(n_replaced), SUM(n_filled), SUM(n_obscured) FROM items "
                "WHERE image_id > CAST(? AS TEXT) AND image_id < CAST(? AS TEXT) GROUP BY status",
                (os.fsencode(first), last),
            ).fetchall()
        return {Status(status): (int(n), int(a), int(b), int(c)) for status, n, a, b, c in found}

    def failures(self, limit: int, below: str | None = None) -> list[Row]:
        """The first inputs that failed, were refused or quarantined, by id."""
        first, last = _span(below)
        with self._guarded():
            found = self._connection.execute(
                f"SELECT {', '.join(LOOKUP)} FROM items "  # noqa: S608 - our own names
                "WHERE image_id > CAST(? AS TEXT) AND image_id < CAST(? AS TEXT) "
                "AND status IN ('failed', 'quarantined', 'refused') ORDER BY image_id LIMIT ?",
                (os.fsencode(first), last, limit),
            ).fetchall()
        return [looked_up(row) for row in found]

    def outputs(self) -> Iterator[str]:
        """Paths of everything that was written, relative to the output folder; a container's is one."""
        after = ""
        while True:
            with self._guarded():
                page = self._connection.execute(
                    "SELECT image_id, output FROM items WHERE image_id > CAST(? AS TEXT) AND output IS NOT NULL "
                    "ORDER BY image_id LIMIT 1000",
                    (os.fsencode(after),),
                ).fetchall()
            if not page:
                break
            yield from (str(output) for _, output in page)
            after = page[-1][0]
        with self._guarded():
            containers = self._connection.execute("SELECT output FROM containers").fetchall()
        yield from (str(output) for (output,) in containers)

    def find_container(self, image_id: str) -> ContainerRow | None:
        """A container that was written again."""
        with self._guarded():
            found = self._connection.execute(
                "SELECT image_id, digest, source_bytes, source_mtime_ns, output, output_bytes FROM containers "
                "WHERE image_id = CAST(? AS TEXT)",
                (os.fsencode(image_id),),
            ).fetchone()
        return None if found is None else ContainerRow(*found)

    def containers(self) -> Iterator[ContainerRow]:
        """All containers that were written again."""
        with self._guarded():
            found = self._connection.execute(
                "SELECT image_id, digest, source_bytes, source_mtime_ns, output, output_bytes FROM containers "
                "ORDER BY image_id"
            ).fetchall()
        yield from (ContainerRow(*row) for row in found)

    def backup(self, path: Path) -> None:
        """Copy the ledger as it is at this moment."""
        with self._guarded():
            target = sqlite3.connect(path)
            try:
                self._connection.backup(target)
                target.execute("PRAGMA journal_mode = DELETE")
            finally:
                target.close()

    def close(self) -> None:
        """Close the database."""
        with self._guarded():
            self._connection.close()


def _span(below: str | None) -> tuple[str, bytes]:
    """Ids between these belong to a container, or all of them."""
    return ("", b"\xff\xff") if below is None else (f"{below}/", os.fsencode(f"{below}0"))


@contextmanager
def read_ledger(folder: Path) -> Iterator[LedgerReader]:
    """Open the ledger of a folder for reading only: nothing is written there, whatever state it is in.

    Raises
    ------
    OutputError
        There is none, or it cannot be read.
    """
    path = folder / LEDGER_FILE
    if not path.is_file():
        raise OutputError(f"{str(folder)!r} holds no {LEDGER_FILE}")
    with tempfile.TemporaryDirectory(prefix="understudy-") as aside:
        reader = _open(path, Path(aside))
        try:
            if reader.get("version") != VERSION:
                raise OutputError(f"{str(path)!r} is no ledger of this version: it was written by another understudy")
            yield reader
        finally:
            reader.close()


def _open(path: Path, aside: Path) -> LedgerReader:
    """Beside a write-ahead log, the shared index of whoever writes is used; a log that nobody serves is read in a copy.

    A rollback journal means that a write was cut off: then too, a copy is recovered and read.
    """
    log, index, journal = (path.with_name(f"{path.name}{end}") for end in ("-wal", "-shm", "-journal"))
    if _has_content(log) and index.exists():
        with suppress(sqlite3.Error):
            return _try(path, "mode=ro")
    if not _has_content(log) and not _has_content(journal):
        with suppress(sqlite3.Error):
            return _try(path, "mode=ro&immutable=1")
    try:
        for file in (path, log, journal):
            if file.exists():
                shutil.copy2(file, aside / file.name)
        return _try(aside / path.name, "mode=rwc")
    except (OSError, sqlite3.Error) as error:
        raise OutputError(f"{str(path)!r} cannot be read: {error}") from error


def _has_content(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except OSError:
        return False


def _try(path: Path, how: str) -> LedgerReader:
    quoted = str(path).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    connection = sqlite3.connect(f"file:{quoted}?{how}", uri=True, timeout=30, check_same_thread=False)
    try:
        connection.execute("SELECT value FROM meta LIMIT 1").fetchone()
    except sqlite3.Error:
        connection.close()
        raise
    return LedgerReader(path, connection)


def explain(path: Path, error: sqlite3.Error) -> str:
    """An error of SQLite as a sentence that says what to do."""
    text = str(error)
    if "full" in text:
        return f"no space is left for {str(path)!r}: make room and start the same command again"
    if "readonly" in text or "unable to open" in text:
        return f"{str(path)!r} cannot be written ({text}): check the folder's permissions, or give another one"
    if "malformed" in text or "not a database" in text:
        return f"{str(path)!r} is damaged ({text}): give another output folder, or delete this one and begin anew"
    return f"{str(path)!r} cannot be used: {text}"
