"""Does a large collection need more memory than a small one, and how fast is a restart over what is finished?

    python scripts/bench_collections.py [--sizes 1000 20000] [--folder DIR] [--write]

Makes collections of JPEG pictures of 128 px, a marked one in 20, and anonymises each in a process of its own with
``runner=local``: decode, erase and fill, encode, write, ledger and tables are those of every run. The detector is a
stand-in that finds one face in every marked picture: no network runs, so that the figures are those of the runner.
Each collection is then run again (everything is settled), and the smallest once more in two parts that are merged.
``--write`` puts the table into docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "benchmarks.md"
SIDE = 128
EVERY = 20
SHARD_PICTURES = 1000
TARGET = 5000
"""Settled inputs that a restart is to skip in a second."""


def make(folder: Path, n: int) -> None:
    """Pictures of coloured noise, 1,000 in a folder; the top left corner of a marked one is white."""
    random = np.random.default_rng(0)
    grounds = [
        cv2.resize(random.integers(40, 200, (8, 8, 3), dtype=np.uint8), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
        for _ in range(64)
    ]
    for k in range(n):
        picture = np.roll(grounds[k % 64], k // 64, axis=1).copy()
        picture[:16, :16] = 255 if k % EVERY == 0 else 0
        path = folder / f"{k // SHARD_PICTURES:03d}" / f"{k:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes())


def child(source: str, output: str, shard: str) -> None:
    """Run in this process and print what it took."""
    from understudy.batch.inputs import open_inputs
    from understudy.batch.local import RunSettings, run_local
    from understudy.batch.shard import parse_shard
    from understudy.config.build import job_from_overrides
    from understudy.types import Detections, SourceImage

    job = job_from_overrides(["detector=centerface", "residual=none", "guard=none", "generator=fill"])

    def find(sources: Sequence[SourceImage]) -> list[Detections]:
        found = []
        for one in sources:
            marked = int(one.view[4, 4].min()) > 200
            boxes = np.array([[40.0, 40, 88, 96]]) if marked else np.empty((0, 4))
            found.append(Detections.faces(boxes, np.full(len(boxes), 0.9)))
        return found

    job.detect = find  # type: ignore[method-assign]
    cv2.setNumThreads(1)
    settings = RunSettings(n_workers=2)
    began = time.process_time()
    summary = run_local(
        job, open_inputs(source), output, settings=settings, fingerprint={"bench": 1}, shard=parse_shard(shard or None)
    )
    spent_s = time.process_time() - began
    print(
        json.dumps(
            {
                "n": summary.n_inputs,
                "n_resumed": summary.n_resumed,
                "filled": summary.outcomes["filled"],
                "seconds": summary.elapsed_s,
                "cpu_s": spent_s,
            }
        )
    )


@dataclass(frozen=True)
class Ran:
    """One run: what it told, and its peak memory (MB)."""

    told: dict[str, float]
    peak_mb: float


def run(source: Path, output: Path, shard: str = "") -> Ran:
    """Run in a fresh process."""
    command = [sys.executable, __file__, "--child", str(source), str(output), shard]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)
    text = process.stdout.read() if process.stdout else b""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"the run ended with {process.returncode}")
    return Ran(json.loads(text), usage.ru_maxrss / 1024)


def measure(sizes: Sequence[int], folder: Path) -> str:
    """The section of the page."""
    rows = []
    peaks, rates = [], []
    for n in sizes:
        source, output = folder / f"in-{n}", folder / f"out-{n}"
        make(source, n)
        first, again = run(source, output), run(source, output)
        assert (first.told["n"], again.told["n_resumed"], first.told["filled"]) == (n, n, -(-n // EVERY))
        peaks.append(first.peak_mb)
        rates.append((n / again.told["seconds"], n / again.told["cpu_s"]))
        rows.append(
            f"| {n:,} | {first.peak_mb:.0f} | {again.peak_mb:.0f} | {n / first.told['seconds']:.0f} "
            f"| {n / again.told['seconds']:,.0f} | {again.told['n_resumed'] / again.told['cpu_s']:,.0f} |"
        )
        print(rows[-1], flush=True)
        shutil.rmtree(output / "images")
    merged = parts(folder / f"in-{sizes[0]}", folder / "parts", sizes[0])
    growth = 100 * (peaks[-1] / peaks[0] - 1)
    load = os.getloadavg()[0]
    intro = (
        f"Made by `python scripts/bench_collections.py`: JPEG of {SIDE} px, a face in 1 of {EVERY} (a stand-in "
        "detector finds it; no network runs), `generator=fill`, `residual=none`, `guard=none`, two workers, on a "
        "disk in memory. Peak memory is that of the whole process, Python and libraries included. "
        f"{cpu()}, {os.cpu_count()} cores, load average {load:.0f} from other work at the same time, so rates by the "
        "clock are lower bounds; a rate by CPU time is what one free core would give."
    )
    head = "| pictures | peak, MB | restart: peak, MB | pictures a second | restart: settled a second | by CPU time |"
    rate, free = rates[-1]
    missed = "" if rate >= TARGET else f"; by CPU time, which counts no waiting for a core, {free:,.0f}"
    verdict = f"Restart over {sizes[-1]:,}: {rate:,.0f} a second by the clock, target {TARGET:,}"
    verdict += ": met." if rate >= TARGET else f": missed under this load{missed}."
    grown = f"Growth of the peak from {sizes[0]:,} to {sizes[-1]:,} pictures: {growth:+.1f} % (limit 10 %)."
    last = f"{grown} {verdict} {merged}"
    return "\n".join([intro, "", head, "|---|---|---|---|---|---|", *rows, "", last])


def parts(source: Path, output: Path, n: int) -> str:
    """A collection in two parts, merged."""
    from understudy.batch.tables import read_table
    from understudy.cli.merge import merge

    sizes = [int(run(source, output, f"{k}/2").told["n"]) for k in (1, 2)]
    merge([str(output)], str(output))
    ids = {str(row["image_id"]) for row in read_table(output, "images")}
    assert len(ids) == sum(sizes) == n
    return f"In two parts (`shard=1/2`, `2/2`): {sizes[0]:,} and {sizes[1]:,} pictures, none in both, none in neither."


def cpu() -> str:
    """The processor's name."""
    try:
        names = re.findall(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def write(text: str) -> None:
    """Put the section between its marks."""
    begin, end = "<!-- collections:begin -->", "<!-- collections:end -->"
    page = PAGE.read_text(encoding="utf-8")
    if begin not in page:
        page = f"{page.rstrip()}\n\n## Collections\n\n{begin}\n{end}\n"
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(end)
    PAGE.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 20_000])
    parser.add_argument("--folder", type=Path, help="where collections are made; left out: /dev/shm where it is")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(*given.child)
        return
    base = given.folder or (Path("/dev/shm") if Path("/dev/shm").is_dir() else None)
    with tempfile.TemporaryDirectory(prefix="understudy-bench-", dir=base) as folder:
        text = measure(given.sizes, Path(folder))
    print(text)
    if given.write:
        write(text)


if __name__ == "__main__":
    main()
