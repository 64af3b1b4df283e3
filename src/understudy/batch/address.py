"""Object stores and other file systems of fsspec: opening them, and patience with their passing faults.

fsspec and its drivers are imported where an address is opened, never before.
"""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import IO, Any, TypeVar, cast

from understudy.batch.sources import printable
from understudy.errors import MissingExtraError

T = TypeVar("T")

_ADDRESS = re.compile(r"(?P<protocol>[A-Za-z][A-Za-z0-9+.-]*)://(?P<rest>.*)", re.DOTALL)
_HERE = frozenset({"file", "local"})
WHOLE_OR_NOT = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oss", "oci", "memory"})
"""Stores where an object appears when all of it is there. On others a file is written aside and renamed."""

N_TRIES = 6
"""How often a request is made, with 6 seconds of waiting in all; the driver itself is told not to repeat."""
FIRST_WAIT_S = 0.2
"""Doubled after each try."""
_S3_OPTIONS: Mapping[str, object] = {
    "max_concurrency": 1,  # one request for one picture: more would ask for its size first
    "use_listings_cache": False,
    "skip_instance_cache": True,
    "config_kwargs": {
        "connect_timeout": 10,
        "read_timeout": 60,
        "retries": {"max_attempts": 1, "mode": "standard"},
        "max_pool_connections": 64,
    },
}
_FINAL = (FileNotFoundError, FileExistsError, PermissionError, IsADirectoryError, NotADirectoryError)

FileSystem = Any
"""``fsspec.AbstractFileSystem``, which has no types of its own."""


def is_address(text: str) -> bool:
    """Whether a text is an address (``protocol://...``) and no path."""
    return _ADDRESS.fullmatch(text) is not None


def local_path(text: str) -> str | None:
    """The path that ``file://`` and ``local://`` stand for; None for every other address."""
    match = _ADDRESS.fullmatch(text)
    return match["rest"] if match and match["protocol"].lower() in _HERE else None


def protocol_of(address: str) -> str:
    """Such as ``s3``."""
    return address.partition("://")[0].lower()


@cache
def file_system(protocol: str) -> FileSystem:
    """The driver of a protocol, one for this process.

    Credentials, endpoint and region come from where the store's own tools take them (for S3: ``AWS_ACCESS_KEY_ID``,
    ``AWS_ENDPOINT_URL``, ``~/.aws/config``, the machine's role).

    Raises
    ------
    MissingExtraError
        fsspec, or the driver, is not installed.
    """
    extra = "s3fs: pip install 'understudy[s3]'"
    try:
        import fsspec  # type: ignore[import-untyped]  # has no type information
    except ImportError as error:
        raise MissingExtraError(f"{protocol}:// needs fsspec and a driver, for s3:// {extra}") from error
    try:
        return fsspec.filesystem(protocol, **(_S3_OPTIONS if protocol in {"s3", "s3a"} else {}))
    except (ImportError, ValueError) as error:
        need = extra if protocol in {"s3", "s3a"} else "gcsfs" if protocol in {"gs", "gcs"} else str(error)
        raise MissingExtraError(f"{protocol}:// cannot be opened: it needs {need}") from error


def split(address: str) -> tuple[FileSystem, str]:
    """The driver and its own name of an address."""
    driver = file_system(protocol_of(address))
    return driver, cast(str, driver._strip_protocol(address))


def patiently(work: Callable[[], T], what: str) -> T:
    """Make a request again where it failed in passing: an error of the server, a timeout, an answer that is cut off.

    Raises
    ------
    OSError
        Of its own kind where repeating is of no use (not found, no permission); else after ``N_TRIES`` tries.
    """
    wait_s = FIRST_WAIT_S
    for attempt in range(N_TRIES):
        try:
            return work()
        except _FINAL:
            raise
        except MissingExtraError:
            raise
        except Exception as error:
            if attempt == N_TRIES - 1:
                text = " ".join(str(error).split()) or type(error).__name__
                raise OSError(errno.EIO, f"{what} failed {N_TRIES} times: {text[:200]}") from error
        time.sleep(wait_s)
        wait_s *= 2
    raise AssertionError  # pragma: no cover - the last try returns or raises


def stamp(info: Mapping[str, object]) -> int:
    """A number of 56 bits that changes with an object: from its entity tag, else from its time.

    Parameters
    ----------
    info : mapping
        What a driver's ``info`` or ``ls`` says of it.
    """
    for key in ("ETag", "etag", "md5Hash", "crc32c"):
        if info.get(key):
            return int.from_bytes(sha256(str(info[key]).strip('"').encode()).digest()[:7])
    for key in ("LastModified", "last_modified", "mtime", "updated", "modified", "created"):
        moment = info.get(key)
        if isinstance(moment, datetime):
            return int(moment.timestamp() * 1e6)
        if isinstance(moment, int | float):
            return int(moment * 1e6)
        if isinstance(moment, str) and moment:
            return int.from_bytes(sha256(moment.encode()).digest()[:7])
    return 0


