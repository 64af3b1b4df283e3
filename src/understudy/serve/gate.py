"""What every request passes first: host, origin, rate and token; and what every answer carries."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
from collections.abc import Callable, Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from understudy.serve.limits import RateLimit
from understudy.serve.problem import ProblemError

_log = logging.getLogger(__name__)

CLIENT_GONE = 499
"""Status under which a request is counted whose client did not wait for its answer."""
OPEN_PATHS = frozenset({"/", "/healthz"})
"""Answered without a token: a page without secrets, and one word of health."""
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
ALWAYS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""Headers of every answer that does not set them itself."""


class Gate:
    """ASGI middleware around the whole app.

    Parameters
    ----------
    app : ASGI app
    hosts : collection of str, optional
        Names that the Host header may hold, so that no foreign page reaches a loopback server by rebinding its own
        name; None: any.
    token : str
        Empty: none is asked for.
    rate : RateLimit
    count : callable
        Called with path and status of every answer.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: Iterable[str] | None,
        token: str,
        rate: RateLimit,
        count: Callable[[str, int], None],
    ) -> None:
        self.app = app
        self._hosts = None if hosts is None else frozenset(name.lower() for name in hosts)
        self._token = _digest(token) if token else b""
        self._rate = rate
        self._count = count

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer or hand on one request."""
        if scope["type"] != "http":
            return
        status, is_whole = CLIENT_GONE, False

        async def passed(message: Message) -> None:
            nonlocal status, is_whole
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in ALWAYS.items():
                    headers.setdefault(name, value)
            elif message["type"] == "http.response.body":
                is_whole = not message.get("more_body", False)
            await send(message)

        try:
            self._check(scope)
            await self.app(scope, receive, passed)
        except ProblemError as problem:
            await problem.response()(scope, receive, passed)
        except asyncio.CancelledError:  # the server ends, and did not want to wait for this one
            if status == CLIENT_GONE:
                await ProblemError(503, "stopping", "the server is being stopped", retry_s=10).response()(
                    scope, receive, passed
                )
        except Exception as error:  # noqa: BLE001 - nobody above could do better; its text may hold anything
            _log.error("understudy: unexpected %s in a request", type(error).__name__)
            if not is_whole:
                raise ConnectionAbortedError("an answer broke off") from None
        finally:
            self._count(scope["path"], status)

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if self._hosts is not None and hostname(host) not in self._hosts:
            raise ProblemError(421, "wrong_host", "this server does not answer under the name in the Host header")
        self._check_origin(headers.get("origin"), host)
        if scope["path"] != "/healthz":
            client = scope["client"][0] if scope.get("client") else ""
            wait_s = self._rate.wait_s(client)
            if wait_s:
                raise ProblemError(429, "too_many_requests", "too many requests from this address", retry_s=wait_s)
        if self._token and scope["path"] not in OPEN_PATHS:
            scheme, _, given = headers.get("authorization", "").partition(" ")
            same = hmac.compare_digest(_digest(given.strip()), self._token)
            if scheme.lower() != "bearer" or not same:
                raise ProblemError(
                    401,
                    "no_token",
                    "this server asks for its token: Authorization: Bearer TOKEN",
                    headers={"WWW-Authenticate": "Bearer"},
                )

    def _check_origin(self, origin: str | None, host: str) -> None:
        """A page of another site may not use the server through its visitor's browser."""
        if origin is None:
            return
        netloc = urlsplit(origin).netloc.lower() if "://" in origin else ""
        if netloc and (netloc == host.lower() or (self._hosts is not None and hostname(netloc) in self._hosts)):
            return
        raise ProblemError(403, "foreign_origin", "pages of other sites may not use this server")


def hostname(host: str) -> str:
    """Name or address in a Host header, without port and brackets, in lower case."""
    text = host.strip().lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0].removesuffix(".")


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
