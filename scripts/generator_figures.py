"""Figures of the embedded generator, each as lines of Markdown; for bench_generator.py."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from generator_faces import Collection
from numpy.typing import NDArray

from understudy.attributes.bins import age_group
from understudy.audit.reidentification import Faces, search
from understudy.audit.resampling import Plan, bootstrap_statistic, draw_subjects
from understudy.audit.statistics import Interval, clopper_pearson
from understudy.audit.verification import verify

PLAN = Plan(seed=0)
SAME_PERSON = 0.6
"""dlib's own threshold of the Euclidean distance."""
BANDS = ((0, 15), (15, 30), (30, 45), (45, 90))
RATED = {
    "perceived_age": "age",
    "perceived_femininity": "gender",
    "perceived_darkness": "skin-color",
    "ita": "skin-color",
    "smile": "happy",
}


def shown(interval: Interval, digits: int = 2) -> str:
    """A value with its interval."""
    return f"{interval.value:.{digits}f} ({interval.low:.{digits}f} to {interval.high:.{digits}f})"


def share(hits: NDArray[np.bool_]) -> str:
    """A share in per cent with its Clopper-Pearson interval and n."""
    if not len(hits):
        return "- (n = 0)"
    found = clopper_pearson(int(hits.sum()), len(hits))
    return f"{100 * found.value:.1f} % ({100 * found.low:.1f} to {100 * found.high:.1f}), n = {len(hits)}"


def statistic(values: Callable[[NDArray[np.int64]], float], n: int) -> Interval:
    """A statistic of subjects, one face each, with its bootstrap interval."""
    index = np.arange(n)
    return bootstrap_statistic(values, index, draw_subjects(n, seed=PLAN.seed))


def table(title: str, rows: Sequence[tuple[str, str, str]]) -> list[str]:
    """A table of figure, value and goal."""
    return [f"| {title} | measured | goal |", "|---|---|---|", *(f"| {a} | {b} | {c} |" for a, b, c in rows), ""]


def detection_lines(before: Collection, after: Collection) -> list[str]:
    """Faces found after replacing, and how far the head turned, by yaw band."""
    base = before.both
    turned = np.maximum(np.abs(after.yaw_deg - before.yaw_deg), np.abs(after.roll_deg - before.roll_deg))
    rows = [("found by both detectors, no fill", share(after.both[base]), "99 %")]
    measured = base & after.mtcnn & np.isfinite(turned)
    rows.append(("yaw and roll within 8 degrees", share(turned[measured] <= 8), "90 %"))
    for low, high in BANDS:
        band = base & (np.abs(before.yaw_deg) >= low) & (np.abs(before.yaw_deg) < high)
        rows.append((f"yaw {low} to {high}: found", share(after.both[band]), ""))
        rows.append((f"yaw {low} to {high}: within 8 degrees", share(turned[band & measured] <= 8), ""))
    rows.append(("filled", share(after.filled), "0 %"))
    return table("Faces", rows)


def faces(collection: Collection, rows: NDArray[np.bool_]) -> Faces:
    """dlib's embeddings of some pictures; every picture is a subject of its own."""
    return Faces(collection.embedding[rows], np.flatnonzero(rows).astype(np.int64), "euclidean")


