"""Faults of parallel runs and of memory: workers and drivers that die, full disks, stores that fail, a hungry picture.

    python scripts/faults_ray.py [--only NAME ...] [--write]

Small pictures with the tests' stand-in for the pipeline (it inverts blocks), the real runner on a Ray cluster of this
machine; the rows on memory run the real pipeline with a generator that asks for 6 GiB where its process may have 768 MB
more (RLIMIT_AS). After each fault, and after the same command again where that is due, the output is compared with that
of a run without faults, byte by byte. ``--write`` puts the table into docs/benchmarks.md. Mounting needs root.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.faults.hungry_job import save  # noqa: E402
from tests.faults.object_store import BUCKET, environment, object_store  # noqa: E402
from tests.faults.tiny_job import FINGERPRINT, TinyJob, expected_bytes, save_picture  # noqa: E402
from tests.faults.tiny_ray import SETTINGS, Deadly  # noqa: E402

from understudy.batch import address  # noqa: E402
from understudy.batch.carry import Errand  # noqa: E402
from understudy.batch.inputs import open_inputs  # noqa: E402
from understudy.batch.inspect import parts_of, progress_of  # noqa: E402
from understudy.batch.ledger_reader import read_ledger  # noqa: E402
from understudy.batch.ray_cluster import connected  # noqa: E402
from understudy.batch.rows import Status  # noqa: E402
from understudy.batch.summary import RunSummary  # noqa: E402
from understudy.errors import UnderstudyError  # noqa: E402

N = 16
PAGE = ROOT / "docs" / "benchmarks.md"
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(["src", ".", *sys.path]), "OMP_NUM_THREADS": "1"}
Row = tuple[str, str, str, str]


def collection(folder: Path, n: int = N) -> Path:
    for k in range(n):
        save_picture(folder / f"d{k % 3}" / f"{k:02d}.png", k)
    return folder


def run(source: str | Path, output: str | Path, job: object = TinyJob) -> RunSummary:
    """In this process, on the cluster that it is connected to."""
    from understudy.batch.ray_run import run_ray
    from understudy.batch.ray_stages import Workers

    workers = Workers(TinyJob, job)  # type: ignore[arg-type]
    return run_ray(workers, Errand(open_inputs(source), str(output), FINGERPRINT), SETTINGS)


def verdict(source: Path, output: Path, *, left_out: Sequence[str] = ()) -> str:
    """What is wrong with an output; "yes" where nothing is."""
    names = [path.relative_to(source).as_posix() for path in source.rglob("*.png")]
    want = {name: expected_bytes(source / name, name) for name in names if name not in left_out}
    found = {path.relative_to(output / "images").as_posix(): path.read_bytes()
             for path in (output / "images").rglob("*") if path.is_file()}  # fmt: skip
    kept = [name for name in found if found[name] == (source / name).read_bytes() != want.get(name)]
    with parts_of(str(output)) as (part,):
        n_rows = sum(progress_of(part).counts.values())
    if found != want or kept or n_rows != len(names):
        return f"NO: {len(found)} of {len(want)} files, {len(kept)} originals, {n_rows} rows"
    return f"yes ({n_rows} rows, {len(found)} files, byte-identical)"


def told(summary: RunSummary) -> str:
    counts = ", ".join(f"{n} {status}" for status, n in sorted(summary.counts.items()) if n)
    reasons = "; ".join(sorted({f"{status}: {name}: {error}" for name, status, error in summary.failures}))
    return f"inputs: {counts}" + (f"<br>{reasons[:170]}" if reasons else "")


def worker(folder: Path) -> Row:
    """SIGKILL of the worker, once by chance and each time by one picture."""
    source = collection(folder / "in")
    save_picture(source / "die-once-1.png", 90)
    save_picture(source / "kill-2.png", 91)
    with connected(SETTINGS):
        summary = run(source, folder / "out", partial(Deadly, folder=str(folder)))
        wrong = verdict(source, folder / "out", left_out=["kill-2.png"])
    return "SIGKILL of a worker: once, and by one picture each time (Ray)", told(summary), str(summary.exit_code), wrong


def start(source: Path, output: Path, pause_s: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.faults.tiny_ray", str(source), str(output)]
    return subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, cwd=ROOT, env={**ENVIRONMENT, "TINY_PAUSE_S": str(pause_s)}
    )


def n_committed(output: Path) -> int:
    if not (output / "ledger.db").exists():
        return 0
    try:
        with parts_of(str(output)) as (part,):
            return progress_of(part).counts[Status.DONE]
    except UnderstudyError:
        return 0


def driver(folder: Path) -> Row:
    """A second run meanwhile, SIGKILL of the driver, the same command again."""
    source, output = collection(folder / "in", 40), folder / "out"
    first = start(source, output, 0.6)
    while first.poll() is None and n_committed(output) < 8:
        time.sleep(0.1)
    if first.poll() is not None:
        raise RuntimeError(f"the run ended before it could be killed: {first.communicate()[1][-300:]}")
    command = [sys.executable, "-m", "tests.faults.tiny_job", str(source), str(output), "1"]  # starts without a cluster
    second = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=ENVIRONMENT)
    said = second.communicate()[1]
    refused = "refused" if second.returncode != 0 and "in use by another run" in said else f"NOT REFUSED: {said[-200:]}"
    first.send_signal(signal.SIGKILL)
    first.communicate()
    before = n_committed(output)
    times = {path: path.stat().st_mtime_ns for path in (output / "images").rglob("*.png")}
    with read_ledger(output) as ledger:
        done = {output / str(row.output) for row in ledger.rows() if row.status is Status.DONE}
    deadline = time.monotonic() + 60
    while processes_of("understudy-ray") and time.monotonic() < deadline:
        time.sleep(0.2)
    left = processes_of("understudy-ray")
    with connected(SETTINGS):
        again = run(source, output)
    right = verdict(source, output)
    twice = [path for path in done if path.stat().st_mtime_ns != times[path]]
    parts = list(output.rglob(".understudy-*.part"))
    if again.n_resumed != before or twice or parts or left or not 0 < before < 40:
        right = (
            f"NO: {before} committed, {again.n_resumed} resumed, {len(twice)} again, {len(parts)} parts, {left} left"
        )
    said = f"second run: {refused}<br>{before} of 40 committed before the kill, none of them made again"
    return "second run on the same output; SIGKILL of the driver; the same command again (Ray)", said, "1, -9, 0", right


def processes_of(mark: str) -> int:
    """How many processes have a text in their command lines, but for this one's."""
    n = 0
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                n += mark.encode() in (entry / "cmdline").read_bytes()
            except OSError:
                continue
    return n


