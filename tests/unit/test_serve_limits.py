"""Rate, bytes and settings of the server, with a clock of the test's own."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import pytest

from understudy.errors import ConfigError
from understudy.serve.limits import N_CLIENTS, Held, RateLimit, network_of
from understudy.serve.settings import ServeSettings


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_passes_then_one_request_each_time_the_rate_allows() -> None:
    clock = Clock()
    rate = RateLimit(per_minute=30, burst=3, clock=clock)
    assert [rate.wait_s("a") for _ in range(3)] == [0, 0, 0]
    assert rate.wait_s("a") == pytest.approx(2.0)
    clock.now += 1.5
    assert rate.wait_s("a") == pytest.approx(0.5)
    clock.now += 0.5
    assert rate.wait_s("a") == 0
    assert rate.wait_s("a") == pytest.approx(2.0)


def test_one_client_does_not_use_up_what_another_may() -> None:
    rate = RateLimit(per_minute=1, burst=1, clock=Clock())
    assert rate.wait_s("10.0.0.1") == 0
    assert rate.wait_s("10.0.0.1") == pytest.approx(60)
    assert rate.wait_s("10.0.0.2") == 0


def test_a_long_rest_gives_no_more_than_the_burst() -> None:
    clock = Clock()
    rate = RateLimit(per_minute=60, burst=2, clock=clock)
    rate.wait_s("a")
    clock.now += 1e6
    assert [rate.wait_s("a") == 0 for _ in range(3)] == [True, True, False]


def test_no_rate_means_no_limit() -> None:
    rate = RateLimit(per_minute=0, burst=1, clock=Clock())
    assert {rate.wait_s("a") for _ in range(1000)} == {0.0}


def test_as_many_addresses_are_remembered_as_agreed_and_no_more() -> None:
    rate = RateLimit(per_minute=1, burst=1, clock=Clock())
    for k in range(N_CLIENTS + 10):
        rate.wait_s(f"client{k}")
    assert len(rate._buckets) == N_CLIENTS
    assert "client0" not in rate._buckets


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("fe80::1%eth0", "fe80::/64"),
        ("testclient", "testclient"),
    ],
)
def test_an_ipv6_client_is_counted_with_its_whole_network(address: str, counted: str) -> None:
    assert network_of(address) == counted


def test_bytes_are_held_up_to_the_limit_and_a_refused_chunk_is_not_counted() -> None:
    held = Held(10)
    assert held.take(6)
    assert not held.take(5)
    assert held.n_bytes == 6
    assert held.take(4)
    held.give_back(10)
    assert held.n_bytes == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"port": 70000}, "port must be 0 to 65535, got 70000"),
        ({"max_waiting": 0}, "max_waiting must be 1 or more, got 0"),
        ({"body_s": 0.0}, "body_s must be more than 0 seconds, got 0.0"),
        ({"body_s": float("nan")}, "body_s must be more than 0 seconds, got nan"),
        ({"requests_per_minute": -1.0}, "requests_per_minute must be 0"),
        ({"max_bytes": 100, "max_bytes_held": 99}, "got 99 under 100"),
        ({"token": "short"}, "16 or more characters .* got 5 characters"),
        ({"token": "a token with spaces"}, "without spaces"),
        ({"token": "übertragungsschlüssel"}, "printable ASCII"),
    ],
)
def test_settings_without_sense_are_refused_with_their_value(change: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        replace(ServeSettings(), **change)  # type: ignore[arg-type]


def test_a_token_is_not_shown_with_the_settings() -> None:
    assert "0123456789abcdef" not in repr(ServeSettings(token="0123456789abcdef"))


def test_a_body_in_tiny_chunks_takes_little_more_memory_than_its_bytes() -> None:
    body_module = pytest.importorskip("understudy.serve.body")
    n = 200_000
    tracemalloc.start()
    body = body_module.Body(n, Held(n))
    for k in range(n):
        body.add(bytes([k % 256]))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3 * n
    assert body.join() == bytes(k % 256 for k in range(n))
    assert body.join() == b""


def test_bytes_that_are_forgotten_are_held_no_longer() -> None:
    body_module = pytest.importorskip("understudy.serve.body")
    held = Held(100)
    body = body_module.Body(60, held)
    body.add(b"x" * 50)
    with pytest.raises(body_module.ProblemError, match="more than 60 bytes, the limit is 60"):
        body.add(b"x" * 11)
    other = body_module.Body(60, held)
    with pytest.raises(body_module.ProblemError, match="holds 50 bytes"):
        other.add(b"x" * 51)
    body.forget()
    other.forget()
    assert held.n_bytes == 0
