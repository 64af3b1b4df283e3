"""Writing files so that each is there whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
from contextlib import suppress
from pathlib import Path

from understudy.errors import OutputError

TEMPORARY_PREFIX = ".understudy-"
TEMPORARY_SUFFIX = ".part"
MAX_NAME_BYTES = 255


def is_temporary(name: str, tag: str = "") -> bool:
    """Whether a file of this name is an unfinished write of ours, left by a process that was killed.

    A tag narrows it down to the writes of one of several runs that share a folder.
    """
    return name.startswith(TEMPORARY_PREFIX + tag) and name.endswith(TEMPORARY_SUFFIX)


def name_with_suffix(name: str, suffix: str) -> str:
    """A file's name with a suffix appended, shortened where it would be too long for a file system.

    Parameters
    ----------
    name : str
        File name without folders.
    suffix : str
        Such as ".png", or "".

    Returns
    -------
    str
        At most 255 bytes; a shortened name ends in ~ and 8 digits of the name's SHA-256, so that two stay two.
    """
    whole = os.fsencode(name)
    if len(whole) + len(os.fsencode(suffix)) <= MAX_NAME_BYTES or not suffix:
        return name + suffix
    tail = "~" + hashlib.sha256(whole).hexdigest()[:8] + suffix
    kept = name
    while len(os.fsencode(kept)) + len(os.fsencode(tail)) > MAX_NAME_BYTES:
        kept = kept[:-1]
    return kept + tail


def _sync_folder(folder: Path) -> None:
    """Make a rename durable, where the file system knows how."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(handle)


def _advice(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "make room there, then start the same command again: it goes on where it stopped"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "choose an output folder that may be written"
    if error.errno == errno.ENAMETOOLONG:
        return "use shorter names, or an output folder with a shorter path"
    return "check the disk, then start the same command again"


def write_atomic(path: Path, data: bytes, tag: str = "") -> None:
    """Write a file so that at any moment, a crash included, it is there whole or not at all.

    The data go to a temporary file in the same folder, are flushed to disk, and the file is renamed; then the folder
    is flushed. Folders that are missing are made. A file of that name is replaced.

    Parameters
    ----------
    path : Path
    data : bytes
    tag : str
        Goes into the temporary file's name; see ``is_temporary``.

    Raises
    ------
    OutputError
        The file cannot be written; nothing is left behind.
    """
    folder = path.parent
    temporary = folder / f"{TEMPORARY_PREFIX}{tag}{secrets.token_hex(8)}{TEMPORARY_SUFFIX}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        _sync_folder(folder)
    except OSError as error:
        raise OutputError(f"cannot write {path} ({len(data)} bytes): {error.strerror}; {_advice(error)}") from error
