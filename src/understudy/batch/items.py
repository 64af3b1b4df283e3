"""What a run reads, one after the other: where the bytes come from is known to nobody behind this protocol."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from understudy.batch.flow import Cost
from understudy.errors import RefusedImageError
from understudy.imaging.sniff import HEAD_BYTES, readable_format

Opened = Callable[[int, int], None]
"""Told size and stamp of a source as they are when it is opened."""
Problem = Literal["", "failed", "skipped"]

SIDECARS = frozenset({"metadata.csv", "metadata.jsonl", "metadata.parquet"})
"""Tables of an image folder (as Hugging Face `datasets` reads them): copied byte for byte beside the pictures."""
_SIDECAR_COLUMN = b"file_name"
_SIDECAR_HEAD_BYTES = 1 << 16


class Item(Protocol):
    """One picture to be, wherever it lies. Items are small, and are pickled to other processes as they are."""

    @property
    def image_id(self) -> str:
        """Relative POSIX path in the collection, there once only. Undecodable bytes are lone surrogates."""

    @property
    def where(self) -> str:
        """Path or address that it is read from."""

    @property
    def problem(self) -> str:
        """Why it cannot be worked on; empty for an ordinary one."""

    @property
    def status(self) -> Problem:
        """What to record where there is a problem."""

    @property
    def staged(self) -> str:
        """Where its picture waits until its container is put together; empty where it is a file of its own."""

    @property
    def far(self) -> bool:
        """Whether reading it waits for a network, so that it is worth while to read ahead."""

    def version(self) -> tuple[int, int] | None:
        """Size and a stamp that changes with the content; None where it cannot be reached."""

    def cost(self) -> Cost:
        """What it will take of the budget."""

    def load(self, max_bytes: int, opened: Opened) -> bytes:
        """All bytes, after the first ones have said that it is a picture.

        Raises
        ------
        NotMediaError, RefusedImageError, UnreadableImageError, OSError
        """

    def read(self, opened: Opened) -> bytes:
        """All bytes, whatever they are."""

    def digest(self) -> bytes:
        """SHA-256 of its bytes; empty where it cannot be reached."""

    def has_beside(self, name: str) -> bool:
        """Whether a source of this name lies beside it."""

    def local_copy(self, spool: Path) -> Path:
        """A file of this machine with its bytes: the file itself, or a copy in the spool folder."""


def check_head(head: bytes, image_id: str, n_bytes: int, max_bytes: int) -> None:
    """Let through what is a picture of a size that is read.

    Raises
    ------
    NotMediaError, UnreadableImageError, RefusedImageError
    """
    readable_format(head[:HEAD_BYTES], image_id)
    if n_bytes > max_bytes:
        raise RefusedImageError(f"the file has {n_bytes:,} bytes, the limit is {max_bytes:,}")


def is_sidecar(image_id: str) -> bool:
    """Whether the name is that of an image folder's table."""
    return image_id.rpartition("/")[2] in SIDECARS


def holds_file_names(data: bytes) -> bool:
    """Whether a table names pictures in a column ``file_name`` (or one that ends so)."""
    head = data[:_SIDECAR_HEAD_BYTES] + data[-_SIDECAR_HEAD_BYTES:]
    return _SIDECAR_COLUMN in head


@dataclass(frozen=True)
class Inputs:
    """A collection that can be listed again and again, each time anew and in the same order."""

    spec: str
    root: Path | None
    """What the ids are relative to, where that is a folder of this machine."""
    _list: Callable[[], Iterator[Item]]
    address: str = ""
    """What the ids are relative to, where that is an address."""

    def __iter__(self) -> Iterator[Item]:
        return self._list()

    def count(self) -> int:
        """How many files a run will see now; one pass over them. A container counts as one."""
        return sum(1 for _ in self)


def shown_root(inputs: Inputs) -> str:
    """The collection's folder or address, for messages."""
    return inputs.address or os.fspath(inputs.root or "")
