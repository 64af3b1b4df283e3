"""Bad input to a real server on loopback: a clear answer each time, nothing kept, and the server alive after it."""

from __future__ import annotations

import base64
import io
import signal
import socket
import struct
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from tests.faults.tiny_serve import (
    FORGETS,
    KEEPS,
    NO_MEMORY,
    RAISES,
    SECRET,
    SLOW,
    STUCK,
    Running,
    client_of,
    png,
    serving,
    serving_here,
    serving_tiny,
)

pytest.importorskip("uvicorn")

MAX_BYTES = 4 << 20
HEADER_S, BODY_S = 0.5, 1.0
JPEG = {"Content-Type": "image/jpeg"}
PNG = {"Content-Type": "image/png"}
PLAIN = {"timeout": 60, "trust_env": False, "verify": False}
POST_HEAD = b"POST /v1/anonymize HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
FAST = ["detector=centerface", "residual=none", "guard=none", "generator=fill"]
LIMITS = [
    "port=0",
    "requests_per_minute=0",
    f"max_bytes={MAX_BYTES}",
    "max_pixels=20000000",
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """`understudy serve` itself, with the fastest parts and short deadlines."""
    from understudy import weights
    from understudy.errors import MissingWeightsError

    try:
        weights.find("centerface")
    except MissingWeightsError as error:
        pytest.skip(str(error))
    command = [sys.executable, "-m", "understudy", "serve", *FAST, *LIMITS]
    with serving(command, tmp_path_factory.mktemp("server")) as running:
        with running.client() as client:  # what is loaded at the first picture is no leak
            assert client.post("/v1/anonymize", content=portrait_jpeg(), headers=JPEG).status_code == 200
        yield running


@pytest.fixture(autouse=True)
def _alive_and_empty_handed_after_each(request: pytest.FixtureRequest) -> Iterator[None]:
    """After every test that uses it, the server still anonymises, holds nothing and has written nothing."""
    yield
    if "server" not in request.fixturenames:
        return
    running: Running = request.getfixturevalue("server")
    assert running.process.poll() is None
    with running.client() as client:
        answer = client.post("/v1/anonymize", content=png(), headers=PNG)
        assert (answer.status_code, answer.headers["understudy-filled"]) == (200, "0")
        wait_for(lambda: "understudy_held_bytes 0\n" in client.get("/metrics").text)
    assert running.files() == []
    assert running.log.read_text().count("\n") <= 4  # two warnings and the address, and perhaps a farewell


def portrait_jpeg() -> bytes:
    from understudy.config.locations import portraits

    return portraits()[0].read_bytes()


def refusal(answer: httpx.Response) -> tuple[int, str]:
    """Status and kind of a refusal, which is JSON and short: no pixel is in it."""
    assert answer.headers["content-type"] == "application/json"
    assert len(answer.content) < 500
    said = answer.json()
    assert set(said) == {"kind", "reason"}
    assert str(Path(__file__).parents[2]) not in said["reason"]
    assert SECRET not in said["reason"]
    return answer.status_code, said["kind"]


def bomb(width: int, height: int) -> bytes:
    """A PNG that says how large it is, with hardly any data: unpacked it would be width x height x 3 bytes."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )


def animated(format_name: str) -> bytes:
    frames = [Image.fromarray(np.full((16, 16, 3), 80 * k, np.uint8)) for k in range(3)]
    buffer = io.BytesIO()
    frames[0].save(buffer, format_name, save_all=True, append_images=frames[1:])
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("body", "headers", "expected"),
    [
        (lambda: b"hello", JPEG, (415, "not_a_picture")),
        (lambda: b"\0" * 100_000, PNG, (415, "not_a_picture")),
        (
            lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>",
            {"Content-Type": "image/svg+xml"},
            (415, "not_a_picture"),
        ),
        (lambda: b"", JPEG, (400, "empty")),
        (lambda: portrait_jpeg()[:20_000], JPEG, (422, "unreadable")),
        (lambda: portrait_jpeg()[:200], JPEG, (422, "unreadable")),
        (lambda: bomb(60_000, 60_000), PNG, (422, "refused")),
        (lambda: bomb(4_000, 4_000), PNG, (422, "unreadable")),
        (lambda: animated("GIF"), {"Content-Type": "image/gif"}, (422, "refused")),
        (lambda: animated("PNG"), PNG, (422, "refused")),
        (lambda: animated("WEBP"), {"Content-Type": "image/webp"}, (422, "refused")),
        (lambda: animated("TIFF"), {"Content-Type": "image/tiff"}, (422, "refused")),
        (lambda: b"\0\0\0\x20ftypisom" + b"\0" * 100, {"Content-Type": "image/heic"}, (422, "refused")),
        (portrait_jpeg, {"Content-Type": "text/plain"}, (415, "wrong_content_type")),
        (portrait_jpeg, {}, (415, "wrong_content_type")),
        (portrait_jpeg, {"Content-Type": "multipart/form-data; boundary=x"}, (415, "wrong_content_type")),
        (portrait_jpeg, {**JPEG, "Host": "evil.example"}, (421, "wrong_host")),
        (portrait_jpeg, {**JPEG, "Origin": "https://evil.example"}, (403, "foreign_origin")),
    ],
    ids=lambda value: None if callable(value) or isinstance(value, dict) else f"{value[0]}-{value[1]}",
)
def test_what_is_no_good_picture_is_refused_in_plain_words(
    server: Running, body: Callable[[], bytes], headers: dict[str, str], expected: tuple[int, str]
) -> None:
    with server.client() as client:
        assert refusal(client.post("/v1/anonymize", content=body(), headers=headers)) == expected


def test_a_picture_under_a_wrong_image_type_is_what_its_content_says(server: Running) -> None:
    with server.client() as client:
        answer = client.post("/v1/anonymize", content=portrait_jpeg(), headers=PNG)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")


def test_the_same_bytes_give_the_same_picture_and_another_than_was_sent(server: Running) -> None:
    with server.client() as client:
        first, second = (client.post("/v1/anonymize", content=portrait_jpeg(), headers=JPEG) for _ in range(2))
    assert first.content == second.content
    assert first.content != portrait_jpeg()
    before, after = (
        np.asarray(Image.open(io.BytesIO(b)).convert("RGB"), int) for b in (portrait_jpeg(), first.content)
    )
    assert before.shape == after.shape
    assert np.abs(before - after)[200:260, 240:300].mean() > 20  # the face
    assert np.abs(before - after)[:60, :60].mean() < 3  # a corner, re-encoded


def test_the_picture_is_the_one_that_anonymize_writes(server: Running, tmp_path: Path) -> None:
    from understudy.cli.main import main
    from understudy.config.locations import portraits

    source = portraits()[0]
    assert main(["anonymize", f"input={source}", f"output={tmp_path / 'out'}", "runner.n_workers=1", *FAST]) == 0
    with server.client() as client:
        answer = client.post("/v1/anonymize", content=source.read_bytes(), headers=JPEG)
    assert answer.content == (tmp_path / "out" / "images" / source.name).read_bytes()


def test_a_body_over_the_limit_is_refused_from_its_announced_length_alone(server: Running) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as raw:
        raw.sendall(
            b"POST /v1/anonymize HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\n"
            b"Content-Length: 1000000000\r\nExpect: 100-continue\r\n\r\n"
        )
        said = b""
        while b"4,194,304" not in said and (piece := raw.recv(65536)):  # head and body may come apart
            said += piece
    assert said.startswith(b"HTTP/1.1 413 ")
    assert b"the body has 1,000,000,000 bytes, the limit is 4,194,304" in said


def test_a_gigabyte_without_an_announced_length_is_cut_off_and_not_held(server: Running) -> None:
    n_sent = 0
    before = server.memory_peak()

    def gigabyte() -> Iterator[bytes]:
        nonlocal n_sent
        block = b"\xff\xd8\xff" + b"\0" * 65533
        while n_sent < 1 << 30:
            n_sent += len(block)
            yield block

    with server.client() as client:
        assert refusal(client.post("/v1/anonymize", content=gigabyte(), headers=JPEG)) == (413, "too_large")
    assert server.memory_peak() - before < 24 << 20  # MAX_BYTES, copied once or twice


def test_a_bomb_takes_no_memory(server: Running) -> None:
    before = server.memory_peak()
    with server.client() as client:
        client.post("/v1/anonymize", content=bomb(60_000, 60_000), headers=PNG)
    assert server.memory_peak() - before < 24 << 20


def answered(
    url: str, first: bytes, more: bytes = b"", pause_s: float = 0.1, within_s: float = 20
) -> tuple[bytes, float]:
    """What comes back, and after how long, where ``first`` is sent and then ``more``, byte by byte, slowly."""
    began = time.monotonic()
    got = b""
    with socket.create_connection(("127.0.0.1", port_of(url)), timeout=pause_s) as raw:
        raw.sendall(first)
        rest = iter(more)
        while time.monotonic() - began < within_s:
            try:
                piece = raw.recv(65536)
                got += piece
                if not piece:
                    break
            except TimeoutError:
                byte = next(rest, None)
                if byte is not None:
                    try:
                        raw.sendall(bytes([byte]))
                    except OSError:
                        continue
            except OSError:
                break
    return got, time.monotonic() - began


@pytest.fixture(scope="module")
def strict() -> Iterator[str]:
    """A server with short deadlines."""
    with serving_here(header_s=HEADER_S, body_s=BODY_S, requests_per_minute=0) as url:
        yield url


def test_a_head_that_drips_in_is_not_waited_for(strict: str) -> None:
    got, seconds = answered(strict, b"GET / HTTP/1.1\r\nHost: localhost\r\nX-A: ", b"a" * 200)
    assert got.startswith(b"HTTP/1.1 408 ")
    assert HEADER_S * 0.9 < seconds < HEADER_S + 8


def test_a_connection_without_a_word_is_not_kept_open(strict: str) -> None:
    got, seconds = answered(strict, b"")
    assert got.startswith(b"HTTP/1.1 408 ")
    assert seconds < HEADER_S + 8


def test_a_second_head_on_the_same_connection_may_not_drip_either(strict: str) -> None:
    first = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    got, seconds = answered(strict, first + b"GET / HTTP/1.1\r\n", b"X-A: " + b"a" * 200)
    assert got.startswith(b"HTTP/1.1 200 ")
    assert seconds < HEADER_S + BODY_S + 8


def test_a_body_that_drips_in_is_not_waited_for(strict: str) -> None:
    got, seconds = answered(strict, POST_HEAD + b"Content-Length: 1000\r\n\r\n", b"\xff\xd8\xff" + b"a" * 200)
    assert got.startswith(b"HTTP/1.1 408 ")
    assert b"the body took longer than 1 seconds" in got
    assert BODY_S * 0.9 < seconds < BODY_S + 8


@pytest.mark.slow
def test_an_answer_that_nobody_fetches_is_dropped() -> None:
    body = png(2000, 1500)  # more than what the system holds of a connection
    with serving_here(body_s=2.0) as url, socket.socket() as raw, client_of(url) as client:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.settimeout(20)
        raw.connect(("127.0.0.1", port_of(url)))
        request = POST_HEAD + f"Content-Length: {len(body)}\r\n\r\n".encode() + body
        raw.sendall(request)
        wait_for(lambda: status_of(client, 200) >= 1)
        time.sleep(2.5)
        got = b""
        with suppress(OSError):
            while piece := raw.recv(65536):
                got += piece
    assert got.startswith(b"HTTP/1.1 200 ")
    assert len(got) < len(body) - 1_000_000


def status_of(client: httpx.Client, status: int) -> int:
    """How many pictures were answered with a status."""
    sample = f'understudy_requests_total{{path="/v1/anonymize",status="{status}"}} '
    return int(client.get("/metrics").text.partition(sample)[2].partition("\n")[0] or 0)


def test_a_client_that_goes_away_in_the_middle_leaves_nothing(server: Running) -> None:
    head = (
        b"POST /v1/anonymize HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\nContent-Length: 50000\r\n\r\n"
    )
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", server.port), timeout=5) as raw:
            raw.sendall(head + b"\xff\xd8\xff" + b"\0" * 20_000)
    with server.client() as client:
        wait_for(lambda: "understudy_held_bytes 0\n" in client.get("/metrics").text)


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"\0" * 40_000,
    ],
    ids=["tls", "no-http", "two-hosts", "zeros"],
)
def test_what_is_no_http_is_answered_so_and_closed(strict: str, garbage: bytes) -> None:
    got, seconds = answered(strict, garbage)
    assert got.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 408 "))
    assert b'"kind"' in got
    assert seconds < HEADER_S + 8


def test_a_head_without_end_is_not_collected(strict: str) -> None:
    got, _ = answered(strict, b"GET / HTTP/1.1\r\nHost: localhost\r\nX-A: " + b"a" * 200_000)
    assert got.startswith(b"HTTP/1.1 400 ") or got == b""  # the answer may be lost with what was still being sent


def test_of_200_requests_at_once_each_is_fulfilled_or_told_to_come_back(server: Running) -> None:
    def ask(_: int) -> tuple[int, bool]:
        with server.client() as client:
            answer = client.post("/v1/anonymize", content=portrait_jpeg(), headers=JPEG)
        if answer.status_code == 200:
            return 200, answer.headers["understudy-filled"] == "1"
        return refusal(answer)[0], int(answer.headers["retry-after"]) >= 1

    with ThreadPoolExecutor(200) as pool:
        answers = Counter(pool.map(ask, range(200)))
    assert set(answers) <= {(200, True), (503, True)}
    assert answers[200, True] >= 9  # one that is worked on and eight that wait
    assert sum(answers.values()) == 200


def test_the_token_is_asked_for_by_a_server_that_has_one() -> None:
    token = "0123456789abcdef"
    with serving_here(token=token, hosts=("pictures.example",)) as url, client_of(url) as client:
        for given in ({}, {"Authorization": "Bearer wrong-wrong-wrong"}):
            assert refusal(client.post("/v1/anonymize", content=png(), headers={**PNG, **given})) == (401, "no_token")
        right = {**PNG, "Authorization": f"Bearer {token}"}
        for more in ({}, {"Host": "pictures.example"}):
            assert client.post("/v1/anonymize", content=png(), headers={**right, **more}).status_code == 200
        described = client.get("/openapi.json", headers=right).json()
        assert described["components"]["securitySchemes"] == {"token": {"type": "http", "scheme": "bearer"}}
        assert "401" in described["paths"]["/v1/anonymize"]["post"]["responses"]


def test_a_client_that_asks_too_often_is_told_when_it_may_again() -> None:
    with serving_here(requests_per_minute=1, burst=3) as url, client_of(url) as client:
        statuses = [client.post("/v1/anonymize", content=png(), headers=PNG).status_code for _ in range(4)]
        last = client.post("/v1/anonymize", content=png(), headers=PNG)
        assert statuses == [200, 200, 200, 429]
        assert refusal(last) == (429, "too_many_requests")
        assert 50 <= int(last.headers["retry-after"]) <= 60
        assert client.get("/healthz").status_code == 200


def test_a_report_holds_the_picture_and_each_region() -> None:
    with serving_here() as url, client_of(url) as client:
        plain = client.post("/v1/anonymize", content=png(), headers=PNG)
        report = client.post("/v1/anonymize?report=1", content=png(), headers=PNG).json()
        for query in ("report=2", "repotr=1", "report=1&report=1"):
            assert refusal(client.post(f"/v1/anonymize?{query}", content=png(), headers=PNG)) == (400, "bad_request")
        assert refusal(client.get("/v1/anonymize")) == (405, "wrong_method")
        assert refusal(client.get("/docs")) == (404, "not_found")
    assert base64.b64decode(report["picture"]) == plain.content
    assert report["outcomes"] == {"replaced": 1, "filled": 1}
    assert [region["outcome"] for region in report["regions"]] == ["replaced", "filled"]
    assert (plain.headers["understudy-replaced"], plain.headers["understudy-obscured"]) == ("1", "0")
    assert plain.headers["understudy-notes"] == "a note"


@pytest.mark.parametrize("width", [RAISES, FORGETS, KEEPS, NO_MEMORY])
def test_a_picture_in_which_somebody_was_not_replaced_is_never_returned(width: int) -> None:
    with serving_here() as url, client_of(url) as client:
        answer = client.post("/v1/anonymize", content=png(width), headers=PNG)
        report = client.post("/v1/anonymize?report=1", content=png(width), headers=PNG)
        counted = client.get("/metrics").text
    assert refusal(answer) == refusal(report) == (500, "quarantined")
    assert 'understudy_pictures_total{result="quarantined"} 2\n' in counted
    assert 'understudy_requests_total{path="/v1/anonymize",status="500"} 2\n' in counted


def test_connections_over_the_limit_are_turned_away_with_a_word() -> None:
    with serving_here(max_connections=3) as url:
        open_ones = [socket.create_connection(("127.0.0.1", port_of(url)), timeout=5) for _ in range(3)]
        got, _ = answered(url, b"")
        for one in open_ones:
            one.close()
        assert got.startswith(b"HTTP/1.1 503 ")
        assert b"too many connections" in got


def test_bodies_beyond_the_memory_set_aside_for_them_are_turned_away() -> None:
    head = POST_HEAD + b"Content-Length: 90000\r\n\r\n"
    with serving_here(max_bytes=100_000, max_bytes_held=150_000) as url, client_of(url) as client:
        with socket.create_connection(("127.0.0.1", port_of(url)), timeout=5) as raw:
            raw.sendall(head + b"\0" * 80_000)
            wait_for(lambda: "held_bytes 80000\n" in client.get("/metrics").text)
            answer = client.post("/v1/anonymize", content=b"\0" * 90_000, headers=PNG)
        assert refusal(answer) == (503, "busy")
        wait_for(lambda: "held_bytes 0\n" in client.get("/metrics").text)


def test_a_picture_whose_client_has_gone_is_not_begun() -> None:
    body = png()
    head = POST_HEAD + f"Content-Length: {len(body)}\r\n\r\n".encode()
    with serving_here(requests_per_minute=0) as url, client_of(url) as client, ThreadPoolExecutor(1) as pool:
        first = pool.submit(
            lambda: httpx.post(f"{url}v1/anonymize", content=png(SLOW), headers=PNG, **PLAIN).status_code
        )
        wait_for(lambda: client.get("/healthz").json()["busy"])
        with socket.create_connection(("127.0.0.1", port_of(url)), timeout=5) as raw:
            raw.sendall(head + body)
            wait_for(lambda: client.get("/healthz").json()["waiting"] == 1)
        wait_for(lambda: client.get("/healthz").json()["waiting"] == 0)
        assert client.get("/healthz").json()["busy"]
        assert first.result(30) == 200
        assert 'understudy_pictures_total{result="anonymised"} 1\n' in client.get("/metrics").text
        assert 'path="/v1/anonymize",status="499"} 1\n' in client.get("/metrics").text


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_finishes_the_running_picture_turns_away_the_waiting_one_and_ends(
    tmp_path: Path, number: int, code: int
) -> None:
    with serving_tiny(tmp_path, {}) as running, ThreadPoolExecutor(2) as pool:

        def ask(seed: int) -> httpx.Response:
            with running.client() as client:
                return client.post("/v1/anonymize", content=png(SLOW, seed=seed), headers=PNG)

        with running.client() as client:
            first = pool.submit(ask, 1)
            wait_for(lambda: client.get("/healthz").json()["busy"])
            second = pool.submit(ask, 2)
            wait_for(lambda: client.get("/healthz").json()["waiting"] == 1)
        running.process.send_signal(number)
        assert first.result(30).status_code == 200
        assert refusal(second.result(30)) == (503, "stopping")
        assert running.process.wait(30) == code
        assert "Traceback" not in running.log.read_text()
        assert running.files() == []


def test_a_picture_that_takes_longer_than_the_patience_at_the_end_is_given_up(tmp_path: Path) -> None:
    with serving_tiny(tmp_path, {"stop_s": 0.1}) as running, ThreadPoolExecutor(1) as pool:

        def ask() -> str:
            try:
                with running.client() as client:
                    return str(client.post("/v1/anonymize", content=png(STUCK), headers=PNG).status_code)
            except httpx.HTTPError as error:
                return type(error).__name__

        with running.client() as client:
            asked = pool.submit(ask)
            wait_for(lambda: client.get("/healthz").json()["busy"])
        running.process.terminate()
        assert running.process.wait(30) == 0
        assert asked.result(30) in {"503", "RemoteProtocolError", "ReadError"}
        assert "given up" in running.log.read_text()


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.01)


def port_of(url: str) -> int:
    return int(url.rstrip("/").rpartition(":")[2])
