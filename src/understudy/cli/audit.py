"""``understudy audit before=DIR after=DIR output=DIR``: what was protected, what was altered, who pays for it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from understudy.audit.folders import Collection
from understudy.audit.gates import Verdict, exit_code, write_gates
from understudy.audit.run import AuditResult, Steps, open_collections, run_audit, verdict
from understudy.audit.sections import Used
from understudy.audit.sections_identity import PLACED
from understudy.audit.signing import load_private_key, sign_report
from understudy.audit.table import Row, Status
from understudy.cli import audit_verify
from understudy.config.audit import audit_record, build_audit, choose_second, choose_where_here, what_was_used
from understudy.config.compose import compose_config, read_flags
from understudy.config.help import help_text
from understudy.config.read import as_text, read
from understudy.config.schema import Audit
from understudy.errors import ConfigError
from understudy.imaging import write_atomic

HELP = """usage: understudy audit before=DIR after=DIR output=DIR [null=DIR] [labels=FILE] [key=value ...]

Judges what an anonymiser, ours or another tool, did to a collection: who is still recognised, whose face is still
there, which attributes drifted, whether faces were made prettier, what stayed, and whom it fails. Pictures are matched
by their path below the folders, faces by place. Nothing is sent anywhere; no picture of before is in any result.

writes  DIR/audit.json         every figure, its interval and how it was measured; signed where there is a key
        DIR/report.html        the same for people: one page that needs no network
        DIR/figures.parquet    the table alone; gates.parquet: the gates
        DIR/.cache             what was read, embeddings too (keep_readings=false keeps nothing)
check   understudy audit verify=DIR/report.html [public_key=FILE.pem] [before=DIR after=DIR null=DIR]
ends    0 every gate holds; 1 nothing could run; 4 a gate failed or is undecided. verify=: 0 nothing is wrong with the
        report; 4 it must not be relied on
