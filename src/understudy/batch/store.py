"""Where a run's files go: a folder of this machine, or an address. Every file is there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from understudy.batch import address
from understudy.batch.sources import printable
from understudy.errors import OutputError
from understudy.imaging.files import write_atomic

GO_ON = "What is finished stays; start the same command again to go on"


class Store(Protocol):
    """Files by their relative POSIX paths."""

    @property
    def shown(self) -> str:
        """The folder or address, for messages."""

    def exists(self, relative: str, n_bytes: int | None) -> bool:
        """Whether a file that was written is still there, in the size that it had."""

    def write(self, relative: str, data: bytes) -> None:
        """Write one file.

        Raises
        ------
        OutputError
        """

    def put(self, relative: str, path: Path) -> None:
        """Take a file of this machine, which may be moved or copied.

        Raises
        ------
        OutputError
        """

    def remove(self, relative: str) -> None:
        """Delete a file; nothing happens where there is none."""


class LocalStore:
    """A folder of this machine.

    Parameters
    ----------
    folder : Path
        Absolute.
    write : callable
        Writes a file so that it is there whole or not at all.
    """

    def __init__(self, folder: Path, write: Callable[[Path, bytes], object] = write_atomic) -> None:
        self.folder = folder
        self._prefix = f"{folder}{os.sep}"
        self._write = write

    @property
    def shown(self) -> str:
        """The folder."""
        return printable(str(self.folder))

    def exists(self, relative: str, n_bytes: int | None) -> bool:
        """Whether the file is there in that size."""
        try:
            return os.stat(f"{self._prefix}{relative}").st_size == n_bytes
        except OSError:
            return False

    def write(self, relative: str, data: bytes) -> None:
        """Write one file."""
        path = self.folder / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        self._write(path, data)

    def put(self, relative: str, path: Path) -> None:
        """Move a file that lies on the same disk here; its data is on disk before its name is."""
        target = self.folder / relative
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with path.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(path, target)
        except OSError as error:
            raise OutputError(
                f"{printable(str(target))!r} cannot be written: {(error.strerror or str(error)).lower()}. {GO_ON}"
            ) from error

    def remove(self, relative: str) -> None:
        """Delete a file."""
        with suppress(OSError):
            os.unlink(self.folder / relative)


class RemoteStore:
    """An address. What the ledger says was written there is taken to be there: asking for each object would take longer
    than all else of a restart.

    Parameters
    ----------
    root : str
        Address without a slash at its end.
    """

    def __init__(self, root: str) -> None:
        self.root = root

    @property
    def shown(self) -> str:
        """The address."""
        return printable(self.root)

    def exists(self, relative: str, n_bytes: int | None) -> bool:  # noqa: ARG002 - see above
        """Taken for granted."""
        return n_bytes is not None

    def write(self, relative: str, data: bytes) -> None:
        """Write one object."""
        try:
            address.write_bytes(f"{self.root}/{relative}", data)
        except OSError as error:
            raise OutputError(self._sorry(relative, error)) from error

    def put(self, relative: str, path: Path) -> None:
        """Upload a file."""
        try:
            address.upload(path, f"{self.root}/{relative}")
        except OSError as error:
            raise OutputError(self._sorry(relative, error)) from error

    def remove(self, relative: str) -> None:
        """Delete an object."""
        try:
            address.remove(f"{self.root}/{relative}")
        except OSError as error:
            raise OutputError(self._sorry(relative, error)) from error

    def _sorry(self, relative: str, error: OSError) -> str:
        name = printable(f"{self.root}/{relative}")
        return f"{name!r} cannot be written: {(error.strerror or str(error)).lower()}. {GO_ON}"