def size(info: Mapping[str, object]) -> int:
    """Bytes of an object; -1 where the store does not say."""
    found = info.get("size", info.get("Size"))
    return int(found) if isinstance(found, int | float) else -1


def object_info(address: str) -> Mapping[str, object]:
    """What the store says of an object now.

    Raises
    ------
    OSError
    """
    driver, path = split(address)

    def ask() -> Mapping[str, object]:
        driver.invalidate_cache(driver._parent(path))
        return cast("Mapping[str, object]", driver.info(path))

    return patiently(ask, f"asking for {printable(address)!r}")


def exists(address: str) -> bool:
    """Whether there is an object of this name."""
    try:
        return object_info(address).get("type") != "directory"
    except FileNotFoundError:
        return False


def read_bytes(address: str, n_bytes: int = -1) -> bytes:
    """A whole object, checked against its size where that is known.

    Raises
    ------
    OSError
    """
    driver, path = split(address)

    def fetch() -> bytes:
        data = bytes(driver.cat_file(path))
        if n_bytes >= 0 and len(data) != n_bytes:
            raise OSError(errno.EIO, f"{len(data)} bytes came, {n_bytes} were expected")
        return data

    return patiently(fetch, f"reading {printable(address)!r}")


def read_start(address: str, n_bytes: int) -> bytes:
    """The first bytes of an object."""
    driver, path = split(address)
    return patiently(lambda: bytes(driver.cat_file(path, start=0, end=n_bytes)), f"reading {printable(address)!r}")


def write_bytes(address: str, data: bytes) -> None:
    """Write an object so that it is there whole or not at all, and ask for its size afterwards.

    Raises
    ------
    OSError
    """
    driver, path = split(address)
    aside = None if protocol_of(address) in WHOLE_OR_NOT else _aside(path)

    def put() -> None:
        if aside is not None:
            driver.makedirs(driver._parent(path), exist_ok=True)
        driver.pipe_file(aside or path, data)
        if aside is not None:
            driver.mv(aside, path)
        _check_size(driver, path, len(data))

    patiently(put, f"writing {printable(address)!r}")


def create_bytes(address: str, data: bytes) -> bool:
    """Write an object that must not be there yet; False where it is there. Where the store knows no such writes, it is
    asked first, which leaves a moment between.
    """
    driver, path = split(address)

    def put() -> bool:
        try:
            driver.pipe_file(path, data, mode="create")
        except FileExistsError:
            return False
        except (TypeError, NotImplementedError):
            if driver.exists(path):
                return False
            driver.pipe_file(path, data)
        return True

    if exists(address):
        return False
    return patiently(put, f"writing {printable(address)!r}")


def upload(path: Path, address: str) -> None:
    """Copy a file of this machine to an address, whole or not at all.

    Raises
    ------
    OSError
    """
    driver, there = split(address)
    aside = None if protocol_of(address) in WHOLE_OR_NOT else _aside(there)

    def put() -> None:
        if aside is not None:
            driver.makedirs(driver._parent(there), exist_ok=True)
        driver.put_file(os.fspath(path), aside or there)
        if aside is not None:
            driver.mv(aside, there)
        _check_size(driver, there, path.stat().st_size)

    patiently(put, f"writing {printable(address)!r}")


def download(address: str, path: Path) -> None:
    """Copy an object to a file of this machine, checked by its size; the file appears when it is whole.

    Raises
    ------
    OSError
    """
    driver, there = split(address)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".understudy-{path.name}.part")

    def get() -> None:
        expected = size(object_info(address))
        driver.get_file(there, os.fspath(part))
        if expected >= 0 and part.stat().st_size != expected:
            raise OSError(errno.EIO, f"{part.stat().st_size} bytes came, {expected} were expected")

    try:
        patiently(get, f"reading {printable(address)!r}")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def remove(address: str) -> None:
    """Delete an object; nothing happens where there is none."""
    driver, path = split(address)

    def delete() -> None:
        try:
            driver.rm_file(path)
        except FileNotFoundError:
            return

    patiently(delete, f"deleting {printable(address)!r}")


def open_address(address: str) -> IO[bytes]:
    """An object as a file that reads ahead; small lists and tables are read in this way."""
    driver, path = split(address)
    return cast("IO[bytes]", patiently(lambda: driver.open(path, "rb"), f"opening {printable(address)!r}"))


def _aside(path: str) -> str:
    folder, slash, name = path.rpartition("/")
    return f"{folder}{slash}.understudy-{sha256(f'{name}{os.getpid()}'.encode()).hexdigest()[:16]}.part"


def _check_size(driver: FileSystem, path: str, n_bytes: int) -> None:
    driver.invalidate_cache(driver._parent(path))
    there = size(driver.info(path))
    if there not in (-1, n_bytes):
        raise OSError(errno.EIO, f"{there} bytes arrived, {n_bytes} were sent")
