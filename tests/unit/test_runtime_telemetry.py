"""Running a network tells nobody: onnxruntime's reports to its maker are switched off before it is loaded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def test_loading_the_runtime_leaves_no_identifier_and_no_report_in_the_home_folder(tmp_path: Path) -> None:
    program = (
        "import understudy.runtime.onnx, onnxruntime, os, time\n"
        "onnxruntime.SessionOptions()\n"
        "time.sleep(0.3)\n"  # the reports are written by a thread of their own
        "print(os.environ['ORT_DISABLE_TELEMETRY'])"
    )
    places = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache"), "TMPDIR": str(tmp_path)}
    kept = {key: value for key, value in os.environ.items() if key in {"PATH", "LANG"}}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**kept, **places},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "1\n"
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")] == []


def test_who_wants_the_reports_may_have_them(tmp_path: Path) -> None:
    environment = {**os.environ, "ORT_DISABLE_TELEMETRY": "0"}
    program = "import understudy, os; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "0\n"
