"""A picture with which the generator really runs out of memory is quarantined; all others come out as without it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.faults.hungry_job import save

PROGRAM = Path(__file__).with_name("hungry_job.py")


def run(source: Path, output: Path) -> tuple[int, dict[str, dict[str, str]]]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(source), str(output), "local"],
        capture_output=True,
        text=True,
        env=environment,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return done.returncode, {line["image_id"]: line for line in lines}


@pytest.mark.weights("centerface")
def test_a_batch_that_needs_more_than_the_process_may_have_costs_one_picture(tmp_path: Path) -> None:
    save(tmp_path / "in", 12, bright=[5])
    save(tmp_path / "without", 12)
    (tmp_path / "without" / "05.png").unlink()
    code, rows = run(tmp_path / "in", tmp_path / "out")
    assert (code, len(rows)) == (3, 12)
    assert rows.pop("05.png")["status"] == "quarantined"
    assert {row["status"] for row in rows.values()} == {"done"}
    code, _ = run(tmp_path / "without", tmp_path / "reference")
    assert code == 0
    written = {path.name: path.read_bytes() for path in (tmp_path / "out" / "images").iterdir()}
    assert written == {path.name: path.read_bytes() for path in (tmp_path / "reference" / "images").iterdir()}
