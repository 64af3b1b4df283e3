"""WebDataset's tar shards: pictures replaced, all other members copied block by block, in their order.

A sample of WebDataset is the members that share a name up to its first dot: ``000123.jpg``, ``000123.cls``. Members
that are no pictures keep their header and content bit by bit; a replaced picture keeps its header but for the size.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from understudy.batch.containers import BrokenContainerError, Member, Replacement, is_copied
from understudy.batch.items import Item
from understudy.imaging.files import name_with_suffix
from understudy.imaging.sniff import HEAD_BYTES

_BLOCK = tarfile.BLOCKSIZE
_COPY_BYTES = 1 << 20
_RECORD = tarfile.RECORDSIZE


@dataclass(frozen=True, slots=True)
class _Entry:
    """One member: where its headers and its data lie."""

    index: int
    info: tarfile.TarInfo
    start: int
    data: int
    end: int
    copied: bool


class TarShard:
    """One shard of this machine. Use ``open``.

    Parameters
    ----------
    image_id : str
    path : Path
    staging : str
        Its folder in the staging folder.
    stamp : int
    """

    def __init__(self, image_id: str, path: Path, staging: str, stamp: int) -> None:
        self._image_id, self._path, self._staging, self._stamp = image_id, path, staging, stamp

    @classmethod
    def open(cls, image_id: str, path: Path, staging: str, stamp: int) -> TarShard | None:
        """Read all headers once; None where the file is no tar archive at all.

        Raises
        ------
        BrokenContainerError
            It begins as an archive and is cut off or damaged further on.
        """
        shard = cls(image_id, path, staging, stamp)
        try:
            with tarfile.open(path, "r:"):
                pass
        except tarfile.ReadError:
            with path.open("rb") as file:
                if file.read(_BLOCK).strip(b"\0"):
                    return None  # no archive, whatever its name says
            raise BrokenContainerError("the shard is empty") from None
        for _ in shard._entries():
            pass
        return shard

    def _entries(self) -> Iterator[_Entry]:
        """All members in order; the archive is checked to its end, where tarfile would stop in silence."""
        end = 0
        try:
            with self._path.open("rb") as raw, tarfile.open(self._path, "r:") as archive:
                for index, info in enumerate(archive):
                    archive.members = []  # type: ignore[attr-defined]  # else all headers stay in memory
                    stored = info.size if info.isreg() or info.type not in tarfile.SUPPORTED_TYPES else 0
                    if info.issparse():
                        raise BrokenContainerError(f"member {index} is a sparse file, which is not read")
                    end = info.offset_data + -(-stored // _BLOCK) * _BLOCK
                    raw.seek(info.offset_data)
                    head = raw.read(min(HEAD_BYTES, info.size)) if info.isreg() else b""
                    copied = not info.isreg() or is_copied(head, info.name)
                    yield _Entry(index, info, info.offset, info.offset_data, end, copied)
                self._check_end(raw, end)
        except (tarfile.TarError, OSError, ValueError) as error:
            raise BrokenContainerError(f"the shard cannot be read past byte {end:,}: {error}") from error

    def _check_end(self, raw: IO[bytes], end: int) -> None:
        raw.seek(0, 2)
        if raw.tell() < end:
            raise BrokenContainerError(f"the shard is cut off: it has {raw.tell():,} bytes and names {end:,}")
        raw.seek(end)
        while block := raw.read(_COPY_BYTES):
            if block.strip(b"\0"):
                raise BrokenContainerError(f"the shard is damaged at byte {end:,}: what follows is no header")

    def members(self) -> Iterator[Item]:
        """The pictures, and what claims to be one."""
        seen: set[str] = set()
        for entry in self._entries():
            if entry.copied:
                continue
            name = f"{self._image_id}/{entry.info.name}"
            image_id = name if name not in seen else _again(name, entry.index)
            seen.add(name)
            yield Member(
                image_id,
                self._path,
                entry.data,
                entry.info.size,
                self._stamp,
                f"{self._staging}/{entry.index:08d}",
                entry.info.name,
            )

    def write(self, path: Path, replacement: Replacement) -> None:
        """Write the shard again."""
        with self._path.open("rb") as source, path.open("wb") as target:
            for entry in self._entries():
                if entry.copied:
                    _copy(source, target, entry.start, entry.end)
                    continue
                found = replacement(f"{self._staging}/{entry.index:08d}")
                if found is not None:
                    _write_member(target, entry.info, *found)
            target.write(b"\0" * 2 * _BLOCK)
            target.write(b"\0" * (-target.tell() % _RECORD))

    def close(self) -> None:
        """Nothing is held open."""


def _again(name: str, index: int) -> str:
    """An id for a name that comes again: the member's number goes before the extension."""
    folder, slash, last = name.rpartition("/")
    stem, dot, extension = last.partition(".")
    return f"{folder}{slash}{stem}~{index}{dot}{extension}"


def _copy(source: IO[bytes], target: IO[bytes], start: int, end: int) -> None:
    source.seek(start)
    left = end - start
    while left > 0:
        block = source.read(min(left, _COPY_BYTES))
        if not block:  # the last block may lack its padding
            target.write(b"\0" * left)
            return
        target.write(block)
        left -= len(block)


def _write_member(target: IO[bytes], info: tarfile.TarInfo, path: Path, suffix: str) -> None:
    folder, slash, name = info.name.rpartition("/")
    info.name = f"{folder}{slash}{name_with_suffix(name, suffix)}"
    info.size = path.stat().st_size
    info.pax_headers = {key: value for key, value in info.pax_headers.items() if key not in {"size", "path"}}
    target.write(info.tobuf(tarfile.PAX_FORMAT if info.pax_headers else tarfile.GNU_FORMAT, "utf-8", "surrogateescape"))
    with path.open("rb") as data:
        while block := data.read(_COPY_BYTES):
            target.write(block)
    target.write(b"\0" * (-info.size % _BLOCK))
