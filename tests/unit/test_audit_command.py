"""``understudy audit`` from its arguments to its files and exit codes."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console
from tests.unit.audit_stand_ins import draw, write

from understudy.audit.folders import open_collection
from understudy.audit.run import AuditResult
from understudy.audit.sections import Used
from understudy.audit.table import AuditTable, Row, Status
from understudy.cli.audit import WIDTH, show
from understudy.cli.main import main
from understudy.config.audit import build_gates, choose_second
from understudy.config.compose import compose_config
from understudy.errors import ConfigError


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.strip()


def test_without_folders_the_command_says_what_it_needs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit"]) == 1
    assert "audit needs after=FOLDER and before=FOLDER and output=PATH" in said(capsys)


def test_an_empty_folder_ends_with_one_message_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = write(tmp_path / "before", {"a.png": draw(1)})
    (tmp_path / "after").mkdir()
    assert main(["audit", f"before={before}", f"after={tmp_path / 'after'}", f"output={tmp_path / 'out'}"]) == 1
    assert "holds no file: give a folder of pictures" in said(capsys)
    assert not (tmp_path / "out").exists()


def test_one_folder_for_both_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = write(tmp_path / "before", {"a.png": draw(1)})
    assert main(["audit", f"before={before}", f"after={before}", f"output={tmp_path / 'out'}"]) == 1
    assert "nothing can have changed in it" in said(capsys)


def test_paths_with_nasty_characters_are_taken_literally(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = write(tmp_path / "be, fore = (1)", {"a.png": draw(1)})
    assert main(["audit", f"before={before}", f"after={tmp_path / 'no such'}", f"output={tmp_path / 'out'}"]) == 1
    assert "no such' does not exist" in said(capsys)


def test_the_second_detector_is_one_that_the_anonymiser_did_not_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("understudy.config.audit._is_here", lambda name: name in {"dlib_hog", "mtcnn"})
    assert choose_second([], Used())[-1] == "second=dlib_hog"
    assert choose_second([], Used(detectors=frozenset({"dlib_hog"})))[-1] == "second=mtcnn"
    assert choose_second([], Used(detectors=frozenset({"dlib_hog", "mtcnn"})))[-1] == "second=dlib_hog"
    assert choose_second(["second=none"], Used()) == ["second=none"]
    monkeypatch.setattr("understudy.config.audit._is_here", lambda _: False)
    assert choose_second([], Used())[-1] == "second=none"


def test_gates_come_from_the_config_and_one_can_be_changed_or_left_out() -> None:
    config = compose_config("audit", ["gates.residual=null", "gates.privacy_search.limit=0.01"])
    gates = build_gates({str(k): v for k, v in config.gates.items()})
    assert {gate.name for gate in gates} == {"privacy", "drift", "beautification", "fidelity"}
    assert gates[0].limit == 0.01


def test_a_gate_with_an_unknown_setting_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"gates\.mine: .*limits"):
        build_gates({"mine": {"metric": "rank1_rate", "limit": 1.0, "limits": 2}})


@pytest.mark.weights("centerface", "dlib_face_recognition_resnet_v1")
def test_two_portraits_against_themselves_break_the_privacy_gate_and_end_with_4(
    tmp_path: Path, portrait_paths: tuple[Path, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in ("before", "after"):
        (tmp_path / folder).mkdir()
        for path in portrait_paths:
            (tmp_path / folder / path.name).write_bytes(path.read_bytes())
    output = tmp_path / "out"
    arguments = [f"before={tmp_path / 'before'}", f"after={tmp_path / 'after'}", f"output={output}"]
    quick = ["n_boot=20", "n_permutations=19", "second=none", "report.html=false", "estimator=[head_pose]"]
    assert main(["audit", *arguments, *quick]) == 4
    printed = capsys.readouterr().out
    assert "rank1_rate" in printed
    assert "gates" in printed
    assert "too few faces or pictures: n = 2, up to 100 are wanted" in printed.splitlines()[-2]
    assert printed.splitlines()[-1] == f"results lie in {output}"
    document = json.loads((output / "audit.json").read_text(encoding="utf-8"))
    rows = {(row["metric"], row["attribute"], row["group"]): row for row in document["table"]}
    assert rows["rank1_rate", "dlib", "overall"]["value"] == 1.0
    assert rows["context_changed_share", "", "overall"]["value"] == 0.0
    assert document["verdict"]["verdict"] in {"fail", "undecided"}
    assert document["figures_sha256"]
    assert "dlib_face_recognition_resnet_v1_onnx" in document["weights"]
    assert document["collections"]["before"]["n_faces"] == 2
    assert (output / ".cache").stat().st_mode & 0o077 == 0
    assert open_collection(tmp_path / "before", "before").pictures == tuple(sorted(p.name for p in portrait_paths))


def test_the_table_in_the_terminal_says_which_figures_are_not_independent() -> None:
    rows = [
        Row("rank1_rate", 40, 0.05, "dlib", unit="share", status=Status.SELECTED),
        Row("rank1_rate", 40, 0.1, "facenet", unit="share"),
    ]
    console = Console(width=WIDTH, record=True, file=io.StringIO())
    show(AuditResult(AuditTable(rows), (), {}, {}, {}), console)
    lines = [line.rstrip() for line in console.export_text().splitlines() if line.startswith("rank1_rate")]
    assert lines[0].endswith("not independent")
    assert lines[1].endswith("10.0 %")


def test_results_never_come_to_lie_among_the_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in ("before", "after"):
        write(tmp_path / folder, {"a.png": draw(0)})
    arguments = [f"before={tmp_path / 'before'}", f"after={tmp_path / 'after'}"]
    assert main(["audit", *arguments, f"output={tmp_path / 'before'}"]) == 1
    assert said(capsys) == f"understudy: output '{tmp_path / 'before'}' is the folder of before: give another one"
    assert [path.name for path in (tmp_path / "before").iterdir()] == ["a.png"]


def test_what_was_judged_is_no_null_edit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in ("before", "after"):
        write(tmp_path / folder, {"a.png": draw(0)})
    after = tmp_path / "after"
    assert main(["audit", f"before={tmp_path / 'before'}", f"after={after}", f"null={after}", "output=x"]) == 1
    assert f"null and after are one folder, '{after}'" in said(capsys)
