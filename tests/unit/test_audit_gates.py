"""Gates pass on evidence only: no data, small groups and the guard's own word do not count."""

from __future__ import annotations

from typing import Any

import pytest

from understudy.audit import run
from understudy.audit.gates import Gate, Verdict, exit_code, judge
from understudy.audit.table import AuditTable, Row, Status
from understudy.errors import ConfigError

NAN = float("nan")


def row(value: float, low: float, high: float, **more: Any) -> Row:
    return Row(**{"metric": "rank1_rate", "n": 200, "value": value, "ci_low": low, "ci_high": high, **more})


def verdict(gate: Gate, *rows: Row) -> Verdict:
    return judge(AuditTable(rows), [gate])[0].verdict


GATE = Gate("privacy", "rank1_rate", 0.05)


def test_an_interval_under_the_limit_passes_one_over_it_fails_and_one_across_it_decides_nothing() -> None:
    assert verdict(GATE, row(0.01, 0.0, 0.04)) is Verdict.PASSED
    assert verdict(GATE, row(0.2, 0.1, 0.3)) is Verdict.FAILED
    assert verdict(GATE, row(0.04, 0.02, 0.06)) is Verdict.UNDECIDED


def test_a_gate_that_judges_by_the_value_needs_no_interval() -> None:
    gate = Gate("privacy", "rank1_rate", 0.05, judge="value")
    assert verdict(gate, row(0.04, NAN, NAN)) is Verdict.PASSED
    assert verdict(gate, row(0.06, NAN, NAN)) is Verdict.FAILED
    assert verdict(GATE, row(0.04, NAN, NAN)) is Verdict.UNDECIDED


def test_at_least_is_at_most_mirrored() -> None:
    gate = Gate("fidelity", "ssim", 0.9, rule="at_least")
    assert verdict(gate, row(0.95, 0.92, 0.97, metric="ssim")) is Verdict.PASSED
    assert verdict(gate, row(0.5, 0.4, 0.6, metric="ssim")) is Verdict.FAILED
    assert verdict(gate, row(0.9, 0.8, 0.95, metric="ssim")) is Verdict.UNDECIDED


def test_within_looks_at_both_sides_of_zero() -> None:
    gate = Gate("drift", "mean_drift", 2.0, rule="within")
    assert verdict(gate, row(-0.5, -1.5, 0.5, metric="mean_drift")) is Verdict.PASSED
    assert verdict(gate, row(-4.0, -5.0, -3.0, metric="mean_drift")) is Verdict.FAILED
    assert verdict(gate, row(0.0, -9.0, 9.0, metric="mean_drift")) is Verdict.UNDECIDED


def test_what_was_not_measured_is_undecided_and_fails_the_audit_unless_allowed() -> None:
    strict, lenient = Gate("privacy", "eer", 0.4), Gate("privacy", "eer", 0.4, allow_undecided=True)
    results = judge(AuditTable([]), [strict, lenient])
    assert [r.verdict for r in results] == [Verdict.UNDECIDED] * 2
    assert "not measured" in results[0].reason
    assert exit_code(results[:1]) == 4
    assert exit_code(results[1:]) == 0


@pytest.mark.parametrize(
    "poor",
    [
        row(0.0, 0.0, 0.01, n=29),
        row(NAN, NAN, NAN, status=Status.TOO_FEW),
        row(NAN, NAN, NAN, status=Status.NOT_MEASURED),
        row(0.0, 0.0, 0.01, status=Status.UNDECIDED),
    ],
)
def test_too_little_data_is_undecided(poor: Row) -> None:
    assert verdict(GATE, poor) is Verdict.UNDECIDED


def test_the_worst_attacker_decides_and_is_named() -> None:
    table = AuditTable(
        [row(0.01, 0, 0.02, attribute="a"), row(0.4, 0.3, 0.5, attribute="b"), row(0.2, 0.1, 0.3, attribute="c")]
    )
    result = judge(table, [GATE])[0]
    assert result.verdict is Verdict.FAILED
    assert result.row is not None
    assert result.row.attribute == "b"
    assert "rank1_rate b = 0.4 [0.3, 0.5], limit at most 0.05" in result.reason


