"""What the audit says of planted changes, how often it finds them in fewer people, and what it says of nothing."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import audit_proofs as proofs
import numpy as np
from audit_plants import PLANTS, Plant

from understudy.audit.resampling import Plan
from understudy.audit.statistics import clopper_pearson
from understudy.audit.study import PairRecord
from understudy.audit.table import AuditTable, Finding, Row, adjusted_rows

ALPHA = 0.05
SIZES = (25, 50, 75)
N_POWER, N_NULL, NULL_PEOPLE = 40, 200, 60
SECTIONS: Mapping[str, tuple[str, ...]] = {
    "lighter": ("drift", "beautification"),
    "smooth": ("drift", "beautification"),
    "group": ("re-identification", "residual faces", "drift", "beautification"),
    "left": ("residual faces", "drift", "beautification"),
    "age": ("drift", "beautification"),
}
MAIN_SECTION = {
    "lighter": "drift",
    "smooth": "beautification",
    "group": "re-identification",
    "left": "residual faces",
    "age": "drift",
}
"""The section of the row whose power is measured."""
MAIN_ROW = {"group": 1}
"""Its place among the rows that must find a plant, where it is not the first."""
Records = Mapping[tuple[str, str], PairRecord]


@dataclass(frozen=True)
class Told:
    """What the audit said of one collection."""

    plant: Plant
    n: int
    true_sizes: tuple[float, ...]
    rows: tuple[Row, ...]
    """Those that must find it, and their true sizes."""
    flagged: tuple[Row, ...]
    """All that it flagged."""
    astray: tuple[Row, ...]
    """Flagged, and not on the list of what may move."""
    power: Mapping[int, float]


def collection(plant: str, planted: proofs.Planted, records: Records) -> list[PairRecord]:
    """One collection's records: the versions that it holds, beside the second null edit."""
    found = [proofs.joined(records[name, planted.stage(plant, name)], records[name, "null1"]) for name in planted.names]
    return [proofs.older(r, proofs.YEARS) for r in found] if plant == "age" else found


def flags(rows: Sequence[Row]) -> list[Row]:
    """Rows that say that something moved; whether a face is identified more than by chance is another question."""
    return [row for row in rows if row.p_adjusted < ALPHA and row.metric != "rank1_rate"]


def astray(plant: Plant, rows: Sequence[Row]) -> list[Row]:
    """Flagged rows that the list of expected side effects does not hold."""
    found = []
    for row in flags(rows):
        name = row.attribute.split("/")[0]
        allowed = "*" in plant.may_move or name in plant.may_move
        if not allowed or row.group in plant.untouched:
            found.append(row)
    return found


def is_found(row: Row) -> bool:
    """Whether a row shows the change: by its test, or where it has none by an interval over nothing."""
    return row.p_adjusted < ALPHA if np.isfinite(row.p_adjusted) else row.ci_low > 0


def power(
    plant: Plant, records: Sequence[PairRecord], stages: proofs.Stages, labels: Path | None, n_people: int
) -> float:
    """Share of draws of so many people in which the row that must find the change finds it.

    Only that row's section is made, and groups only where it needs them: the families of tests of everybody are the
    same as in a whole report.
    """
    main = plant.found_by[MAIN_ROW.get(plant.name, 0)]
    hits = 0
    for repeat in range(N_POWER):
        chosen = np.sort(np.random.default_rng([n_people, repeat]).permutation(len(records))[:n_people])
        findings = proofs.findings_of(
            [records[i] for i in chosen],
            stages.job,
            [MAIN_SECTION[plant.name]],
            plan=Plan(repeat, 200, 999),
            labels=labels,
            groups=() if labels is None else ("rated",),
        )
        row = AuditTable(adjusted_rows(findings)).get(*main)
        hits += row is not None and is_found(row)
    return hits / N_POWER


def truth(stages: proofs.Stages, planted: proofs.Planted, records: Records) -> list[Told]:
    """Every plant: what was said, what was not expected, and how often smaller collections say it."""
    told = []
    labels = proofs.write_labels(planted, stages.folder / "labels.csv")
    for name, plant in PLANTS.items():
        whole = collection(name, planted, records)
        used = labels if name == "group" else None
        findings = proofs.findings_of(whole, stages.job, SECTIONS[name], plan=Plan(0), labels=used)
        table = AuditTable(adjusted_rows(findings))
        one = Told(
            plant,
            len(whole),
            proofs.true_sizes(name, planted, stages),
            tuple(row for key in plant.found_by if (row := table.get(*key)) is not None),
            tuple(flags(table.rows)),
            tuple(astray(plant, table.rows)),
            {size: power(plant, whole, stages, used, size) for size in SIZES if size < len(whole)},
        )
        told.append(one)
        said = [_say(row) for row in one.rows], [_say(row) for row in one.astray]
        sys.stderr.write(f"{name}: true {one.true_sizes}; {said[0]}; astray {said[1]}; power {dict(one.power)}\n")
        sys.stderr.write(f"    flagged: {[_say(row) for row in one.flagged]}\n")
    return told


