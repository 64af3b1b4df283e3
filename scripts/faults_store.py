"""Faults of object stores, shards and parallel runs: nothing lost, nothing twice, no half-written file, no original.

    python scripts/faults_store.py [--write]

Runs collections against a real S3 server (moto) on the loopback address, with a proxy before it that fails on order,
and over tar shards. The pipeline is the tests' stand-in (it inverts blocks of small PNG files), the runner, ledger,
store and containers are the real ones. After each fault, and after the same command again where that is due, the script
compares the output with that of a run without faults, byte by byte. ``--write`` puts the table into docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.faults.object_store import BUCKET, ObjectStore, environment, object_store  # noqa: E402
from tests.faults.tiny_job import FINGERPRINT, TinyJob, expected_bytes, save_picture  # noqa: E402

from understudy.batch import address  # noqa: E402
from understudy.batch.inputs import open_inputs  # noqa: E402
from understudy.batch.inspect import parts_of, progress_of  # noqa: E402
from understudy.batch.local import RunSettings, run_local  # noqa: E402
from understudy.batch.rows import Status  # noqa: E402
from understudy.batch.summary import RunSummary  # noqa: E402
from understudy.errors import UnderstudyError  # noqa: E402

N = 12
PAGE = ROOT / "docs" / "benchmarks.md"
Row = tuple[str, str, str, str]


def well(_method: str, _path: str, _n: int) -> None:
    """No fault."""


class Bench:
    """The store, a collection on it, and what a run without faults makes of it."""

    def __init__(self, store: ObjectStore, folder: Path) -> None:
        self.store, self.folder, self.n_outputs = store, folder, 0
        self.expected: dict[str, bytes] = {}
        self.sources: dict[str, bytes] = {}
        for k in range(N):
            name = f"d{k % 3}/{k:02d}.png"
            path = save_picture(folder / "in" / name, k)
            self.sources[name] = path.read_bytes()
            self.expected[name] = expected_bytes(path, name)
            address.write_bytes(f"s3://{BUCKET}/in/{name}", self.sources[name])
        store.requests.clear()

    def output(self) -> str:
        self.n_outputs += 1
        return f"s3://{BUCKET}/out-{self.n_outputs}"

    def run(self, output: str) -> RunSummary:
        settings = RunSettings(n_workers=2, micro_batch=4, n_fetchers=2)
        return run_local(
            TinyJob(), open_inputs(f"s3://{BUCKET}/in"), output, settings=settings, fingerprint=FINGERPRINT
        )

    def verdict(self, output: str, *, left_out: Sequence[str] = ()) -> str:
        """What is wrong with an output; "yes" where nothing is."""
        driver, path = address.split(f"{output}/images")
        found = {name[len(path) + 1 :]: bytes(driver.cat_file(name)) for name in driver.find(path)}
        want = {name: data for name, data in self.expected.items() if name not in left_out}
        replaced = {name for name, data in self.expected.items() if data != self.sources[name]}
        originals = [name for name, data in found.items() if name in replaced and data == self.sources[name]]
        with parts_of(output) as (part,):
            n_rows = sum(progress_of(part).counts.values())
        if found != want or originals or n_rows != N:
            return f"NO: {len(found)} objects, {len(originals)} originals, {n_rows} rows"
        return f"yes ({n_rows} rows, {len(found)} objects, byte-identical)"


def passing(bench: Bench, name: str, fault: str | int, methods: Sequence[str]) -> Row:
    """Every first request for a picture fails, reading and writing."""
    output = bench.output()
    bench.store.requests.clear()
    bench.store.fault = lambda method, path, n: fault if ".png" in path and n == 0 and method in methods else None
    summary = bench.run(output)
    bench.store.fault = well
    return name, told(summary), str(summary.exit_code), bench.verdict(output)


def told(summary: RunSummary) -> str:
    """What a user reads."""
    counts = ", ".join(f"{n} {status}" for status, n in sorted(summary.counts.items()) if n)
    reasons = "; ".join(sorted({f"{status}: {error}" for _, status, error in summary.failures}))
    return f"inputs: {counts}" + (f"<br>{reasons[:160]}" if reasons else "")


def never_whole(bench: Bench) -> Row:
    output = bench.output()
    bench.store.fault = lambda method, path, _n: "cut" if method == "GET" and "d0/00.png" in path else None
    first = bench.run(output)
    wrong = bench.verdict(output, left_out=["d0/00.png"])
    bench.store.fault = well
    again = bench.run(output)
    verdict = wrong if wrong.startswith("NO") else bench.verdict(output)
    return (
        "one picture is always cut off; then the store is well again",
        told(first),
        f"{first.exit_code}, then {again.exit_code}",
        verdict,
    )


def refuses_writes(bench: Bench) -> Row:
    output = bench.output()
    bench.store.fault = lambda method, path, _n: 503 if method == "PUT" and "/images/d2" in path else None
    try:
        said = told(bench.run(output))
    except UnderstudyError as error:
        said = str(error).replace(BUCKET, "BUCKET")[:160]
    bench.store.fault = well
    again = bench.run(output)
    return (
        "503 on every write to one folder; then well again",
        said,
        f"1, then {again.exit_code}",
        bench.verdict(output),
    )


PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
from tests.faults.tiny_job import FINGERPRINT, TinyJob
from understudy.batch.inputs import open_inputs
from understudy.batch.local import RunSettings, run_local
settings = RunSettings(n_workers=2, micro_batch=2, max_pictures=4, n_fetchers=2)
try:
    run_local(TinyJob(pause_s=1.5), open_inputs(sys.argv[2]), sys.argv[3], settings=settings, fingerprint=FINGERPRINT)
except Exception as error:
    sys.exit(f"{type(error).__name__}: {error}")
"""


