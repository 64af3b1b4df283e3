"""Logs, metrics and status: what a run says of itself, and what it never says."""

from __future__ import annotations

import io
import json
import os
import re
import sqlite3
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image
from tests.faults.tiny_job import FINGERPRINT, TinyJob, save_picture

from understudy.batch.inputs import open_inputs
from understudy.batch.inspect import parts_of, progress_of
from understudy.batch.ledger import Ledger, Row, Status
from understudy.batch.ledger_reader import read_ledger
from understudy.batch.local import run_local
from understudy.batch.logs import Log, Redactor
from understudy.batch.metrics import Metrics
from understudy.batch.progress import Event
from understudy.batch.summary import RunSummary
from understudy.cli.main import main
from understudy.config.locations import portraits

FAST = ["generator=fill", "detector=centerface", "residual=none", "guard=none", "runner.n_workers=1"]


def redactor() -> Redactor:
    return Redactor({"/data/photos": "<input>", "/out": "<output>", "/home/ada": "<home>"})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("'/data/photos/a/b.jpg' cannot be read", "'<input>/a/b.jpg' cannot be read"),
        ("/data/photos-secret/b.jpg is gone", "<path> is gone"),
        ("'/tmp/Ada Lovelace/x' is full", "'<path>' is full"),
        ("weights in /home/ada/models: none", "weights in <home>/models: none"),
        ("see s3://ada-private/x.png, please", "see <address>, please"),
        ("holds no picture (it starts with ff d8 00), although", "holds no picture, although"),
        ("unexpected ValueError: bytes b'secret'", "unexpected ValueError"),
        ("d/a.jpg: 3/16 done, 1/2 failed", "d/a.jpg: 3/16 done, 1/2 failed"),
        ("give ../other/folder or ~/x", "give <path> or <path>"),
    ],
)
def test_a_redacted_message_names_nothing_outside_the_collection(text: str, expected: str) -> None:
    assert redactor()(text) == expected


def test_json_lines_have_time_level_event_and_the_reason() -> None:
    stream = io.StringIO()
    log = Log("json", redactor(), stream)
    log.begin(shard=None)
    log.settled(Event(Status.DONE, "a.jpg", outcomes=Counter(replaced=2)))
    log.settled(Event(Status.FAILED, "new\nline.jpg", "'/out/x' is broken"))
    log.settled(Event(Status.DONE, n=256, resumed=True))
    log.warn("of /etc/passwd")
    log.end(RunSummary(Counter({Status.DONE: 257, Status.FAILED: 1}), n_resumed=256, elapsed_s=2.0))
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [(line["level"], line["event"]) for line in lines] == [
        ("info", "begin"),
        ("info", "settled"),
        ("error", "settled"),
        ("info", "resumed"),
        ("warning", "warning"),
        ("info", "end"),
    ]
    assert lines[1]["n_replaced"] == 2
    assert (lines[2]["image_id"], lines[2]["reason"]) == ("new\\nline.jpg", "'<output>/x' is broken")
    assert lines[4]["message"] == "of <path>"
    assert (lines[5]["inputs"], lines[5]["per_second"], lines[5]["exit_code"]) == ({"done": 257, "failed": 1}, 1.0, 3)


def test_the_metrics_file_is_what_prometheus_reads(tmp_path: Path) -> None:
    metrics = Metrics(tmp_path / "understudy.prom")
    metrics.count(Event(Status.DONE, "a.jpg", outcomes=Counter(replaced=2, filled=1)))
    metrics.count(Event(Status.DONE, n=10, resumed=True))
    metrics.watch({"pictures_in_flight": 3.0, "queue_replace": 2.0})
    text = metrics.path.read_text()
    for line in text.splitlines():
        assert re.fullmatch(r'# (HELP|TYPE) \w+ .+|\w+(\{\w+="\w+"\})? -?[\d.]+', line), line
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert values['understudy_inputs_total{status="done"}'] == "11"
    assert values['understudy_regions_total{outcome="replaced"}'] == "2"
    assert (values["understudy_inputs_resumed_total"], values["understudy_queue_replace"]) == ("10", "2")
    assert values["understudy_running"] == "1"
    metrics.end()
    assert "understudy_running 0" in metrics.path.read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["understudy.prom"]


def test_a_metrics_file_that_cannot_be_written_does_not_end_the_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    Metrics(tmp_path / "file" / "metrics.prom").end()