def reidentification_lines(before: Collection, both: dict[str, Collection]) -> list[str]:
    """Closed-set search and verification by dlib, beside an attacker who sees the context alone."""
    base = before.both
    gallery = faces(before, base)
    rows = []
    goals = {"default": "not above the floor", "nothing": "twice chance", "erased": "the floor", "null": "1 (control)"}
    for name in ("null", "erased", "default", "nothing"):
        probes = faces(both[name], base)
        found = search(probes, gallery, PLAN)
        rows.append((f"rank-1, {name}", f"{shown(found.rank1, 4)}, gallery {found.gallery_size}", goals[name]))
        rows.append(
            (f"chance, {name}", f"{found.chance.floor:.4f} (95th percentile {found.chance.floor_high:.4f})", "")
        )
    within = shuffled_within_bins(faces(both["default"], base), gallery, before.kept[base])
    rows.append(("chance of who knows the kept bins, default", within, ""))
    for name in ("default", "nothing"):
        for rate in verify(faces(both[name], base), gallery, None, PLAN):
            goal = "0.5 %" if rate.far == 1e-3 else ""
            rows.append((f"TAR at FAR {rate.far:g}, {name}", f"{shown(rate.tar, 4)}, n = {rate.n_genuine}", goal))
        near = np.linalg.norm(both[name].embedding - before.embedding, axis=1)[base]
        near = near[np.isfinite(near)]
        rows.append(
            (f"distance to the own original, {name}", f"median {np.median(near):.3f}, least {near.min():.3f}", "")
        )
    return table("Re-identification by dlib", rows)


def shuffled_within_bins(probes: Faces, gallery: Faces, kept: NDArray[np.int64]) -> str:
    """Rank-1 of an attacker for whom faces of equal kept bins are alike: the gallery's names are shuffled within them.

    Parameters
    ----------
    probes, gallery : Faces
        Row by row of the same people.
    kept : (N, T)
        Bins that the policy carries of each.
    """
    rng = np.random.default_rng(PLAN.seed)
    _, cell = np.unique(kept, axis=0, return_inverse=True)
    known = np.isfinite(probes.embedding).all(axis=1)
    squares = ((probes.embedding[known, None] - gallery.embedding[None]) ** 2).sum(axis=2)
    nearest, own, n = squares.argmin(axis=1), np.flatnonzero(known), len(cell)
    rates = []
    for _ in range(PLAN.n_permutations):
        by_cell, any_order = np.argsort(cell, kind="stable"), np.lexsort((rng.random(n), cell))
        name = np.empty(n, np.int64)
        name[by_cell] = any_order
        rates.append(float((name[nearest] == own).mean()))
    return f"{np.mean(rates):.4f} (95th percentile {np.quantile(rates, 0.95):.4f}), {cell.max() + 1} cells"


