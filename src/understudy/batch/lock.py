"""One run at a time on one output folder.

The lock is the operating system's (``flock``), so that it ends with the process, however that ends: nothing stale can
block. The file only says who holds it. Where the file system has no such locks, a file that is made exclusively takes
their place; it names process, machine and boot, so that one left behind on this machine is recognised.
"""

from __future__ import annotations

import errno
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from understudy.errors import OutputError

LOCK_FILE = ".understudy-lock"

_UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder for as long as the block runs.

    Raises
    ------
    OutputError
        At once where another run holds it, or where the folder cannot be written.
    """
    path = folder / LOCK_FILE
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise OutputError(f"output folder {str(folder)!r} cannot be written: {error.strerror}") from error
    exclusive = None
    try:
        if not _flock(descriptor, path):
            exclusive = _exclusive(path)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(owner_record()).encode(), 0)
        yield
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EROFS}:
            raise
        raise OutputError(f"output folder {str(folder)!r} cannot be written: {error.strerror}") from error
    finally:
        with suppress(OSError):
            os.ftruncate(descriptor, 0)
        os.close(descriptor)
        if exclusive is not None:
            exclusive.unlink(missing_ok=True)


def owner_record() -> dict[str, object]:
    """What tells this process from all others, with the time."""
    return {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "boot": _boot(),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _boot() -> str:
    """What tells this boot of this machine from others; empty where the system does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def read_owner(path: Path) -> dict[str, object]:
    """The record in a lock file; empty where nobody holds it."""
    try:
        owner = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return owner if isinstance(owner, dict) else {}


def _in_use(path: Path, owner: dict[str, object], more: str = "") -> OutputError:
    who = f"process {owner['pid']} on {owner['host']} since {owner['since']}" if owner.keys() >= {"pid", "host"} else ""
    return OutputError(
        f"output folder {str(path.parent)!r} is in use by another run{f' ({who})' if who else ''}: "
        f"wait for it to end, or give another folder{more}"
    )


def _flock(descriptor: int, path: Path) -> bool:
    """Take the system's lock; False where there is none."""
    try:
        import fcntl
    except ImportError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _UNSUPPORTED:
            return False
        if error.errno not in {errno.EWOULDBLOCK, errno.EACCES}:
            raise
        raise _in_use(path, read_owner(path)) from None
    return True


def _exclusive(path: Path) -> Path:
    """Make the lock by a file that must not exist yet; one that a dead process of this machine left is taken over."""
    held = path.with_name(f"{path.name}-held")
    for _ in range(2):
        try:
            descriptor = os.open(held, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        except FileExistsError:
            owner = read_owner(held)
            if not is_dead(owner):
                raise _in_use(path, owner, f"; if that run has ended, delete {str(held)!r}") from None
            held.unlink(missing_ok=True)
            continue
        try:
            os.write(descriptor, json.dumps(owner_record()).encode())
        finally:
            os.close(descriptor)
        return held
    raise _in_use(path, read_owner(held))


def is_dead(owner: dict[str, object]) -> bool:
    """Whether the process that an owner's record names is certainly gone: it was of this machine."""
    pid = owner.get("pid")
    if not isinstance(pid, int) or owner.get("host") != socket.gethostname():
        return False
    if owner.get("boot") != _boot():
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
