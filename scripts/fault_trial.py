"""A trial: a collection with a fault, the program run on it, and the checks that nothing was lost."""

from __future__ import annotations

import hashlib
import os
import re
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import fault_pictures as pictures
import numpy as np

from understudy.batch.sources import printable
from understudy.batch.tables import read_table

OPTIONS = ("generator=fill", "residual=none")
STANDING_WARNINGS = ("residual=none", "the guard compares no identities")
SHOWN = 170


@dataclass(frozen=True)
class Ran:
    """One run of the program."""

    code: int
    text: str
    peak_mb: float


@dataclass
class Trial:
    """One fault: a collection with it, an output folder, and what was found wrong."""

    name: str
    folder: Path
    reference: dict[str, str]
    options: tuple[str, ...] = OPTIONS
    problems: list[str] = field(default_factory=list)
    facts: list[str] = field(default_factory=list)

    @property
    def source(self) -> Path:
        return self.folder / "in"

    @property
    def output(self) -> Path:
        return self.folder / "out"

    def run(self, *options: str, **more: object) -> Ran:
        source, output = more.get("input", self.source), more.get("output", self.output)
        return wait(start(f"input={source}", f"output={output}", *self.options, *options))

    def require(self, holds: bool, otherwise: str) -> None:
        if not holds:
            self.problems.append(otherwise)

    def statuses(self) -> dict[str, str]:
        return {str(row["image_id"]): str(row["status"]) for row in read_table(self.output, "images")}

    def written(self) -> dict[str, Path]:
        images = self.output / "images"
        return {path.relative_to(images).as_posix(): path for path in sorted(images.rglob("*")) if path.is_file()}


def start(*arguments: str) -> tuple[int, Path]:
    """Fork a process that is the program; its output goes to a file."""
    descriptor, name = tempfile.mkstemp(prefix="understudy-fault-", suffix=".log")
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        os.setsid()
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        from understudy.cli.main import main

        code = 70
        try:
            code = main(["anonymize", *arguments])
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    os.close(descriptor)
    return pid, Path(name)


def wait(process: tuple[int, Path]) -> Ran:
    """Its exit code (negative: the signal), what it said, and its peak memory."""
    pid, log = process
    _, status, usage = os.wait4(pid, 0)
    text = log.read_text(errors="backslashreplace")
    log.unlink()
    return Ran(os.waitstatus_to_exitcode(status), text, usage.ru_maxrss / 1024)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): digest(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink() and os.access(path, os.R_OK)
    }


def check_rows(trial: Trial, expected: Mapping[str, str]) -> None:
    """Every input has the row that it should have, and exactly the finished ones have a file."""
    found = trial.statuses()
    want = {printable(name): status for name, status in expected.items()}
    trial.require(found == want, f"rows {found}, expected {want}")
    done = sorted(name for name, status in found.items() if status == "done")
    there = sorted(printable(name) for name in trial.written())
    rows = {str(row["output"]) for row in read_table(trial.output, "images") if row["output"]}
    trial.require(rows == {f"images/{name}" for name in there}, f"files {there}, rows {sorted(rows)}")
    trial.facts.append(f"{len(found)} inputs, {len(done)} written")


def check_pictures(trial: Trial) -> None:
    """What is there is whole, as large as its source, the same as ever, and shows no face as it was."""
    leftover = [path for path in trial.folder.rglob("*.part") if path.name.startswith(".")]
    trial.require(not leftover, f"temporary files are left: {leftover}")
    regions: dict[str, list[Mapping[str, object]]] = {}
    for row in read_table(trial.output, "regions"):
        regions.setdefault(str(row["image_id"]), []).append(row)
    for name, path in trial.written().items():
        source = trial.source / name
        if not source.exists():
            source = source.with_name(source.name.removesuffix(".png"))  # what cannot be written in its own format
        if not source.exists():
            trial.problems.append(f"{name!r} has no source of its name")
            continue
        try:
            before, after = pictures.upright(source).astype(int), pictures.upright(path).astype(int)
        except Exception as error:  # noqa: BLE001 - whatever cannot be decoded is the finding
            trial.problems.append(f"{name!r} cannot be decoded: {error}")
            continue
        trial.require(before.shape == after.shape, f"{name!r} is {after.shape}, its source {before.shape}")
        known = trial.reference.get(digest(source))
        trial.require(known in (None, digest(path)), f"{name!r} differs from a run without faults")
        for row in regions.get(printable(name), []):
            x0, y0, x1, y1 = (float(str(row[key])) for key in ("x0", "y0", "x1", "y1"))
            middle = (
                slice(int(y0 + 0.3 * (y1 - y0)), int(y0 + 0.7 * (y1 - y0)) + 1),
                slice(int(x0 + 0.3 * (x1 - x0)), int(x0 + 0.7 * (x1 - x0)) + 1),
            )
            trial.require(float(np.abs(after[middle] - before[middle]).mean()) > 8, f"a face of {name!r} is as it was")


def faces_found(trial: Trial, *names: str) -> None:
    """The portrait's face was found in each of these (else the fault is not tried at all)."""
    found = {str(row["image_id"]): row["n_regions"] for row in read_table(trial.output, "images")}
    for name in names:
        trial.require(int(str(found.get(name) or 0)) >= 1, f"no face was found in {name!r}")


def seen(ran: Ran, folder: Path) -> str:
    """What a user reads: the messages, without the counts and the warnings of our own options."""
    lines = []
    for line in ran.text.splitlines():
        if any(word in line for word in STANDING_WARNINGS):
            continue
        if line.startswith(("understudy: ", "failed: ", "refused: ", "quarantined: ", "Traceback", "inputs: ")):
            line = line.replace(str(folder), "…").replace(os.path.realpath(folder), "…")
            lines.append(re.sub(r"process \d+ on \S+ since [^\s)]+", "process N on HOST since TIME", line))
    messages = [line for line in lines if not line.startswith("inputs: ")] or lines
    short = [line if len(line) <= SHOWN else f"{line[: SHOWN - 1]}…" for line in messages[:4]]
    return "<br>".join(short + ([f"(and {len(messages) - 4} more such lines)"] if len(messages) > 4 else []))


def notes(trial: Trial) -> str:
    """What the table says about the pictures that were written."""
    said = {str(row["notes"]) for row in read_table(trial.output, "images") if row["notes"]}
    return "; ".join(sorted(said)).replace("\n", "; ")
