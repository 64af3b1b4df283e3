"""``understudy models list|pull NAME|verify``: which weights there are, where from, and whether they are whole."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from understudy import weights
from understudy.errors import ConfigError

HELP = """usage: understudy models list
       understudy models pull NAME [NAME ...]
       understudy models verify

list    every entry of the registry: task, licence, training data, and whether it is on this machine
pull    fetch weights into the cache, checked against their sha256
verify  read every file that is here, and check its sha256

UNDERSTUDY_MODELS names a folder with weight files of your own (a local mirror); it is looked at before the cache.
"""


def run(arguments: Sequence[str]) -> int:
    """Run the command."""
    if not arguments or arguments[0] in {"-h", "--help"}:
        print(HELP, end="")
        return 0 if arguments else 1
    action, names = arguments[0], arguments[1:]
    if action == "list" and not names:
        return show()
    if action == "pull" and names:
        return pull(names)
    if action == "verify" and not names:
        return verify()
    raise ConfigError(f"models takes 'list', 'pull NAME' or 'verify', got {' '.join(arguments)!r}")


def show() -> int:
    """Print the registry."""
    table = Table(title=None, show_lines=False, header_style="bold")
    for heading in ("name", "task", "here", "MB", "licence", "training data"):
        table.add_column(heading, overflow="fold", justify="right" if heading == "MB" else "left")
    here = {check.name: check.status for check in weights.verify()}
    for entry in weights.entries():
        training = f"{entry.training_data}; {entry.note}" if entry.note else entry.training_data
        state = {"ok": "yes", "absent": "no"}.get(here[entry.name], here[entry.name])
        table.add_row(entry.name, entry.task, state, f"{entry.size / 1e6:.1f}", entry.licence, training)
    _console().print(table)
    return 0


def pull(names: Sequence[str]) -> int:
    """Fetch weights by name."""
    for name in names:
        entry = weights.entry(name)
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
        console = Console(stderr=True)
        with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
            task = progress.add_task(name, total=entry.size)

            def advance(done: int, total: int, task: object = task, bar: Progress = progress) -> None:
                bar.update(task, completed=done, total=total)  # type: ignore[arg-type]

            path = weights.pull(name, progress=advance)
        print(f"{name}: {path}")
    return 0


def verify() -> int:
    """Check every file; 1 where one that is here is not what the registry says."""
    checks = weights.verify()
    table = Table(header_style="bold")
    for heading in ("name", "status", "where"):
        table.add_column(heading, overflow="fold")
    for check in checks:
        table.add_row(check.name, check.status, str(check.path) if check.path else "")
    _console().print(table)
    wrong = [check for check in checks if check.status == "wrong digest"]
    for check in wrong:
        print(check.detail)
    n_ok = sum(check.status == "ok" for check in checks)
    print(f"{n_ok} whole, {len(wrong)} with another content, {len(checks) - n_ok - len(wrong)} not on this machine")
    return 1 if wrong else 0


def _console() -> Console:
    """Standard output; wide where it is no terminal, so that nothing is folded in a file."""
    console = Console()
    return console if console.is_terminal else Console(width=200)
