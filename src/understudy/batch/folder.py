"""The output folder: its marker, what may be written where, and cleaning up after a run that was killed."""

from __future__ import annotations

import errno
import json
import os
import threading
import unicodedata
from contextlib import suppress
from pathlib import Path

from understudy.batch.items import Item
from understudy.batch.ledger import LEDGER_FILE, Ledger, Row
from understudy.batch.lock import LOCK_FILE
from understudy.batch.sources import MARKER, inside_output, printable
from understudy.batch.store import GO_ON, LocalStore, Store
from understudy.errors import OutputError
from understudy.imaging.files import is_temporary, name_with_suffix, write_atomic

IMAGES = "images"
"""Folder of the written pictures, inside the output folder."""

SUFFIXES = ("", ".png")
"""What may be appended to a source's name: nothing, or what says that its own format could not hold the picture."""

OF_ONE_FILE = frozenset({errno.ENAMETOOLONG, errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.EILSEQ, errno.EINVAL})
"""Errors that concern one name; every other one concerns the whole folder."""


def prepare_output(folder: Path, source_root: Path | None) -> None:
    """Make the output folder and mark it, unless it holds what is not ours.

    Parameters
    ----------
    folder : Path
        Absolute.
    source_root : Path
        Where the inputs lie; the output may lie inside it, not the other way round. None: not on this machine.

    Raises
    ------
    OutputError
        Where the folder cannot be written, or holds files that no run of ours made.
    """
    shown = printable(str(folder))
    if source_root is not None and os.path.realpath(folder) == os.path.realpath(source_root):
        raise OutputError(f"output folder {shown!r} is the input folder: give another one")
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"output {shown!r} is a file: give the name of a folder")
    above = inside_output(folder.parent)
    if above is not None:
        raise OutputError(f"output folder {shown!r} lies inside {printable(str(above))!r}, the output of another run")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        present = {entry.name for entry in os.scandir(folder) if not is_temporary(entry.name)}
        present -= {LOCK_FILE, f"{LOCK_FILE}-held"}
        if MARKER not in present:
            if present:
                raise OutputError(
                    f"output folder {shown!r} is not empty and was not written by understudy "
                    f"(it holds {printable(min(present))!r}): give a new or an empty folder"
                )
            write_atomic(folder / MARKER, json.dumps({"written by": "understudy anonymize"}).encode() + b"\n")
        (folder / IMAGES).mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(f"output folder {shown!r} cannot be written: {_text(error)}") from error


def _text(error: BaseException) -> str:
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).lower()


def folds_names(folder: Path) -> bool:
    """Whether the file system takes ``A`` and ``a`` for one name."""
    probe = folder / ".understudy-probe-a.part"
    try:
        probe.write_bytes(b"")
        return probe.with_name(".understudy-probe-A.part").exists()
    except OSError as error:
        raise OutputError(f"output folder {printable(str(folder))!r} cannot be written: {_text(error)}") from error
    finally:
        with suppress(OSError):
            probe.unlink(missing_ok=True)


def relative_output(image_id: str, suffix: str = "") -> str:
    """Where an input's picture goes, relative to the output folder."""
    folders, slash, name = image_id.rpartition("/")
    return f"{IMAGES}/{folders}{slash}{name_with_suffix(name, suffix)}"


def output_key(relative: str, *, folds: bool) -> str:
    """An output's path as its file system compares it."""
    return unicodedata.normalize("NFC", relative).casefold() if folds else relative


class NameTakenError(Exception):
    """An output path that belongs to another input, or that cannot be made."""


