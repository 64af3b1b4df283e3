"""Beautification as rows of the audit's table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from understudy.audit.beautification import PARTS, WEIGHTS, beautification_index
from understudy.audit.drift import Readings, numeric_drift
from understudy.audit.drift_table import family_of
from understudy.audit.grouping import MINIMUM_N, Grouping, by_group
from understudy.audit.resampling import Plan
from understudy.audit.table import NAN, Finding, Row, Status, group_name

FAMILY = "beautification"
METRIC = "beautification_drift"
INDEX = "index"


def beautification_findings(
    before: Sequence[Mapping[str, float]],
    after: Sequence[Mapping[str, float]],
    subjects: NDArray[np.int64],
    groupings: Sequence[Grouping],
    plan: Plan,
    *,
    null: Sequence[Mapping[str, float]] | None = None,
    weights: Mapping[str, float] = WEIGHTS,
    minimum_n: int = MINIMUM_N,
) -> list[Finding]:
    """Drift of the index and of each part, net of the null edit, over everybody and in each group.

    Parameters
    ----------
    before, after : sequence of mappings
        From ``beautification.measure``, one pair for each face.
    subjects : (N,) int
    groupings : sequence of Grouping
        Over the same faces.
    plan : Plan
    null : sequence of mappings, optional
        The same faces in the null edit.
    weights : mapping
    minimum_n : int
        Subjects under which a group is named without a figure.

    Returns
    -------
    list of Finding
        Values in spreads of the part between the people of ``before``; over 0 is prettier in the sense of the part.
    """
    moved = beautification_index(before, after, weights)
    still = None if null is None else beautification_index(before, null, weights)
    columns = {INDEX: moved.index} | {name: moved.standardised[:, i] for i, name in enumerate(moved.names)}
    nulls: dict[str, NDArray[np.float64]] = {}
    if still is not None:
        nulls = {INDEX: still.index} | {name: still.standardised[:, i] for i, name in enumerate(still.names)}
    findings = []
    for name in (INDEX, *PARTS):
        readings = Readings(
            name, np.zeros(len(subjects)), columns[name], np.asarray(subjects, np.int64), nulls.get(name)
        )
        findings.append(_finding(readings, "overall", plan))
        for grouping in groupings:
            findings += _group_findings(readings, grouping, plan, minimum_n)
    return findings


def _group_findings(readings: Readings, grouping: Grouping, plan: Plan, minimum_n: int) -> list[Finding]:
    findings = []
    for value in by_group(readings.take, grouping, readings.subjects, minimum_n):
        group = group_name(grouping.attribute, value.name)
        if value.value is None:
            row = Row(METRIC, value.n, NAN, attribute=readings.attribute, group=group, unit="sd", status=Status.TOO_FEW)
            findings.append(Finding(row))
        else:
            findings.append(_finding(value.value, group, plan))
    return findings


def _finding(readings: Readings, group: str, plan: Plan) -> Finding:
    drift = numeric_drift(readings, plan)
    row = Row(
        METRIC,
        drift.n,
        drift.mean.value,
        attribute=readings.attribute,
        group=group,
        n_missing=drift.n_missing,
        unit="sd",
        ci_low=drift.mean.low,
        ci_high=drift.mean.high,
        null_value=drift.null_mean,
        status=Status.OK if np.isfinite(drift.mean.value) else Status.NOT_MEASURED,
    )
    return Finding(row, drift.test.p_value, family_of(FAMILY, group))
