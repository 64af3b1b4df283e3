"""What comes before and after the stages of any run: the places it writes to, the lock, the ledger, the tables."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import Protocol

from understudy.batch.engine import Run, Watch
from understudy.batch.films import FilmMaker, Films
from understudy.batch.folder import Outputs, folds_names, remove_results
from understudy.batch.items import Inputs
from understudy.batch.keeper import MAX_OPEN, Keeper
from understudy.batch.ledger import Ledger
from understudy.batch.progress import Event
from understudy.batch.settings import RunSettings
from understudy.batch.shard import Shard
from understudy.batch.store import LocalStore
from understudy.batch.summary import RunSummary
from understudy.batch.tables import has_tables, write_run_file, write_tables
from understudy.batch.workspace import SPOOL, STAGING, Workspace, open_workspace
from understudy.errors import OutputError


def ignore(event: Event) -> None:
    """No report."""


@dataclass(frozen=True)
class Errand:
    """What a run is to do, whatever works on it.

    Parameters
    ----------
    inputs : Inputs
        From ``open_inputs``.
    output : path or address
        New, empty, or written by an earlier run.
    fingerprint : mapping
        What results depend on (configuration, weights, versions); compared with that of the earlier run.
    report : callable
        Called in the calling thread with an ``Event`` for each settled input, in the order of settling; those that an
        earlier run had settled come by number.
    state : path, optional
        Folder of this machine for ledger and tables; left out: the output folder, or for an address a folder below
        ``~/.local/state``.
    shard : Shard, optional
        Work on this part of the collection only.
    record : mapping, optional
        What ``run.yaml`` says; left out: there is none.
    watch : callable, optional
        Called about once a second with what is in flight and how long the queues are.
    film : FilmMaker, optional
        Anonymises films among the pictures; left out: they are refused.
    """

    inputs: Inputs
    output: str | os.PathLike[str]
    fingerprint: Mapping[str, object]
    report: Callable[[Event], object] = ignore
    state: str | os.PathLike[str] | None = None
    shard: Shard | None = None
    record: Mapping[str, object] | None = None
    watch: Watch | None = None
    film: FilmMaker | None = None


class MakeRun(Protocol):
    """Makes the run itself, once the places are there."""

    def __call__(
        self,
        inputs: Inputs,
        ledger: Ledger,
        outputs: Outputs,
        settings: RunSettings,
        report: Callable[[Event], object],
        *,
        shard: Shard | None,
        watch: Watch | None,
        lost: list[BaseException],
    ) -> Run:
        """A run that was not started."""


def carry_out(make: MakeRun, errand: Errand, settings: RunSettings, *, max_open: int = MAX_OPEN) -> RunSummary:
    """Do an errand, going on where an earlier run on its output stopped.

    Raises
    ------
    OutputError
        The output cannot be written, is in use, or is not ours. What was finished stays.
    StateMismatchError
        Fingerprint or a source changed since the earlier run.
    RunInterruptedError
        A KeyboardInterrupt: SIGINT or SIGTERM came, and everything is in order.
    """
    shard, record = errand.shard, errand.record
    place = open_workspace(errand.output, errand.inputs, state=errand.state, shard=shard)
    lost: list[BaseException] = []
    with place.held(lost.append):
        place.fetch()
        with closing(Ledger(place.state)) as ledger:
            was_clean = _begin(place, ledger, settings, errand.fingerprint, shard)
            staging = LocalStore(place.state / STAGING)
            outputs = Outputs(
                place.store, ledger, folds=place.images is not None and folds_names(place.state), staging=staging
            )
            run = make(
                errand.inputs, ledger, outputs, settings, errand.report, shard=shard, watch=errand.watch, lost=lost
            )
            run.keeper = Keeper(ledger, place.store, staging, place.state / SPOOL, run.tell_later, max_open)
            run.films = None if errand.film is None else Films(errand.film, ledger, outputs, place.state)
            _write_record(place, record, shard)
            try:
                with _snapshots(place, ledger, settings.snapshot_s):
                    summary = run.go()
            except BaseException:
                with suppress(OutputError):  # the first error is the one to tell
                    if not lost:
                        ledger.put("stopped", True)
                        _end(place, ledger, write=True)
                raise
            if shard is not None:
                ledger.put("collection", run.census.record())
                _write_record(place, record, shard, run.census.record())
            _end(place, ledger, write=ledger.changed or not was_clean or not has_tables(place.state))
            place.tidy()
            return summary


def _begin(
    place: Workspace, ledger: Ledger, settings: RunSettings, fingerprint: Mapping[str, object], shard: Shard | None
) -> bool:
    """Whether the run before ended by itself; from here on, this one has begun."""
    was_clean = ledger.clean
    if not was_clean:
        place.clean_up()
    place.begin(ledger)
    if settings.resume == "restart":
        remove_results(place.store, ledger)
        place.forget()
        place.tidy()
        ledger.restart()
    ledger.match_fingerprint(fingerprint)
    ledger.mark(clean=False)
    ledger.put("shard", None if shard is None else str(shard))
    ledger.put("collection", None)
    ledger.put("stopped", False)
    return was_clean


def _write_record(
    place: Workspace,
    record: Mapping[str, object] | None,
    shard: Shard | None,
    collection: Mapping[str, object] | None = None,
) -> None:
    if record is None:
        return
    part = {} if shard is None else {"shard": str(shard), "collection": dict(collection) if collection else None}
    write_run_file(place.state, {**record, **part})


def _end(place: Workspace, ledger: Ledger, *, write: bool) -> None:
    if write:
        write_tables(place.state, ledger)
    ledger.mark(clean=True)
    place.publish(ledger, tables=True)


@contextmanager
def _snapshots(place: Workspace, ledger: Ledger, every_s: float) -> Iterator[None]:
    """Copy the ledger to an address now and then; a copy that fails is tried again the next time."""
    if not place.root:
        yield
        return
    ended = threading.Event()

    def copy() -> None:
        while not ended.wait(every_s):
            with suppress(OutputError):
                place.publish(ledger, tables=False)

    thread = threading.Thread(target=copy, name="snapshot", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
