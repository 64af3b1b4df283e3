"""Faults of a whole run rather than of a picture: disks, permissions, kills, a second run, changed settings."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import fault_pictures as pictures
import numpy as np
from fault_trial import OPTIONS, Ran, Trial, check_pictures, check_rows, digest, digests, seen, start, wait

N_GOOD = 40
Shown = tuple[str, str]
"""What the user sees, and the exit codes."""


@dataclass(frozen=True)
class RunFault:
    """A row of the table that is a story of its own."""

    name: str
    run: Callable[[Trial], Shown]


def make_reference(folder: Path) -> dict[str, str]:
    """Digest of every good picture and of what a run without faults makes of it."""
    trial = Trial("reference", folder, {})
    trial.source.mkdir(parents=True)
    pictures.good(trial.source, N_GOOD)
    ran = trial.run()
    if ran.code != 0:
        raise SystemExit(f"the run without faults ended with {ran.code}: {ran.text}")
    found = {digest(trial.source / name): digest(path) for name, path in trial.written().items()}
    check_pictures(trial)
    if len(found) != N_GOOD or trial.problems:
        raise SystemExit(f"the run without faults wrote {len(found)} of {N_GOOD} pictures: {trial.problems}")
    return found


def all_done(n: int) -> dict[str, str]:
    return {f"good{k}.jpg": "done" for k in range(n)}


def require_code(trial: Trial, ran: Ran, code: int) -> None:
    trial.require(ran.code == code, f"exit code {ran.code}, expected {code}: {ran.text[-400:]}")
    trial.require("Traceback" not in ran.text, "the user sees a traceback")


def go_on(trial: Trial, n: int) -> None:
    """The same command again ends with everything written."""
    ran = trial.run()
    require_code(trial, ran, 0)
    if ran.code != 0:
        return
    check_rows(trial, all_done(n))
    check_pictures(trial)
    trial.facts[-1] = f"the same command again: {trial.facts[-1]}, as without the fault"


def without_override(*arguments: str) -> Ran:
    """Run the program as an owner who, unlike root, has to obey permissions; setpriv takes that privilege away."""
    drop = "-dac_override,-dac_read_search"
    command = ["setpriv", f"--bounding-set={drop}", f"--inh-caps={drop}", sys.executable, "-m", "understudy"]
    if os.geteuid() != 0:
        command = command[3:]
    done = subprocess.run(
        [*command, "anonymize", *arguments, *OPTIONS],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1] / "src")},
    )
    return Ran(done.returncode, done.stdout + done.stderr, 0)


def unreadable(trial: Trial) -> Shown:
    pictures.good(trial.source, 2)
    (trial.source / "locked").mkdir()
    shutil.copy(trial.source / "good0.jpg", trial.source / "locked/inside.jpg")
    shutil.copy(trial.source / "good0.jpg", trial.source / "secret.jpg")
    (trial.source / "secret.jpg").chmod(0)
    (trial.source / "locked").chmod(0)
    try:
        ran = without_override(f"input={trial.source}", f"output={trial.output}")
    finally:
        (trial.source / "locked").chmod(0o755)
    require_code(trial, ran, 3)
    check_rows(trial, {**all_done(2), "secret.jpg": "failed", "locked": "failed"})
    check_pictures(trial)
    return seen(ran, trial.folder), str(ran.code)


def unwritable(trial: Trial) -> Shown:
    pictures.good(trial.source, 2)
    trial.output.mkdir()
    trial.output.chmod(0o555)
    ran = without_override(f"input={trial.source}", f"output={trial.output}")
    trial.output.chmod(0o755)
    require_code(trial, ran, 1)
    trial.require(list(trial.output.iterdir()) == [], "something was written")
    go_on(trial, 2)
    return seen(ran, trial.folder), str(ran.code)


@contextmanager
def mounted(folder: Path, *options: str) -> Iterator[bool]:
    """A small file system in memory; False where mounting is not permitted."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, check=False)
    try:
        yield done.returncode == 0
    finally:
        if done.returncode == 0:
            subprocess.run(["umount", str(folder)], check=True)


def remount(folder: Path, *options: str) -> None:
    subprocess.run(["mount", "-o", ",".join(("remount", *options)), str(folder)], check=True)


def read_only(trial: Trial) -> Shown:
    pictures.good(trial.source, 4)
    with mounted(trial.output, "size=64m") as possible:
        if not possible:
            return "NOT TRIED: mounting is not permitted here", "-"
        first = trial.run()
        require_code(trial, first, 0)
        for name in ("good1.jpg", "good2.jpg"):
            (trial.output / "images" / name).unlink()
        before = digests(trial.output)
        remount(trial.output, "ro")
        ran = trial.run()
        require_code(trial, ran, 1)
        trial.require(digests(trial.output) == before, "the read-only disk was written")
        remount(trial.output, "rw")
        go_on(trial, 4)
        return seen(ran, trial.folder), str(ran.code)


