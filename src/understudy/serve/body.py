"""Read a request's body within limits of size and time, and notice when a client goes away."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.requests import ClientDisconnect, Request

from understudy.serve.limits import Held
from understudy.serve.problem import ProblemError


class ClientGoneError(Exception):
    """Nobody is there any more to answer."""


class Reader:
    """Reads bodies; all that come in together hold no more than ``held`` allows.

    Parameters
    ----------
    max_bytes : int
        Of one body.
    seconds : float
        From its first byte to its last.
    held : Held
    """

    def __init__(self, max_bytes: int, seconds: float, held: Held) -> None:
        self.max_bytes = max_bytes
        self._seconds = seconds
        self._held = held
        self._timeouts: set[asyncio.Timeout] = set()
        self._stopping = False

    def stop(self) -> None:
        """End the reading of every body."""
        self._stopping = True
        for timeout in self._timeouts:
            timeout.reschedule(asyncio.get_running_loop().time())

    @contextmanager
    def body(self) -> Iterator[Body]:
        """A body that is read; its bytes are counted until the context ends."""
        body = Body(self.max_bytes, self._held)
        try:
            yield body
        finally:
            body.forget()

    async def read(self, request: Request, body: Body) -> bytes:
        """The whole body.

        Raises
        ------
        ProblemError
            It is too large, too slow, empty, or there is no room for it now.
        ClientGoneError
        """
        length = request.headers.get("content-length", "")
        if length.isdecimal() and int(length) > self.max_bytes:
            raise body.too_large(f"{int(length):,} bytes")
        try:
            async with asyncio.timeout(self._seconds) as timeout:
                self._timeouts.add(timeout)
                try:
                    if self._stopping:
                        timeout.reschedule(asyncio.get_running_loop().time())
                    async for chunk in request.stream():
                        body.add(chunk)
                finally:
                    self._timeouts.discard(timeout)
        except TimeoutError as error:
            if self._stopping:
                raise ProblemError(503, "stopping", "the server is being stopped", retry_s=10) from error
            raise ProblemError(
                408, "too_slow", f"the body took longer than {self._seconds:g} seconds; {body.n_bytes:,} bytes came"
            ) from error
        except ClientDisconnect as error:
            raise ClientGoneError from error
        if not body.n_bytes:
            raise ProblemError(400, "empty", "the body is empty: send the bytes of a picture")
        return body.join()


class Body:
    """The bytes of one body, counted in ``held``."""

    def __init__(self, max_bytes: int, held: Held) -> None:
        self.n_bytes = 0
        self._max_bytes = max_bytes
        self._held = held
        self._data = bytearray()  # a list of chunks would take many times their bytes where they are tiny

    def add(self, chunk: bytes) -> None:
        """Append a chunk, or raise ProblemError."""
        if self.n_bytes + len(chunk) > self._max_bytes:
            raise self.too_large(f"more than {self._max_bytes:,} bytes")
        if not self._held.take(len(chunk)):
            raise ProblemError(
                503, "busy", f"the server holds {self._held.n_bytes:,} bytes of pictures, and no more fit", retry_s=2
            )
        self.n_bytes += len(chunk)
        self._data += chunk

    def join(self) -> bytes:
        """The whole body, which is handed over and not kept here."""
        whole, self._data = bytes(self._data), bytearray()
        return whole

    def forget(self) -> None:
        """Drop what came in, and count it no longer."""
        self._data = bytearray()
        self._held.give_back(self.n_bytes)
        self.n_bytes = 0

    def too_large(self, what: str) -> ProblemError:
        """The problem of a body over the limit."""
        return ProblemError(413, "too_large", f"the body has {what}, the limit is {self._max_bytes:,}")


async def gone(request: Request) -> None:
    """Return when the client has closed its connection; to be awaited after the body was read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
