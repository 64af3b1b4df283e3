"""One run at a time on one output folder, and no lock that outlives its process."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from understudy.batch import lock as lock_module
from understudy.batch.lock import LOCK_FILE, locked
from understudy.errors import OutputError

HOLD = """
import sys, time
from pathlib import Path
from understudy.batch.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def holder(folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_run_is_refused_with_the_name_of_the_first(tmp_path: Path) -> None:
    process = holder(tmp_path)
    try:
        expected = f"in use by another run .process {process.pid} on "
        with pytest.raises(OutputError, match=expected) as caught, locked(tmp_path):
            pass
        assert socket.gethostname() in str(caught.value)
    finally:
        process.kill()
        process.communicate()


def test_a_killed_run_leaves_no_lock(tmp_path: Path) -> None:
    process = holder(tmp_path)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert json.loads((tmp_path / LOCK_FILE).read_text())["pid"] == process.pid
    with locked(tmp_path):
        pass


def test_one_process_cannot_hold_a_folder_twice(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(OutputError, match="in use"), locked(tmp_path):
        pass
    with locked(tmp_path):
        pass


@pytest.fixture
def no_flock(monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)


def test_without_system_locks_a_file_takes_their_place(tmp_path: Path, no_flock: None) -> None:
    with locked(tmp_path), pytest.raises(OutputError, match=r"in use .*delete"), locked(tmp_path):
        pass
    with locked(tmp_path):
        pass


@pytest.mark.parametrize(
    ("change", "free"),
    [({}, True), ({"boot": "another"}, True), ({"host": "another"}, False), ({"pid": os.getpid()}, False)],
)
def test_a_lock_file_of_a_dead_process_of_this_machine_does_not_block(
    tmp_path: Path, no_flock: None, change: dict[str, object], free: bool
) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    owner = {**json.loads(json.dumps(lock_module.owner_record())), "pid": dead.pid, **change}
    (tmp_path / f"{LOCK_FILE}-held").write_text(json.dumps(owner))
    if free:
        with locked(tmp_path):
            pass
    else:
        with pytest.raises(OutputError, match="in use"), locked(tmp_path):
            pass


def test_a_folder_that_cannot_be_written_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written: No such file or directory"), locked(tmp_path / "none"):
        pass