def full_disk(trial: Trial) -> Shown:
    pictures.good(trial.source, 30)
    with mounted(trial.output, "size=420k") as possible:
        if not possible:
            return "NOT TRIED: mounting is not permitted here", "-"
        ran = trial.run()
        require_code(trial, ran, 1)
        check_whole_files(trial)
        n_before = len(trial.written())
        trial.require(0 < n_before < 30, f"{n_before} of 30 were written before the disk was full")
        trial.facts.append(f"{n_before} of 30 written and whole on a disk of 420 kB")
        again = trial.run()
        require_code(trial, again, 1)
        remount(trial.output, "size=64m")
        go_on(trial, 30)
        return seen(ran, trial.folder), str(ran.code)


def check_whole_files(trial: Trial) -> None:
    """Whatever lies under a picture's name is what a run without faults makes."""
    for name, path in trial.written().items():
        if not path.name.startswith("."):
            known = trial.reference[digest(trial.source / name)]
            trial.require(digest(path) == known, f"{name!r} is not whole")


def killed(trial: Trial) -> Shown:
    pictures.good(trial.source, N_GOOD)
    random = np.random.default_rng(20)
    n_killed = 0
    stamps: dict[str, int] = {}
    for _ in range(10):
        n_before = len(trial.written()) if trial.output.exists() else 0
        process = start(f"input={trial.source}", f"output={trial.output}", *OPTIONS, "runner.max_pictures=4")
        target = n_before + int(random.integers(0, 4))
        deadline = time.monotonic() + 60
        while (len(trial.written()) if trial.output.exists() else 0) < target and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep(float(random.uniform(0, 0.3)))
        os.kill(process[0], signal.SIGKILL)
        n_killed += wait(process).code == -signal.SIGKILL
        check_whole_files(trial)
        stamps.update(committed(trial, stamps))
    trial.require(n_killed >= 8, f"only {n_killed} of 10 runs were still running when they were to be killed")
    n_found = len(stamps)
    go_on(trial, N_GOOD)
    twice = [name for name, stamp in stamps.items() if (trial.output / name).stat().st_mtime_ns != stamp]
    trial.require(not twice, f"written a second time although they had a row: {twice}")
    trial.facts.append(
        f"{n_killed} kills; {n_found} of {N_GOOD} were recorded before the last start, none of them redone"
    )
    return "nothing (the process is gone); the next start goes on", "-9, then 0"


def committed(trial: Trial, known: dict[str, int]) -> dict[str, int]:
    """Time stamps of the outputs that have a row since the last look."""
    import sqlite3
    from contextlib import closing

    if not (trial.output / "ledger.db").exists():
        return {}
    copy = trial.folder / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir()
    for path in trial.output.glob("ledger.db*"):
        shutil.copy(path, copy)
    with closing(sqlite3.connect(copy / "ledger.db")) as ledger:
        if not ledger.execute("SELECT 1 FROM sqlite_master WHERE name = 'items'").fetchone():
            return {}
        rows = [str(row[0]) for row in ledger.execute("SELECT output FROM items WHERE output IS NOT NULL")]
    return {name: (trial.output / name).stat().st_mtime_ns for name in rows if name not in known}


def two_runs(trial: Trial) -> Shown:
    pictures.good(trial.source, 20)
    first = start(f"input={trial.source}", f"output={trial.output}", *OPTIONS, "runner.max_pictures=2")
    while not (trial.output / "ledger.db").exists():
        time.sleep(0.002)
    second = trial.run()
    require_code(trial, second, 1)
    require_code(trial, wait(first), 0)
    check_rows(trial, all_done(20))
    check_pictures(trial)
    return f"the second: {seen(second, trial.folder)}", "1 (the first: 0)"


def stopped(number: signal.Signals) -> Callable[[Trial], Shown]:
    def run(trial: Trial) -> Shown:
        pictures.good(trial.source, N_GOOD)
        process = start(f"input={trial.source}", f"output={trial.output}", *OPTIONS, "runner.max_pictures=4")
        while len(trial.written()) < 3:
            time.sleep(0.002)
        os.kill(process[0], number)
        ran = wait(process)
        require_code(trial, ran, 130)
        check_whole_files(trial)
        n_rows = len(trial.statuses())
        trial.require(n_rows == len(trial.written()), "rows and files differ after the stop")
        trial.facts.append(f"stopped with {n_rows} of {N_GOOD}, tables written")
        go_on(trial, N_GOOD)
        return seen(ran, trial.folder), str(ran.code)

    return run


