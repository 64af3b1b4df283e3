"""uvicorn's HTTP/1.1 with deadlines: for a request's head, for the unread rest of a body, for fetching an answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from understudy.serve.problem import Problem
from understudy.serve.settings import ServeSettings

MAX_HEAD_BYTES = 16 << 10
LINGER_S = 2.0
"""How long the rest of a refused body is read and dropped, so that the client gets to see its answer."""
_FULL = Problem(kind="busy", reason="too many connections are open")


def bounded_protocol(settings: ServeSettings, count: Callable[[str, int], None]) -> type[asyncio.Protocol]:
    """The protocol class for uvicorn's ``http`` setting; ``count`` is told of answers that no app gave."""

    class Bounded(_BoundedProtocol):
        max_connections = settings.max_connections
        header_s = settings.header_s
        fetch_s = settings.body_s

        def count(self, status: int) -> None:
            count("", status)

    return Bounded


class _BoundedProtocol(H11Protocol):
    """One connection."""

    max_connections: int
    header_s: float
    fetch_s: float

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._deadline: asyncio.TimerHandle | None = None
        self._head_began = True

    def count(self, status: int) -> None:
        """Count an answer that no app gave."""
        raise NotImplementedError

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Turn it away where too many are open, else wait for a request's head."""
        super().connection_made(transport)
        if len(self.connections) > self.max_connections:
            self._answer(503, "Service Unavailable", _FULL, "Retry-After: 1\r\n")
            return
        self._give(self.header_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the deadline with the connection."""
        self._forget()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes; as long as they make no whole head, its deadline stays where it is."""
        if self.transport.is_closing():
            return
        super().data_received(data)
        if self.conn.their_state is h11.IDLE:
            if not self._head_began:
                self._head_began = True
                self._give(self.header_s)
        elif self.cycle is not None and not self.cycle.response_complete:
            self._head_began = False
            self._forget()

    def on_response_complete(self) -> None:
        """Give a client some time to fetch the answer, and less to send on a body that nobody reads."""
        unread = self.conn.their_state is h11.SEND_BODY
        self._give(LINGER_S if unread else self.fetch_s)
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - the parser's words are for its authors
        """Answer what is no HTTP as everything else is answered."""
        reason = "this is no HTTP/1.1 request that the server understands"
        self._answer(400, "Bad Request", Problem(kind="bad_request", reason=reason))

    def _answer(self, status: int, phrase: str, problem: Problem, more: str = "") -> None:
        self.count(status)
        self._give(LINGER_S)
        self.transport.write(_plain_answer(status, phrase, problem, more))
        self.transport.close()

    def _give(self, seconds: float) -> None:
        self._forget()
        self._deadline = self.loop.call_later(seconds, self._end)

    def _forget(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _end(self) -> None:
        """The deadline has passed: a first head that never came is told so; what was not fetched is dropped."""
        self._deadline = None
        cycle: Any = self.cycle  # None before the first request, whatever uvicorn's annotation says
        if cycle is not None and not cycle.response_complete:
            return
        if cycle is None and not self.transport.is_closing():
            reason = f"no request came within {self.header_s:g} seconds"
            self._answer(408, "Request Timeout", Problem(kind="too_slow", reason=reason))
        elif self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            self.transport.close()


def _plain_answer(status: int, phrase: str, problem: Problem, more: str = "") -> bytes:
    """An answer of bytes, for a connection that is closed after it."""
    body = json.dumps(problem.model_dump()).encode()
    head = (
        f"HTTP/1.1 {status} {phrase}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        f"{more}Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n"
    )
    return head.encode("ascii") + body