def full_disk(folder: Path) -> Row:
    """A disk of 240 kB; then room."""
    source, disk = folder / "in", folder / "disk"
    for k in range(40):
        save_picture(source / f"{k:02d}.png", k, (64, 64))
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=240k", "none", str(disk)], check=True)
    try:
        with connected(SETTINGS):
            try:
                said = told(run(source, disk / "out"))
            except UnderstudyError as error:
                said = str(error).replace(str(folder), "…")[:170]
            n_first = sum(1 for path in (disk / "out" / "images").rglob("*.png"))
            subprocess.run(["mount", "-o", "remount,size=8m", str(disk)], check=True)
            again = run(source, disk / "out")
            right = verdict(source, disk / "out")
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
    if not 0 < n_first < 40 or "no space" not in said.lower():
        right = f"NO: {n_first} written at first"
    return (
        "full disk (240 kB); then room (Ray)",
        f"{said}<br>{n_first} of 40 written at first",
        f"1, then {again.exit_code}",
        right,
    )


def store(folder: Path) -> Row:
    """500 on the first read and 503 on the first write of every picture, seen by the workers."""
    source = collection(folder / "in")
    with object_store() as served:
        os.environ.update({**environment(served), "XDG_STATE_HOME": f"{folder}/state"})
        for path in source.rglob("*.png"):
            address.write_bytes(f"s3://{BUCKET}/in/{path.relative_to(source).as_posix()}", path.read_bytes())
        served.requests.clear()
        served.fault = lambda method, path, n: (
            {"GET": 500, "PUT": 503}.get(method) if ".png" in path and n == 0 else None
        )
        with connected(SETTINGS):
            summary = run(f"s3://{BUCKET}/in", f"s3://{BUCKET}/out")
        served.fault = lambda _method, _path, _n: None
        driver, path = address.split(f"s3://{BUCKET}/out/images")
        found = {name[len(path) + 1 :]: bytes(driver.cat_file(name)) for name in driver.find(path)}
    names = [path.relative_to(source).as_posix() for path in source.rglob("*.png")]
    want = {name: expected_bytes(source / name, name) for name in names}
    right = f"yes ({summary.n_inputs} rows, {len(found)} objects, byte-identical)" if found == want else "NO"
    return (
        "500 on the first read, 503 on the first write of every picture in S3 (Ray)",
        told(summary),
        str(summary.exit_code),
        right,
    )


