"""The report's sections as plain data: sentences, table rows and plots, before they become a page."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from understudy.audit.plots import Plot
from understudy.audit.plots_curve import cmc_plot, roc_plot
from understudy.audit.plots_distribution import distribution_plot
from understudy.audit.plots_dots import group_plot
from understudy.audit.plots_matrix import transition_plot
from understudy.audit.report_leads import lead
from understudy.audit.report_words import (
    ALIASES,
    METHODS,
    METRICS,
    QUESTIONS,
    SECTIONS,
    VERDICT_WORDS,
    interval_words,
    limit_words,
    null_words,
    p_words,
    quantity,
    sentence_case,
    spoken,
    status_words,
    usual_unit,
    value_words,
    verdict_word,
    wording,
)
from understudy.errors import InvalidInputError

Record = Mapping[str, Any]
COLUMNS: Mapping[str, str] = {
    "title": "Figure",
    "group": "Group",
    "value": "Value",
    "interval": "Interval",
    "n": "n",
    "missing": "Missing",
    "null": "If nothing happened",
    "p": "p",
    "remark": "Remark",
}
"""Columns of a section's tables; those in which nothing stands are left out."""
_NUMBERS = frozenset({"value", "interval", "n", "missing", "null", "p"})
_GROUP_METRICS = ("rank1_rate", "residual_share", "net_changed_share", "mean_drift", "beautification_drift")
"""What is drawn by group where the audit names nothing itself."""
_EMPTY = ("", "\u2013")


@dataclass(frozen=True)
class FigureTable:
    """A table of figures: columns as (key, heading, is a number), and a mapping for each row."""

    caption: str
    columns: tuple[tuple[str, str, bool], ...]
    rows: tuple[Mapping[str, str], ...]


@dataclass(frozen=True)
class GateView:
    """One gate as readers see it."""

    name: str
    verdict: str
    words: str
    """What it asks for and what was found, in plain words."""
    reason: str
    """What the gate itself says, with the names of the table."""
    section: str
    allowed: bool
    """Undecided, and the config lets that pass."""

    @property
    def verdict_word(self) -> str:
        """The verdict in a word."""
        return VERDICT_WORDS[self.verdict]

    @property
    def title(self) -> str:
        """Its name as readers see it."""
        return sentence_case(spoken(self.name))


@dataclass(frozen=True)
class Section:
    """All that one section of the page holds."""

    key: str
    title: str
    question: str
    lead: tuple[str, ...]
    gates: tuple[GateView, ...]
    figures: FigureTable | None
    details: tuple[FigureTable, ...]
    plots: tuple[Plot, ...]
    method: str
    how: tuple[tuple[str, str], ...]
    missing: tuple[str, ...]

    @property
    def verdicts(self) -> tuple[tuple[str, str], ...]:
        """Each verdict that a gate of this section gave, worst first, with how many did where they differ."""
        found = []
        for verdict, word in (("fail", "Failed"), ("undecided", "Undecided"), ("pass", "Passed")):
            count = sum(gate.verdict == verdict for gate in self.gates)
            if count:
                found.append((verdict, word if count == len(self.gates) else f"{count} {word.lower()}"))
        return tuple(found)


def build_sections(audit: Mapping[str, Any]) -> list[Section]:
    """The sections of an audit in their order; those of no figure say so, "other" is left out where it is empty.

    Parameters
    ----------
    audit : mapping
        See ``report.write_report``.
    """
    rows: dict[str, list[Record]] = {key: [] for key in SECTIONS}
    for row in audit.get("table") or ():
        rows[wording(str(row["metric"])).section].append(row)
    gates = gate_views(audit)
    reasons = missing_by_section(audit)
    sections = []
    for key in SECTIONS:
        plots, failed = _plots(key, audit.get("plots") or {}, rows[key])
        missing = (*reasons.get(key, ()), *failed)
        if key == "other" and not rows[key] and not missing:
            continue
        sections.append(_section(key, rows[key], gates, plots, missing, audit.get("how") or {}))
    return sections


def missing_by_section(audit: Mapping[str, Any]) -> dict[str, list[str]]:
    """What is missing in each section, in sentences; under "" what belongs to none."""
    found: dict[str, list[str]] = {}
    for name, what in (audit.get("missing") or {}).items():
        section = ALIASES.get(name, name)
        if section in SECTIONS:
            found.setdefault(section, []).extend(sentences(what))
        else:
            found.setdefault("", []).extend(sentences({name: what}))
    return found


