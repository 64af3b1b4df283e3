"""anonymize, detect, status and demo as a user calls them, in one process, with the fastest parts."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from understudy.batch.tables import read_table
from understudy.cli.main import main
from understudy.config.compose import compose_config
from understudy.config.schema import SCHEMAS

FAST = ["detector=centerface", "residual=none", "guard=none", "generator=fill", "runner.n_workers=1"]
NASTY = [
    "a b",
    "a,b",
    "a=b=c",
    "(x)",
    "[1,2]",
    "{a:b}",
    "it's",
    'say "hi"',
    "'quoted'",
    "back\\slash",
    "ends in \\",
    "${x}",
    "\\${oc.env:HOME}",
    "unbalanced ${",
    "$HOME",
    "-dash",
    "--cfg",
    "ünï 日本 😀",
    "new\nline",
    "123",
    "#hash",
    "~tilde",
    "!&;|<>`",
    "null",
    os.fsdecode(b"no utf-8 \xff"),
]

pytestmark = pytest.mark.weights("centerface")


@pytest.fixture
def pictures(tmp_path: Path, portrait_paths: tuple[Path, ...]) -> Path:
    """A folder with the two portraits."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for path in portrait_paths:
        shutil.copyfile(path, folder / path.name)
    return folder


def test_twenty_nasty_names_work_for_input_and_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in NASTY:
        Path("in", name).mkdir(parents=True)
        Image.fromarray(np.full((8, 12, 3), 90, np.uint8)).save(Path("in", name, f"{name}.png"))
        code = main(["detect", f"input=in/{name}", f"output=found/{name}", "detector=centerface"])
        assert code == 0, name
        assert json.loads(Path("found", name).read_text())["image_id"] == f"{name}.png"
    os.chdir("in")
    for name in NASTY:
        assert main(["anonymize", f"input={name}", f"output=../out/{name}", *FAST]) == 0, name
        assert Path("../out", name, "images", f"{name}.png").is_file()


def test_every_face_gets_an_outcome_and_the_exit_code_is_0(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["anonymize", f"input={pictures}", f"output={tmp_path / 'out'}", *FAST]) == 0
    assert {r["image_id"]: r["outcome"] for r in read_table(tmp_path / "out", "regions")} == {
        "astronaut.png": "filled",
        "grace_hopper.jpg": "filled",
    }
    said = capsys.readouterr().out
    assert "2 done" in said
    assert "filled: why stands in the table of regions, under reason" in said


