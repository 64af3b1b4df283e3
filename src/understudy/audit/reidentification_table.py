"""Re-identification as rows of the audit's table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from understudy.audit.grouping import MINIMUM_N, Grouping, by_group
from understudy.audit.reidentification import ClosedSet, Faces, search, search_parts
from understudy.audit.resampling import Plan, bootstrap_share, subject_index
from understudy.audit.retrained import Head, retrain
from understudy.audit.statistics import Interval
from understudy.audit.table import NAN, Finding, Row, Status, group_name
from understudy.audit.verification import FAR_TARGETS, Verification, search_error, verify
from understudy.errors import InvalidInputError

FAMILY = "reidentification"
CMC_RANKS = (5, 10, 50)
HEADS: tuple[Head, ...] = ("ridge", "metric")


@dataclass(frozen=True)
class Attacker:
    """What one attacker read in each folder."""

    name: str
    before: Faces
    """The gallery."""
    after: Faces
    """The probes."""
    control: Faces | None = None
    """Other originals of the same people, or altered copies: the raw control."""
    selected: bool = False
    """True where the anonymiser's guard used this attacker, which is then no independent judge."""

    @property
    def status(self) -> Status:
        """Of this attacker's rows."""
        return Status.SELECTED if self.selected else Status.OK


def attacker_findings(
    attacker: Attacker,
    groupings: Sequence[Grouping],
    plan: Plan,
    *,
    minimum_n: int = MINIMUM_N,
    far_targets: Sequence[float] = FAR_TARGETS,
    heads: Sequence[Head] = HEADS,
) -> list[Finding]:
    """All rows of one attacker: search, verification, raw control, retrained heads, groups.

    Parameters
    ----------
    attacker : Attacker
    groupings : sequence of Grouping
        Over the rows of ``attacker.after``.
    plan : Plan
    minimum_n : int
        Subjects under which a group is named without a figure; retraining needs twice as many.
    far_targets : sequence of float
    heads : sequence of "ridge" and "metric"
        What is retrained.
    """
    found = search(attacker.after, attacker.before, plan)
    pairs = verify(attacker.after, attacker.before, attacker.control, plan, far_targets=far_targets)
    control = attacker.control
    raw = None if control is None else search(control, attacker.before, plan)
    raw_pairs = () if control is None else verify(control, attacker.before, control, plan, far_targets=far_targets)
    rows = _Rows(attacker.name, attacker.status)
    findings = _search_findings(rows, found, raw)
    for i, pair in enumerate(pairs):
        null = raw_pairs[i].tar.value if raw_pairs else NAN
        findings.append(rows.finding(_tar_name(pair.far), pair.tar, pair.n_genuine, null=null))
    error = search_error(attacker.after, attacker.before, plan)
    raw_error = NAN if control is None else search_error(control, attacker.before, plan).value
    findings.append(rows.finding("eer", error, found.n, null=raw_error))
    n_subjects = len(np.unique(attacker.after.subjects))
    for head in heads:
        findings.append(_retrained_finding(attacker, head, plan, enough=n_subjects >= 2 * minimum_n))
    for grouping in groupings:
        findings += _group_findings(rows, attacker.after.subjects, found, pairs, grouping, plan, minimum_n)
    return findings


def _tar_name(far: float) -> str:
    return f"tar_at_far_{far:.0e}".replace("e-0", "e-")


def _search_findings(rows: _Rows, found: ClosedSet, raw: ClosedSet | None) -> list[Finding]:
    chance = found.chance
    findings = [
        rows.finding("rank1_rate", found.rank1, found.n, null=chance.floor, p=chance.p_value, missing=found.n_unmated),
        rows.finding(
            "gallery_size", Interval(float(found.gallery_size), NAN, NAN), found.gallery_size, unit="subjects"
        ),
    ]
    for rank in CMC_RANKS:
        if rank <= len(found.cmc):
            share = Interval(float(found.cmc[rank - 1]), NAN, NAN)
            findings.append(rows.finding(f"rank{rank}_rate", share, found.n, null=rank / found.gallery_size))
    null = NAN
    if raw is not None:
        findings.append(rows.finding("raw_rank1_rate", raw.rank1, raw.n, null=raw.chance.floor, missing=raw.n_unmated))
        null = raw.not_found.value
    n_probes = found.n + found.n_unmated
    findings.append(rows.finding("face_not_found_share", found.not_found, n_probes, null=null))
    return findings


def _retrained_finding(attacker: Attacker, head: Head, plan: Plan, *, enough: bool) -> Finding:
    rows = _Rows(f"{attacker.name}+{head}", attacker.status)
    if not enough:
        row = Row("rank1_rate", 0, NAN, attribute=rows.attribute, unit="share", status=Status.TOO_FEW)
        return Finding(row)
    try:
        parts = retrain(attacker.after, attacker.before, head, seed=plan.seed)
    except InvalidInputError:  # too few anonymised faces were found for anything to learn from
        return rows.finding("rank1_rate", Interval(NAN, NAN, NAN), 0, missing=len(attacker.after.subjects))
    found = search_parts(parts, plan)
    chance = found.chance
    return rows.finding(
        "rank1_rate", found.rank1, found.n, null=chance.floor, p=chance.p_value, missing=found.n_unmated
    )


def _group_findings(
    rows: _Rows,
    subjects: NDArray[np.int64],
    found: ClosedSet,
    pairs: Sequence[Verification],
    grouping: Grouping,
    plan: Plan,
    minimum_n: int,
) -> list[Finding]:
    """Rates of the probes of each group against the whole gallery, at thresholds set on everybody."""
    figures = {"rank1_rate": found.hits, **{_tar_name(pair.far): pair.hits for pair in pairs}}
    findings = []
    for metric, hits in figures.items():

        def share(members: NDArray[np.int64], hits: NDArray[np.float64] = hits) -> Interval:
            index, n_subjects = subject_index(subjects[members])
            return bootstrap_share(hits[members], index, plan.draws(n_subjects))

        for value in by_group(share, grouping, subjects, minimum_n):
            group = group_name(grouping.attribute, value.name)
            status = None if value.value is not None else Status.TOO_FEW
            interval = value.value if value.value is not None else Interval(NAN, NAN, NAN)
            findings.append(rows.finding(metric, interval, value.n, group=group, status=status))
    return findings


class _Rows:
    """What the rows of one attacker share."""

    def __init__(self, attribute: str, status: Status) -> None:
        self.attribute, self.status = attribute, status

    def finding(
        self,
        metric: str,
        value: Interval,
        n: int,
        *,
        group: str = "overall",
        unit: str = "share",
        null: float = NAN,
        p: float = NAN,
        missing: int = 0,
        status: Status | None = None,
    ) -> Finding:
        measured = self.status if np.isfinite(value.value) else Status.NOT_MEASURED
        row = Row(
            metric,
            n,
            value.value,
            attribute=self.attribute,
            group=group,
            n_missing=missing,
            unit=unit,
            ci_low=value.low,
            ci_high=value.high,
            null_value=null,
            status=measured if status is None else status,
        )
        return Finding(row, p, FAMILY)