def hungry(folder: Path, runner: str) -> Row:
    """A picture with which the generator really runs out of memory."""
    save(folder / "in", 24, bright=[9])
    save(folder / "without", 24)
    (folder / "without" / "09.png").unlink()
    ran = {}
    for name in ("in", "without"):
        command = [
            sys.executable,
            "-m",
            "tests.faults.hungry_job",
            str(folder / name),
            str(folder / f"out-{name}"),
            runner,
        ]
        ran[name] = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT, env=ENVIRONMENT)
    rows = [json.loads(line) for line in ran["in"].stdout.splitlines()]
    bad = [row for row in rows if row["status"] != "done"]
    files = [{path.name: path.read_bytes() for path in (folder / f"out-{name}" / "images").iterdir()} for name in ran]
    good = len(rows) == 24 and [row["image_id"] for row in bad] == ["09.png"] and files[0] == files[1]
    said = f"{bad[0]['status']}: {bad[0]['image_id']}: {bad[0]['error'][:150]}" if bad else ran["in"].stderr[-200:]
    right = "yes (24 rows, 23 files, byte-identical to a run without that picture)" if good else f"NO: {len(bad)} bad"
    return f"a picture that makes the generator run out of memory ({runner})", said, str(ran["in"].returncode), right


FAULTS: dict[str, Callable[[Path], Row]] = {
    "worker": worker,
    "driver": driver,
    "disk": full_disk,
    "store": store,
    "memory-local": partial(hungry, runner="local"),
    "memory-ray": partial(hungry, runner="ray"),
}


def table(rows: Sequence[Row]) -> str:
    head = (
        f"Made by `python scripts/faults_ray.py`: {N} to 40 small pictures, a stand-in for the pipeline, the real "
        "runner on a Ray cluster of this machine; for the rows on memory the real pipeline, with a generator that asks "
        "for 6 GiB where its process may have 768 MB more. The last column compares with a run without faults, byte by "
        "byte, and looks for originals in the output where somebody was replaced. The loss of a whole machine was not "
        "tried: there is only one here."
    )
    lines = ["| fault | what the user sees | exit code | nothing lost, nothing twice |", "|---|---|---|---|"]
    return "\n".join([head, "", *lines, *(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows)])


def write(text: str) -> None:
    begin, end = "<!-- rayfaults:begin -->", "<!-- rayfaults:end -->"
    page = PAGE.read_text(encoding="utf-8")
    if begin not in page:
        page = f"{page.rstrip()}\n\n## Faults of parallel runs and of memory\n\n{begin}\n{end}\n"
    before, _, rest = page.partition(begin)
    PAGE.write_text(f"{before}{begin}\n{text}\n{end}{rest.partition(end)[2]}", encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(FAULTS))
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    rows = []
    for name, trial in FAULTS.items():
        if given.only is None or name in given.only:
            with tempfile.TemporaryDirectory(prefix="understudy-faults-") as folder:
                try:
                    rows.append(trial(Path(folder)))
                except Exception as error:  # noqa: BLE001 - the other trials are run all the same
                    rows.append((name, f"{type(error).__name__}: {error}"[:200], "-", "NO: the trial itself failed"))
            print(" | ".join(rows[-1]), flush=True)
    text = table(rows)
    if given.write:
        write(text)
    return 1 if "| NO" in text or "NOT REFUSED" in text else 0


if __name__ == "__main__":
    sys.exit(main())
