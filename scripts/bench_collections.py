"""Does a large collection need more memory than a small one, and how fast is a restart over what is finished?

    python scripts/bench_collections.py [--sizes 1000 20000] [--only local ray full speed] [--folder DIR] [--write]

``local`` and ``ray`` make collections of JPEG pictures of 128 px, a marked one in 20, and anonymise each in a process
of its own: decode, erase and fill, encode, write, ledger and tables are those of every run. The detector is a stand-in
that finds one face in every marked picture: no network runs, so that the figures are those of the runner. Each
collection is then run again (everything is settled), and the smallest once more in two parts that are merged. ``full``
runs 500 pictures of 128 px through all parts of the main job, with both runners, and compares the bytes. ``speed`` runs
pictures with a face each through one Ray actor and through two, each with one thread, turn by turn.

Peak memory is the proportional set size of all processes of a run together, sampled twice a second. ``--write`` puts
what was measured into docs/benchmarks.md; parts that were left out keep their place there.
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
LIMIT = 10
"""Growth of the peak that is allowed, percent."""
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
    """The local runner in a fresh process."""
    return measured([__file__, "--child", str(source), str(output), shard])


def run_ray(what: str, source: Path, output: Path, argument: str) -> Ran:
    """A part of ``collections_ray.py`` in a fresh process."""
    return measured([str(Path(__file__).with_name("collections_ray.py")), what, str(source), str(output), argument])


def measured(command: Sequence[str]) -> Ran:
    """Run a program of ours; its last line is JSON."""
    from collections_ray import Peak

    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, env=environment)
    peak = Peak(process.pid)
    text = process.communicate()[0].decode()
    if process.returncode != 0:
        raise SystemExit(f"the run ended with {process.returncode}")
    return Ran(json.loads(text.strip().splitlines()[-1]), peak.end())


def measure_local(sizes: Sequence[int], folder: Path) -> str:
    """The runner of this machine: memory and restarts."""
    rows = []
    peaks, rates = [], []
    for n in sizes:
        source, output = folder / f"in-{n}", folder / f"out-{n}"
        made(source, n)
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
    head = "| pictures | peak, MB | restart: peak, MB | pictures a second | restart: settled a second | by CPU time |"
    rate, free = rates[-1]
    missed = "" if rate >= TARGET else f"; by CPU time, which counts no waiting for a core, {free:,.0f}"
    verdict = f"Restart over {sizes[-1]:,}: {rate:,.0f} a second by the clock, target {TARGET:,}"
    verdict += ": met." if rate >= TARGET else f": missed under this load{missed}."
    last = f"{growth(sizes, peaks)} {verdict} {merged}"
    intro = (
        f"`runner=local`, two workers. JPEG of {SIDE} px, a face in 1 of {EVERY} (a stand-in detector finds it; no "
        f"network runs), `generator=fill`, `residual=none`, `guard=none`, on a disk in memory. {machine()}"
    )
    return "\n".join([intro, "", head, "|---|---|---|---|---|---|", *rows, "", last])


def growth(sizes: Sequence[int], peaks: Sequence[float]) -> str:
    """How the peak grows from the first size to the last, beside the limit."""
    grown = 100 * (peaks[-1] / peaks[0] - 1)
    held = "held" if grown <= LIMIT else "MISSED"
    return f"Growth of the peak from {sizes[0]:,} to {sizes[-1]:,} pictures: {grown:+.1f} % (limit {LIMIT} %): {held}."


def measure_ray(sizes: Sequence[int], folder: Path) -> str:
    """The same collections through a Ray cluster of this machine with two actors."""
    rows, peaks = [], []
    for n in sizes:
        source, output = folder / f"in-{n}", folder / f"ray-{n}"
        made(source, n)
        first = run_ray("plain", source, output, "2")
        assert (first.told["n"], first.told["filled"]) == (n, -(-n // EVERY)), first
        complete = ledger_rows(output)
        assert complete == n, complete
        again = run_ray("plain", source, output, "2")
        assert again.told["n_resumed"] == n
        peaks.append(first.peak_mb)
        rows.append(
            f"| {n:,} | {complete:,} | {first.peak_mb:.0f} | {n / first.told['seconds']:.0f} "
            f"| {n / again.told['seconds']:,.0f} |"
        )
        print(rows[-1], flush=True)
        shutil.rmtree(output / "images")
    intro = (
        "`runner=ray`, the same pictures and parts, two actors on a cluster of this machine; peak of all its processes "
        f"together, shared memory included. {machine()}"
    )
    head = "| pictures | rows in the ledger | peak, MB | pictures a second | restart: settled a second |"
    return "\n".join([intro, "", head, "|---|---|---|---|---|", *rows, "", growth(sizes, peaks)])


def measure_full(folder: Path, n: int = 500) -> str:
    """All parts of the main job, with both runners."""
    from collections_ray import digests, make_full

    source = folder / "full"
    make_full(source, n, SIDE, EVERY)
    rows, found = [], []
    for name, runner in (
        ("local", ["runner.n_workers=2"]),
        ("ray", ["runner=ray", "runner.min_actors=2", "runner.max_actors=2"]),
    ):
        output = folder / f"full-{name}"
        told = run_ray("full", source, output, json.dumps(runner))
        assert told.told["n"] == ledger_rows(output) == n
        found.append(digests(output))
        kinds = ", ".join(f"{told.told[kind]:.0f} {kind}" for kind in ("replaced", "filled") if kind in told.told)
        rows.append(f"| {name} | {kinds} | {told.peak_mb:.0f} | {n / told.told['seconds']:.1f} | `{found[-1][:16]}` |")
        print(rows[-1], flush=True)
    same = "The same bytes from both." if len(set(found)) == 1 else "THE BYTES DIFFER."
    head = "| runner | faces | peak, MB | pictures a second | digest of all names and bytes |"
    intro = (
        f"{n} JPEG of {SIDE} px, a real face in 1 of {EVERY} (the package's portraits, moved and zoomed), every part "
        f"of the main job with its defaults. {machine()}"
    )
    return "\n".join([intro, "", head, "|---|---|---|---|---|", *rows, "", same])


def measure_speed(folder: Path, n: int = 480, rounds: int = 3) -> str:
    """One Ray actor of one thread beside two."""
    from collections_ray import TIMED_PX, make_full

    make_full(folder / "speed", n, TIMED_PX, 1)
    told = run_ray("speed", folder / "speed", folder / "speed-out", str(rounds))
    rates: list[tuple[float, float]] = told.told  # type: ignore[assignment]  # this one tells a list
    ratios = sorted(two / one for one, two in rates)
    middle = ratios[len(ratios) // 2]
    verdict = "met" if middle >= 1.7 else "MISSED"
    lines = [f"| {one:.2f} | {two:.2f} | {two / one:.2f} |" for one, two in rates]
    intro = (
        f"{n} JPEG of {TIMED_PX} px with a face each, every part of the main job with its defaults, one thread a "
        "network; turn by turn on one cluster, the first quarter of each run left out (networks are loaded then). "
        f"{machine()}"
    )
    spread = f"median {middle:.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
    last = f"Speed-up of two actors over one: {spread}, target 1.7: {verdict}."
    print(f"{intro}\n{lines}\n{last}", flush=True)
    last += f"\n{measure_processes(folder)}"
    head = ["| one actor, pictures a second | two actors | ratio |", "|---|---|---|"]
    return "\n".join([intro, "", *head, *lines, "", last])


def measure_processes(folder: Path, n: int = 96, rounds: int = 2) -> str:
    """What this machine gives to two processes that have nothing to do with each other: a limit for two actors."""
    from collections_ray import TIMED_PX, make_full

    source = folder / "control"
    make_full(source, n, TIMED_PX, 1)
    plain = [sys.executable, "-m", "understudy", "anonymize", f"input={source}"]
    plain += ["runner.n_workers=1", "runner.n_replacers=1"]

    def seconds(name: str, n_processes: int) -> float:
        began = time.monotonic()
        commands = [[*plain, f"output={folder / f'{name}-{k}'}"] for k in range(n_processes)]
        started = [subprocess.Popen(c, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for c in commands]
        if any(process.wait() for process in started):
            raise SystemExit(f"understudy anonymize failed on {source}")
        return time.monotonic() - began

    ratios = [2 * seconds(f"alone-{k}", 1) / seconds(f"both-{k}", 2) for k in range(rounds)]
    told = " and ".join(f"{ratio:.2f}" for ratio in ratios)
    return (
        f"On the same machine two processes of `runner=local`, one worker each, over {n} such pictures do {told} times "
        "the work of one, start-up included."
    )


def ledger_rows(output: Path) -> int:
    """Rows of the table of images, each input once."""
    from understudy.batch.tables import read_table

    ids = [str(row["image_id"]) for row in read_table(output, "images")]
    assert len(ids) == len(set(ids))
    return len(ids)


def made(folder: Path, n: int) -> None:
    """Make a collection, unless it is there."""
    if not folder.exists():
        make(folder, n)


def machine() -> str:
    """What it was measured on."""
    load = os.getloadavg()[0]
    busy = f", load average {load:.0f}: not quiet, so rates by the clock are lower bounds" if load > 3 else ""
    return f"{cpu()}, {os.cpu_count()} cores{busy}."


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


def write(name: str, text: str) -> None:
    """Put a part between its marks."""
    begin, end = f"<!-- collections-{name}:begin -->", f"<!-- collections-{name}:end -->"
    page = PAGE.read_text(encoding="utf-8")
    if begin not in page:
        last = "<!-- collections:end -->"
        page = page.replace(last, f"{begin}\n{end}\n\n{last}")
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(end)
    PAGE.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 20_000])
    parser.add_argument("--only", nargs="+", choices=("local", "ray", "full", "speed"), default=None)
    parser.add_argument("--n", type=int, help="pictures of full and speed")
    parser.add_argument("--folder", type=Path, help="where collections are made; left out: /dev/shm where it is")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(*given.child)
        return
    base = given.folder or (Path("/dev/shm") if Path("/dev/shm").is_dir() else None)
    n = {} if given.n is None else {"n": given.n}
    with tempfile.TemporaryDirectory(prefix="understudy-bench-", dir=base) as name:
        folder = Path(name)
        parts_of = {
            "local": lambda: measure_local(given.sizes, folder),
            "speed": lambda: measure_speed(folder, **n),
            "full": lambda: measure_full(folder, **n),
            "ray": lambda: measure_ray(given.sizes, folder),
        }
        for what, work in parts_of.items():
            if given.only is None or what in given.only:
                text = work()
                print(text, flush=True)
                if given.write:
                    write(what, text)


if __name__ == "__main__":
    main()
