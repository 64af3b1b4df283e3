"""Finding the ledgers of an output, here or at an address, whole or in parts; nothing is written to any of them."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from understudy.batch import address
from understudy.batch.ledger_reader import LEDGER_FILE, read_ledger
from understudy.batch.lock import LOCK_FILE, is_dead, read_owner
from understudy.batch.rows import Row, Status
from understudy.batch.shard import SHARDS
from understudy.batch.sources import MARKER, printable
from understudy.batch.workspace import RUN_FILE, default_state
from understudy.errors import ConfigError

N_NAMED = 20


@dataclass(frozen=True)
class Part:
    """The ledger's folder of a whole run, or of one part."""

    name: str
    """``3-of-16``; empty for a whole run."""
    folder: Path
    where: str
    """As it is shown."""


@contextmanager
def parts_of(output: str, state: str | None = None) -> Iterator[list[Part]]:
    """The ledgers of an output.

    A ledger on this machine is preferred to its copy at the address, which may be older; copies are fetched into a
    temporary folder.

    Raises
    ------
    ConfigError
        There is none.
    """
    if address.is_address(output) and (here := address.local_path(output)) is not None:
        output = here
    with tempfile.TemporaryDirectory(prefix="understudy-") as aside:
        if address.is_address(output):
            root = output.rstrip("/")
            found = _in_folder(Path(os.path.abspath(state)) if state else default_state(root), root)
            found = found or _fetched(root, Path(aside))
        else:
            folder = Path(os.path.abspath(state or output))
            is_ours = (folder / MARKER).is_file() or state is not None or folder.parent.name == SHARDS
            found = _in_folder(folder, output) if is_ours else []
        if not found:
            raise ConfigError(f"{printable(output)!r} is no output folder of understudy: it has no {LEDGER_FILE}")
        yield found


def _in_folder(folder: Path, shown: str) -> list[Part]:
    if (folder / LEDGER_FILE).is_file():
        name = folder.name if folder.parent.name == SHARDS else ""
        return [Part(name, folder, shown)]
    shards = sorted((folder / SHARDS).glob(f"*/{LEDGER_FILE}"), key=lambda path: _order(path.parent.name))
    return [Part(path.parent.name, path.parent, f"{shown}/{SHARDS}/{path.parent.name}") for path in shards]


def _order(name: str) -> tuple[int, str]:
    number = name.partition("-")[0]
    return (int(number) if number.isdigit() else 0, name)


def _fetched(root: str, aside: Path) -> list[Part]:
    try:
        if address.exists(f"{root}/{LEDGER_FILE}"):
            return [_fetch(root, "", aside)]
        driver, path = address.split(f"{root}/{SHARDS}")
        names = sorted(
            (str(found["name"]).rstrip("/").rpartition("/")[2] for found in driver.ls(path, detail=True)), key=_order
        )
        return [
            _fetch(f"{root}/{SHARDS}/{name}", name, aside)
            for name in names
            if address.exists(f"{root}/{SHARDS}/{name}/{LEDGER_FILE}")
        ]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ConfigError(f"{printable(root)!r} cannot be read: {error.strerror or error}") from error


def _fetch(where: str, name: str, aside: Path) -> Part:
    folder = aside / (name or "whole")
    for file in (LEDGER_FILE, RUN_FILE):
        if file == LEDGER_FILE or address.exists(f"{where}/{file}"):
            address.download(f"{where}/{file}", folder / file)
    return Part(name, folder, f"{where} (its copy of the ledger)")


@dataclass
class Progress:
    """How far a run has come."""

    name: str
    counts: Counter[Status] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    failures: list[Row] = field(default_factory=list)
    n_failures: int = 0
    state: str = ""


def progress_of(part: Part) -> Progress:
    """What a part's ledger says, added up by SQLite; its rows are never held."""
    found = Progress(part.name)
    with read_ledger(part.folder) as ledger:
        for status, (n, replaced, filled, obscured) in ledger.counts().items():
            found.counts[status] = n
            found.outcomes.update(replaced=replaced, filled=filled, obscured=obscured)
        found.failures = ledger.failures(N_NAMED)
        bad = (Status.FAILED, Status.QUARANTINED, Status.REFUSED)
        found.n_failures = sum(found.counts[status] for status in bad)
        clean, stopped = ledger.clean, ledger.stopped
    owner = read_owner(part.folder / LOCK_FILE)
    if owner and not is_dead(owner):
        found.state = f"the run is under way: process {owner.get('pid')} on {owner.get('host')}"
    elif clean and stopped:
        found.state = "the run was stopped before its end: the same command goes on with it"
    elif clean:
        found.state = "the run has ended"
    else:
        found.state = "the run was killed, or is under way elsewhere: the same command goes on with it"
    return found