def gate_views(audit: Mapping[str, Any]) -> list[GateView]:
    """All gates of an audit, in their order."""
    views = []
    for gate in audit.get("gates") or ():
        verdict = verdict_word(gate.get("verdict"))
        allowed = verdict == "undecided" and bool(gate.get("holds") or gate.get("allow_undecided"))
        name, reason = str(gate.get("name", "")), str(gate.get("reason", ""))
        views.append(GateView(name, verdict, gate_words(gate), reason, _gate_section(gate), allowed))
    return views


def gate_words(gate: Mapping[str, Any]) -> str:
    """What a gate asks for and what was found, in plain words; empty where the gate does not say enough."""
    metric, limit = gate.get("metric"), gate.get("limit")
    if not metric or limit is None:
        return ""
    row = gate.get("row") or {"metric": metric, "attribute": "", "group": "overall"}
    unit = str(row.get("unit") or usual_unit(str(metric)))
    parts = [wording(str(metric)).title, spoken(str(row["attribute"]))]
    parts.append("" if row["group"] == "overall" else spoken(str(row["group"]).replace("=", ": ", 1)))
    asked = {"at_least": "at least ", "within": "at most \u00b1"}.get(str(gate.get("rule")), "at most ")
    above = " above what happens by itself" if gate.get("minus_null") else ""
    said = f"{', '.join(part for part in parts if part)}: {asked}{limit_words(limit, unit)}{above} is wanted"
    if row.get("value") is None:
        return f"{said}."
    interval = "" if row.get("ci_low") is None else f" (interval {interval_words(row)})"
    null = f", by itself {value_words(row, 'null_value')}" if gate.get("minus_null") else ""
    return f"{said}; found {value_words(row)}{interval}{null}, n\u00a0=\u00a0{row['n']:,}."


def _gate_section(gate: Mapping[str, Any]) -> str:
    name = str(gate.get("name", ""))
    if name in SECTIONS:
        return name
    metric = gate.get("metric")
    return wording(str(metric)).section if metric else wording(name).section


def sentences(found: object) -> tuple[str, ...]:
    """What is missing, as sentences: of a text, a list of texts, or a mapping of names and reasons or counts."""
    if found is None or found == "" or found is False:
        return ()
    if isinstance(found, Mapping):
        said = []
        for name, what in found.items():
            inside = "; ".join(part.rstrip(".") for part in sentences(what))
            if inside or what == 0:
                said.append(f"{sentence_case(spoken(str(name)))}: {inside or 'none'}.")
        return tuple(said)
    if isinstance(found, list | tuple):
        return tuple(part for item in found for part in sentences(item))
    text = str(found).strip()
    name, colon, rest = text.partition(": ")
    text = f"{METRICS[name].title}: {rest}" if colon and name in METRICS else sentence_case(text)
    return (text if text.endswith((".", "!", "?")) else f"{text}.",)


def _section(
    key: str,
    rows: Sequence[Record],
    gates: Sequence[GateView],
    plots: Sequence[Plot],
    missing: Sequence[str],
    how: Mapping[str, Any],
) -> Section:
    overall = [row for row in rows if row["group"] == "overall"]
    main = [row for row in overall if row["metric"] != "share_drift"]
    categories = [row for row in overall if row["metric"] == "share_drift"]
    grouped = [row for row in rows if row["group"] != "overall"]
    title = SECTIONS[key]
    details = []
    if categories:
        details.append(_table(f"{title}: single categories", categories))
    if grouped:
        details.append(_table(f"{title}: by group", grouped))
    metrics = {str(row["metric"]) for row in rows}
    told = [(wording(name).title, str(how[name])) for name in sorted(metrics & set(how))]
    if isinstance(how.get(key), str):
        told.insert(0, (title, str(how[key])))
    return Section(
        key,
        title,
        QUESTIONS[key],
        tuple(lead(key, rows, missing)),
        tuple(gate for gate in gates if gate.section == key),
        _table(f"{title}: everybody", main) if main else None,
        tuple(details),
        tuple(plots),
        METHODS[key],
        tuple(told),
        tuple(missing),
    )


def _table(caption: str, rows: Iterable[Record]) -> FigureTable:
    written = tuple(_written(row) for row in rows)
    headings = dict(COLUMNS)
    if len(written) > 1 and len({row["title"] for row in written}) == 1 and all(row["of"] for row in written):
        headings["title"] = written[0]["title"]
        written = tuple({**row, "title": sentence_case(row["of"]), "of": ""} for row in written)
    used = [key for key in COLUMNS if any(row[key] not in _EMPTY for row in written)]
    if all(row["group"] == "everybody" for row in written):
        used.remove("group")
    return FigureTable(caption, tuple((key, headings[key], key in _NUMBERS) for key in used), written)


