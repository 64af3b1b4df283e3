"""How long an audit of many pairs takes, and how much memory: each run is a process of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import audit_plants as plants
import audit_proofs as proofs
import cv2

TARGET_S = 300


def augmented(stages: proofs.Stages, n: int, folder: Path) -> tuple[Path, Path]:
    """Folders with n pairs: portraits, mirrored, turned or lightened a little, and a null edit of each."""
    before, after = folder / f"before-{n}", folder / f"after-{n}"
    for path in (before, after):
        path.mkdir(parents=True, exist_ok=True)
    for i in range(n):
        name, source = f"{i:05d}.jpg", stages.sources[i % len(stages.sources)]
        if (after / name).exists():
            continue
        view, turn = proofs.view_of(source), i // len(stages.sources)
        if turn % 2:
            view = view[:, ::-1].copy()
        if turn > 1:
            size = (view.shape[1], view.shape[0])
            affine = cv2.getRotationMatrix2D((size[0] / 2, size[1] / 2), 3.0 * turn, 1 - 0.03 * turn)
            view = cv2.warpAffine(view, affine, size, borderMode=cv2.BORDER_REFLECT).astype("uint8")
        (before / name).write_bytes(plants.null_edit(view, i))
        (after / name).write_bytes(plants.null_edit(view, n + i))
    return before, after


def run(before: Path, after: Path, output: Path) -> tuple[float, float, float]:
    """Seconds on the wall, CPU seconds and peak MB of one audit alone; exits where it fails."""
    program = Path(sys.executable).with_name("understudy")
    attackers = f"attacker=[{','.join(proofs.ATTACKERS)}]"
    command = [
        str(program),
        "audit",
        f"before={before}",
        f"after={after}",
        f"output={output}",
        attackers,
        "n_boot=1000",
    ]
    start = time.monotonic()
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            command,
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
            stderr=said,
        )
        _, status, used = os.wait4(process.pid, 0)  # of this process alone
        elapsed, code = time.monotonic() - start, os.waitstatus_to_exitcode(status)
        said.seek(0)
        if code not in (0, 4):
            raise SystemExit(f"the audit ended with {code}:\n{said.read()[-2000:]}")
    return elapsed, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def measure(stages: proofs.Stages, n: int) -> str:
    """The section, as Markdown."""
    folder = stages.folder / "clock"
    lines = ["| run | time | CPU seconds | peak memory |", "|---|---|---|---|"]
    peaks, first = {}, 0.0
    for size, names in ((max(n // 4, 1), ("cold",)), (n, ("cold", "again, from the cache"))):
        before, after = augmented(stages, size, folder)
        output = folder / f"audit-{size}"
        shutil.rmtree(output, ignore_errors=True)
        for name in names:
            elapsed, cpu, peak = run(before, after, output)
            lines.append(f"| {size} pairs, {name} | {elapsed / 60:.1f} min | {cpu:.0f} | {peak:.0f} MB |")
            sys.stderr.write(lines[-1] + "\n")
            if name == "cold":
                peaks[size], first = peak, elapsed
    small, large = peaks.values()
    verdict = "met" if first < TARGET_S else "missed"
    load = os.getloadavg()[2]
    return (
        f"{n} pairs of portraits ({len(stages.names)} of them, mirrored and turned a little), three attackers "
        f"({', '.join(proofs.ATTACKERS)}), 1,000 draws, no null edit, two worker threads; load average "
        f"(15 minutes) {load:.1f}.\n\n" + "\n".join(lines) + "\n\n"
        f"Target for the cold run of {n}: under 5 minutes: {verdict}. "
        f"Memory of {n} pairs over {max(n // 4, 1)}: {100 * (large / small - 1):+.0f} %."
    )
