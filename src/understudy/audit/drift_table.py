"""Drift as rows of the audit's table."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from understudy.audit.drift import CategoricalDrift, NumericDrift, Readings, categorical_drift, numeric_drift
from understudy.audit.grouping import MINIMUM_N, Grouping, by_group
from understudy.audit.resampling import Plan
from understudy.audit.statistics import Interval
from understudy.audit.table import NAN, Finding, Row, Status, group_name

FAMILY = "drift"
"""The tests of whether an attribute's distribution or mean moved are adjusted together ..."""
DETAIL_FAMILY = "drift, details"
"""... and those of single categories, of symmetry and of distance by themselves."""
EVERYBODY = "overall"
BY_GROUP = ", by group"
"""After a family's name: groups are a family of their own, so that many of them do not hide what everybody shows."""


def categorical_findings(
    drift: CategoricalDrift, *, group: str = "overall", status: Status = Status.OK
) -> list[Finding]:
    """The rows of an attribute of categories.

    Parameters
    ----------
    drift : CategoricalDrift
    group : str
        As the table writes it.
    status : Status
        ``SELECTED`` where the anonymiser selected with the same estimator.
    """
    base = _Base(drift.attribute, group, drift.n, drift.n_missing, status)
    variation, js = drift.variation, drift.js
    findings = [
        base.plain("total_variation", variation.observed, null=variation.floor, p=drift.margins.p_value, family=FAMILY),
        base.plain("js_distance", js.observed, null=js.floor, p=js.p_value, family=DETAIL_FAMILY),
        base.plain("asymmetric_change", drift.symmetry.effect, unit="share", p=drift.symmetry.p_value),
        base.interval("entropy_drift", drift.entropy_drift, unit="bit", null=drift.null_entropy_drift),
        base.interval("changed_share", drift.changed, unit="share", null=drift.null_changed),
        base.interval("net_changed_share", drift.net_changed, unit="share"),
        base.interval(
            "invalid_share", drift.invalid, unit="share", null=drift.null_invalid, n=drift.n + drift.n_missing
        ),
    ]
    for name, shift, p in zip(drift.categories, drift.share_drift, drift.share_p, strict=True):
        named = _Base(f"{drift.attribute}/{name}", group, drift.n, drift.n_missing, status)
        findings.append(named.interval("share_drift", shift, unit="share", p=p))
    return findings


def numeric_findings(
    drift: NumericDrift, *, unit: str, group: str = "overall", status: Status = Status.OK
) -> list[Finding]:
    """The rows of an attribute of numbers.

    Parameters
    ----------
    drift : NumericDrift
    unit : str
        Of the readings.
    group : str
    status : Status
    """
    base = _Base(drift.attribute, group, drift.n, drift.n_missing, status)
    return [
        base.interval("mean_drift", drift.mean, unit=unit, null=drift.null_mean, p=drift.test.p_value, family=FAMILY),
        base.plain("standardised_drift", drift.standardised, unit="sd"),
        base.interval("mean_abs_change", drift.mean_abs_change, unit=unit, null=drift.null_mean_abs_change),
        base.interval("variance_ratio", drift.variance_ratio),
        base.interval(
            "invalid_share", drift.invalid, unit="share", null=drift.null_invalid, n=drift.n + drift.n_missing
        ),
    ]


def categorical_findings_by_group(
    readings: Readings,
    categories: Sequence[str],
    groupings: Sequence[Grouping],
    plan: Plan,
    *,
    minimum_n: int = MINIMUM_N,
    status: Status = Status.OK,
) -> list[Finding]:
    """An attribute of categories, over everybody and in each group.

    Parameters
    ----------
    readings : Readings
    categories : sequence of str
    groupings : sequence of Grouping
        Over the same rows as the readings.
    plan : Plan
    minimum_n : int
        Subjects under which a group is named without a figure.
    status : Status
    """

    def findings(part: Readings, group: str) -> list[Finding]:
        return categorical_findings(categorical_drift(part, categories, plan), group=group, status=status)

    return _everybody_and_groups(readings, groupings, findings, "total_variation", minimum_n)


def numeric_findings_by_group(
    readings: Readings,
    groupings: Sequence[Grouping],
    plan: Plan,
    *,
    unit: str,
    minimum_n: int = MINIMUM_N,
    status: Status = Status.OK,
) -> list[Finding]:
    """An attribute of numbers, over everybody and in each group; see ``categorical_findings_by_group``."""

    def findings(part: Readings, group: str) -> list[Finding]:
        return numeric_findings(numeric_drift(part, plan), unit=unit, group=group, status=status)

    return _everybody_and_groups(readings, groupings, findings, "mean_drift", minimum_n)


def _everybody_and_groups(
    readings: Readings,
    groupings: Sequence[Grouping],
    findings: Callable[[Readings, str], list[Finding]],
    main_metric: str,
    minimum_n: int,
) -> list[Finding]:
    found = findings(readings, "overall")
    for grouping in groupings:

        def rows_of(rows: NDArray[np.int64]) -> Readings:
            return readings.take(rows)

        for value in by_group(rows_of, grouping, readings.subjects, minimum_n):
            name = group_name(grouping.attribute, value.name)
            if value.value is not None:
                found += findings(value.value, name)
            else:
                row = Row(main_metric, value.n, NAN, attribute=readings.attribute, group=name, status=Status.TOO_FEW)
                found.append(Finding(row))
    return found


def family_of(family: str, group: str) -> str:
    """The family of a test: of everybody, or of groups."""
    return family if group == EVERYBODY else f"{family}{BY_GROUP}"


class _Base:
    """What the rows of one attribute in one group share."""

    def __init__(self, attribute: str, group: str, n: int, n_missing: int, status: Status) -> None:
        self.attribute, self.group, self.n, self.n_missing, self.status = attribute, group, n, n_missing, status

    def interval(
        self,
        metric: str,
        value: Interval,
        *,
        unit: str = "",
        null: float = NAN,
        p: float = NAN,
        family: str = DETAIL_FAMILY,
        n: int | None = None,
    ) -> Finding:
        measured = not np.isnan(value.value)
        row = Row(
            metric,
            self.n if n is None else n,
            value.value,
            attribute=self.attribute,
            group=self.group,
            n_missing=self.n_missing if n is None else 0,
            unit=unit,
            ci_low=value.low,
            ci_high=value.high,
            null_value=null,
            status=self.status if measured else Status.NOT_MEASURED,
        )
        return Finding(row, p, family_of(family, self.group))

    def plain(
        self,
        metric: str,
        value: float,
        *,
        unit: str = "",
        null: float = NAN,
        p: float = NAN,
        family: str = DETAIL_FAMILY,
    ) -> Finding:
        finite = value if np.isfinite(value) else NAN
        return self.interval(metric, Interval(finite, NAN, NAN), unit=unit, null=null, p=p, family=family)
