"""What each section says in plain words: sentences built from the figures, the first of which stands at the top."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from understudy.audit.report_words import (
    interval_words,
    p_words,
    quantity,
    sentence_case,
    spoken,
    status_words,
    value_words,
    wording,
)

Record = Mapping[str, Any]
SIGNIFICANT = 0.05
"""Adjusted p-values under this are said to be found; the table holds all of them."""
_WITHHELD = ("too_few", "not_measured")


def lead(section: str, rows: Sequence[Record], reasons: Sequence[str] = ()) -> list[str]:
    """Sentences for a section, the most important one first.

    Parameters
    ----------
    section : str
        Key of ``report_words.SECTIONS``.
    rows : sequence of records
        Of this section, all groups.
    reasons : sequence of str
        Why something was not measured.
    """
    overall = [row for row in rows if row["group"] == "overall"]
    measured = [row for row in overall if row.get("value") is not None and row["status"] not in _WITHHELD]
    if not measured:
        why = reasons[0].rstrip(".") if reasons else _why_nothing(overall)
        return [f"Not measured: {why}."]
    said = _LEADS.get(section, _count)(measured)
    return said or _count(measured)


def _why_nothing(rows: Sequence[Record]) -> str:
    if not rows:
        return "the audit holds no figure of this kind"
    states = sorted({status_words(row) for row in rows if status_words(row)} - {status_words({"status": _WITHHELD[1]})})
    return "; ".join(states) or "no reading that it rests on could be made"


def _of(rows: Sequence[Record], metric: str) -> list[Record]:
    return [row for row in rows if row["metric"] == metric]


def _with_interval(row: Record) -> str:
    """A value with its interval and n; the page tells the level of all intervals at one place."""
    interval = interval_words(row)
    bounds = "no interval" if row.get("ci_low") is None else f"interval {interval}"
    return f"{value_words(row)} ({bounds}, n\u00a0=\u00a0{row['n']:,})"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]


def _count(rows: Sequence[Record]) -> list[str]:
    metrics = sorted({wording(str(row["metric"])).title.lower() for row in rows})
    shown = metrics[:4] + ([f"{len(metrics) - 4} more"] if len(metrics) > 4 else [])
    return [f"Measured: {_listed(shown)}."]


def _privacy(rows: Sequence[Record]) -> list[str]:
    searched = _of(rows, "rank1_rate")
    fresh = [row for row in searched if "+" not in row["attribute"]]
    independent = [row for row in fresh if row["status"] != "selected"]
    if not fresh:
        return []
    said = []
    if independent:
        worst = max(independent, key=lambda row: row["value"])
        said.append(
            f"Shown an anonymised face, the strongest independent attacker ({worst['attribute']}) picks the right "
            f"person in {_with_interval(worst)}."
        )
    else:
        worst = max(fresh, key=lambda row: row["value"])
        said.append(
            f"Only what the anonymiser's own guard uses was asked ({worst['attribute']}: {_with_interval(worst)}), "
            "and it cannot speak for the anonymiser."
        )
    said += _yardsticks(rows, worst)
    learned = [row for row in searched if "+" in row["attribute"] and row["status"] != "selected"]
    if learned:
        best = max(learned, key=lambda row: row["value"])
        said.append(f"Retrained on anonymised faces, {best['attribute']} reaches {_with_interval(best)}.")
    guards = sorted({row["attribute"] for row in fresh if row["status"] == "selected"})
    if guards and independent:
        said.append(f"{_listed(guards)} served as the anonymiser's guard: shown, and not counted in its favour.")
    return said


def _yardsticks(rows: Sequence[Record], worst: Record) -> list[str]:
    parts = []
    if worst.get("null_value") is not None:
        parts.append(f"guessing is right in {value_words(worst, 'null_value')}")
    raw = [row for row in _of(rows, "raw_rank1_rate") if row["attribute"] == worst["attribute"]]
    if raw:
        parts.append(f"on other original pictures of the same people it is right in {value_words(raw[0])}")
    size = [row for row in _of(rows, "gallery_size") if row["attribute"] == worst["attribute"]]
    if size:
        parts.append(f"it searches among {size[0]['value']:,.0f} people")
    return [sentence_case("; ".join(parts)) + "."] if parts else []


def _residual(rows: Sequence[Record]) -> list[str]:
    shares = _of(rows, "residual_share") or [row for row in rows if "residual" in row["metric"]]
    if not shares:
        return []
    worst = max(shares, key=lambda row: row["value"])
    said = [f"{sentence_case(_with_interval(worst))} of the faces are still the original."]
    if worst["n_missing"]:
        said.append(f"{worst['n_missing']:,} faces could not be judged and are left out.")
    return said


def _drift(rows: Sequence[Record]) -> list[str]:
    tested = [
        row for row in rows if row["metric"] in ("total_variation", "mean_drift") and row["p_adjusted"] is not None
    ]
    if not tested:
        return []
    names = {row["attribute"] for row in tested}
    moved = sorted((row for row in tested if row["p_adjusted"] < SIGNIFICANT), key=lambda row: row["p_adjusted"])
    many = f"{len(names)} attributes" if len(names) > 1 else "the one attribute"
    if not moved:
        return [
            f"None of {many} moved by more than the measuring error explains (p over {SIGNIFICANT} after Holm).",
            "That none is found does not prove that there is none: read the intervals.",
        ]
    told = [_moved(row) for row in moved[:4]] + ([f"{len(moved) - 4} more"] if len(moved) > 4 else [])
    said = [f"{len(moved)} of {many} moved by more than the measuring error explains: {_listed(told)}."]
    biased = sorted({spoken(row["attribute"]) for row in tested if row["status"] == "selected"})
    if biased:
        said.append(f"The estimator of {_listed(biased)} was also used by the anonymiser and is not independent.")
    return said


def _equals(row: Record) -> str:
    said = p_words(row["p_adjusted"])
    return said if said.startswith("<") else f"=\u00a0{said}"


def _moved(row: Record) -> str:
    if row["metric"] == "mean_drift":
        bounds = "" if row["ci_low"] is None else f", interval {interval_words(row)}"
        return f"{spoken(row['attribute'])} ({value_words(row)}{bounds}, p\u00a0{_equals(row)})"
    floor = "" if row["null_value"] is None else f" where chance gives {value_words(row, 'null_value')}"
    return f"{spoken(row['attribute'])} (total variation {value_words(row)}{floor}, p\u00a0{_equals(row)})"


def _beautification(rows: Sequence[Record]) -> list[str]:
    index = [row for row in _of(rows, "beautification_drift") if row["attribute"] == "index"]
    if not index:
        return []
    row = index[0]
    low, high = row["ci_low"], row["ci_high"]
    if low is None or high is None or low <= 0 <= high:
        said = [f"No direction is shown: the index moved by {_with_interval(row)}."]
    elif row["value"] > 0:
        said = [f"Faces came out looking more retouched: the index rose by {_with_interval(row)}."]
    else:
        said = [f"Faces came out looking less retouched: the index fell, {_with_interval(row)}."]
    parts = [row for row in _of(rows, "beautification_drift") if row["attribute"] != "index"]
    largest = sorted(parts, key=lambda row: -abs(row["value"]))[:3]
    if largest:
        told = [f"{spoken(row['attribute'])} {value_words(row)}" for row in largest]
        said.append(f"The parts that moved most: {_listed(told)}.")
    return said


def _fidelity(rows: Sequence[Record]) -> list[str]:
    said = []
    changed = _of(rows, "context_changed_share")
    if changed:
        said.append(f"Outside the masks, {_with_interval(changed[0])} of the pixels changed{_in_null(changed[0])}.")
    shift = _of(rows, "keypoint_nme")
    if shift:
        size = " of its size" if shift[0]["unit"] == "share" else ""
        said.append(f"Keypoints of the face moved by {_with_interval(shift[0])}{size}{_in_null(shift[0])}.")
    return said


def _in_null(row: Record) -> str:
    return "" if row.get("null_value") is None else f"; in the null edit, {value_words(row, 'null_value')}"


def _utility(rows: Sequence[Record]) -> list[str]:
    found = _of(rows, "average_precision")
    if not found:
        return []
    told = [_with_interval(row) + (f" for {spoken(row['attribute'])}" if row["attribute"] else "") for row in found[:3]]
    return [f"Detectors find after what they found before with an average precision of {_listed(told)}."]


def _resemblance(rows: Sequence[Record]) -> list[str]:
    near = _of(rows, "resembling_share")
    said = []
    if near:
        worst = max(near, key=lambda row: row["value"])
        null = worst.get("null_value")
        expected = "" if null is None else f"; {quantity(null, worst['unit'])} is what real people do"
        said.append(f"{_with_interval(worst)} of the understudies look unusually like another real person{expected}.")
    people = _of(rows, "effective_people")
    if people:
        null = people[0].get("null_value")
        beside = "" if null is None else f", and the originals as {quantity(null, '')}"
        said.append(f"The understudies are as diverse as {quantity(people[0]['value'], '')} different people{beside}.")
    return said


_LEADS: Mapping[str, Callable[[Sequence[Record]], list[str]]] = {
    "privacy": _privacy,
    "residual": _residual,
    "drift": _drift,
    "beautification": _beautification,
    "fidelity": _fidelity,
    "utility": _utility,
    "resemblance": _resemblance,
}
