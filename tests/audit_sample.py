"""An audit as the command builds it, from made-up readings and the library's own statistics."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from understudy.audit.beautification import PARTS
from understudy.audit.beautification_table import beautification_findings
from understudy.audit.drift import Readings, categorical_drift
from understudy.audit.drift_table import categorical_findings_by_group, numeric_findings_by_group
from understudy.audit.gates import Gate, judge
from understudy.audit.grouping import group_by
from understudy.audit.reidentification import Faces
from understudy.audit.reidentification_table import Attacker, attacker_findings
from understudy.audit.resampling import Plan
from understudy.audit.run import gate_record
from understudy.audit.table import AuditTable, Finding, Row, Status, adjusted_rows

N = 120
PLAN = Plan(seed=7, n_boot=60, n_permutations=49)
TONES = ("very light", "light", "intermediate", "tan", "brown", "dark")
NASTY = '<img src=x onerror="alert(1)">&"\'</script><b>'
"""What a file name or label may hold."""


def _attackers(rng: np.random.Generator, groups: list[Any]) -> list[Finding]:
    identity, subjects = rng.normal(size=(N, 24)), np.arange(N)
    found = []
    for name, kept, selected in (("dlib", 0.12, True), ("facenet", 0.3, False)):
        before = Faces(identity, subjects)
        control = Faces(identity + 0.3 * rng.normal(size=identity.shape), subjects)
        hidden = kept * identity + rng.normal(size=identity.shape)
        hidden[:7] = np.nan
        attacker = Attacker(name, before, Faces(hidden, subjects), control, selected=selected)
        found += attacker_findings(attacker, groups, PLAN)
    return found


def _curve(power: float) -> dict[str, list[float]]:
    far = np.geomspace(1e-4, 1, 60)
    return {"far": far.tolist(), "tar": (far**power).tolist()}


def _cmc(first: float) -> dict[str, list[float]]:
    ranks = np.arange(1, 51)
    return {"rank": ranks.tolist(), "rate": (1 - (1 - first) * (1 - np.log(ranks) / np.log(240))).tolist()}


@cache
def _figures() -> tuple[AuditTable, dict[str, Any]]:
    rng = np.random.default_rng(7)
    subjects = np.arange(N)
    tone = rng.choice(6, size=N, p=[0.1, 0.25, 0.25, 0.2, 0.15, 0.05])
    tone[:4], tone[4:] = 5, np.minimum(tone[4:], 4)
    after_tone = np.where(rng.random(N) < 0.2, np.maximum(tone - 1, 0), tone)
    after_tone[10:14] = -1
    null_tone = np.where(rng.random(N) < 0.04, np.minimum(tone + 1, 4), tone)
    age = rng.gamma(9, 4, size=N) + 8
    after_age, null_age = age + rng.normal(2.5, 5, size=N), age + rng.normal(0, 2, size=N)
    groups = [group_by("skin_tone", [TONES[i] for i in tone], TONES)]
    tones = Readings("skin_tone", tone, after_tone, subjects, null_tone)
    ages = Readings("perceived_age", age, after_age, subjects, null_age)
    findings = _attackers(rng, groups)
    findings += categorical_findings_by_group(tones, TONES, groups, PLAN)
    findings += numeric_findings_by_group(ages, groups, PLAN, unit="years", status=Status.SELECTED)
    faces = [[{p: rng.normal(m, 1) for p in PARTS} for _ in range(N)] for m in (0, 0.05, 0.4)]
    findings += beautification_findings(faces[0], faces[2], subjects, groups, PLAN, null=faces[1])
    plain = [
        Row("residual_share", N, 0.0083, unit="share", ci_low=0.001, ci_high=0.0298, n_missing=3),
        Row("context_changed_share", 64, 0.0, unit="share", ci_low=0.0, ci_high=0.056),
        Row("seam_visibility", N, 0.11, unit="log ratio", ci_low=0.05, ci_high=0.17, null_value=0.02),
        Row("keypoint_nme", N, 0.031, unit="share", ci_low=0.028, ci_high=0.034, null_value=0.004),
        Row("fid", 0, float("nan"), status=Status.NOT_MEASURED),
        Row("average_precision", N, 0.973, unit="share", ci_low=0.951, ci_high=0.99),
        Row("resembling_share", N, 0.0125, unit="share", ci_low=0.0, ci_high=0.029, null_value=0.01),
        Row("something_new", 12, 1.5, unit="au", status=Status.UNDECIDED),
    ]
    drift = categorical_drift(tones, TONES, PLAN)
    edges = np.linspace(8, 90, 15)
    numbers = {
        name: np.histogram(np.clip(x, 8, 90), edges)[0].tolist()
        for name, x in (("before", age), ("null", null_age), ("after", after_age))
    }
    counts = {
        name: np.bincount(x[x >= 0], minlength=6).tolist()
        for name, x in (("before", tone), ("null", null_tone), ("after", after_tone))
    }
    plots = {
        "distributions": {
            "skin_tone": {"kind": "categorical", "categories": list(TONES), **counts},
            "perceived_age": {"kind": "numeric", "edges": edges.tolist(), **numbers},
        },
        "transitions": {"skin_tone": {"categories": list(TONES), "counts": drift.transitions.tolist()}},
        "roc": {
            "dlib": {"raw": _curve(0.01), "anonymised": _curve(0.8), "retrained": None},
            "facenet": {"raw": _curve(0.02), "anonymised": _curve(0.5), "retrained": _curve(0.4)},
        },
        "cmc": {"facenet": {"raw": _cmc(0.97), "anonymised": _cmc(0.08), "retrained": _cmc(0.11)}},
        "groups": {},
    }
    return AuditTable([*adjusted_rows(findings), *plain]), plots


def sample_audit() -> dict[str, Any]:
    """All parts, unsigned; a failing privacy gate, one that is undecided, and the others passed."""
    table, plots = _figures()
    gates = [
        Gate("privacy", "rank1_rate", 0.05),
        Gate("residual", "residual_share", 0.01),
        Gate("drift", "total_variation", 0.25, judge="value", minus_null=True),
        Gate("beautification", "beautification_drift", 1.0, "within", attribute="index"),
        Gate("fidelity", "context_changed_share", 0.1),
    ]
    results = [gate_record(result) for result in judge(table, gates)]
    return {
        "format": 1,
        "created": "2026-11-22 12:00 UTC",
        "verdict": {"verdict": "fail", "reason": "1 of 5 gates failed, and 1 is undecided"},
        "gates": results,
        "table": table.records(),
        "plots": plots,
        "collections": {
            "before": {
                "path": "/data/before",
                "n_pictures": 231,
                "n_faces": 240,
                "digest": {"algorithm": "sha256", "sha256": "a" * 64},
            },
            "after": {"path": f"/data/{NASTY}", "n_pictures": 231, "n_faces": 233, "digest": "b" * 64},
        },
        "missing": {
            "pictures": ["2 pictures of before have no partner in after: a.jpg, b.jpg"],
            "fidelity": ["FID: torch is not installed, so no network could read the pictures"],
        },
        "config": {"minimum_n": 10, "level": 0.95, "attackers": ["dlib", "facenet"], "note": NASTY},
        "weights": {"facenet": "c" * 64, "dlib": "d" * 64},
        "software": {"understudy": "0.1.0", "numpy": "2.3.0"},
        "how": {"rank1_rate": "Each anonymised face is compared with every original one; a face not found is a miss."},
    }
