"""Rows of the leaderboard, read from the audits and tables of runs."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from understudy.errors import InvalidInputError

Better = Literal["lower", "higher", "zero"]
Figures = Sequence[Mapping[str, Any]]
"""The table of an audit.json: one mapping a figure."""


@dataclass(frozen=True)
class Cell:
    """One figure of a run; value None where it was not measured."""

    value: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    n: int = 0
    of: str = ""
    """Which attacker, detector or attribute it is."""
    note: str = ""
    """"selected": measured with what the anonymiser itself selects with, so not independent."""

    def text(self) -> str:
        """The figure with its interval, for tables."""
        if self.value is None:
            return "-"
        if self.ci_low is None or self.ci_high is None:
            return short(self.value)
        return f"{short(self.value)} [{short(self.ci_low)}, {short(self.ci_high)}]"


def short(value: float) -> str:
    """Three decimals, or three digits of what is large."""
    return f"{value:.3f}" if abs(value) < 100 else f"{value:.0f}"


@dataclass(frozen=True)
class Measure:
    """One column of the leaderboard."""

    key: str
    heading: str
    better: Better
    says: str
    """What it is, in a sentence."""
    unit: str = ""


MEASURES = (
    Measure("privacy", "re-identified", "lower", "Share of people whom the strongest attacker names first (rank 1)."),
    Measure("residual", "residual", "lower", "Share of faces in which the original is still there."),
    Measure("drift", "drift", "lower", "Largest total variation of an attribute, net of its noise floor."),
    Measure("beautification", "beautification", "zero", "Drift of the beautification index; 0 is no retouching.", "sd"),
    Measure("fidelity", "keypoint shift", "lower", "Distance of keypoints from where they were, over the face's size."),
    Measure("utility", "utility", "higher", "Least average precision of the detectors on the result."),
    Measure("seconds", "seconds a picture", "lower", "Mean over the pictures, on the machine that ran it.", "s"),
)
"""The columns in their order."""


@dataclass(frozen=True)
class Entry:
    """One run on the leaderboard."""

    name: str
    cells: Mapping[str, Cell] = field(default_factory=dict)
    n_pictures: int = 0
    why_not: str = ""
    """Why there is no audit of it; empty where there is one."""

    def value(self, key: str) -> float | None:
        """A figure, None where it was not measured."""
        cell = self.cells.get(key)
        return None if cell is None else cell.value


def read_figures(path: Path) -> list[Mapping[str, Any]]:
    """The figures of an audit.json.

    Raises
    ------
    InvalidInputError
        The file cannot be read, or is no audit.
    """
    try:
        table = json.loads(path.read_text(encoding="utf-8"))["table"]
        return [row for row in table if isinstance(row, Mapping) and "metric" in row]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidInputError(f"{path} is no audit that can be read: {error}") from error


def cells_of(figures: Figures, seconds: Sequence[float]) -> dict[str, Cell]:
    """The cells of one run.

    Parameters
    ----------
    figures : sequence of mapping
        Of its audit.
    seconds : sequence of float
        Of its pictures.
    """
    return {
        "privacy": _extreme(_overall(figures, "rank1_rate"), max),
        "residual": _extreme(_overall(figures, "residual_share", ""), max),
        "drift": _extreme([_net(row) for row in _overall(figures, "total_variation")], max),
        "beautification": _extreme(_overall(figures, "beautification_drift", "index"), max),
        "fidelity": _extreme(_overall(figures, "keypoint_nme"), max),
        "utility": _extreme(_overall(figures, "average_precision"), min),
        "seconds": mean_cell(seconds),
    }


def mean_cell(values: Sequence[float]) -> Cell:
    """Mean with the interval of a normal distribution at 95 %; none for fewer than two."""
    if not values:
        return Cell()
    mean = math.fsum(values) / len(values)
    if len(values) < 2:
        return Cell(mean, n=len(values))
    sd = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1))
    half = 1.959964 * sd / math.sqrt(len(values))
    return Cell(mean, mean - half, mean + half, len(values))


def _overall(figures: Figures, metric: str, attribute: str | None = None) -> list[Mapping[str, Any]]:
    """Measured rows of a metric over everybody."""
    return [
        row
        for row in figures
        if row["metric"] == metric
        and row.get("group") == "overall"
        and row.get("value") is not None
        and attribute in (None, row.get("attribute"))
    ]


def _net(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """A row less what it is where nothing happened, at least 0, without the noise of subtracting floats."""
    floor = row.get("null_value") or 0.0

    def less(key: str) -> float | None:
        return None if row.get(key) is None else max(0.0, round(float(row[key]) - floor, 12))

    return {**row, "value": less("value"), "ci_low": less("ci_low"), "ci_high": less("ci_high")}


def _extreme(rows: Sequence[Mapping[str, Any]], choose: Callable[..., Mapping[str, Any]]) -> Cell:
    if not rows:
        return Cell()
    row = choose(rows, key=lambda r: (float(r["value"]), str(r.get("attribute", ""))))
    note = str(row.get("status", ""))
    return Cell(
        float(row["value"]),
        _number(row.get("ci_low")),
        _number(row.get("ci_high")),
        int(row.get("n", 0)),
        str(row.get("attribute", "")),
        "" if note == "ok" else note,
    )


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def ranked(entries: Iterable[Entry]) -> list[Entry]:
    """Entries by privacy, then drift, then utility; those without an audit last, by name."""

    def order(entry: Entry) -> tuple[float, float, float, str]:
        privacy, drift, utility = (entry.value(key) for key in ("privacy", "drift", "utility"))
        return (
            math.inf if privacy is None else privacy,
            math.inf if drift is None else drift,
            math.inf if utility is None else -utility,
            entry.name,
        )

    return sorted(entries, key=order)


def pareto_front(points: Mapping[str, tuple[float, float]]) -> list[str]:
    """Names that no other beats in both coordinates at once (less is better in both), by the first coordinate.

    A point is beaten where another is at most as large in both and smaller in one.
    """
    front = [
        name
        for name, (x, y) in points.items()
        if not any(a <= x and b <= y and (a < x or b < y) for a, b in points.values())
    ]
    return sorted(front, key=lambda name: (*points[name], name))


def as_csv(entries: Sequence[Entry]) -> str:
    """The leaderboard as CSV: value, interval, n, what it is of, and a note for every column."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    parts = ("", "_ci_low", "_ci_high", "_n", "_of", "_note")
    writer.writerow(["run", "pictures", *(m.key + part for m in MEASURES for part in parts), "why_not_audited"])
    for entry in entries:
        row: list[object] = [entry.name, entry.n_pictures]
        for measure in MEASURES:
            cell = entry.cells.get(measure.key, Cell())
            row += ["" if v is None else v for v in (cell.value, cell.ci_low, cell.ci_high)]
            row += [cell.n or "", cell.of, cell.note]
        writer.writerow([*row, entry.why_not])
    return text.getvalue()