"""
SHOWN = (
    "rank1_rate",
    "raw_rank1_rate",
    "tar_at_far_1e-2",
    "face_not_found_share",
    "residual_share",
    "anonymiser_miss_share",
    "resembling_share",
    "total_variation",
    "standardised_drift",
    "beautification_drift",
    "context_mean_abs",
    "keypoint_nme",
    "average_precision",
)
"""Metrics of the table in the terminal; all others are in the report."""
_REMARKS = {Status.OK: "", Status.SELECTED: "not independent", Status.TOO_FEW: "too few people"}
_MOST_ROWS = 34
WIDTH = 110
"""Columns where the output is no terminal."""


def run(arguments: Sequence[str]) -> int:
    """Run the command."""
    if audit_verify.wanted(arguments):
        return audit_verify.run(arguments)
    flags = read_flags(arguments)
    if flags.show_help:
        print(help_text("audit", HELP, choose_where_here(choose_second((), Used()))))
        return 0
    config = compose_config("audit", flags.overrides, flags.config_folder)
    if flags.print_config:
        print(as_text(config), end="")
        return 0
    folders = read(config, Audit, "audit")
    collections = open_collections(folders.before, folders.after, folders.null)
    _refuse_pictures_folder(folders.output, collections.values())
    used = what_was_used(collections["after"].manifest)
    overrides = choose_where_here(choose_second(flags.overrides, used))
    settings = read(compose_config("audit", overrides, flags.config_folder), Audit, "audit")
    key = _signing_key(settings)
    cv2.setNumThreads(1)  # the workers are the threads
    job = build_audit(settings)
    console = Console(stderr=True)
    with _progress(console) as bar:
        result = run_audit(job, used, collections, _steps(bar))
    document = sign_report(result.document(**audit_record(settings, job)), key)
    write_results(Path(settings.output), document, result)
    if settings.report.get("html", True):
        _write_page(Path(settings.output), document, settings, key, collections["after"])
    show(result, Console(width=None if sys.stdout.isatty() else WIDTH))
    found = verdict(result.gates)
    print(f"verdict: {found['verdict']} ({found['reason']})")
    print(f"results lie in {settings.output}{': open report.html' if settings.report.get('html', True) else ''}")
    return exit_code(result.gates)


def _refuse_pictures_folder(output: str, collections: Iterable[Collection]) -> None:
    """Results, with embeddings in ``.cache``, never come to lie among the pictures."""
    for collection in collections:
        if Path(output).resolve() == collection.root.resolve():
            raise ConfigError(f"output {output!r} is the folder of {collection.role}: give another one")


def _signing_key(settings: Audit) -> Any:
    named = settings.report.get("key")
    unknown = sorted(set(settings.report) - {"html", "pictures", "key"})
    if unknown:
        raise ConfigError(f"report has no setting called {unknown[0]!r}: it takes html, pictures, key")
    if settings.report.get("pictures", "none") not in ("none", "after"):
        raise ConfigError(f"report.pictures must be none or after, got {settings.report['pictures']!r}")
    return load_private_key(None if named is None else Path(named))


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def _steps(bar: Progress) -> Steps:
    reading = bar.add_task("read pictures", total=None)
    counting = bar.add_task("count", total=9, visible=False)

    def pairs(done: int, total: int) -> None:
        bar.update(reading, completed=done, total=total)

    def section(name: str) -> None:
        bar.update(counting, description=name, visible=True, advance=1)

    return Steps(pairs, section)


def write_results(folder: Path, document: dict[str, Any], result: AuditResult) -> None:
    """Write ``audit.json`` and the Parquet tables."""
    text = json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    write_atomic(folder / "audit.json", text.encode())
    try:
        result.table.to_parquet(folder / "figures.parquet")
        write_gates(folder / "gates.parquet", document["gates"])
    except ImportError:
        write_atomic(folder / "figures.csv", result.table.frame().to_csv(index=False).encode())


def _write_page(folder: Path, document: dict[str, Any], settings: Audit, key: Any, after: Collection) -> None:
    from understudy.audit.contact_sheet import contact_sheet
    from understudy.audit.report import write_report

    pictures = [after.path(name) for name in after.pictures] if settings.report.get("pictures") == "after" else []
    sheet = contact_sheet(pictures) if pictures else None
    write_report(document, folder, contact_sheet=sheet, key=key)


def show(result: AuditResult, console: Console) -> None:
    """Print the gates, the main figures and what is missing, on one screen."""
    for name, said in result.missing.items():
        for sentence in said:
            console.print(f"{name}: {sentence}", style="dim", markup=False, highlight=False)
    console.print(_figures(result))
    gates = Table(title="gates", title_justify="left", box=None, pad_edge=False)
    for column in ("gate", "verdict", "why"):
        gates.add_column(column, overflow="fold")
    styles = {Verdict.PASSED: "green", Verdict.FAILED: "bold red", Verdict.UNDECIDED: "yellow"}
    for gate in result.gates:
        gates.add_row(gate.gate.name, f"[{styles[gate.verdict]}]{gate.verdict}[/]", _plain(gate.reason))
    console.print(gates)


def _plain(text: str) -> str:
    return text.replace("[", "\\[")


def _figures(result: AuditResult) -> Table:
    table = Table(title="figures", title_justify="left", box=None, pad_edge=False)
    for name in ("metric", "of", "n", "value", "interval", "null", "remark"):
        table.add_column(name, justify="right" if name in ("n", "value", "null") else "left", overflow="fold")
    for row in _shown(result.table.rows):
        table.add_row(
            row.metric,
            row.attribute,
            str(row.n),
            _number(row, row.value),
            "" if row.ci_low != row.ci_low else f"{_number(row, row.ci_low)} to {_number(row, row.ci_high)}",
            _number(row, row.null_value),
            _REMARKS.get(row.status, str(row.status).replace("_", " ")),
        )
    return table


def _is_main(row: Row) -> bool:
    """Whether a row belongs on the screen: of everybody, no part of the index, no control twice, no retrained head."""
    part = row.metric == "beautification_drift" and row.attribute != "index"
    twice = PLACED in row.attribute and row.metric in ("raw_rank1_rate", "face_not_found_share")
    head = row.metric == "rank1_rate" and "+" in row.attribute
    return (
        row.group == "overall"
        and not (part or twice or head)
        and not (row.metric == "residual_share" and row.attribute)
    )


def _shown(rows: Sequence[Row]) -> list[Row]:
    """The rows of the screen; of the retrained attackers the one that identifies most."""
    found = [row for metric in SHOWN for row in rows if row.metric == metric and _is_main(row)]
    heads = [r for r in rows if r.metric == "rank1_rate" and "+" in r.attribute and r.group == "overall"]
    measured = [row for row in heads if row.value == row.value]
    if measured:
        last = max((i for i, row in enumerate(found) if row.metric == "rank1_rate"), default=-1)
        found.insert(last + 1, max(measured, key=lambda row: row.value))
    return found[:_MOST_ROWS]


def _number(row: Row, value: float) -> str:
    if value != value:
        return ""
    return f"{100 * value:.1f} %" if row.unit == "share" else f"{value:.3g}"
