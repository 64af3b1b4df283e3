"""What every request passes first: host, origin, rate, token; and what every answer carries."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sequence

import pytest

pytest.importorskip("starlette")
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from understudy.serve.gate import ALWAYS, LOOPBACK_NAMES, Gate, hostname
from understudy.serve.limits import RateLimit

TOKEN = "0123456789abcdef"
HERE = ("host", "127.0.0.1:8765")


async def fine(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse("fine")(scope, receive, send)


class Asked:
    """One answer of a gate."""

    def __init__(self, gate: Gate, path: str, headers: Sequence[tuple[str, str]]) -> None:
        self.messages: list[Message] = []
        scope: Scope = {
            "type": "http",
            "path": path,
            "method": "GET",
            "headers": [(name.encode(), value.encode()) for name, value in headers],
            "client": ("127.0.0.1", 5),
        }

        async def receive() -> Message:
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            self.messages.append(message)

        asyncio.run(gate(scope, receive, send))

    @property
    def status(self) -> int:
        return int(self.messages[0]["status"])

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.messages[0]["headers"]}

    @property
    def kind(self) -> str:
        return str(json.loads(self.messages[1]["body"])["kind"])


def gate_around(
    app: ASGIApp = fine, *, token: str = "", hosts: frozenset[str] | None = LOOPBACK_NAMES, per_minute: float = 0
) -> tuple[Gate, list[tuple[str, int]]]:
    counted: list[tuple[str, int]] = []

    def count(path: str, status: int) -> None:
        counted.append((path, status))

    return Gate(app, hosts=hosts, token=token, rate=RateLimit(per_minute, 1), count=count), counted


@pytest.mark.parametrize("host", ["127.0.0.1:8765", "localhost", "LOCALHOST:1", "[::1]:8765", "localhost."])
def test_this_machine_is_reached_under_its_own_names(host: str) -> None:
    assert Asked(gate_around()[0], "/", [("host", host)]).status == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8765", "127.0.0.1.evil.example", "", "localhost@evil"])
def test_a_page_that_points_its_own_name_at_this_machine_is_turned_away(host: str) -> None:
    asked = Asked(gate_around()[0], "/healthz", [("host", host)])
    assert (asked.status, asked.kind) == (421, "wrong_host")


def test_any_name_is_fine_where_none_are_given() -> None:
    assert Asked(gate_around(hosts=None, token=TOKEN)[0], "/", [("host", "pictures.example")]).status == 200


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "http://127.0.0.1.evil.example", "null", "http://127.1:8765"]
)
def test_a_page_of_another_site_may_not_use_the_server_through_a_browser(origin: str) -> None:
    asked = Asked(gate_around()[0], "/v1/anonymize", [HERE, ("origin", origin)])
    assert (asked.status, asked.kind) == (403, "foreign_origin")


@pytest.mark.parametrize("origin", ["http://127.0.0.1:8765", "http://localhost:8765"])
def test_the_servers_own_page_may_use_it(origin: str) -> None:
    assert Asked(gate_around()[0], "/v1/anonymize", [HERE, ("origin", origin)]).status == 200


@pytest.mark.parametrize(
    "authorization",
    ["", TOKEN, "Bearer", "Bearer ", f"Basic {TOKEN}", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", "Bearer \udcff"],
)
def test_without_the_token_nothing_is_answered_but_the_page_and_health(authorization: str) -> None:
    gate, _ = gate_around(token=TOKEN)
    given = [HERE, ("authorization", authorization.encode("utf-8", "replace").decode())] if authorization else [HERE]
    for path in ("/v1/anonymize", "/metrics", "/openapi.json", "/other"):
        asked = Asked(gate, path, given)
        assert (asked.status, asked.kind) == (401, "no_token"), path
        assert asked.headers["www-authenticate"] == "Bearer"
    assert Asked(gate, "/", given).status == 200
    assert Asked(gate, "/healthz", given).status == 200


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_with_the_token_everything_is_answered(scheme: str) -> None:
    gate, _ = gate_around(token=TOKEN)
    assert Asked(gate, "/metrics", [HERE, ("authorization", f"{scheme} {TOKEN}")]).status == 200


def test_wrong_tokens_are_slowed_down_like_any_request_and_health_is_not() -> None:
    gate, _ = gate_around(token=TOKEN, per_minute=1)
    wrong = [HERE, ("authorization", "Bearer wrong")]
    assert Asked(gate, "/metrics", wrong).status == 401
    asked = Asked(gate, "/metrics", wrong)
    assert (asked.status, asked.kind) == (429, "too_many_requests")
    assert 58 <= int(asked.headers["retry-after"]) <= 60
    assert [Asked(gate, "/healthz", [HERE]).status for _ in range(3)] == [200, 200, 200]


def test_every_answer_forbids_keeping_and_framing_and_is_counted() -> None:
    gate, counted = gate_around()
    for path, headers, status in (("/", [HERE], 200), ("/", [("host", "evil")], 421)):
        asked = Asked(gate, path, headers)
        assert asked.status == status
        assert {name.lower(): value for name, value in ALWAYS.items()}.items() <= asked.headers.items()
    assert counted == [("/", 200), ("/", 421)]


def test_an_error_that_nobody_foresaw_is_logged_by_its_type_alone(caplog: pytest.LogCaptureFixture) -> None:
    async def breaks(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise KeyError("/home/ada/portrait.png")

    gate, counted = gate_around(breaks)
    with caplog.at_level(logging.ERROR), pytest.raises(ConnectionAbortedError):
        Asked(gate, "/", [HERE])
    assert [record.getMessage() for record in caplog.records] == ["understudy: unexpected KeyError in a request"]
    assert counted == [("/", 200)]


@pytest.mark.parametrize(
    ("host", "name"),
    [("a.example:80", "a.example"), ("[2001:db8::1]:80", "2001:db8::1"), ("[::1", "::1"), (" A ", "a"), ("", "")],
)
def test_the_name_in_a_host_header_is_read_without_port_and_brackets(host: str, name: str) -> None:
    assert hostname(host) == name
