"""Files that hold many pictures: WebDataset's tar shards, and Parquet files of Hugging Face `datasets`.

Each picture in one is worked on as if it were a file, and waits in a staging folder. When all are settled, the
container is written again in its own order, with everything else in it as it was, and appears under its name when it
is whole. A picture that could not be anonymised is left out of it: its labels stay, it does not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from understudy.batch.flow import Cost
from understudy.batch.items import Item, Opened, Problem, check_head
from understudy.errors import NotMediaError, UnderstudyError
from understudy.imaging.sniff import HEAD_BYTES, readable_format


class BrokenContainerError(UnderstudyError):
    """A container that cannot be read to its end; nothing is written for it."""


Replacement = Callable[[str], tuple[Path, str] | None]
"""From a member's name in the staging folder to the file that replaces it and what is appended to its name; None where
it is left out."""


class Container(Protocol):
    """One container, open for reading."""

    def members(self) -> Iterator[Item]:
        """The pictures in it, in their order; all else in it is copied as it is."""

    def write(self, path: Path, replacement: Replacement) -> None:
        """Write it again with its pictures replaced."""

    def close(self) -> None:
        """Close its file."""


@dataclass(frozen=True, slots=True)
class Member:
    """A picture that is a stretch of a file of this machine."""

    image_id: str
    path: Path
    offset: int
    n_bytes: int
    stamp: int
    staged: str
    name: str
    """Its own name in the container; tells what it should be."""
    problem: str = ""
    status: Problem = ""

    @property
    def where(self) -> str:
        """The container's path."""
        return str(self.path)

    @property
    def far(self) -> bool:
        """No."""
        return False

    def version(self) -> tuple[int, int] | None:
        """Its size, and its container's stamp."""
        return self.n_bytes, self.stamp

    def cost(self) -> Cost:
        """A guess by the size."""
        return Cost(self.n_bytes * 4, self.n_bytes)

    def load(self, max_bytes: int, opened: Opened) -> bytes:
        """All bytes."""
        data = self.read(opened)
        check_head(data, self.image_id, len(data), max_bytes)
        return data

    def read(self, opened: Opened) -> bytes:
        """All bytes, whatever they are."""
        opened(self.n_bytes, self.stamp)
        with self.path.open("rb") as file:
            file.seek(self.offset)
            data = file.read(self.n_bytes)
        if len(data) != self.n_bytes:
            raise OSError(f"{len(data)} bytes are there, {self.n_bytes} were expected")
        return data

    def digest(self) -> bytes:
        """SHA-256 of its bytes."""
        try:
            return hashlib.sha256(self.read(lambda _size, _stamp: None)).digest()
        except OSError:
            return b""

    def has_beside(self, name: str) -> bool:  # noqa: ARG002 - its new name is its own
        """Nothing: names in a container may come twice."""
        return False

    def local_copy(self, spool: Path) -> Path:  # noqa: ARG002 - containers in containers are not opened
        """The container's file."""
        return self.path


@dataclass(frozen=True, slots=True)
class Cell:
    """A picture whose bytes came with a row."""

    image_id: str
    where: str
    data: bytes
    stamp: int
    staged: str
    problem: str = ""
    status: Problem = ""

    @property
    def far(self) -> bool:
        """No."""
        return False

    def version(self) -> tuple[int, int] | None:
        """Its size, and its container's stamp."""
        return len(self.data), self.stamp

    def cost(self) -> Cost:
        """A guess by the size."""
        return Cost(len(self.data) * 4, len(self.data))

    def load(self, max_bytes: int, opened: Opened) -> bytes:
        """All bytes."""
        opened(len(self.data), self.stamp)
        check_head(self.data, self.image_id, len(self.data), max_bytes)
        return self.data

    def read(self, opened: Opened) -> bytes:
        """All bytes, whatever they are."""
        opened(len(self.data), self.stamp)
        return self.data

    def digest(self) -> bytes:
        """SHA-256 of its bytes."""
        return hashlib.sha256(self.data).digest()

    def has_beside(self, name: str) -> bool:  # noqa: ARG002 - a cell has no neighbours
        """Nothing."""
        return False

    def local_copy(self, spool: Path) -> Path:
        """A file in the spool folder."""
        path = spool / hashlib.sha256(self.data).hexdigest()[:16]
        path.write_bytes(self.data)
        return path


def is_copied(head: bytes, name: str) -> bool:
    """Whether a member is neither a picture nor a video by content and name: it goes through as it is."""
    try:
        readable_format(head[:HEAD_BYTES], name)
    except NotMediaError:
        return True
    except UnderstudyError:
        return False
    return False


def container_suffix(image_id: str) -> str:
    """``.tar`` or ``.parquet``; empty for what is no container by its name."""
    name = image_id.rpartition("/")[2].lower()
    return next((suffix for suffix in _OPENERS if name.endswith(suffix)), "")


def open_container(item: Item, path: Path, staging: str, stamp: int) -> Container | None:
    """Open a container; None where its content is not what its name says, or holds no pictures.

    Parameters
    ----------
    item : Item
        The container as it was listed.
    path : Path
        Its bytes on this machine.
    staging : str
        Its folder in the staging folder.
    stamp : int
        Changes with its content.

    Raises
    ------
    BrokenContainerError
        It cannot be read to its end.
    """
    return _OPENERS[container_suffix(item.image_id)](item.image_id, path, staging, stamp)


def has_pictures(file: IO[bytes]) -> bool:
    """Whether a Parquet file holds pictures itself."""
    from understudy.batch.parquet import picture_columns

    return bool(picture_columns(file))


def _open_tar(image_id: str, path: Path, staging: str, stamp: int) -> Container | None:
    from understudy.batch.tar import TarShard

    return TarShard.open(image_id, path, staging, stamp)


def _open_parquet(image_id: str, path: Path, staging: str, stamp: int) -> Container | None:
    from understudy.batch.parquet import ParquetShard

    return ParquetShard.open(image_id, path, staging, stamp)


_OPENERS: Mapping[str, Callable[[str, Path, str, int], Container | None]] = {
    ".tar": _open_tar,
    ".parquet": _open_parquet,
}