def start(output: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROGRAM, str(ROOT), f"s3://{BUCKET}/in", output]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def killed(bench: Bench) -> Row:
    """SIGKILL in mid-run, a second run meanwhile, then the same command again."""
    output = bench.output()
    first = start(output)
    name = output.rpartition("/")[2]
    while first.poll() is None and bench.store.n("PUT", f"/{name}/images/") < 3:
        time.sleep(0.02)
    try:
        said = told(bench.run(output))
    except UnderstudyError as error:
        said = str(error)
    said = "second run: " + ("in use by another run" if "in use by another run" in said else f"NOT REFUSED: {said}")
    alive = first.poll() is None
    first.kill()
    first.communicate()
    with parts_of(output) as (part,):
        n_done = progress_of(part).counts[Status.DONE]
    before = dict(bench.store.requests)
    again = bench.run(output)
    keys = [key for key in bench.store.requests if key.startswith(f"PUT /{BUCKET}/{name}/images/")]
    n_put = sum(bench.store.requests[key] - before.get(key, 0) for key in keys)
    verdict = bench.verdict(output)
    if n_put != N - n_done or again.n_resumed != n_done or not alive:
        verdict = f"NO: {n_done} were committed, {n_put} written after that, alive {alive}"
    said += f"<br>{n_done} committed before the kill, {n_put} written after it"
    return (
        "second run on the same output; SIGKILL of the first; the same command again",
        said,
        f"1, -9, {again.exit_code}",
        verdict,
    )


def shard(bench: Bench, path: Path, damage: Callable[[list[tuple[str, bytes]]], object] = len) -> None:
    members = [
        pair
        for k, data in enumerate(bench.sources.values())
        for pair in ((f"{k:04d}.png", data), (f"{k:04d}.cls", b"7"))
    ]
    damage(members)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


def corrupt_member(bench: Bench) -> Row:
    folder = bench.folder / "corrupt"

    def damage(members: list[tuple[str, bytes]]) -> None:
        members[4] = (members[4][0], members[4][1][:60])

    shard(bench, folder / "in" / "s.tar", damage)
    summary = run_local(TinyJob(), open_inputs(folder / "in"), folder / "out", fingerprint=FINGERPRINT)
    with tarfile.open(folder / "out/images/s.tar") as archive:
        found = {info.name: archive.extractfile(info).read() for info in archive}  # type: ignore[union-attr]
    want = {f"{k:04d}.cls": b"7" for k in range(N)}
    want |= {f"{k:04d}.png": data for k, data in enumerate(bench.expected.values()) if k != 2}
    verdict = "yes (the picture is left out, its label and all else are there)" if found == want else "NO"
    return "a corrupt picture in a shard", told(summary), str(summary.exit_code), verdict


