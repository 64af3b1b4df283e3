"""The command line answers in plain words and with the agreed exit codes."""

from __future__ import annotations

import importlib
import io
import subprocess
import sys

import pytest

from understudy.cli import main as cli
from understudy.errors import MissingWeightsError


class Raising:
    """Stands in for a command's module."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def run(self, arguments: object) -> int:
        raise self.error


def run_raising(monkeypatch: pytest.MonkeyPatch, error: BaseException, *arguments: str) -> int:
    monkeypatch.setattr(importlib, "import_module", lambda name: Raising(error))
    return cli.main(["anonymize", *arguments])


def test_without_a_command_the_commands_are_listed_and_the_exit_code_is_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 1
    assert "anonymize" in capsys.readouterr().out


def test_asking_for_help_is_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    assert "usage: understudy COMMAND" in capsys.readouterr().out


def test_an_unknown_command_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["anonymise"]) == 1
    assert "no command is called 'anonymise': did you mean 'anonymize'?" in capsys.readouterr().err


def test_only_commands_that_exist_are_listed() -> None:
    listed = [line.split()[0] for line in cli.usage().splitlines() if line.startswith("  ")]
    for name in listed:
        assert importlib.util.find_spec(f"understudy.cli.{name}") is not None


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("understudy 0.")


def test_an_error_of_ours_is_one_message_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_raising(monkeypatch, MissingWeightsError("weights 'x' are not on this machine")) == 1
    assert capsys.readouterr().err == "understudy: weights 'x' are not on this machine\n"


@pytest.mark.parametrize("by", ["setting", "variable"])
def test_debug_shows_the_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], by: str
) -> None:
    if by == "variable":
        monkeypatch.setenv("UNDERSTUDY_DEBUG", "1")
    arguments = ["debug=true"] if by == "setting" else []
    assert run_raising(monkeypatch, MissingWeightsError("gone"), *arguments) == 1
    assert "Traceback" in capsys.readouterr().err


def test_an_error_that_nobody_expected_is_called_a_bug(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("UNDERSTUDY_DEBUG", raising=False)
    assert run_raising(monkeypatch, ZeroDivisionError("division by zero")) == 1
    err = capsys.readouterr().err
    assert "ZeroDivisionError: division by zero (this is a bug" in err
    assert "Traceback" not in err


def test_an_error_of_the_system_names_the_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_raising(monkeypatch, PermissionError(13, "Permission denied", "/x/y")) == 1
    assert capsys.readouterr().err == "understudy: '/x/y': permission denied\n"


def test_a_name_that_is_no_utf_8_can_be_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Telling:
        def run(self, arguments: object) -> int:
            sys.stdout.write("results lie in bad\udcff\n")
            return 0

    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, "utf-8", errors="strict"))
    monkeypatch.setattr(importlib, "import_module", lambda name: Telling())
    assert cli.main(["anonymize"]) == 0
    assert written.getvalue() == b"results lie in bad\\udcff\n"


def test_ctrl_c_ends_with_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_raising(monkeypatch, KeyboardInterrupt()) == 130
    assert "start the same command again" in capsys.readouterr().err


def test_python_dash_m_works() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "understudy", "--version"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert done.stdout.startswith("understudy")


@pytest.mark.parametrize("arguments", [["list", "x"], ["fetch"]])
def test_models_says_what_it_takes(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["models", *arguments]) == 1
    assert "models takes 'list', 'pull NAME' or 'verify'" in capsys.readouterr().err


def test_models_list_tells_licence_and_training_data_of_every_entry(capsys: pytest.CaptureFixture[str]) -> None:
    from understudy import weights

    assert cli.main(["models", "list"]) == 0
    out = capsys.readouterr().out
    for entry in weights.entries():
        assert entry.name in out
        assert entry.licence.split()[0] in out
    assert "MS-Celeb-1M" in out
    assert "understudy-face-128" in out
    assert "from the extra [identity]" in " ".join(out.replace("│", " ").split())


def test_a_model_of_an_unknown_name_cannot_be_pulled(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["models", "pull", "yolox_nan"]) == 1
    said = capsys.readouterr().err
    assert "nothing to pull is called 'yolox_nan': did you mean 'yolox_nano'? There are weights: " in said
    assert "checkpoints of the hub: sd15_inpaint" in said
    assert "generators: blur, diffusers_inpaint" in said
    assert cli.main(["models", "pull"]) == 1
    assert "`understudy models list` shows the names" in capsys.readouterr().err


def test_a_wrong_name_among_good_ones_is_refused_before_anything_is_fetched(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("understudy.weights.pull", lambda *_, **__: pytest.fail("something was fetched"))
    assert cli.main(["models", "pull", "yunet", "nobody"]) == 1
    assert "nothing to pull is called 'nobody'. There are" in capsys.readouterr().err


def test_an_embedded_model_need_not_be_pulled(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["models", "pull", "understudy-face-128"]) == 0
    assert "understudy-face-128: comes with the package" in capsys.readouterr().out


def test_a_setting_that_status_does_not_have_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["status", "out", "verbose=1"]) == 1
    assert "status has no setting 'verbose'" in capsys.readouterr().err


def test_status_of_a_folder_that_is_no_output_is_refused(tmp_path: object, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["status", str(tmp_path)]) == 1
    assert "is no output folder of understudy" in capsys.readouterr().err
