"""Containers on their way: their pictures wait in the staging folder, and each is put together when all are settled."""

from __future__ import annotations

import hashlib
import queue
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from understudy.batch.containers import BrokenContainerError, Container, container_suffix, open_container
from understudy.batch.folder import SUFFIXES, relative_output
from understudy.batch.items import Item
from understudy.batch.ledger import ContainerRow, Ledger, Row, Status
from understudy.batch.progress import Event
from understudy.batch.sources import InputFile, printable
from understudy.batch.store import LocalStore, Store
from understudy.errors import OutputError, StateMismatchError

MAX_OPEN = 2
"""Containers that are read, or wait to be put together, at one time: more would only fill the disk."""
_POLL_S = 0.2


@dataclass
class _Open:
    """A container that was opened and is not there whole yet."""

    item: Item
    version: tuple[int, int]
    container: Container
    path: Path
    key: str
    n_waiting: int = 0
    listed: bool = False
    broken: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)


class Keeper:
    """Opens containers, and writes them again.

    Parameters
    ----------
    ledger : Ledger
    store : Store
        Where they go.
    staging : LocalStore
        Where their pictures wait.
    spool : Path
        Where copies of containers lie that are not on this machine.
    tell : callable
        Told what an earlier run had settled, and what became of a container that could not be read to its end.
    max_open : int
        Containers that are read, or wait to be put together, at one time.
    """

    def __init__(
        self,
        ledger: Ledger,
        store: Store,
        staging: LocalStore,
        spool: Path,
        tell: Callable[[Event], object],
        max_open: int = MAX_OPEN,
    ) -> None:
        self._ledger, self._store, self._staging, self._spool, self._tell = ledger, store, staging, spool, tell
        self._open: dict[str, _Open] = {}
        self._ready: queue.SimpleQueue[_Open | None] = queue.SimpleQueue()
        self._room = threading.Semaphore(max_open)
        self._lock = threading.Lock()

    @property
    def idle(self) -> bool:
        """Whether no container is under way."""
        with self._lock:
            return not self._open

    def settled_before(self, item: Item) -> bool:
        """Whether a container was written by an earlier run, and still is what it was.

        Raises
        ------
        StateMismatchError
            Its source changed.
        """
        row = self._ledger.find_container(item.image_id)
        if row is None or not self._store.exists(row.output, row.output_bytes):
            return False
        now = item.version()
        if now is not None and now != (row.source_bytes, row.source_mtime_ns):
            if _file_digest(item.local_copy(self._spool)) != row.digest:
                raise StateMismatchError(
                    f"source {printable(item.image_id)!r} changed since it was anonymised: put the earlier file back, "
                    f"or delete {printable(row.output)!r} in the output to have it made again, or begin anew with "
                    "resume=restart"
                )
            self._ledger.touch(item.image_id, *now)
        for event in _events(self._ledger, item.image_id):
            self._tell(event)
        return True

    def enter(self, item: Item, stopping: Callable[[], bool]) -> str | None:
        """Open a container and make room for it; its key, or None where it holds no pictures.

        Raises
        ------
        BrokenContainerError, OSError
            It cannot be read.
        """
        version = item.version()
        if version is None:
            raise BrokenContainerError("it cannot be reached")
        while not self._room.acquire(timeout=_POLL_S):
            if stopping():
                return None
        key = hashlib.sha256(item.image_id.encode("utf-8", "surrogateescape")).hexdigest()[:16]
        try:
            path = item.local_copy(self._spool)
            container = open_container(item, path, key, version[1])
        except BaseException:
            self._room.release()
            raise
        if container is None:
            self._room.release()
            return None
        with self._lock:
            self._open[key] = _Open(item, version, container, path, key)
        return key

    def members(self, key: str) -> Iterator[Item]:
        """The pictures of an open container; where it breaks off, nothing will be written for it."""
        found = self._open[key]
        try:
            yield from found.container.members()
        except BrokenContainerError as error:
            found.broken = str(error)

    def wait_for(self, item: Item) -> None:
        """A picture of an open container is being worked on."""
        if found := self._of(item):
            with found.lock:
                found.n_waiting += 1

    def all_listed(self, key: str) -> None:
        """No more pictures come from a container."""
        self._change(self._open[key], listed=True)

    def settled(self, item: Item) -> None:
        """A picture's row is committed."""
        if found := self._of(item):
            self._change(found, n_settled=1)

    def _of(self, item: Item) -> _Open | None:
        with self._lock:
            return self._open.get(item.staged.partition("/")[0]) if item.staged else None

    def _change(self, found: _Open, *, listed: bool = False, n_settled: int = 0) -> None:
        with found.lock:
            found.listed = found.listed or listed
            found.n_waiting -= n_settled
            if found.listed and found.n_waiting == 0:
                self._ready.put(found)

    def work(self) -> None:
        """Put containers together until closed; for a thread of its own."""
        while (found := self._ready.get()) is not None:
            if found.broken:
                self._give_up(found)
            else:
                try:
                    self._put_together(found)
                except BrokenContainerError as error:
                    found.broken = str(error)
                    self._give_up(found)
            self._drop(found)

    def close(self) -> None:
        """End ``work`` after the container that it is at."""
        self._ready.put(None)

    def _put_together(self, found: _Open) -> None:
        relative = relative_output(found.item.image_id)
        whole = self._staging.folder / found.key / "whole.part"
        n_replaced = 0

        def replacement(staged: str) -> tuple[Path, str] | None:
            nonlocal n_replaced
            for suffix in SUFFIXES:
                path = self._staging.folder / f"{staged}{suffix}"
                if path.is_file():
                    n_replaced += 1
                    return path, suffix
            return None

        try:
            whole.parent.mkdir(parents=True, exist_ok=True)
            found.container.write(whole, replacement)
            n_done = self._ledger.counts(found.item.image_id).get(Status.DONE, (0, 0, 0, 0))[0]
            if n_done != n_replaced:
                raise OutputError(
                    f"{printable(found.item.image_id)!r} has {n_done} finished pictures, and {n_replaced} wait for it "
                    f"in {printable(str(self._staging.folder))!r}: begin anew with resume=restart"
                )
            n_bytes = whole.stat().st_size
            digest = _file_digest(found.path)
        except OSError as error:
            raise OutputError(f"{printable(str(whole))!r} cannot be written: {error.strerror or error}") from error
        self._store.put(relative, whole)
        self._ledger.record_container(ContainerRow(found.item.image_id, digest, *found.version, relative, n_bytes))

    def _give_up(self, found: _Open) -> None:
        """Nothing is written for a container that cannot be read to its end; it is one failed input."""
        item = found.item
        for status, (n, replaced, filled, obscured) in self._ledger.counts(item.image_id).items():
            outcomes = Counter(replaced=-replaced, filled=-filled, obscured=-obscured)
            self._tell(Event(status, n=-n, outcomes=outcomes))
        self._ledger.forget_members(item.image_id)
        row = Row(item.image_id, item.where, Status.FAILED, printable(found.broken))
        self._ledger.record([row])
        self._tell(Event(row.status, row.image_id, row.error))

    def _drop(self, found: _Open) -> None:
        found.container.close()
        shutil.rmtree(self._staging.folder / found.key, ignore_errors=True)
        if found.path.parent == self._spool:
            with suppress(OSError):
                found.path.unlink()
        with self._lock:
            del self._open[found.key]
        self._room.release()


def is_container(item: Item) -> bool:
    """Whether an item may hold many pictures, by its name."""
    return not item.problem and not item.staged and bool(container_suffix(item.image_id))


def failure(item: Item, problem: str) -> Item:
    """An item as one that cannot be worked on."""
    return InputFile(item.image_id, Path(item.where), problem, "failed")


def _file_digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _events(ledger: Ledger, image_id: str) -> Iterator[Event]:
    """What an earlier run settled in a container: its failures one by one, the rest by number."""
    counts = ledger.counts(image_id)
    named = Counter[Status]()
    for row in ledger.failures(20, image_id):
        named[row.status] += 1
        yield Event(row.status, row.image_id, row.error, resumed=True)
    for status, (n, replaced, filled, obscured) in counts.items():
        if n > named[status]:
            outcomes = Counter(replaced=replaced, filled=filled, obscured=obscured)
            yield Event(status, n=n - named[status], outcomes=+outcomes, resumed=True)