class Outputs:
    """Where each input's picture goes, who owns which path, and the writing itself.

    Parameters
    ----------
    store : Store
        A prepared output.
    ledger : Ledger
        Knows the owners of everything written so far.
    folds : bool
        Whether the file system folds upper and lower case.
    staging : LocalStore, optional
        Where pictures of containers wait.
    """

    def __init__(self, store: Store, ledger: Ledger, *, folds: bool, staging: LocalStore | None = None) -> None:
        self.store = store
        self.staging = staging
        self._ledger = ledger
        self.folds = folds
        self._claims: dict[str, str] = {}
        self._lock = threading.Lock()

    def claim(self, image_id: str, suffix: str = "") -> tuple[str, str]:
        """Reserve the output path of an input until its row is committed.

        Returns
        -------
        (str, str)
            The path, relative to the output folder, and its key.

        Raises
        ------
        NameTakenError
            Where the path is that of another input.
        """
        relative = relative_output(image_id, suffix)
        key = output_key(relative, folds=self.folds)
        with self._lock:
            owner = self._claims.get(key) or self._ledger.owner_of(key)
            if owner is not None and owner != image_id:
                raise NameTakenError(f"its output would overwrite that of {printable(owner)!r}: rename one of them")
            self._claims[key] = image_id
        return relative, key

    def release(self, image_id: str) -> None:
        """Give up an input's reservations; what was written stays its own by its row."""
        with self._lock:
            for key in [key for key, owner in self._claims.items() if owner == image_id]:
                del self._claims[key]

    def exists(self, item: Item, row: Row) -> bool:
        """Whether an input's written picture is still there, in the size that it had."""
        if row.output is None:
            return False
        if item.staged:
            staging = self.staging
            return staging is not None and any(
                staging.exists(f"{item.staged}{suffix}", row.output_bytes) for suffix in SUFFIXES
            )
        return self.store.exists(row.output, row.output_bytes)

    def write_for(self, item: Item, relative: str, data: bytes) -> None:
        """Write an input's picture, or lay it ready for its container.

        Raises
        ------
        NameTakenError, OutputError
        """
        if item.staged and self.staging is not None:
            suffix = next((s for s in SUFFIXES if s and relative == relative_output(item.image_id, s)), "")
            self.staging.write(f"{item.staged}{suffix}", data)
        else:
            self.write(relative, data)

    def write(self, relative: str, data: bytes) -> None:
        """Write one picture, whole or not at all.

        Raises
        ------
        NameTakenError
            Where this one name cannot be made.
        OutputError
            Where nothing more can be written.
        """
        try:
            self.store.write(relative, data)
        except (OSError, OutputError) as error:
            cause = error if isinstance(error, OSError) else error.__cause__
            if isinstance(cause, OSError) and cause.errno in OF_ONE_FILE:
                length = len(os.fsencode(relative.rpartition("/")[2]))
                raise NameTakenError(
                    f"its output cannot be named {printable(relative)!r} ({_text(cause)}, {length} bytes): rename it"
                ) from error
            if isinstance(error, OutputError):
                raise
            raise OutputError(
                f"{self.store.shown}/{printable(relative)} cannot be written: {_text(error)}. {GO_ON}"
            ) from error

    def discard(self, item: Item) -> None:
        """Remove files at an input's own paths that no row stands for: its input is not done now."""
        if item.staged:
            if self.staging is not None:
                for suffix in SUFFIXES:
                    self.staging.remove(f"{item.staged}{suffix}")
            return
        for suffix in SUFFIXES:
            relative = relative_output(item.image_id, suffix)
            key = output_key(relative, folds=self.folds)
            with self._lock:
                owner = self._ledger.owner_of(key)
                if self._claims.get(key, item.image_id) == item.image_id and owner in (None, item.image_id):
                    self.store.remove(relative)


def remove_parts(folder: Path, images: Path | None, tag: str = "") -> int:
    """Delete the temporary files that a killed run left; only names that our own writing makes.

    Parameters
    ----------
    folder : Path
        The ledger's folder, of which only the files themselves are looked at.
    images : Path, optional
        The folder of pictures, which is searched to its depths.
    tag : str
        Of this run's temporary files among the pictures.
    """
    n_removed = 0
    for where, own in ((folder, ""), (images, tag)):
        for parent, folders, names in os.walk(where) if where is not None else ():
            for name in names:
                if is_temporary(name, own):
                    with suppress(OSError):
                        os.unlink(os.path.join(parent, name))
                        n_removed += 1
            if where == folder:
                folders.clear()
    return n_removed


def remove_results(store: Store, ledger: Ledger) -> None:
    """Delete what the ledger says was written, and the folders that this leaves empty."""
    for relative in ledger.outputs():
        if ".." in Path(relative).parts or not relative.startswith(f"{IMAGES}/"):
            raise OutputError(f"{LEDGER_FILE} names {printable(relative)!r}, which is not below {IMAGES}/")
        store.remove(relative)
    if isinstance(store, LocalStore):
        images = store.folder / IMAGES
        for parent, _, _ in os.walk(images, topdown=False):
            if parent != str(images):
                with suppress(OSError):
                    os.rmdir(parent)