def foreign_output(trial: Trial) -> Shown:
    pictures.good(trial.source, 1)
    trial.output.mkdir()
    (trial.output / "thesis.doc").write_text("mine")
    runs = [trial.run(), trial.run(output=trial.source)]
    for ran in runs:
        require_code(trial, ran, 1)
    trial.require([path.name for path in trial.output.iterdir()] == ["thesis.doc"], "the folder was touched")
    trial.require(sorted(path.name for path in trial.source.iterdir()) == ["good0.jpg"], "the input was touched")
    trial.facts.append("both folders untouched")
    return "<br>".join(seen(ran, trial.folder) for ran in runs), "1"


def output_as_input(trial: Trial) -> Shown:
    pictures.good(trial.source, 2)
    inside = trial.source / "out"
    for _ in range(2):
        require_code(trial, trial.run(output=inside), 0)
    trial.require(len(list((inside / "images").rglob("*.jpg"))) == 2, "outputs were read as inputs")
    ran = trial.run(input=inside / "images", output=trial.folder / "other")
    require_code(trial, ran, 1)
    trial.facts.append("an output inside the input is passed over; two pictures after two runs")
    return seen(ran, trial.folder), "1"


def nothing_there(trial: Trial) -> Shown:
    runs = [trial.run(input=trial.folder / "missing"), trial.run(input=trial.source / "*.jpg")]
    for ran in runs:
        require_code(trial, ran, 1)
    trial.facts.append("there was nothing")
    return "<br>".join(seen(ran, trial.folder) for ran in runs), "1"


def changed(trial: Trial) -> Shown:
    pictures.good(trial.source, 3)
    require_code(trial, trial.run(), 0)
    before = {name: digest(path) for name, path in trial.written().items()}
    other = trial.run("n_attempts=7")
    original = (trial.source / "good1.jpg").read_bytes()
    pictures.save(trial.source / "good1.jpg", pictures.jpeg(quality=50))
    edited = trial.run()
    for ran in (other, edited):
        require_code(trial, ran, 1)
    trial.require({name: digest(path) for name, path in trial.written().items()} == before, "outputs were changed")
    pictures.save(trial.source / "good1.jpg", original)
    go_on(trial, 3)
    return f"{seen(other, trial.folder)}<br>{seen(edited, trial.folder)}", "1"


def damaged_ledger(trial: Trial) -> Shown:
    pictures.good(trial.source, 2)
    require_code(trial, trial.run(), 0)
    before = {name: digest(path) for name, path in trial.written().items()}
    (trial.output / "ledger.db").write_bytes(b"\0garbage" * 4000)
    ran = trial.run()
    require_code(trial, ran, 1)
    trial.require({name: digest(path) for name, path in trial.written().items()} == before, "outputs were changed")
    trial.facts.append("outputs untouched")
    return seen(ran, trial.folder), str(ran.code)


def nasty_paths(trial: Trial) -> Shown:
    """A nasty name as ``input=`` and a nasty folder as ``output=``, straight from the command line."""
    names = [name for name in pictures.NASTY_NAMES if not name.startswith("not utf-8")]
    for k, name in enumerate(names):
        path = pictures.save(trial.source / name, pictures.jpeg(quality=70 + k))
        output = trial.folder / f"out {k} {name[:-4]}"
        ran = trial.run(input=path, output=output)
        require_code(trial, ran, 0)
        trial.require((output / "images" / name).exists(), f"{name!r} was not written")
    trial.facts.append(f"{len(names)} of {len(names)} written")
    return "as ever", "0"


RUNS = (
    RunFault("unreadable file, unreadable folder (mode 000)", unreadable),
    RunFault("output folder without write permission", unwritable),
    RunFault("output on a read-only disk", read_only),
    RunFault("full disk", full_disk),
    RunFault("kill -9 at ten random moments", killed),
    RunFault("two runs on one output", two_runs),
    RunFault("Ctrl-C", stopped(signal.SIGINT)),
    RunFault("SIGTERM", stopped(signal.SIGTERM)),
    RunFault("output folder with other things in it, or the input folder itself", foreign_output),
    RunFault("output inside the input; an output as input", output_as_input),
    RunFault("input that is not there, glob without a match", nothing_there),
    RunFault("settings or a source changed since", changed),
    RunFault("damaged ledger", damaged_ledger),
    RunFault("nineteen nasty paths as input= and output=", nasty_paths),
)
