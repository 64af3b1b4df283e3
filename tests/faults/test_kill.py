"""A run that is killed with SIGKILL at any moment and started again writes every picture exactly once."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.faults.tiny_job import expected_bytes, save_picture

PROGRAM = Path(__file__).with_name("tiny_job.py")
N_PICTURES = 60


def start(source: Path, output: Path, *, pause_s: float) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(PROGRAM), str(source), str(output), "3"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TINY_PAUSE_S": str(pause_s)},
    )


def n_written(output: Path) -> int:
    return sum(1 for path in (output / "images").rglob("*.png") if not path.name.startswith("."))


def kill_after(process: subprocess.Popen[str], output: Path, n_more: int, delay_s: float) -> bool:
    """Kill a run some time after it has written so many pictures more; whether it was still running."""
    target = n_written(output) + n_more
    while process.poll() is None and n_written(output) < target:
        time.sleep(0.002)
    time.sleep(delay_s)
    running = process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return running


def check_whole(source: Path, output: Path) -> None:
    """Whatever is there under a picture's name is a whole picture, and every row has its file."""
    for path in (output / "images").rglob("*.png"):
        if not path.name.startswith("."):
            with Image.open(path) as image:
                image.load()
            image_id = path.relative_to(output / "images").as_posix()
            assert path.read_bytes() == expected_bytes(source / image_id, image_id)
    if (output / "ledger.db").exists():
        rows = sqlite3.connect(output / "ledger.db")
        try:
            for (written,) in rows.execute("SELECT output FROM items WHERE status = 'done'"):
                assert (output / written).exists()
        finally:
            rows.close()


@pytest.mark.slow
def test_ten_kills_at_random_moments_lose_nothing_and_write_nothing_twice(tmp_path: Path) -> None:
    source, output = tmp_path / "in", tmp_path / "out"
    for k in range(N_PICTURES):
        save_picture(source / f"d{k % 4}" / f"{k}.png", k)
    random = np.random.default_rng(7)
    n_killed = 0
    for _ in range(10):
        process = start(source, output, pause_s=0.04)
        n_killed += kill_after(process, output, int(random.integers(0, 5)), float(random.uniform(0, 0.05)))
        check_whole(source, output)
    assert n_killed >= 5
    first_time = {path: path.stat().st_mtime_ns for path in (output / "images").rglob("*.png")}
    rows = sqlite3.connect(output / "ledger.db")
    committed = {output / written for (written,) in rows.execute("SELECT output FROM items")}
    rows.close()

    last = start(source, output, pause_s=0)
    out, err = last.communicate(timeout=120)
    assert last.returncode == 0, err
    assert int(out.split()[0]) == N_PICTURES
    check_whole(source, output)
    assert n_written(output) == N_PICTURES
    for path in committed:
        assert path.stat().st_mtime_ns == first_time[path], "a picture with a row was written again"
    assert not list(output.rglob(".*.part"))
    assert not [path for path in output.iterdir() if path.name.endswith(("-wal", "-shm", "-journal"))]


def test_a_kill_in_mid_run_is_recovered_from(tmp_path: Path) -> None:
    source, output = tmp_path / "in", tmp_path / "out"
    for k in range(12):
        save_picture(source / f"{k}.png", k)
    killed = start(source, output, pause_s=0.2)
    assert kill_after(killed, output, 3, 0.0)
    n_before = n_written(output)
    assert 3 <= n_before < 12
    check_whole(source, output)
    again = start(source, output, pause_s=0)
    out, err = again.communicate(timeout=120)
    assert again.returncode == 0, err
    assert n_before - 3 <= int(out.split()[1]) <= n_before
    assert n_written(output) == 12
    check_whole(source, output)


def test_two_runs_on_one_output_end_with_one(tmp_path: Path) -> None:
    source, output = tmp_path / "in", tmp_path / "out"
    for k in range(8):
        save_picture(source / f"{k}.png", k)
    first = start(source, output, pause_s=0.2)
    while not (output / "ledger.db").exists() and first.poll() is None:
        time.sleep(0.005)
    second = start(source, output, pause_s=0)
    _, err = second.communicate(timeout=120)
    assert second.returncode != 0
    assert f"in use by another run (process {first.pid} on" in err
    _, err = first.communicate(timeout=120)
    assert first.returncode == 0, err
    check_whole(source, output)
    assert n_written(output) == 8
