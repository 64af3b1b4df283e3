"""``understudy status output=DIR``: how far a run has come, read from its ledger without disturbing it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from understudy.batch.address import is_address
from understudy.batch.inspect import N_NAMED, Progress, parts_of, progress_of
from understudy.batch.ledger_reader import LEDGER_FILE
from understudy.batch.sources import printable
from understudy.cli.film import film_status
from understudy.cli.words import plain_arguments
from understudy.config.sweep import JOB_FILE, read_job

HELP = """usage: understudy status DIR [state=DIR]

Tells what became of the inputs of a run that writes, or wrote, into DIR (a folder, or an address such as s3://...), and
of its parts where it was run with shard=K/N; or of its film, or of the jobs of a sweep. The ledger is opened for
reading only. state is that of the run.

ends    0, whatever became of them; 1 DIR is no output of understudy
"""


def run(arguments: Sequence[str]) -> int:
    """Run the command."""
    if not arguments or arguments[0] in {"-h", "--help"}:
        print(HELP, end="")
        return 0 if arguments else 1
    outputs, given = plain_arguments(arguments, "status", "output", ("state",), at_most=1)
    print(film_status(outputs[0]) or sweep_status(outputs[0]) or report(outputs[0], given))
    return 0


def sweep_status(output: str) -> str:
    """What became of each job of a sweep, where the output is one; empty for any other."""
    folder = Path(output)
    if is_address(output) or (folder / LEDGER_FILE).is_file():
        return ""
    folders = sorted(path.parent for path in folder.glob(f"*/{JOB_FILE}"))
    jobs = [job for job in map(read_job, folders) if job is not None]
    ended = [f"{job.name}: exit {job.exit_code}: {job.message}" for job in jobs]
    told = f"a sweep; {len(jobs)} jobs have come to an end; `understudy status {output}/JOB` tells more of one"
    return "\n".join([told, *ended]) if jobs else ""


def report(output: str, given: Mapping[str, str]) -> str:
    """What the ledgers of an output say."""
    with parts_of(output, given.get("state")) as parts:
        found = [progress_of(part) for part in parts]
    counts: Counter[str] = Counter()
    outcomes: Counter[str] = Counter()
    for part in found:
        counts.update({str(status): n for status, n in part.counts.items()})
        outcomes.update(part.outcomes)
    lines = [
        f"{sum(counts.values())} inputs settled: {_listed(counts)}",
        f"faces: {_listed(outcomes)}",
        *(_line(part) for part in found),
    ]
    named = [f"{row.status}: {printable(row.image_id)}: {row.error}" for part in found for row in part.failures]
    n_bad = sum(part.n_failures for part in found)
    lines += named[:N_NAMED]
    if n_bad > len(named[:N_NAMED]):
        lines.append(f"... and {n_bad - len(named[:N_NAMED])} more: see the table of images")
    return "\n".join(lines)


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{n} {name}" for name, n in sorted(counts.items()) if n) or "none"


def _line(part: Progress) -> str:
    if not part.name:
        return part.state
    counts = {str(status): n for status, n in part.counts.items()}
    return f"part {part.name.replace('-of-', '/')}: {part.state}; {_listed(counts)}"
