"""Pictures at addresses: listed page by page, and read when their turn comes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from understudy.batch import address
from understudy.batch.address import is_address, local_path, open_address
from understudy.batch.flow import Cost
from understudy.batch.items import Inputs, Opened, Problem, check_head
from understudy.batch.sources import MARKER, Patterns, compile_patterns, is_glob, matches, printable
from understudy.errors import InvalidInputError
from understudy.imaging.sniff import HEAD_BYTES

__all__ = ["RemoteFile", "is_address", "local_path", "open_address", "open_remote"]

PAGE = 1000
"""Objects of one answer to a listing of S3."""
_PIXELS_PER_BYTE = 4
"""Guess before the first byte is here."""
_WHOLE_BYTES = 1 << 20
"""Larger objects are asked for their first bytes before all of them come."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One object of a store."""

    image_id: str
    where: str
    """Its address."""
    n_bytes: int = -1
    """As the listing says; -1 where it was not listed."""
    stamp: int = 0
    problem: str = ""
    status: Problem = ""

    @classmethod
    def at(cls, where: str, image_id: str) -> RemoteFile:
        """An object that a list names; nothing is asked of the store before it is opened."""
        problem = _unusable(image_id)
        return cls(image_id or where, where, problem=problem, status="failed" if problem else "")

    @property
    def staged(self) -> str:
        """Nothing: its picture is an object of its own."""
        return ""

    @property
    def far(self) -> bool:
        """Yes."""
        return True

    def version(self) -> tuple[int, int] | None:
        """Size and stamp, as the listing said, or as the store says now; None where it cannot be reached."""
        if self.problem:
            return None
        if self.n_bytes >= 0:
            return self.n_bytes, self.stamp
        try:
            found = address.object_info(self.where)
        except OSError:
            return None
        return address.size(found), address.stamp(found)

    def cost(self) -> Cost:
        """A guess by the size; the header is not here yet."""
        n_bytes = max(self.n_bytes, 0)
        return Cost(n_bytes * _PIXELS_PER_BYTE, n_bytes)

    def load(self, max_bytes: int, opened: Opened) -> bytes:
        """All bytes, after the first ones have said that it is a picture."""
        n_bytes, stamp = self._now()
        opened(n_bytes, stamp)
        if n_bytes > _WHOLE_BYTES:
            check_head(address.read_start(self.where, HEAD_BYTES), self.image_id, n_bytes, max_bytes)
        data = address.read_bytes(self.where, n_bytes)
        check_head(data, self.image_id, len(data), max_bytes)
        return data

    def read(self, opened: Opened) -> bytes:
        """All bytes, whatever they are."""
        n_bytes, stamp = self._now()
        opened(n_bytes, stamp)
        return address.read_bytes(self.where, n_bytes)

    def _now(self) -> tuple[int, int]:
        if self.n_bytes >= 0:
            return self.n_bytes, self.stamp
        found = address.object_info(self.where)
        return address.size(found), address.stamp(found)

    def digest(self) -> bytes:
        """SHA-256 of its bytes; empty where it cannot be reached."""
        try:
            return hashlib.sha256(address.read_bytes(self.where)).digest()
        except OSError:
            return b""

    def has_beside(self, name: str) -> bool:
        """Whether an object of this name lies beside it."""
        return address.exists(f"{self.where.rpartition('/')[0]}/{name}")

    def local_copy(self, spool: Path) -> Path:
        """A copy in the spool folder, checked by its size."""
        path = spool / hashlib.sha256(self.where.encode()).hexdigest()[:16]
        address.download(self.where, path)
        return path


def open_remote(text: str) -> Inputs:
    """An object, a folder, or a glob at an address.

    Raises
    ------
    InvalidInputError
        Where there is nothing, or where it cannot be asked; where it lies in an output of understudy.
    """
    whole = text.rstrip("/")
    if is_glob(whole.partition("://")[2]):
        return _open_glob(text, whole)
    _refuse_output(whole, text)
    try:
        found = address.object_info(whole)
    except FileNotFoundError:
        found = {"type": "directory"}
    except OSError as error:
        raise InvalidInputError(f"input {printable(text)!r} cannot be read: {error.strerror or error}") from error
    if found.get("type") != "directory":
        name = whole.rpartition("/")[2]
        one = RemoteFile(name, whole, address.size(found), address.stamp(found))
        return Inputs(text, None, lambda: iter([one]), whole.rpartition("/")[0])

    def listed() -> Iterator[RemoteFile]:
        return _some(list_below(whole), text, "holds no object")

    next(listed())  # before anything is written
    return Inputs(text, None, listed, whole)


