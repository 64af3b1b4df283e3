"""Whether an audit's figures meet the limits that a team has set; without enough data nobody passes."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

import numpy as np

from understudy.audit.table import AuditTable, Row, Status
from understudy.errors import ConfigError
from understudy.imaging.files import write_atomic

ANY = "*"
"""Stands for every attribute, or every group, of a metric."""
DEFAULT_MINIMUM_N = 30
EXIT_FAILED = 4
COLUMNS = (
    "name",
    "metric",
    "attribute",
    "group",
    "rule",
    "limit",
    "judge",
    "minimum_n",
    "verdict",
    "holds",
    "reason",
)
"""Of the table of gates."""


class Verdict(StrEnum):
    """What a gate says."""

    PASSED = "passed"
    FAILED = "failed"
    UNDECIDED = "undecided"
    """The data do not carry a verdict; fails the audit unless the gate allows it."""


@dataclass(frozen=True)
class Gate:
    """A limit on a metric.

    Raises
    ------
    ConfigError
        For a name, rule or number that cannot be meant.
    """

    name: str
    """Such as "privacy"; several gates may carry one name."""
    metric: str
    limit: float
    rule: Literal["at_most", "at_least", "within"] = "at_most"
    """``within``: the absolute figure is at most the limit."""
    attribute: str = ANY
    group: str = "overall"
    minimum_n: int = DEFAULT_MINIMUM_N
    judge: Literal["interval", "value"] = "interval"
    """``interval``: passes where all of it keeps the limit, fails where all of it breaks the limit, else undecided."""
    minus_null: bool = False
    """Judge what exceeds ``null_value`` (chance, null edit, floor) in place of the figure."""
    allow_undecided: bool = False

    def __post_init__(self) -> None:
        if not self.name or not self.metric:
            raise ConfigError(f"a gate needs a name and a metric, got {self.name!r} and {self.metric!r}")
        if self.rule not in ("at_most", "at_least", "within") or self.judge not in ("interval", "value"):
            raise ConfigError(
                f"gate {self.name}: rule is at_most, at_least or within, and judge is interval or value, "
                f"got {self.rule!r} and {self.judge!r}"
            )
        if not np.isfinite(self.limit) or (self.rule == "within" and self.limit < 0):
            raise ConfigError(f"gate {self.name}: limit must be finite, and 0 or more for 'within', got {self.limit}")
        if self.minimum_n < 1:
            raise ConfigError(f"gate {self.name}: minimum_n must be 1 or more, got {self.minimum_n}")


@dataclass(frozen=True)
class GateResult:
    """What one gate says, and why."""

    gate: Gate
    verdict: Verdict
    reason: str
    """One sentence with the figures that decided."""
    row: Row | None = None
    """The row that decided; None where there is none."""

    @property
    def holds(self) -> bool:
        """Whether the audit may go on with this gate."""
        return self.verdict is Verdict.PASSED or (self.verdict is Verdict.UNDECIDED and self.gate.allow_undecided)


def judge(table: AuditTable, gates: Iterable[Gate]) -> list[GateResult]:
    """Judge every gate, in order.

    A gate over several rows is as good as its worst row. Rows of an attacker or estimator that the anonymiser selected
    with can break a gate but not carry it: where there is no other row, it fails.

    Parameters
    ----------
    table : AuditTable
    gates : iterable of Gate
    """
    return [_judge_gate(table.rows, gate) for gate in gates]


def exit_code(results: Sequence[GateResult]) -> int:
    """0 where every gate holds, else 4."""
    return 0 if all(result.holds for result in results) else EXIT_FAILED


def _judge_gate(rows: Sequence[Row], gate: Gate) -> GateResult:
    named = [
        row
        for row in rows
        if row.metric == gate.metric
        and gate.attribute in (ANY, row.attribute)
        and (row.group == gate.group or (gate.group == ANY and row.group != "overall"))
    ]
    if not named:
        what = f"{gate.metric} of {gate.attribute}, group {gate.group}"
        return GateResult(gate, Verdict.UNDECIDED, f"{what} was not measured")
    small = [row for row in named if row.status is Status.TOO_FEW]
    judged = [(_judge_row(row, gate), row) for row in named if gate.group != ANY or row.status is not Status.TOO_FEW]
    note = (
        f"; groups too small to judge: {', '.join(row.group for row in small)}" if small and gate.group == ANY else ""
    )
    for verdict in (Verdict.FAILED, Verdict.UNDECIDED, Verdict.PASSED):
        of_this = [(reason, row) for (found, reason), row in judged if found is verdict]
        if not of_this:
            continue
        if verdict is Verdict.PASSED and all(row.status is Status.SELECTED for _, row in of_this):
            reason = f"{_name(of_this[0][1])}: only measured by what the anonymiser itself selected with"
            return GateResult(gate, Verdict.FAILED, reason + note, of_this[0][1])
        reason, row = max(of_this, key=lambda item: _badness(item[1], gate))
        return GateResult(gate, verdict, reason + note, row)
    return GateResult(gate, Verdict.UNDECIDED, f"{gate.metric}: no group is large enough{note}")


def _name(row: Row) -> str:
    parts = [row.metric, row.attribute, "" if row.group == "overall" else row.group]
    return " ".join(part for part in parts if part)


def _figures(row: Row, gate: Gate) -> tuple[float, float, float]:
    """Value and bounds as the gate reads them."""
    base = row.null_value if gate.minus_null else 0.0
    value, low, high = row.value - base, row.ci_low - base, row.ci_high - base
    if gate.rule != "within":
        return value, low, high
    crossing = low <= 0 <= high
    return abs(value), 0.0 if crossing else min(abs(low), abs(high)), max(abs(low), abs(high))


def _badness(row: Row, gate: Gate) -> float:
    value = _figures(row, gate)[0]
    return -np.inf if np.isnan(value) else float(-value if gate.rule == "at_least" else value)


def _judge_row(row: Row, gate: Gate) -> tuple[Verdict, str]:
    name = _name(row)
    if row.status in (Status.TOO_FEW, Status.NOT_MEASURED, Status.UNDECIDED) or np.isnan(row.value):
        return Verdict.UNDECIDED, f"{name}: {str(row.status).replace('_', ' ')} (n = {row.n})"
    if row.n < gate.minimum_n:
        return Verdict.UNDECIDED, f"{name}: n = {row.n}, and the gate wants {gate.minimum_n}"
    value, low, high = _figures(row, gate)
    if np.isnan(value):
        return Verdict.UNDECIDED, f"{name}: there is no null value to compare with"
    bound = "at least" if gate.rule == "at_least" else "at most"
    said = f"{name} = {value:.4g}"
    if gate.judge == "value":
        good = value >= gate.limit if gate.rule == "at_least" else value <= gate.limit
        return (Verdict.PASSED if good else Verdict.FAILED), f"{said}, limit {bound} {gate.limit:g}"
    if np.isnan(low) or np.isnan(high):
        return Verdict.UNDECIDED, f"{said} has no interval, and the gate judges by it"
    said += f" [{low:.4g}, {high:.4g}], limit {bound} {gate.limit:g}"
    worst, best = (low, high) if gate.rule == "at_least" else (high, low)
    if worst >= gate.limit if gate.rule == "at_least" else worst <= gate.limit:
        return Verdict.PASSED, said
    if best < gate.limit if gate.rule == "at_least" else best > gate.limit:
        return Verdict.FAILED, said
    return Verdict.UNDECIDED, f"{said}: the interval holds the limit"


def write_gates(path: Path, gates: Sequence[Mapping[str, Any]]) -> None:
    """Write gates as Parquet.

    Parameters
    ----------
    path : Path
    gates : sequence of mappings
        As ``audit.json`` holds them.

    Raises
    ------
    ImportError
        pyarrow is not installed.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(pa.table({name: [gate[name] for gate in gates] for name in COLUMNS}), buffer)
    write_atomic(path, buffer.getvalue())
