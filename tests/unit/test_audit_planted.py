"""Changes of known size in drawn readings: the audit finds what was planted, by how much, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from understudy.audit.drift import Readings
from understudy.audit.drift_table import categorical_findings_by_group, numeric_findings_by_group
from understudy.audit.grouping import Grouping
from understudy.audit.resampling import Plan
from understudy.audit.statistics import paired_t
from understudy.audit.table import AuditTable, Finding, Row, adjusted_rows

N = 100
TONES = ("very light", "light", "intermediate", "tan", "brown", "dark")
NAMES = ("ita", "yaw", "age", "smile")


def draw(seed: int, noise: float = 1.0) -> dict[str, tuple[NDArray[np.float64], ...]]:
    """Before, after and null edit of four numbers that nothing happened to."""
    rng = np.random.default_rng(seed)
    found = {}
    for name in NAMES:
        before = rng.normal(30, 15, N)
        found[name] = (before, before + rng.normal(0, noise, N), before + rng.normal(0, noise, N))
    return found


def findings(stages: dict[str, tuple[NDArray[np.float64], ...]], groupings: tuple[Grouping, ...] = ()) -> list[Finding]:
    plan, people = Plan(0, 400, 199), np.arange(N)
    found = []
    for name, (before, after, null) in stages.items():
        found += numeric_findings_by_group(Readings(name, before, after, people, null), groupings, plan, unit="")
    tones = [np.digitize(-values, [-55, -41, -28, -10, 30]) for values in stages["ita"]]
    readings = Readings("skin_tone", tones[0], tones[1], people, tones[2])
    return found + categorical_findings_by_group(readings, TONES, groupings, plan)


def table(stages: dict[str, tuple[NDArray[np.float64], ...]], groupings: tuple[Grouping, ...] = ()) -> AuditTable:
    return AuditTable(adjusted_rows(findings(stages, groupings)))


def row(table: AuditTable, metric: str, attribute: str, group: str = "overall") -> Row:
    found = table.get(metric, attribute, group)
    assert found is not None
    return found


def flagged(table: AuditTable) -> set[str]:
    return {r.attribute.split("/")[0] for r in table.rows if r.p_adjusted < 0.05}


def lighter(stages: dict[str, tuple[NDArray[np.float64], ...]], share: float = 0.1, by: float = 25.0) -> float:
    """Make the skin of some people lighter in place; the mean change."""
    n = round(share * N)
    stages["ita"][1][:n] += by
    return by * n / N


def test_ten_per_cent_made_lighter_are_found_with_their_size_and_nothing_else_is_flagged() -> None:
    stages = draw(1)
    truth = lighter(stages)
    told = table(stages)
    found = row(told, "mean_drift", "ita")
    assert found.p_adjusted < 0.05
    assert found.ci_low <= truth <= found.ci_high
    moved = row(told, "net_changed_share", "skin_tone")
    assert moved.ci_low <= 0.1 <= moved.ci_high
    assert flagged(told) <= {"ita", "skin_tone"}


def test_five_years_added_to_everybody_are_found_and_covered() -> None:
    stages = draw(2, noise=4.0)
    stages["age"][1][:] += 5
    told = table(stages)
    found = row(told, "mean_drift", "age")
    assert found.p_adjusted < 1e-6
    assert found.ci_low <= 5 <= found.ci_high
    assert flagged(told) == {"age"}


def test_many_groups_do_not_hide_what_everybody_shows() -> None:
    rng = np.random.default_rng(3)
    groupings = tuple(Grouping(f"g{i}", ("a", "b", "c", "d"), rng.integers(0, 4, N)) for i in range(8))
    stages = draw(3)
    lighter(stages)
    alone, among = table(stages), table(stages, groupings)
    assert row(among, "mean_drift", "ita").p_adjusted == row(alone, "mean_drift", "ita").p_adjusted < 0.05


def test_a_change_in_one_group_is_flagged_there_and_not_in_the_other() -> None:
    groups = Grouping("rated", ("feminine", "masculine"), np.arange(N) % 2)
    stages = draw(4)
    stages["smile"][1][::2] += 3
    told = table(stages, (groups,))
    assert row(told, "mean_drift", "smile", "rated=feminine").p_adjusted < 0.05
    assert not [r for r in told.rows if r.group == "rated=masculine" and r.p_adjusted < 0.05]


def test_nothing_planted_is_flagged_in_no_more_repeats_than_chance_allows() -> None:
    """At 5 %, 60 repeats: 8 or more would come by chance in 1.6 % of all runs."""
    rejected = 0
    for seed in range(60):
        main = [f for f in findings(draw(100 + seed)) if f.family == "drift"]
        assert len(main) == len(NAMES) + 1
        rejected += any(r.p_adjusted < 0.05 for r in adjusted_rows(main))
    assert rejected <= 7


def test_a_copy_without_any_change_is_never_flagged() -> None:
    stages = {name: (before, before.copy(), before.copy()) for name, (before, _, _) in draw(5).items()}
    told = table(stages)
    assert flagged(told) == set()
    assert row(told, "mean_drift", "ita").value == 0
    assert paired_t(np.zeros(3), np.zeros(3)).p_value == pytest.approx(1.0)