@pytest.mark.weights
def test_a_run_tells_its_metrics_and_redacted_json_and_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "Ada Lovelace"
    source.mkdir()
    with Image.open(portraits()[1]) as image:
        image.resize((200, 200)).save(source / "a.png")
    (source / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    arguments = [f"input={source}", f"output={tmp_path / 'out'}", f"metrics_file={tmp_path / 'm.prom'}", *FAST]
    assert main(["anonymize", *arguments, "logs.format=json", "logs.redact=true"]) == 3
    said = capsys.readouterr()
    assert said.out == ""
    lines = [json.loads(line) for line in said.err.splitlines()]
    settled = {line["image_id"]: line["status"] for line in lines if line["event"] == "settled"}
    assert settled == {"a.png": "done", "broken.png": "failed"}
    assert "Lovelace" not in said.err
    assert str(tmp_path) not in said.err
    assert 'understudy_inputs_total{status="failed"} 1' in (tmp_path / "m.prom").read_text()
    assert main(["anonymize", f"input={tmp_path / 'none'}", arguments[1], *FAST, "logs.format=json"]) == 1
    assert json.loads(capsys.readouterr().err)["event"] == "stopped"


def row(k: int, status: Status = Status.DONE) -> Row:
    error = "" if status is Status.DONE else "planted"
    return Row(f"{k}.png", f"/in/{k}.png", status, error, n_regions=1, n_replaced=1)


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    return {path.name: (path.stat().st_size, path.stat().st_mtime_ns) for path in folder.iterdir()}


def test_a_ledger_that_is_being_written_is_read_without_a_trace(tmp_path: Path) -> None:
    writing = Ledger(tmp_path)
    writing.record([row(1), row(2, Status.FAILED)])
    before = {name: size for name, (size, _) in tree(tmp_path).items()}
    with read_ledger(tmp_path) as reader:
        assert reader.counts() == {Status.DONE: (1, 1, 0, 0), Status.FAILED: (1, 1, 0, 0)}
        assert [found.image_id for found in reader.failures(5)] == ["2.png"]
        writing.record([row(3)])
        assert reader.counts()[Status.DONE][0] == 2
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            reader._connection.execute("DELETE FROM items")
    assert set(tree(tmp_path)) == set(before)
    writing.close()


def test_a_finished_ledger_is_read_and_no_file_is_made_or_changed(tmp_path: Path) -> None:
    written = Ledger(tmp_path)
    written.record([row(1)])
    written.close()
    before = tree(tmp_path)
    with read_ledger(tmp_path) as reader:
        assert reader.counts()[Status.DONE][0] == 1
    assert tree(tmp_path) == before == {"ledger.db": before["ledger.db"]}


KILLED = """
import os, signal, sys
from pathlib import Path
from understudy.batch.ledger import Ledger, Row, Status
ledger = Ledger(Path(sys.argv[1]))
ledger.record([Row("1.png", "/in/1.png", Status.DONE)])
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("is_local", [True, False])
def test_the_ledger_of_a_killed_process_is_read_up_to_its_last_commit(tmp_path: Path, is_local: bool) -> None:
    program = KILLED.replace(
        "ledger = ", f"import understudy.batch.ledger as m; m.is_local = lambda f: {is_local}\nledger = "
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], env=environment, check=False)
    before = tree(tmp_path)
    with read_ledger(tmp_path) as reader:
        assert reader.counts()[Status.DONE][0] == 1
    assert set(tree(tmp_path)) == set(before)
    assert tree(tmp_path)["ledger.db"] == before["ledger.db"]


def test_status_tells_a_running_run_from_one_that_ended_or_was_killed(tmp_path: Path) -> None:
    save_picture(tmp_path / "in" / "a.png", 1)
    seen = []

    def look(_: Event) -> None:
        with parts_of(str(tmp_path / "out")) as (part,):
            seen.append(progress_of(part).state)

    run_local(TinyJob(), open_inputs(tmp_path / "in"), tmp_path / "out", fingerprint=FINGERPRINT, report=look)
    assert seen == [f"the run is under way: process {os.getpid()} on {os.uname().nodename}"]
    with parts_of(str(tmp_path / "out")) as (part,):
        assert progress_of(part).state == "the run has ended"
    (tmp_path / "out" / ".understudy-lock").write_text(json.dumps({"pid": 2**22 + 1, "host": os.uname().nodename}))
    with LeftOpen(tmp_path / "out"), parts_of(str(tmp_path / "out")) as (part,):
        assert "killed" in progress_of(part).state


class LeftOpen:
    """The ledger of a run that did not end by itself."""

    def __init__(self, folder: Path) -> None:
        ledger = Ledger(folder)
        ledger.mark(clean=False)
        ledger.close()

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass
