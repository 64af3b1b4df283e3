"""``understudy compare runs=DIR output=DIR``: the leaderboard of several runs."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from understudy import __version__
from understudy.batch.tables import read_table
from understudy.compare.board import MEASURES, Cell, Entry, as_csv, cells_of, ranked, read_figures
from understudy.compare.page import page
from understudy.config.compose import compose_config, read_flags
from understudy.config.help import help_text
from understudy.config.read import as_text, read
from understudy.config.runs import Run, find_runs
from understudy.config.schema import Compare
from understudy.errors import ConfigError, UnderstudyError
from understudy.imaging import write_atomic

HELP = """usage: understudy compare runs=DIR output=DIR [before=DIR] [audit=missing|read] [key=value ...]

Puts several runs side by side: who is still recognised, what is left of the originals, how far attributes drifted, how
much was prettified, what stayed, whether people are still found, and the seconds a picture. It reads the audit of each
run (RUN/audit, or OUTPUT/audits/RUN), and makes those that are missing; a run with generator=null_edit among them is
the meter's own error for all.

writes  DIR/leaderboard.html   for people: one page that needs no network
        DIR/leaderboard.csv    every figure with its interval and n
        DIR/audits/RUN         the audits that were made
ends    0 every run is on the board; 1 nothing could run; 3 some runs could not be audited
"""
AUDIT_FILE = "audit.json"
CHOICES = ("missing", "read")


def run(arguments: Sequence[str]) -> int:
    """Run the command."""
    flags = read_flags(arguments)
    if flags.show_help:
        print(help_text("compare", HELP))
        return 0
    config = compose_config("compare", flags.overrides, flags.config_folder)
    if flags.print_config:
        print(as_text(config), end="")
        return 0
    settings = read(config, Compare, "compare")
    if settings.audit not in CHOICES:
        raise ConfigError(f"audit must be one of {', '.join(CHOICES)}, got {settings.audit!r}")
    runs = find_runs(Path(settings.runs))
    null = next((run for run in runs if run.is_null_edit), None)
    entries = ranked(_entry(run, settings, null) for run in runs)
    output = Path(settings.output)
    output.mkdir(parents=True, exist_ok=True)
    write_atomic(output / "leaderboard.csv", as_csv(entries).encode())
    title = Path(settings.runs).absolute().name
    write_atomic(output / "leaderboard.html", page(entries, title, __version__).encode())
    show(entries)
    print(f"results lie in {settings.output}")
    return 3 if any(entry.why_not for entry in entries) else 0


def _entry(run: Run, settings: Compare, null: Run | None) -> Entry:
    """One run with its figures, or with why it has none."""
    seconds = _seconds(run.folder)
    try:
        found = audit_of(run, Path(settings.output))
        if found is None or (settings.audit == "missing" and _is_stale(found, run.folder)):
            if settings.audit == "read":
                raise ConfigError(f"{run.name} has no {AUDIT_FILE}; audit=missing makes it")
            found = make_audit(run, settings, null)
        return Entry(run.name, cells_of(read_figures(found), seconds), len(seconds))
    except UnderstudyError as error:
        return Entry(run.name, cells_of([], seconds), len(seconds), str(error))


def audit_of(run: Run, output: Path) -> Path | None:
    """The audit of a run, where there is one."""
    places = (run.folder / "audit" / AUDIT_FILE, output / "audits" / run.name / AUDIT_FILE)
    return next((path for path in places if path.is_file()), None)


def _is_stale(audit: Path, folder: Path) -> bool:
    tables = [path for path in (folder / "images.parquet", folder / "images.csv") if path.is_file()]
    return any(path.stat().st_mtime > audit.stat().st_mtime for path in tables)


def make_audit(run: Run, settings: Compare, null: Run | None) -> Path:
    """Audit a run with the settings that were given; a failed gate is no failure here.

    Raises
    ------
    UnderstudyError
        It cannot be audited.
    """
    from understudy.cli import audit

    before = settings.before or run.input
    if before is None or not Path(before).is_dir():
        raise ConfigError(f"the originals of {run.name} are not in a folder ({before}): say before=FOLDER")
    folder = Path(settings.output) / "audits" / run.name
    given = [f"before={before}", f"after={run.folder}", f"output={folder}"]
    if not any(setting.startswith("cache=") for setting in settings.audits):
        given.append(f"cache={Path(settings.output) / 'audits' / '.cache'}")  # the originals are read once for all
    if null is not None and null.folder != run.folder and not any(s.startswith("null=") for s in settings.audits):
        given.append(f"null={null.folder / 'images'}")
    print(f"{run.name}: audits")
    with contextlib.redirect_stdout(io.StringIO()):
        audit.run([*given, *settings.audits])
    return folder / AUDIT_FILE


def _seconds(folder: Path) -> list[float]:
    """Seconds of every picture that was finished, from the table of images."""
    rows: Sequence[Mapping[str, Any]] = read_table(folder, "images")
    return [float(row["seconds"]) for row in rows if row.get("status") == "done" and row.get("seconds") is not None]


def show(entries: Sequence[Entry]) -> None:
    """Print the leaderboard."""
    table = Table(header_style="bold")
    table.add_column("run", overflow="fold")
    table.add_column("pictures", justify="right")
    for measure in MEASURES:
        table.add_column(measure.heading, justify="right")
    for entry in entries:
        cells = [entry.cells.get(measure.key, Cell()) for measure in MEASURES]
        marked = (cell.text() + ("*" if cell.note == "selected" else "") for cell in cells)
        table.add_row(escape(entry.name), str(entry.n_pictures), *marked)
    console = Console()
    (console if console.is_terminal else Console(width=200)).print(table)
    print("with 95 % intervals; * measured with what the anonymiser selects with, so not independent")
    for entry in entries:
        if entry.why_not:
            print(f"not audited: {entry.name}: {entry.why_not}")
