"""One run at a time on one address: a lock object that its holder renews, and that is taken over when it is stale.

Stores have no locks of processes. The object is made exclusively where the store can (S3 and most of its like); it
names process, machine and boot, and is written anew every minute. A lock whose process has died on this machine is
taken over at once, any other one after ``STALE_S`` without a renewal.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from understudy.batch import address
from understudy.batch.lock import LOCK_FILE, is_dead, owner_record
from understudy.batch.sources import printable
from understudy.errors import OutputError

RENEW_S = 60.0
STALE_S = 600.0


@contextmanager
def remotely_locked(root: str, lost: Callable[[BaseException], object]) -> Iterator[None]:
    """Hold an address for as long as the block runs.

    Parameters
    ----------
    root : str
        Address of the output, or of this shard's part of it.
    lost : callable
        Called, in a thread of its own, with the error when another run has taken the lock over.

    Raises
    ------
    OutputError
        Another run holds it, or it cannot be written.
    """
    where = f"{root}/{LOCK_FILE}"
    token = secrets.token_hex(8)
    try:
        _take(where, root, token)
    except OSError as error:
        raise OutputError(f"output {printable(root)!r} cannot be written: {error.strerror or error}") from error
    ended = threading.Event()
    renewing = threading.Thread(target=_renew, args=(where, root, token, ended, lost), name="lock", daemon=True)
    renewing.start()
    try:
        yield
    finally:
        ended.set()
        renewing.join()
        with suppress(OSError):
            if _holder(where).get("token") == token:
                address.remove(where)


def _record(token: str) -> bytes:
    return json.dumps({**owner_record(), "token": token, "renewed": time.time()}).encode()


def _holder(where: str) -> dict[str, object]:
    try:
        found = json.loads(address.read_bytes(where))
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _take(where: str, root: str, token: str) -> None:
    for _ in range(2):
        if address.create_bytes(where, _record(token)):
            break
        holder = _holder(where)
        if holder.get("token") == token:  # the answer to the first try was lost, not the object
            break
        renewed = holder.get("renewed")
        age_s = time.time() - renewed if isinstance(renewed, int | float) else STALE_S + 1
        if holder and not is_dead(holder) and age_s < STALE_S:
            who = f"process {holder.get('pid')} on {holder.get('host')} since {holder.get('since')}"
            minutes = max(1, round((STALE_S - age_s) / 60))
            raise OutputError(
                f"output {printable(root)!r} is in use by another run ({who}): wait for it to end, or give another "
                f"output; if that run was killed, its lock ends {minutes} minutes from now"
            )
        address.remove(where)
    if _holder(where).get("token") != token:
        raise OutputError(f"output {printable(root)!r} was taken by another run at this moment: wait for it to end")


def _renew(where: str, root: str, token: str, ended: threading.Event, lost: Callable[[BaseException], object]) -> None:
    while not ended.wait(RENEW_S):
        try:
            if _holder(where).get("token") != token:
                lost(OutputError(f"output {printable(root)!r} was taken over by another run, so this one ends"))
                return
            address.write_bytes(where, _record(token))
        except OSError:
            continue  # the next try comes long before the lock is stale