def test_an_undecided_attacker_is_not_outvoted_by_one_that_passes() -> None:
    assert verdict(GATE, row(0.01, 0, 0.02, attribute="a"), row(0.04, 0, 0.2, attribute="b")) is Verdict.UNDECIDED


def test_the_guards_own_attacker_cannot_carry_a_gate_and_can_break_it() -> None:
    good = row(0.0, 0.0, 0.01, attribute="guard", status=Status.SELECTED)
    other = row(0.01, 0.0, 0.02, attribute="other")
    assert verdict(GATE, good) is Verdict.FAILED
    assert verdict(GATE, good, other) is Verdict.PASSED
    bad = row(0.3, 0.2, 0.4, attribute="guard", status=Status.SELECTED)
    assert verdict(GATE, bad, other) is Verdict.FAILED


def test_a_gate_over_groups_takes_the_worst_group_and_names_those_too_small() -> None:
    gate = Gate("privacy", "rank1_rate", 0.05, group="*")
    rows = [
        row(0.01, 0.0, 0.02),
        row(0.01, 0.0, 0.03, group="tone=light"),
        row(0.3, 0.2, 0.4, group="tone=dark"),
        row(NAN, NAN, NAN, group="tone=tan", status=Status.TOO_FEW, n=3),
    ]
    result = judge(AuditTable(rows), [gate])[0]
    assert result.verdict is Verdict.FAILED
    assert result.row is not None
    assert result.row.group == "tone=dark"
    assert "tone=tan" in result.reason
    assert verdict(gate, rows[0], rows[3]) is Verdict.UNDECIDED


def test_the_overall_gate_does_not_read_groups() -> None:
    assert verdict(GATE, row(0.01, 0.0, 0.02), row(0.5, 0.4, 0.6, group="tone=dark")) is Verdict.PASSED


def test_the_excess_over_chance_can_be_judged() -> None:
    gate = Gate("privacy", "rank1_rate", 0.05, minus_null=True)
    assert verdict(gate, row(0.26, 0.25, 0.29, null_value=0.25)) is Verdict.PASSED
    assert verdict(gate, row(0.26, 0.25, 0.29)) is Verdict.UNDECIDED


def test_one_failed_gate_is_exit_code_four() -> None:
    table = AuditTable([row(0.01, 0.0, 0.02), row(0.3, 0.2, 0.4, metric="changed_share")])
    assert exit_code(judge(table, [GATE])) == 0
    assert exit_code(judge(table, [GATE, Gate("drift", "changed_share", 0.1)])) == 4
    assert exit_code([]) == 0


@pytest.mark.parametrize(
    "bad",
    [
        {"rule": "below"},
        {"judge": "p"},
        {"limit": float("nan")},
        {"minimum_n": 0},
        {"name": ""},
        {"rule": "within", "limit": -1.0},
    ],
)
def test_a_gate_that_cannot_be_meant_is_a_config_error(bad: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Gate(**{"name": "privacy", "metric": "rank1_rate", "limit": 0.1, **bad})


def test_a_verdict_says_where_people_are_too_few() -> None:
    few = judge(AuditTable([row(0.01, 0.0, 0.04, n=12)]), [GATE, Gate("more", "rank1_rate", 0.05, minimum_n=100)])
    assert run.verdict(few) == {
        "verdict": "undecided",
        "reason": "undecided: more, privacy; too few faces or pictures: n = 12, up to 100 are wanted",
    }
    enough = judge(AuditTable([row(0.04, 0.02, 0.06)]), [GATE])
    assert run.verdict(enough)["reason"] == "undecided: privacy"
    two = AuditTable([row(0.01, 0.0, 0.04, n=12), row(0.01, 0.0, 0.04, n=3, metric="context_mean_abs")])
    several = judge(two, [GATE, Gate("fidelity", "context_mean_abs", 0.05, minimum_n=50)])
    assert run.verdict(several)["reason"].endswith("too few faces or pictures: n = 3 to 12, up to 50 are wanted")
