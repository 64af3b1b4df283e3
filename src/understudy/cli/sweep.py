"""``understudy anonymize -m``: the main job with every combination of some settings, each in a folder of its own."""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from understudy.batch.address import is_address
from understudy.config.build import choose_residual
from understudy.config.compose import Flags
from understudy.config.sweep import JobReport, key_of, read_job, run_jobs, settings_digest, write_job
from understudy.errors import ConfigError, UnderstudyError

SWEEP_FILE = "sweep.json"
"""In the sweep's folder: every job with its end."""
_BADNESS = (0, 3, 4, 1, 130)
"""Exit codes from best to worst."""

_ENDS = {
    0: "every input finished",
    3: "some inputs failed, were refused or quarantined: see its table of images",
    130: "stopped",
}
"""What an exit code means that came without an error."""

Run = Callable[[Sequence[str], str | None], int]
"""Runs the command once with these overrides and this folder of configs; its exit code."""


def worst(codes: Sequence[int]) -> int:
    """The worst of some exit codes; an unknown one is as bad as 1."""
    return max(codes, key=lambda code: _BADNESS.index(code) if code in _BADNESS else _BADNESS.index(1), default=0)


def sweep(flags: Flags, run: Run) -> int:
    """Run all jobs, tell how each ended, and end with the worst.

    Parameters
    ----------
    flags : Flags
        Of the command line.
    run : callable
        A function of a module, that runs one job.
    """
    if flags.print_config:
        raise ConfigError("--cfg job prints the settings of one job: leave out -m")
    outputs = [override.partition("=")[2] for override in flags.overrides if key_of(override) == "output"]
    if not outputs:
        raise ConfigError("a sweep needs output=FOLDER; each job gets a folder in it")
    if is_address(outputs[-1]):
        raise ConfigError(
            f"a sweep writes to a folder of this machine, not to {outputs[-1]}: copy the folder afterwards"
        )
    if any(key_of(override) in {"state", "shard"} for override in flags.overrides):
        raise ConfigError("a sweep takes neither state nor shard: run the shards of one job by themselves")
    own = [override for override in flags.overrides if key_of(override) != "output"]
    Path(outputs[-1]).mkdir(parents=True, exist_ok=True)
    reports = run_jobs(own, outputs[-1], partial(run_job, run), flags.config_folder)
    named = {"jobs": [asdict(report) for report in reports]}
    (Path(outputs[-1]) / SWEEP_FILE).write_text(json.dumps(named, indent=1) + "\n", encoding="utf-8")
    show(reports, outputs[-1])
    return worst([report.exit_code for report in reports])


def run_job(run: Run, overrides: tuple[str, ...], name: str, folder: Path, config_folder: str | None) -> JobReport:
    """One job; a finished one with the same settings is not run again, and nothing but Ctrl-C ends the sweep."""
    started = time.monotonic()
    try:
        chosen = choose_residual(overrides)
        digest = settings_digest(chosen, config_folder)
        earlier = read_job(folder)
        restart = any(override == "resume=restart" for override in overrides)
        if earlier is not None and earlier.exit_code == 0 and earlier.digest == digest and not restart:
            print(f"{name}: finished by an earlier run")
            return replace(earlier, name=name, skipped=True)
        print(f"{name}: runs")
        code = run([*chosen, f"output={folder}"], config_folder)
        message = _ENDS.get(code, "see its log")
    except UnderstudyError as error:
        digest, code, message = "", 1, str(error)
    except Exception as error:  # noqa: BLE001 - the other jobs go on; the report tells of it
        traceback.print_exc()
        digest, code, message = "", 1, f"{type(error).__name__}: {error}"
    report = JobReport(name, overrides, code, message, round(time.monotonic() - started, 2), digest)
    write_job(folder, report)
    return report


def show(reports: Sequence[JobReport], output: str) -> None:
    """Print how every job ended, the failed ones with their reason."""
    table = Table(header_style="bold")
    for heading in ("job", "exit", "seconds", "what became of it"):
        table.add_column(heading, overflow="fold", justify="right" if heading in {"exit", "seconds"} else "left")
    for report in reports:
        told = f"{report.message} (by an earlier run)" if report.skipped else report.message
        table.add_row(escape(report.name), str(report.exit_code), f"{report.seconds:.1f}", escape(told))
    console = Console()
    (console if console.is_terminal else Console(width=160)).print(table)
    failed = [report for report in reports if report.exit_code]
    skipped = sum(report.skipped for report in reports)
    print(
        f"{len(reports)} jobs: {len(reports) - len(failed)} finished ({skipped} by an earlier run), {len(failed)} not"
    )
    for report in failed:
        print(f"failed: {report.name}: exit {report.exit_code}: {report.message}")
    print(f"results lie in {output}; `understudy compare runs={output} output=DIR` makes the leaderboard")