def test_the_run_file_tells_settings_versions_weights_and_providers(pictures: Path, tmp_path: Path) -> None:
    import yaml

    main(["anonymize", f"input={pictures}", f"output={tmp_path / 'out'}", "seed=7", *FAST])
    record = yaml.safe_load((tmp_path / "out" / "run.yaml").read_text())
    assert record["config"]["seed"] == 7
    assert record["config"]["input"] == str(pictures)
    assert record["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert len(record["weights"]["centerface"]) == 64
    assert record["providers"]["detector"] == "onnxruntime, running on CPUExecutionProvider"


def test_no_folder_or_log_of_hydras_own_appears(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    main(["anonymize", f"input={pictures}", "output=out", *FAST])
    assert Path.cwd() == work
    assert [p.name for p in work.iterdir()] == ["out"]


def test_the_same_command_again_does_nothing_twice(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["anonymize", f"input={pictures}", f"output={tmp_path / 'out'}", *FAST]
    main(command)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out" / "images").iterdir()}
    assert main([*command, "runner.n_workers=2"]) == 0
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "out" / "images").iterdir()} == before
    assert "2 of them by an earlier run" in capsys.readouterr().out


def test_other_settings_on_the_same_output_stop_with_1_and_name_the_key(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["anonymize", f"input={pictures}", f"output={tmp_path / 'out'}", *FAST]
    main(command)
    assert main([*command, "context=2"]) == 1
    assert "context was 1.45, is 2.0" in capsys.readouterr().err
    assert main([*command, "context=2", "resume=restart"]) == 0


def test_a_picture_over_the_limit_is_done_with_a_larger_limit_and_the_others_stay(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(np.full((20, 20, 3), 90, np.uint8)).save(pictures / "small.png")
    command = ["anonymize", f"input={pictures}", f"output={tmp_path / 'out'}", *FAST]
    assert main([*command, "max_pixels=400"]) == 3
    assert "raise max_pixels if you trust this file" in capsys.readouterr().out
    assert main(command) == 0
    assert "3 done, 1 of them by an earlier run" in capsys.readouterr().out


def test_a_broken_file_ends_with_3_and_is_named_and_the_others_are_done(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = (pictures / "grace_hopper.jpg").read_bytes()
    (pictures / "cut.jpg").write_bytes(whole[:5000])
    (pictures / "notes.md").write_text("no picture")
    assert main(["anonymize", f"input={pictures}", f"output={tmp_path / 'out'}", *FAST]) == 3
    out = capsys.readouterr().out
    assert "2 done, 1 failed, 1 skipped" in out
    assert "failed: cut.jpg: " in out


def test_missing_weights_stop_with_1_before_anything_is_written(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["anonymize", f"input={pictures}", f"output={tmp_path / 'out'}", *FAST, "detector.weights=/no/such.onnx"]
    assert main(command) == 1
    assert "/no/such.onnx" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_input_that_does_not_exist_stops_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["anonymize", f"input={tmp_path / 'absent'}", f"output={tmp_path / 'out'}", *FAST]) == 1
    assert "does not exist: give a file, a folder, a glob or a list" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_cfg_job_prints_the_config_and_runs_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main(["anonymize", "input=a", f"output={out}", "seed=5", "--cfg", "job"]) == 0
    assert "\nseed: 5\n" in capsys.readouterr().out
    assert not out.exists()


@pytest.mark.parametrize("command", ["anonymize", "detect"])
def test_help_lists_settings_and_parts(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    out = capsys.readouterr().out
    assert "usage: understudy" in out
    assert "max_pixels" in out
    assert "centerface" in out
    assert "thorough, yunet [default]" in out


@pytest.mark.parametrize("command", SCHEMAS)
def test_help_tells_every_setting_with_the_default_that_the_command_really_has(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, "--help"]) == 0
    listed = capsys.readouterr().out.partition("settings (key=value):\n")[2].partition("\n\n")[0].splitlines()
    composed = compose_config(command, [])
    for line in listed:
        name, meaning = line.split(maxsplit=1)  # a setting without a meaning fails here
        if meaning.endswith("]"):
            said = yaml.safe_load(meaning.rpartition("[")[2].rstrip("]"))
            assert said == composed[name], name
    assert len(listed) > 3


def test_status_tells_what_a_run_did(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["anonymize", f"input={pictures}", f"output={tmp_path / 'out'}", *FAST])
    capsys.readouterr()
    assert main(["status", str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    assert "2 inputs settled: 2 done" in out
    assert "faces: 2 filled" in out


def test_detect_writes_one_line_for_each_picture(pictures: Path, tmp_path: Path) -> None:
    found = tmp_path / "deep" / "found.jsonl"
    assert main(["detect", f"input={pictures}", f"output={found}", "detector=centerface"]) == 0
    lines = [json.loads(line) for line in found.read_text().splitlines()]
    assert [(line["image_id"], line["width"], line["height"]) for line in lines] == [
        ("astronaut.png", 512, 512),
        ("grace_hopper.jpg", 512, 600),
    ]
    for line in lines:
        (face,) = line["faces"]
        x0, y0, x1, y1 = face["xyxy"]
        assert all(x0 < x < x1 and y0 < y < y1 for x, y in face["keypoints"])
        assert face["confidence"] > 0.5


def test_detect_leaves_the_earlier_file_where_it_fails(pictures: Path, tmp_path: Path) -> None:
    found = tmp_path / "found.jsonl"
    found.write_text("earlier")
    assert main(["detect", f"input={tmp_path}/no*", f"output={found}", "detector=centerface"]) == 1
    assert found.read_text() == "earlier"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["found.jsonl", "pictures"]


def test_detect_names_what_it_could_not_read_and_ends_with_3(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (pictures / "cut.jpg").write_bytes((pictures / "grace_hopper.jpg").read_bytes()[:5000])
    assert main(["detect", f"input={pictures}", f"output={tmp_path / 'f.jsonl'}", "detector=centerface"]) == 3
    assert "failed: cut.jpg: " in capsys.readouterr().err


def test_detect_refuses_a_folder_as_its_output(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["detect", f"input={pictures}", f"output={pictures}", "detector=centerface"]) == 1
    assert "is a folder: give the name of a .jsonl file" in capsys.readouterr().err


def test_the_demo_writes_pictures_and_a_sheet_and_runs_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert main(["demo", *FAST]) == 0
    with Image.open(tmp_path / "understudy-demo" / "contact-sheet.png") as sheet:
        assert sheet.size == (960, 640)
    out = capsys.readouterr().out
    assert "grace_hopper.jpg: filled" in out
    assert str(Path("understudy-demo", "after")) in out


def test_the_demos_settings_are_printed_and_nothing_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["demo", "--cfg", "job", "seed=5"]) == 0
    assert "\nseed: 5\n" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_the_demo_takes_no_input_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "input=x"]) == 1
    assert "demo chooses input and output itself" in capsys.readouterr().err


def test_boxes_of_the_users_replace_ours_in_the_pictures_that_they_name(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [
        {"image_id": "astronaut.png", "faces": [{"xyxy": [10, 20, 50, 70]}]},
        {"image_id": "typo.png", "faces": []},
    ]
    (tmp_path / "my, boxes.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    boxes = f"boxes={tmp_path / 'my, boxes.jsonl'}"
    assert main(["anonymize", f"input={pictures}", f"output={tmp_path / 'out'}", boxes, *FAST]) == 0
    rows = {
        row["image_id"]: [row[k] for k in ("x0", "y0", "x1", "y1")] for row in read_table(tmp_path / "out", "regions")
    }
    assert rows["astronaut.png"] == [10, 20, 50, 70]
    assert rows["grace_hopper.jpg"][0] > 150
    assert "names 1 picture(s) that input does not hold, such as 'typo.png'" in capsys.readouterr().err


def test_boxes_of_the_users_may_be_added_to_ours(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "boxes.jsonl").write_text(
        json.dumps({"image_id": "astronaut.png", "faces": [{"xyxy": [10, 20, 50, 70]}]})
    )
    settings = [f"boxes={tmp_path / 'boxes.jsonl'}", "boxes_mode=add", *FAST]
    assert main(["anonymize", f"input={pictures}/astronaut.png", f"output={tmp_path / 'out'}", *settings]) == 0
    rows = read_table(tmp_path / "out", "regions")
    assert rows[0]["x0"] == 10
    assert len(rows) == 2


def test_what_detect_wrote_can_be_given_back_as_boxes(pictures: Path, tmp_path: Path) -> None:
    found = tmp_path / "found.jsonl"
    main(["detect", f"input={pictures}", f"output={found}", "detector=centerface"])
    for name, boxes in (("ours", []), ("given", [f"boxes={found}"])):
        assert main(["anonymize", f"input={pictures}", f"output={tmp_path / name}", *boxes, *FAST]) == 0
    ours, given = (read_table(tmp_path / name, "regions") for name in ("ours", "given"))
    assert [row["image_id"] for row in ours] == [row["image_id"] for row in given]
    for a, b in zip(ours, given, strict=True):
        assert [a[k] for k in ("x0", "y0", "x1", "y1")] == pytest.approx(
            [b[k] for k in ("x0", "y0", "x1", "y1")], abs=0.01
        )


def test_a_folder_without_pictures_is_said_and_ends_with_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    assert main(["anonymize", f"input={folder}", f"output={tmp_path / 'out'}", *FAST]) == 0
    said = capsys.readouterr()
    assert f"nothing was done: there is no file in '{folder}'" in said.err
    assert "a second" not in said.out
    redacted = ["logs.format=json", "logs.redact=true"]
    assert main(["anonymize", f"input={folder}", f"output={tmp_path / 'out'}", *FAST, *redacted]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["event"] for line in lines[-2:]] == ["warning", "end"]
    assert "no file in '<input>'" in lines[-2]["message"]
    (folder / "notes.txt").write_text("x")
    assert main(["anonymize", f"input={folder}", f"output={tmp_path / 'out'}", *FAST]) == 0
    assert f"no picture or film is among the 1 file(s) of '{folder}'" in capsys.readouterr().err


def test_detect_says_that_a_folder_holds_no_picture_and_ends_with_0_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, output = tmp_path / "in", tmp_path / "found.jsonl"
    folder.mkdir()
    assert main(["detect", f"input={folder}", f"output={output}", "detector=centerface"]) == 0
    assert f"nothing was done: there is no file in '{folder}'" in capsys.readouterr().err
    (folder / "notes.txt").write_text("x")
    assert main(["detect", f"input={folder}", f"output={output}", "detector=centerface"]) == 0
    assert f"no picture is among the 1 file(s) of '{folder}'" in capsys.readouterr().err
    assert output.read_text() == ""


def test_a_glob_without_a_match_leaves_no_output_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["anonymize", f"input={tmp_path / '*.jpg'}", f"output={tmp_path / 'out'}", *FAST]) == 1
    assert "matches no file: check the pattern" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_boxes_file_that_is_not_there_stops_the_run_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = [f"input={tmp_path}", f"output={tmp_path / 'out'}", f"boxes={tmp_path / 'none.jsonl'}"]
    assert main(["anonymize", *wanted, *FAST]) == 1
    said = capsys.readouterr().err
    assert "none.jsonl' cannot be read: no such file or directory. Give a file of JSON lines" in said
    assert "Errno" not in said
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_replaces_nobody_says_so(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parts = [*FAST[:3], "generator=null_edit"]
    assert main(["anonymize", f"input={pictures}", f"output={tmp_path / 'out'}", *parts]) == 0
    assert "generator null_edit replaces nobody" in capsys.readouterr().err
