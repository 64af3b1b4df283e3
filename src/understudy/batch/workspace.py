"""The places of a run: where pictures go, and where its ledger, lock and tables lie.

Output on this machine: all in the output folder. Output at an address: pictures go there, and the ledger lies in a
state folder of this machine; a copy of ledger and tables is laid beside the pictures while the run goes on and when it
ends, so that a run can go on from another machine. What was written after the last copy is then made again, to the
same bytes. A part of a collection (``shard=3/16``) has its ledger and tables in a folder of its own,
``shards/3-of-16``.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from understudy.batch import address
from understudy.batch.folder import IMAGES, prepare_output, remove_parts
from understudy.batch.items import Inputs
from understudy.batch.ledger import LEDGER_FILE, Ledger
from understudy.batch.ledger_reader import read_ledger
from understudy.batch.lock import locked
from understudy.batch.remote_lock import remotely_locked
from understudy.batch.shard import SHARDS, Shard
from understudy.batch.sources import MARKER, printable
from understudy.batch.store import LocalStore, RemoteStore, Store
from understudy.batch.tables import TABLE_FILES
from understudy.errors import OutputError
from understudy.imaging.files import write_atomic

RUN_FILE = "run.yaml"
STAGING = ".understudy-staging"
SPOOL = ".understudy-spool"
FILM_WORK = ".understudy-films"


@dataclass(frozen=True)
class Workspace:
    """Where one run reads and writes what is its own."""

    shown: str
    """The output as the user named it."""
    store: Store
    state: Path
    """Folder of the ledger, the lock and the tables."""
    below: str
    """Where the tables belong in the store: empty, or ``shards/3-of-16/``."""
    images: Path | None
    """Folder of the pictures, where it is on this machine."""
    tag: str
    root: str = ""
    """Address of the output, where it is one."""

    @contextmanager
    def held(self, lost: Callable[[BaseException], object]) -> Iterator[None]:
        """Let nobody else write here. ``lost`` is told where another machine takes an address over all the same.

        Raises
        ------
        OutputError
            Somebody does.
        """
        with ExitStack() as stack:
            stack.enter_context(locked(self.state))
            if self.root:
                stack.enter_context(remotely_locked(f"{self.root}/{self.below}".rstrip("/"), lost))
            yield

    def fetch(self) -> None:
        """Lay the ledger's copy from the output into the state folder, where it is ahead of what is there."""
        if not self.root:
            self._fetch_here()
            return
        there = _remote_generation(f"{self.root}/{self.below}{MARKER}")
        if there == 0 or ((self.state / LEDGER_FILE).exists() and _generation(self.state) >= there):
            return
        for name in (f"{LEDGER_FILE}-wal", f"{LEDGER_FILE}-shm"):
            (self.state / name).unlink(missing_ok=True)
        try:
            address.download(f"{self.root}/{self.below}{LEDGER_FILE}", self.state / LEDGER_FILE)
        except OSError as error:
            raise OutputError(f"the ledger of {self.store.shown!r} cannot be fetched: {error.strerror}") from error

    def _fetch_here(self) -> None:
        copy = None if self.images is None else self.images.parent / self.below
        if copy is None or copy.resolve() == self.state.resolve() or not (copy / LEDGER_FILE).exists():
            return
        if (self.state / LEDGER_FILE).exists() and _generation(self.state) >= _generation(copy):
            return
        shutil.copyfile(copy / LEDGER_FILE, self.state / LEDGER_FILE)

    def begin(self, ledger: Ledger) -> None:
        """See that a state folder is not used for two outputs, and count the run."""
        owner = ledger.get("output")
        mine = self.root or str(self.images)
        if owner not in (None, mine) and ledger.get("fingerprint") is not None:
            raise OutputError(
                f"state folder {printable(str(self.state))!r} belongs to the output {owner!r}, not to {mine!r}: "
                "give another state folder"
            )
        ledger.put("output", printable(mine))
        ledger.put("generation", _number(ledger.get("generation")) + 1)

    def publish(self, ledger: Ledger, *, tables: bool) -> None:
        """Copy ledger and tables to the output, where they do not lie in it.

        Raises
        ------
        OutputError
        """
        if self.images is not None and self.state.is_relative_to(self.images.parent):
            return
        names = [*TABLE_FILES, RUN_FILE] if tables else [RUN_FILE]
        for name in names:
            if (self.state / name).exists():
                self._copy(name, self.state / name)
        copy = self.state / f".understudy-{LEDGER_FILE}.part"
        copy.unlink(missing_ok=True)
        try:
            ledger.backup(copy)
            self._copy(LEDGER_FILE, copy)
        finally:
            copy.unlink(missing_ok=True)
        if self.root:
            mark = {"written by": "understudy anonymize", "generation": _number(ledger.get("generation"))}
            self.store.write(f"{self.below}{MARKER}", json.dumps(mark).encode() + b"\n")

    def _copy(self, name: str, path: Path) -> None:
        if isinstance(self.store, LocalStore):
            self.store.write(f"{self.below}{name}", path.read_bytes())
        else:
            self.store.put(f"{self.below}{name}", path)

    def clean_up(self) -> None:
        """Remove what a killed run left half written."""
        remove_parts(self.state, self.images, self.tag)

    def tidy(self) -> None:
        """Remove what waited for containers, and folders of films under way: there are none any more."""
        for name in (STAGING, SPOOL, FILM_WORK):
            shutil.rmtree(self.state / name, ignore_errors=True)

    def forget(self) -> None:
        """Remove tables and run file, for a run that begins anew."""
        for name in (*TABLE_FILES, RUN_FILE):
            (self.state / name).unlink(missing_ok=True)
            if not self.state.is_relative_to(self.images.parent if self.images else Path("/nowhere")):
                self.store.remove(f"{self.below}{name}")


