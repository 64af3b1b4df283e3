"""``understudy status DIR``: how far a run has come, read from its ledger without disturbing it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from understudy.batch.ledger import LEDGER_FILE, Ledger, Row, Status
from understudy.batch.sources import MARKER, printable
from understudy.errors import ConfigError

HELP = """usage: understudy status DIR

Tells what became of the inputs of a run that writes, or wrote, into DIR.
"""
N_NAMED = 20


def run(arguments: Sequence[str]) -> int:
    """Run the command."""
    if not arguments or arguments[0] in {"-h", "--help"}:
        print(HELP, end="")
        return 0 if arguments else 1
    if len(arguments) > 1:
        raise ConfigError(f"status takes one folder, got {' '.join(arguments)!r}")
    print(report(Path(arguments[0])))
    return 0


def report(folder: Path) -> str:
    """What the ledger of an output folder says."""
    if not (folder / LEDGER_FILE).is_file() or not (folder / MARKER).is_file():
        raise ConfigError(f"{printable(str(folder))!r} is no output folder of understudy: it has no {LEDGER_FILE}")
    statuses: Counter[str] = Counter()
    outcomes: Counter[str] = Counter()
    bad: list[str] = []
    with closing(Ledger(folder)) as ledger:
        clean = ledger.clean
        after = ""
        while page := ledger.rows(after=after):
            for row in page:
                _count(row, statuses, outcomes, bad)
            after = page[-1].image_id
    n = sum(statuses.values())
    lines = [
        f"{n} inputs settled: " + (", ".join(f"{k} {name}" for name, k in sorted(statuses.items())) or "none"),
        f"faces: {', '.join(f'{k} {name}' for name, k in sorted(outcomes.items()) if k) or 'none'}",
        "the run has ended" if clean else "the run is under way, or was killed: the same command goes on with it",
        *bad[:N_NAMED],
    ]
    if len(bad) > N_NAMED:
        lines.append(f"... and {len(bad) - N_NAMED} more: see the table of images")
    return "\n".join(lines)


def _count(row: Row, statuses: Counter[str], outcomes: Counter[str], bad: list[str]) -> None:
    statuses[str(row.status)] += 1
    outcomes.update(replaced=row.n_replaced, filled=row.n_filled, obscured=row.n_obscured)
    if row.status in (Status.FAILED, Status.QUARANTINED, Status.REFUSED):
        bad.append(f"{row.status}: {printable(row.image_id)}: {row.error}")