def _say(row: Row) -> str:
    group = "" if row.group == "overall" else f", {row.group}"
    of = f" of {row.attribute}" if row.attribute else ""
    p = f", p {row.p_adjusted:.2g}" if np.isfinite(row.p_adjusted) else ""
    interval = f" ({row.ci_low:.3g} to {row.ci_high:.3g})" if np.isfinite(row.ci_low) else ""
    return f"{row.metric}{of}{group} {row.value:.3g}{interval}{p}"


def truth_table(told: Sequence[Told]) -> str:
    """As Markdown."""
    lines = [
        "| planted | n | true size | the audit says (95 % interval; p after Holm) | interval covers it "
        "| flagged besides, not on the list | found in " + ", ".join(f"{size}" for size in SIZES) + " people |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in told:
        pairs = list(zip(one.rows, one.true_sizes, strict=True))
        covers = ["yes" if r.ci_low <= size <= r.ci_high else "no" for r, size in pairs if np.isfinite(r.ci_low)]
        beside = "; ".join(_say(row) for row in one.astray[:6]) or "nothing"
        more = f" and {len(one.astray) - 6} more" if len(one.astray) > 6 else ""
        power = ", ".join(f"{100 * p:.0f} %" for p in one.power.values())
        says = "<br>".join(_say(row) for row in one.rows)
        true = "<br>".join(f"{size:.3g}" for size in one.true_sizes)
        cells = [one.plant.what, str(one.n), true, says, "<br>".join(covers), beside + more, power]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


@dataclass(frozen=True)
class Nothing:
    """Two null edits against each other, many times."""

    n_repeats: int
    families: Mapping[str, int]
    """Repeats in which Holm's method rejected anything of that family."""
    anything: int
    """Repeats in which it rejected anything about everybody."""
    single: Mapping[str, tuple[int, int]]
    """Main tests of everybody without adjustment: rejected, of how many repeats."""


def nothing(stages: proofs.Stages, records: Records, n_repeats: int = N_NULL) -> Nothing:
    """Draw people, and for each person which null edit is after and which is the null."""
    families: Counter[str] = Counter()
    rejected: Counter[str] = Counter()
    tested: Counter[str] = Counter()
    anything = 0
    for repeat in range(n_repeats):
        rng = np.random.default_rng([repeat, 7])
        people = np.sort(rng.permutation(len(stages.names))[: min(NULL_PEOPLE, len(stages.names))])
        found = []
        for i in people:
            first, second = rng.permutation(proofs.N_NULLS)[:2]
            name = stages.names[i]
            found.append(proofs.joined(records[name, f"null{first}"], records[name, f"null{second}"]))
        findings = proofs.findings_of(found, stages.job, ("drift", "beautification"), plan=Plan(repeat, 20, 999))
        rows = adjusted_rows(findings)
        over = {f.family for f, row in zip(findings, rows, strict=True) if row.p_adjusted < ALPHA}
        families.update(over)
        anything += any("by group" not in family for family in over)
        for finding in findings:
            if _is_main(finding):
                tested[f"{finding.row.metric} of {finding.row.attribute}"] += 1
                rejected[f"{finding.row.metric} of {finding.row.attribute}"] += finding.p_value < ALPHA
        if repeat % 20 == 19:
            sys.stderr.write(f"null {repeat + 1} of {n_repeats}: {anything} rejected, {dict(families)}\n")
    return Nothing(n_repeats, dict(families), anything, {key: (rejected[key], n) for key, n in tested.items()})


def _is_main(finding: Finding) -> bool:
    main = finding.row.metric in ("total_variation", "mean_drift", "beautification_drift")
    return main and finding.row.group == "overall" and np.isfinite(finding.p_value)


def null_table(found: Nothing) -> str:
    """As Markdown."""
    names = sorted({*found.families, "drift", "drift, details", "beautification"})
    lines = ["| family of tests (Holm within it) | repeats with a rejection | rate (95 % interval) |", "|---|---|---|"]
    for name, hits in [("all of everybody", found.anything), *((n, found.families.get(n, 0)) for n in names)]:
        rate = clopper_pearson(hits, found.n_repeats)
        share = f"{100 * rate.value:.1f} % ({100 * rate.low:.1f} to {100 * rate.high:.1f})"
        lines.append(f"| {name} | {hits} of {found.n_repeats} | {share} |")
    worst = sorted(found.single.items(), key=lambda item: -item[1][0] / item[1][1])
    total, of = (sum(pair[i] for _, pair in worst) for i in (0, 1))
    said = ", ".join(f"{name} {hits} of {n}" for name, (hits, n) in worst[:5])
    lines.append("")
    lines.append(
        f"Single tests of everybody, not adjusted: {total} of {of} under 0.05 ({100 * total / max(of, 1):.1f} %), "
        f"{len(worst)} tests; the most often: {said}."
    )
    return "\n".join(lines)