def _written(row: Record) -> dict[str, str]:
    return {
        "title": wording(str(row["metric"])).title,
        "of": spoken(str(row["attribute"])),
        "group": "everybody" if row["group"] == "overall" else spoken(str(row["group"]).replace("=", ": ", 1)),
        "value": value_words(row),
        "interval": interval_words(row),
        "n": f"{row['n']:,}",
        "missing": f"{row['n_missing']:,}" if row.get("n_missing") else "",
        "null": null_words(row),
        "p": p_words(row.get("p_adjusted")),
        "remark": status_words(row),
    }


def _plots(section: str, plots: Mapping[str, Any], rows: Sequence[Record]) -> tuple[list[Plot], list[str]]:
    """The plots of a section, and a sentence for each that could not be drawn."""
    wanted: list[tuple[str, Callable[[], Plot | None]]] = []
    if section == "privacy":
        for kind, draw in (("roc", roc_plot), ("cmc", cmc_plot)):
            for name, data in (plots.get(kind) or {}).items():
                wanted.append((f"{kind} of {name}", partial(draw, name, data)))
    if section == "drift":
        moves = plots.get("transitions") or {}
        for name, data in (plots.get("distributions") or {}).items():
            wanted.append((f"distribution of {name}", partial(distribution_plot, spoken(name), data)))
            if name in moves:
                wanted.append((f"transitions of {name}", partial(transition_plot, spoken(name), moves[name])))
        alone = [name for name in moves if name not in (plots.get("distributions") or {})]
        wanted += [(f"transitions of {name}", partial(transition_plot, spoken(name), moves[name])) for name in alone]
    wanted += _group_plots(section, plots.get("groups") or {}, rows)
    drawn, failed = [], []
    for name, make in wanted:
        try:
            plot = make()
        except (InvalidInputError, KeyError, TypeError, ValueError) as error:
            failed.append(f"The plot of the {spoken(name)} could not be drawn: {error}.")
            continue
        if plot is not None:
            drawn.append(plot)
    return drawn, failed


def _group_plots(
    section: str, groups: Mapping[str, Sequence[Record]], rows: Sequence[Record]
) -> list[tuple[str, Callable[[], Plot | None]]]:
    named: dict[tuple[str, str], Sequence[Record]] = {}
    for key, members in groups.items():
        metric, _, attribute = re.sub(r", |[ :|]", "/", key, count=1).partition("/")
        if wording(metric).section == section:
            named[metric, attribute] = members
    if not groups:
        for row in rows:
            drawn = row["metric"] in _GROUP_METRICS and "+" not in row["attribute"]
            index = row["metric"] != "beautification_drift" or row["attribute"] == "index"
            if drawn and index and row["group"] != "overall":
                named[row["metric"], row["attribute"]] = (*named.get((row["metric"], row["attribute"]), ()), row)
    everybody = {(row["metric"], row["attribute"]): row for row in rows if row["group"] == "overall"}
    wanted: list[tuple[str, Callable[[], Plot | None]]] = []
    for (metric, attribute), members in named.items():
        words, row = wording(metric), everybody.get((metric, attribute), {})
        unit = str(row.get("unit") or next((member["unit"] for member in members if member.get("unit")), ""))
        write = partial(quantity, unit=unit, signed=words.signed)
        for grouped_by, part in _by_attribute(members).items():
            of = f", {spoken(attribute)}" if attribute else ""
            title = f"{words.title}{of}, by {spoken(grouped_by) if grouped_by else 'group'}"
            if all(member.get("value") is None for member in part):
                continue  # nothing to draw: the groups stand in the figures by group, with why they have none
            draw = partial(group_plot, title, part, write, everybody=row.get("value"), unit=unit, signed=words.signed)
            wanted.append((f"groups of {metric}", draw))
    return wanted


def _by_attribute(members: Sequence[Record]) -> dict[str, list[Record]]:
    """Groups by the attribute that made them ("skin_tone=dark"), each then named without it."""
    found: dict[str, list[Record]] = {}
    for member in members:
        attribute, equals, name = str(member["group"]).partition("=")
        key = attribute if equals else ""
        found.setdefault(key, []).append({**member, "group": name if equals else attribute})
    return found
