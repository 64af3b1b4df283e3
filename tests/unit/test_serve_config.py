"""Settings of serve: parts and defaults of anonymize, a token where others reach it, one line where it cannot run."""

from __future__ import annotations

import dataclasses
import socket
import sys
from pathlib import Path

import pytest

from understudy.cli.main import main
from understudy.config.compose import compose_config
from understudy.config.read import read, read_anonymize
from understudy.config.schema import Anonymize, Serve
from understudy.config.serve import build_served_job, server_settings
from understudy.errors import ConfigError
from understudy.serve.settings import ServeSettings

TOKEN = "0123456789abcdef"
FAST = ["detector=centerface", "residual=none", "guard=none", "generator=fill"]


def settings_with(*overrides: str) -> Serve:
    return read(compose_config("serve", list(overrides)), Serve, "serve")


def test_the_defaults_of_schema_yaml_and_server_are_the_same() -> None:
    settings = settings_with()
    for field in dataclasses.fields(Serve):
        if field.default not in (dataclasses.MISSING, "???"):
            assert getattr(settings, field.name) == field.default, field.name
    assert server_settings(settings, {}) == ServeSettings()


def test_a_part_that_anonymize_has_too_is_the_same_by_default() -> None:
    settings = settings_with()
    main_job = read_anonymize(compose_config("anonymize", ["input=a", "output=b"]))
    shared = {f.name for f in dataclasses.fields(Serve)} & {f.name for f in dataclasses.fields(Anonymize)}
    assert shared >= {"detector", "residual", "generator", "guard", "blender", "attributes", "seed", "n_attempts"}
    for name in shared - {"max_pixels"}:  # a server takes smaller pictures
        assert getattr(settings, name) == getattr(main_job, name), name


def test_the_token_comes_from_the_environment_or_a_file_and_the_file_wins(tmp_path: Path) -> None:
    path = tmp_path / "a token, with commas"
    path.write_text(f"{TOKEN}-of-the-file\n")
    assert server_settings(settings_with(), {"UNDERSTUDY_TOKEN": f" {TOKEN}\n"}).token == TOKEN
    chosen = server_settings(settings_with(f"token_file={path}"), {"UNDERSTUDY_TOKEN": TOKEN})
    assert chosen.token == f"{TOKEN}-of-the-file"


@pytest.mark.parametrize("content", [b"", b" \n", b"x" * 5000])
def test_a_token_file_without_a_token_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "token"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="must hold a token and nothing else"):
        server_settings(settings_with(f"token_file={path}"), {})


def test_a_token_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: no such file"):
        server_settings(settings_with(f"token_file={tmp_path / 'none'}"), {})


@pytest.mark.parametrize("where", ["host=0.0.0.0", "host=::", "host=''", "hosts=[pictures.example]"])
def test_where_others_reach_it_it_does_not_start_without_a_token(
    where: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("uvicorn")
    monkeypatch.delenv("UNDERSTUDY_TOKEN", raising=False)
    assert main(["serve", where, *FAST]) == 1
    said = capsys.readouterr().err
    assert "there is no token" in said
    assert "UNDERSTUDY_TOKEN" in said


def test_a_short_token_does_not_help(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("uvicorn")
    monkeypatch.setenv("UNDERSTUDY_TOKEN", "hello")
    assert main(["serve", "host=0.0.0.0", *FAST]) == 1
    said = capsys.readouterr().err
    assert "got 5 characters" in said
    assert "hello" not in said


@pytest.mark.weights("centerface")
def test_a_port_that_is_taken_is_told_with_the_way_out(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("uvicorn")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["serve", f"port={port}", *FAST]) == 1
    assert f"cannot listen on 127.0.0.1 port {port}: address already in use" in capsys.readouterr().err


@pytest.mark.weights("centerface")
def test_a_generator_that_replaces_nobody_is_refused() -> None:
    with pytest.raises(ConfigError, match="returns nobody as they were"):
        build_served_job(settings_with("detector=centerface", "residual=none", "guard=none", "generator=null_edit"))


@pytest.mark.parametrize(
    ("key", "value"), [("seed", "-1"), ("n_attempts", "0"), ("context", "0.5"), ("max_pixels", "0")]
)
def test_a_value_without_sense_is_told(key: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"{key} must be"):
        build_served_job(settings_with(f"{key}={value}"))


def test_the_token_is_in_no_printed_config(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNDERSTUDY_TOKEN", TOKEN)
    assert main(["serve", "--cfg", "job"]) == 0
    said = capsys.readouterr().out
    assert "port: 8765" in said
    assert TOKEN not in said


@pytest.mark.parametrize(
    ("host", "is_loopback"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("localhost", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("", False),
        ("192.0.2.1", False),
    ],
)
def test_who_reaches_an_address_is_known_before_it_is_bound(host: str, is_loopback: bool) -> None:
    run = pytest.importorskip("understudy.serve.run")
    assert run.check_exposure(ServeSettings(host=host, token=TOKEN)) is is_loopback


def test_a_host_that_is_none_is_told() -> None:
    run = pytest.importorskip("understudy.serve.run")
    with pytest.raises(ConfigError, match=r"host 'a\.\.b' is no address"):
        run.check_exposure(ServeSettings(host="a..b"))


def test_without_the_extra_the_command_says_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "understudy.serve.run", raising=False)
    assert main(["serve", *FAST]) == 1
    assert "uvicorn is not installed: pip install 'understudy[serve]'" in capsys.readouterr().err