def distances(embedding: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distances of all pairs, (n, n), NaN on the diagonal."""
    squares = (embedding**2).sum(axis=1)
    square = squares[:, None] + squares[None] - 2 * embedding @ embedding.T
    distance = np.sqrt(np.maximum(square, 0))
    np.fill_diagonal(distance, np.nan)
    return np.asarray(distance)


def diversity_lines(before: Collection, after: Collection) -> list[str]:
    """How unlike each other the understudies are, overall and within cells of equal attributes."""
    rows_used = before.both & after.mtcnn & np.isfinite(after.embedding).all(axis=1)
    old, new = distances(before.embedding[rows_used]), distances(after.embedding[rows_used])
    n = int(rows_used.sum())

    def ratio(pick: NDArray[np.int64]) -> float:
        return float(np.nanmedian(new[np.ix_(pick, pick)]) / np.nanmedian(old[np.ix_(pick, pick)]))

    def excess(pick: NDArray[np.int64]) -> float:
        part = np.ix_(pick, pick)
        known = np.isfinite(old[part])
        return float((new[part][known] < SAME_PERSON).mean() - (old[part][known] < SAME_PERSON).mean())

    cells = np.stack([before.readings[k].values[rows_used] for k in ("skin_tone", "perceived_gender_group")
                      if k in before.readings])  # fmt: skip
    same = (cells[:, :, None] == cells[:, None]).all(axis=0)
    inside = float(np.nanmedian(new[same]) / np.nanmedian(old[same]))
    upper = np.triu(np.ones((n, n), np.bool_), 1)
    near = [100 * (d[upper] < SAME_PERSON).mean() for d in (old, new)]
    return table(
        "Diversity (dlib)",
        [
            ("median distance of pairs, of the originals'", f"{shown(statistic(ratio, n))}, n = {n}", "0.85"),
            ("the same within cells of equal skin tone (and gender expression)", f"{inside:.2f}", "0.85"),
            (
                "pairs under 0.6, originals and understudies",
                f"{near[0]:.2f} % and {near[1]:.2f} %, excess {shown(statistic(excess, n), 4)}",
                "no excess",
            ),
        ],
    )


def kappa(a: NDArray[np.int64], b: NDArray[np.int64]) -> Interval:
    """Cohen's kappa with its bootstrap interval. doi:10.1177/001316446002000104."""
    n_codes = int(max(a.max(initial=0), b.max(initial=0))) + 1

    def value(pick: NDArray[np.int64]) -> float:
        counts = np.bincount(a[pick] * n_codes + b[pick], minlength=n_codes**2).reshape(n_codes, n_codes) / len(pick)
        expected = float(counts.sum(axis=1) @ counts.sum(axis=0))
        return float((np.trace(counts) - expected) / (1 - expected)) if expected < 1 else np.nan

    return statistic(value, len(a))


def attribute_lines(before: Collection, after: Collection, null: Collection) -> list[str]:
    """Kept attributes, and the drift of every numeric reading net of the null edit's."""
    base = before.both & after.mtcnn & null.mtcnn
    rows = []
    ita = np.abs(after.readings["ita"].values - before.readings["ita"].values)[base]
    ita = ita[np.isfinite(ita)]
    middle = statistic(lambda pick: float(np.median(ita[pick])), len(ita))
    rows.append(("skin tone: median difference of ITA, degrees", f"{shown(middle, 1)}, n = {len(ita)}", "8"))
    for name in ("expression", "age_group", "glasses", "beard"):
        codes = [codes_of(name, c)[base] for c in (before, after)]
        known = (codes[0] >= 0) & (codes[1] >= 0)
        if known.any():
            agreement = kappa(codes[0][known], codes[1][known])
            rows.append((f"{name}: kappa", f"{shown(agreement)}, n = {int(known.sum())}", "over 0"))
    for name, reading in before.readings.items():
        if reading.kind != "numeric":
            continue
        values = [c.readings[name].values[base].astype(np.float64) for c in (before, after, null)]
        known = np.isfinite(np.stack(values)).all(axis=0)
        first, second, third = (v[known] for v in values)
        if len(first) < 10:
            continue
        drift = statistic(lambda pick, x=first, y=second, z=third: float((y - z)[pick].mean() / x.std()), len(first))
        spread = statistic(lambda pick, x=first, y=second: float(y[pick].std() / x[pick].std()), len(first))
        rows.append((f"drift of {name}, sd", f"{shown(drift)}, spread x {shown(spread)}, n = {len(first)}", "0.2"))
    return table("Attributes", rows)


def codes_of(name: str, collection: Collection) -> NDArray[np.int64]:
    """Codes of a category, (N,), -1 where nothing reads it."""
    if name == "age_group":
        years = collection.readings.get("perceived_age")
        if years is None:
            return np.full(len(collection.paths), -1)
        return np.array([age_group(v) if np.isfinite(v) else -1 for v in years.values.astype(float)], np.int64)
    reading = collection.readings.get(name)
    return np.full(len(collection.paths), -1) if reading is None else reading.values.astype(np.int64)


def readout_lines(before: Collection, ratings: Path) -> list[str]:
    """What the audit's estimators read on the originals against human ratings."""
    rated = {row["stimulus"]: row for row in csv.DictReader(ratings.open())}
    rows = []
    for name, column in RATED.items():
        reading = before.readings.get(name)
        if reading is None:
            continue
        human = np.array([float(rated[path.stem][column]) for path in before.paths])
        values = reading.values.astype(np.float64)
        known = np.isfinite(values)
        x, y = values[known], human[known]
        r = statistic(lambda pick, x=x, y=y: float(abs(np.corrcoef(x[pick], y[pick])[0, 1])), len(x))
        rows.append((f"{name} against rated {column}: |r|", f"{shown(r)}, n = {len(x)}", "0.75"))
    return table("Read-outs against people", rows) if rows else []
