"""The leaderboard as one page that needs nothing else: no script, no font, no picture from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from understudy.compare.board import MEASURES, Cell, Entry, Measure, short
from understudy.compare.plot import pareto_plot

_BY_KEY = {measure.key: measure for measure in MEASURES}
PLOTS = (
    ("utility", "Is a person still found? Up and to the left is better."),
    ("drift", "How far do attributes move? Down and to the left is better."),
)
"""Measures that are drawn against re-identification, and the caption of each plot."""


def page(entries: Sequence[Entry], title: str, version: str) -> str:
    """The whole page.

    Parameters
    ----------
    entries : sequence of Entry
        In the order in which they are shown.
    title : str
        Name of the sweep's folder.
    version : str
        Of understudy.
    """
    css = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")
    n_audited = sum(not entry.why_not for entry in entries)
    plots = "".join(_figure(entries, key, caption) for key, caption in PLOTS)
    meaning = "".join(f"<dt>{escape(m.heading)}</dt><dd>{escape(m.says)}</dd>" for m in MEASURES)
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>Leaderboard of {escape(title)}</title><style>{css}</style></head><body><main>"
        f"<p class='brand'>understudy compare</p><h1>Leaderboard of {escape(title)}</h1>"
        f"<p>{len(entries)} runs, {n_audited} of them audited; ordered by re-identification, then drift, then utility. "
        "Runs are comparable where they were audited on the same pictures with the same settings.</p>"
        f"{_table(entries)}"
        f"<h2>What is traded for what</h2><div class='plots'>{plots}</div>"
        f"<h2>What the columns say</h2><dl>{meaning}</dl>"
        "<p class='note' style='margin-top:20px'>* measured with an attacker or detector that the anonymiser itself "
        f"selects with: not independent. Written by understudy {escape(version)}.</p></main></body></html>\n"
    )


def _figure(entries: Sequence[Entry], key: str, caption: str) -> str:
    plot = pareto_plot(entries, _BY_KEY["privacy"], _BY_KEY[key], f"plot-{key}")
    told = f"{caption} Numbers are places in the table; filled ones are on the Pareto front: no other run is better in "
    says = f"<figcaption>{escape(told)}both. Lines are 95 % intervals.</figcaption>" if plot.startswith("<svg") else ""
    return f"<figure>{plot}{says}</figure>"


def _table(entries: Sequence[Entry]) -> str:
    best = {measure.key: _best(entries, measure) for measure in MEASURES}
    head = "".join(f"<th scope='col' role='columnheader'>{escape(m.heading)}</th>" for m in MEASURES)
    rows = []
    for number, entry in enumerate(entries, 1):
        cells = "".join(_cell(entry, measure, best[measure.key]) for measure in MEASURES)
        if entry.why_not:
            cells += f"<td role='cell' data-label='audit'><span class='of'>{escape(entry.why_not)}</span></td>"
        elif any(e.why_not for e in entries):
            cells += "<td role='cell' data-label='audit'><span class='of'>yes</span></td>"
        rows.append(
            f"<tr role='row'><th scope='row' role='rowheader'><span class='rank'>{number}</span>"
            f"{_breakable(entry.name)}</th>{cells}</tr>"
        )
    audit = "<th scope='col' role='columnheader'>audit</th>" if any(e.why_not for e in entries) else ""
    return (
        "<table role='table'><caption>Each figure with its 95 % interval where the audit gives one, and of how "
        "many people, faces or pictures it is (n).</caption>"
        f"<thead role='rowgroup'><tr role='row'><th scope='col' role='columnheader'>run</th>{head}{audit}</tr></thead>"
        f"<tbody role='rowgroup'>{''.join(rows)}</tbody></table>"
    )


def _breakable(name: str) -> str:
    """A name that a browser may break after its commas and equals signs."""
    return escape(name).replace("=", "=<wbr>").replace(",", ",<wbr>")


def _best(entries: Sequence[Entry], measure: Measure) -> float | None:
    """The best value of a column, None where fewer than two runs have one."""
    values = [v for entry in entries if (v := entry.value(measure.key)) is not None]
    if len(values) < 2 or len(set(values)) < 2:
        return None
    choose = {"lower": min(values), "higher": max(values), "zero": min(values, key=abs)}
    return choose[measure.better]


def _cell(entry: Entry, measure: Measure, best: float | None) -> str:
    cell = entry.cells.get(measure.key, Cell())
    if cell.value is None:
        inner = "<span class='of'>not measured</span>"
    else:
        star = "*" if cell.note == "selected" else ""
        inner = f"<span class='value'>{short(cell.value)}{star}</span>"
        ci = "" if cell.ci_low is None or cell.ci_high is None else f"{short(cell.ci_low)} to {short(cell.ci_high)}"
        if said := ", ".join(part for part in (ci, f"n = {cell.n}" if cell.n else "") if part):
            inner += f"<span class='ci'>{said}</span>"
        inner += f"<span class='of'>{escape(cell.of)}</span>" if cell.of else ""
    kind = " class='best'" if best is not None and cell.value == best else ""
    return f"<td role='cell'{kind} data-label='{escape(measure.heading)}'>{inner}</td>"