def cut_shard(bench: Bench) -> Row:
    folder = bench.folder / "cut"
    shard(bench, folder / "in" / "a.tar")
    shard(bench, folder / "in" / "b.tar")
    whole = (folder / "in/b.tar").read_bytes()
    (folder / "in/b.tar").write_bytes(whole[: len(whole) // 2])
    summary = run_local(TinyJob(), open_inputs(folder / "in"), folder / "out", fingerprint=FINGERPRINT)
    names = sorted(path.name for path in (folder / "out/images").iterdir())
    verdict = "yes (one shard whole, nothing of the other)" if names == ["a.tar"] else f"NO: {names}"
    return "a shard that is cut off, beside a good one", told(summary), str(summary.exit_code), verdict


def full_disk(bench: Bench) -> Row:
    """The disk is full (planted) while a shard is put together."""
    from understudy.batch import tar

    folder = bench.folder / "full"
    shard(bench, folder / "in" / "s.tar")
    real = tar._write_member
    n_left = 5

    def full(*arguments: object) -> None:
        nonlocal n_left
        n_left -= 1
        if n_left < 0:
            raise OSError(28, "No space left on device")
        real(*arguments)  # type: ignore[arg-type]

    tar._write_member = full  # type: ignore[assignment]
    try:
        said = told(run_local(TinyJob(), open_inputs(folder / "in"), folder / "out", fingerprint=FINGERPRINT))
    except UnderstudyError as error:
        said = str(error).replace(str(bench.folder), "…")
    tar._write_member = real
    names = [path.name for path in (folder / "out/images").iterdir()]
    again = run_local(TinyJob(), open_inputs(folder / "in"), folder / "out", fingerprint=FINGERPRINT)
    good = not names and again.n_resumed == N and (folder / "out/images/s.tar").is_file()
    verdict = f"yes (no shard; then whole, {again.n_resumed} pictures not made again)" if good else f"NO: {names}"
    return "disk full while a shard is put together (planted); then room", said, f"1, then {again.exit_code}", verdict


def table(store: ObjectStore, folder: Path) -> str:
    bench = Bench(store, folder)
    rows = [
        passing(bench, "no fault", "none", ()),
        passing(bench, "500 on the first read and write of every picture", 500, ("GET", "PUT")),
        passing(bench, "503 on the first read and write of every picture", 503, ("GET", "PUT")),
        passing(bench, "the first read of every picture is cut off half way", "cut", ("GET",)),
        passing(bench, "the first read and write of every picture takes 0.5 s", "slow", ("GET", "PUT")),
        never_whole(bench),
        refuses_writes(bench),
        killed(bench),
        corrupt_member(bench),
        cut_shard(bench),
        full_disk(bench),
    ]
    head = (
        f"Made by `python scripts/faults_store.py`: {N} small pictures on a real S3 server (moto) on the loopback "
        "address, with a proxy that fails on order, and tar shards on disk; a stand-in for the pipeline, the real "
        "runner. The last column compares with a run without faults, byte by byte, and looks for originals in the "
        "output where somebody was replaced."
    )
    lines = ["| fault | what the user sees | exit code | nothing lost, nothing twice |", "|---|---|---|---|"]
    return "\n".join([head, "", *lines, *(f"| {' | '.join(row)} |" for row in rows)])


def write(text: str) -> None:
    begin, end = "<!-- storefaults:begin -->", "<!-- storefaults:end -->"
    page = PAGE.read_text(encoding="utf-8")
    if begin not in page:
        page = f"{page.rstrip()}\n\n## Faults of stores and shards\n\n{begin}\n{end}\n"
    before, _, rest = page.partition(begin)
    PAGE.write_text(f"{before}{begin}\n{text}\n{end}{rest.partition(end)[2]}", encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    address.FIRST_WAIT_S = 0.02
    with tempfile.TemporaryDirectory(prefix="understudy-store-") as folder, object_store() as store:
        os.environ.update({**environment(store), "XDG_STATE_HOME": f"{folder}/state"})
        text = table(store, Path(folder))
    print(text)
    if given.write:
        write(text)
    return 1 if "| NO" in text or "NOT REFUSED" in text else 0


if __name__ == "__main__":
    sys.exit(main())