def _open_glob(text: str, whole: str) -> Inputs:
    parts = whole.split("/")
    first = next(k for k, part in enumerate(parts) if k > 2 and is_glob(part))  # protocol:, "", bucket
    root = "/".join(parts[:first])
    _refuse_output(root, text)
    patterns = compile_patterns(tuple(parts[first:]))

    def listed() -> Iterator[RemoteFile]:
        return _some(_fitting(root, patterns), text, "matches no object")

    next(listed())  # before anything is written
    return Inputs(text, None, listed, root)


def _fitting(root: str, patterns: Patterns) -> Iterator[RemoteFile]:
    return (file for file in list_below(root) if matches(tuple(file.image_id.split("/")), patterns))


def _some(found: Iterator[RemoteFile], text: str, nothing: str) -> Iterator[RemoteFile]:
    """The files; nothing at all is a mistake in the address more often than an empty collection."""
    n_found = 0
    try:
        for file in found:
            n_found += 1
            yield file
    except OSError as error:
        raise InvalidInputError(
            f"input {printable(text)!r} cannot be listed any further: {error.strerror or error}. "
            "What is finished stays; start the same command again to go on"
        ) from error
    if n_found == 0:
        raise InvalidInputError(f"input {printable(text)!r} {nothing}: check the address and the permissions")


def _refuse_output(root: str, text: str) -> None:
    protocol, _, rest = root.partition("://")
    parts = rest.split("/")
    for k in range(len(parts), 0, -1):
        folder = f"{protocol}://{'/'.join(parts[:k])}"
        try:
            marked = address.exists(f"{folder}/{MARKER}")
        except OSError as error:
            raise InvalidInputError(f"input {printable(text)!r} cannot be read: {error.strerror or error}") from error
        if marked:
            raise InvalidInputError(
                f"input {printable(text)!r} lies in {printable(folder)!r}, an output folder of understudy, "
                "and outputs are never read as inputs"
            )


def list_below(root: str) -> Iterator[RemoteFile]:
    """Objects below an address, hidden ones and outputs of understudy left out; a page is held at a time.

    From S3 they come in the order of their keys, a page of 1,000 at a time; from other stores folder by folder, and
    then the names of one folder are held.
    """
    driver, path = address.split(root)
    pages = _s3_pages(driver, path) if hasattr(driver, "call_s3") else _folders(driver, path)
    outputs: dict[str, bool] = {}
    for key, info in pages:
        image_id = key[len(path.rstrip("/")) + 1 :]
        parts = image_id.split("/")
        if image_id.endswith("/") or any(part.startswith(".") and part not in {".", ".."} for part in parts):
            continue
        if _in_output(root, parts, outputs):
            continue
        problem = _unusable(image_id)
        yield RemoteFile(
            image_id,
            f"{root}/{image_id}",
            address.size(info),
            address.stamp(info),
            problem,
            "failed" if problem else "",
        )


def _unusable(image_id: str) -> str:
    """Why a key cannot be a relative path; empty where it can."""
    if not image_id or any(part in {"", ".", ".."} for part in image_id.split("/")):
        return "its key is no path: empty parts, '.' and '..' cannot be written again"
    return ""


def _in_output(root: str, parts: list[str], known: dict[str, bool]) -> bool:
    """Whether a key lies in an output: asked for each folder that holds ``images`` or ``shards``, and remembered."""
    for k, part in enumerate(parts[:-1]):
        if part not in {"images", "shards"}:
            continue
        folder = "/".join([root, *parts[:k]])
        if folder not in known:
            if len(known) > 1000:
                known.clear()
            known[folder] = address.exists(f"{folder}/{MARKER}")
        if known[folder]:
            return True
    return False


def _s3_pages(driver: address.FileSystem, path: str) -> Iterator[tuple[str, Mapping[str, object]]]:
    bucket, prefix, _ = driver.split_path(path)
    more: dict[str, str] = {}
    while True:
        answer = address.patiently(
            lambda more=more: driver.call_s3(  # type: ignore[misc]
                "list_objects_v2",
                Bucket=bucket,
                Prefix=f"{prefix.rstrip('/')}/" if prefix else "",
                MaxKeys=PAGE,
                **more,
            ),
            f"listing {printable(path)!r}",
        )
        for found in answer.get("Contents", ()):
            yield f"{bucket}/{found['Key']}", found
        if not answer.get("IsTruncated"):
            return
        more = {"ContinuationToken": answer["NextContinuationToken"]}


def _folders(driver: address.FileSystem, path: str) -> Iterator[tuple[str, Mapping[str, object]]]:
    def listing() -> list[Mapping[str, object]]:
        driver.invalidate_cache(path)
        try:
            return cast("list[Mapping[str, object]]", driver.ls(path, detail=True))
        except FileNotFoundError:
            return []

    found = address.patiently(listing, f"listing {printable(path)!r}")
    for info in sorted(found, key=lambda info: str(info["name"])):
        name = str(info["name"])
        if info.get("type") != "directory":
            yield name, info
        elif name.rstrip("/") != path.rstrip("/"):
            yield from _folders(driver, name.rstrip("/"))