def _generation(folder: Path) -> int:
    with read_ledger(folder) as ledger:
        return _number(ledger.get("generation"))


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0


def _remote_generation(where: str) -> int:
    try:
        found = json.loads(address.read_bytes(where))
    except (FileNotFoundError, ValueError):
        return 0
    except OSError as error:
        raise OutputError(f"{printable(where)!r} cannot be read: {error.strerror}") from error
    return _number(found.get("generation")) if isinstance(found, dict) else 0


def default_state(root: str) -> Path:
    """State folder of an output at an address: below ``XDG_STATE_HOME``, or ``~/.local/state``."""
    base = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    name = "".join(c if c.isalnum() or c in "-." else "-" for c in root.rpartition("/")[2])[:40] or "output"
    return base / "understudy" / f"{name}-{hashlib.sha256(root.encode()).hexdigest()[:8]}"


def open_workspace(
    output: str | os.PathLike[str],
    inputs: Inputs,
    *,
    state: str | os.PathLike[str] | None = None,
    shard: Shard | None = None,
) -> Workspace:
    """Make the places of a run, unless they hold what is not ours.

    Raises
    ------
    OutputError
        An output that cannot be written, is not ours, or is the input; a whole run where parts are, or the reverse.
    """
    text = os.fspath(output)
    below = f"{SHARDS}/{shard.folder}/" if shard else ""
    tag = shard.tag if shard else ""
    if address.is_address(text) and (here := address.local_path(text)) is not None:
        text = here
    if not address.is_address(text):
        folder = Path(os.path.abspath(text))
        prepare_output(folder, inputs.root)
        _refuse_mixture(folder, shard)
        own = folder if state is None else _state_folder(Path(os.path.abspath(state)))
        chosen = own / below if below else own
        chosen.mkdir(parents=True, exist_ok=True)
        store: Store = LocalStore(folder, partial(write_atomic, tag=tag)) if tag else LocalStore(folder)
        return Workspace(text, store, chosen, below, folder / IMAGES, tag)
    root = text.rstrip("/")
    _prepare_address(root, inputs, shard)
    own = _state_folder(default_state(root) if state is None else Path(os.path.abspath(state)))
    chosen = own / below if below else own
    chosen.mkdir(parents=True, exist_ok=True)
    return Workspace(text, RemoteStore(root), chosen, below, None, tag, root)


def _state_folder(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"state folder {printable(str(folder))!r} cannot be written: {(error.strerror or '').lower()}"
        ) from error
    return folder


def _refuse_mixture(folder: Path, shard: Shard | None) -> None:
    whole, parts = (folder / LEDGER_FILE).exists(), (folder / SHARDS).is_dir()
    _check_mixture(printable(str(folder)), whole, parts, shard)


def _check_mixture(shown: str, whole: bool, parts: bool, shard: Shard | None) -> None:
    if shard is not None and whole:
        raise OutputError(
            f"output {shown!r} is that of a whole run, or of parts that were merged: shard={shard} needs another one"
        )
    if shard is None and parts and not whole:
        raise OutputError(
            f"output {shown!r} is written in parts: go on with shard=K/N, or join them with `understudy merge {shown}`"
        )


def _prepare_address(root: str, inputs: Inputs, shard: Shard | None) -> None:
    if inputs.address.rstrip("/") == root:
        raise OutputError(f"output {printable(root)!r} is the input: give another one")
    driver, path = address.split(root)
    protocol, _, rest = root.partition("://")
    parts = rest.split("/")
    try:
        for k in range(1, len(parts)):
            above = f"{protocol}://{'/'.join(parts[:k])}"
            if address.exists(f"{above}/{MARKER}"):
                raise OutputError(f"output {printable(root)!r} lies inside {printable(above)!r}, that of another run")
        marked = address.exists(f"{root}/{MARKER}")
        if not marked:
            found = _first_object(driver, path)
            if found:
                raise OutputError(
                    f"output {printable(root)!r} is not empty and was not written by understudy "
                    f"(it holds {printable(found)!r}): give a new or an empty one"
                )
            address.write_bytes(f"{root}/{MARKER}", json.dumps({"written by": "understudy anonymize"}).encode() + b"\n")
        whole = marked and address.exists(f"{root}/{LEDGER_FILE}")
        in_parts = marked and bool(_first_object(driver, f"{path}/{SHARDS}"))
    except OSError as error:
        raise OutputError(f"output {printable(root)!r} cannot be written: {error.strerror or error}") from error
    _check_mixture(printable(root), whole, in_parts, shard)


def _first_object(driver: address.FileSystem, path: str) -> str:
    """One object below a path, other than our own marker; empty where there is none."""

    def look() -> str:
        driver.invalidate_cache(path)
        if hasattr(driver, "call_s3"):
            bucket, prefix, _ = driver.split_path(path)
            below = f"{prefix.rstrip('/')}/" if prefix else ""
            found = driver.call_s3("list_objects_v2", Bucket=bucket, Prefix=below, MaxKeys=3).get("Contents", ())
            names = [str(entry["Key"]) for entry in found]
        else:
            try:
                names = [str(entry["name"]) for entry in driver.ls(path, detail=True)]
            except FileNotFoundError:
                names = []
        return next((name for name in names if name.rpartition("/")[2] != MARKER), "")

    return address.patiently(look, f"listing {printable(path)!r}")
