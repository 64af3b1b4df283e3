"""How far the beautification index means what it says: retouching of known direction and dose, and people's ratings.

usage: python scripts/audit_beauty.py [--renders FOLDER] [--n 60] [--rated 251] [--work FOLDER]
Portraits with ratings.csv as for bench_audit.py; FOLDER holds renders (*.png), one face each. Writes the section
``audit-beauty`` of docs/benchmarks.md. The index's weights are those of configs/audit.yaml, set by hand before any
rating was looked at; the fitted ones are cross-fitted and stand beside for comparison only.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import audit_plants as plants
import audit_proofs as proofs
import cv2
import numpy as np
from bench import machine, write_section
from bench_audit import COMMIT
from numpy.typing import NDArray
from scipy.stats import spearmanr

from understudy.audit.aligned import align
from understudy.audit.beautification import PARTS, WEIGHTS, beautification_index, measure, small_face
from understudy.audit.faces import PictureFaces, read_picture
from understudy.audit.run import AuditJob
from understudy.config.audit import build_audit
from understudy.config.compose import compose_config
from understudy.config.read import read
from understudy.config.schema import Audit

View = NDArray[np.uint8]
FOLDS, RIDGE, N_BOOT = 10, 30.0, 2000
"""Of the fitted weights: folds over people, and ridge penalty on standardised parts."""


def job() -> AuditJob:
    """A detector, dlib's network and the default estimators."""
    overrides = ["before=none", "after=none", "output=none", "attacker=[dlib]", "second=none"]
    return build_audit(read(compose_config("audit", overrides), Audit, "audit"))


def warped(view: View, source: Callable[[NDArray[np.float64], NDArray[np.float64]], tuple[object, object]]) -> View:
    """The picture with each pixel taken from where ``source`` says."""
    ys, xs = np.mgrid[: view.shape[0], : view.shape[1]].astype(np.float64)
    x, y = source(xs, ys)
    x, y = np.asarray(x, np.float32), np.asarray(y, np.float32)
    return np.asarray(cv2.remap(view, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT), np.uint8)


def reach(points: NDArray[np.float64]) -> float:
    """Distance between the eyes, px."""
    return float(np.linalg.norm(points[1] - points[0]))


def smooth(view: View, faces: PictureFaces, dose: float) -> View:
    """Skin smoothed (over 0) or made rough (under 0)."""
    if dose >= 0:
        return mix(view, plants.smooth(view, faces), dose)
    rng = np.random.default_rng(0)
    grain = cv2.GaussianBlur(rng.normal(size=view.shape[:2]), (0, 0), 1.0)
    rough = view + (12 / grain.std() * grain)[..., None] * plants.soft(plants.bare_mask(faces), 3.0)
    return mix(view, np.clip(rough, 0, 255).astype(np.uint8), -dose)


def even(view: View, faces: PictureFaces, dose: float) -> View:
    """Blotches of the skin taken away, or added."""
    near = reach(faces.keypoints[0])
    mask = plants.soft(plants.bare_mask(faces), 3.0)
    whole, weight = view.astype(np.float64), mask.astype(np.float64)

    def skin_mean(sigma: float) -> NDArray[np.float64]:
        """Of the skin around each pixel, eyes, mouth and surroundings left out."""
        parts = cv2.GaussianBlur(whole * weight, (0, 0), sigma * near)
        return np.asarray(
            parts / np.maximum(cv2.GaussianBlur(weight, (0, 0), sigma * near)[..., None], 1e-3), np.float64
        )

    blotches = skin_mean(0.06) - skin_mean(0.25)
    if dose < 0:
        rng = np.random.default_rng(1)
        spots = cv2.GaussianBlur(rng.normal(size=view.shape[:2]), (0, 0), 0.1 * near)
        blotches = (9 / spots.std() * spots)[..., None] * np.array([1.0, -0.6, -0.6])
    return np.clip(whole - dose * blotches * mask, 0, 255).astype(np.uint8)


def slim(view: View, faces: PictureFaces, dose: float) -> View:
    """The lower face narrower, or wider: by 10 % at a dose of 1."""
    points = faces.keypoints[0]
    near, (mx, my) = reach(points), points.mean(axis=0)

    def source(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[object, object]:
        low = np.clip((y - points[:2, 1].mean()) / near, 0, 1) * np.exp(-(((y - my) / (2.2 * near)) ** 4))
        wide = np.exp(-(((x - mx) / (1.6 * near)) ** 4))
        return mx + (x - mx) * (1 + 0.10 * dose * low * wide), y

    return warped(view, source)


def eyes(view: View, faces: PictureFaces, dose: float) -> View:
    """Eyes larger, or smaller: by 15 % at a dose of 1."""
    points = faces.keypoints[0]
    sigma = 0.33 * reach(points)

    def source(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[object, object]:
        dx, dy = np.zeros_like(x), np.zeros_like(y)
        for ex, ey in points[:2]:
            near = np.exp(-((((x - ex) ** 2 + (y - ey) ** 2) / sigma**2) ** 2))
            dx, dy = dx + near * (x - ex), dy + near * (y - ey)
        return x - 0.15 * dose * dx, y - 0.15 * dose * dy

    return warped(view, source)


def mix(a: View, b: View, share: float) -> View:
    """So much of the second picture."""
    return np.clip(np.round((1 - share) * a.astype(np.float64) + share * b), 0, 255).astype(np.uint8)


EDITS: dict[str, tuple[Callable[[View, PictureFaces, float], View], str]] = {
    "skin smoothed": (smooth, "skin_smoothness"),
    "skin evened": (even, "skin_evenness"),
    "lower face slimmed": (slim, "slimness"),
    "eyes enlarged": (eyes, "eye_size"),
}
DOSES = (-1.0, -0.5, 0.0, 0.5, 1.0)


def retouched(view: View, faces: PictureFaces, dose: float) -> View:
    """All edits at once."""
    for edit, _ in EDITS.values():
        view = edit(view, faces, dose)
    return view


def parts_of(view: View, points: NDArray[np.float64], mean: NDArray[np.float64] | None, age: float) -> dict[str, float]:
    """Parts of a face at known keypoints."""
    return measure(align(view, points), mean, age)


def levels(pictures: Sequence[tuple[View, PictureFaces]]) -> tuple[dict[str, NDArray[np.float64]], float]:
    """By edit, (N, doses) index of each face at each dose; and the share whose three levels of all rank in order."""
    small = [small_face(f) for v, faces in pictures if (f := align(v, faces.keypoints[0])) is not None]
    mean = np.mean(small, axis=0)
    before = [parts_of(v, faces.keypoints[0], mean, np.nan) for v, faces in pictures]
    found = {}
    for name, edit in [*((n, e) for n, (e, _) in EDITS.items()), ("all four", retouched)]:
        columns = []
        for dose in DOSES:
            edited = [v if dose == 0 else edit(v, faces, dose) for v, faces in pictures]
            jpegs = [decoded(picture) for picture in edited]
            after = [parts_of(v, f.keypoints[0], mean, np.nan) for v, (_, f) in zip(jpegs, pictures, strict=True)]
            columns.append(beautification_index(before, after).index)
        found[name] = np.stack(columns, axis=1)
    three = found["all four"][:, [0, 2, 4]]
    return found, float(np.mean((np.diff(three, axis=1) > 0).all(axis=1)))


def decoded(view: View) -> View:
    """The picture after a JPEG of quality 92, as a collection would hold it."""
    _, packed = cv2.imencode(".jpg", np.ascontiguousarray(view[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, 92])
    return np.ascontiguousarray(np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)[..., ::-1])


def dose_table(found: dict[str, NDArray[np.float64]]) -> str:
    """As Markdown: mean index at each dose, and the share of faces in which each step of the dose raised it."""
    lines = [
        "| edit | " + " | ".join(f"{dose:+g}" for dose in DOSES) + " | -1 < 0 < +1 | every step up |",
        "|---|" + "---|" * (len(DOSES) + 2),
    ]
    for name, index in found.items():
        known = index[np.isfinite(index).all(axis=1)]
        cells = [f"{v:+.2f}" for v in known.mean(axis=0)]
        three = (np.diff(known[:, [0, 2, 4]], axis=1) > 0).all(axis=1).mean()
        every = (np.diff(known, axis=1) > 0).all(axis=1).mean()
        lines.append(f"| {name} | {' | '.join(cells)} | {100 * three:.0f} % | {100 * every:.0f} % |")
    return "\n".join(lines)


def rated(n: int, made: AuditJob) -> str:
    """Correlation with how attractive people rated the portraits, by hand weights and by cross-fitted ones."""
    sources = proofs.portraits(n)
    with (sources[0].parent / "ratings.csv").open(newline="") as lines:
        ratings = {f"{row['stimulus']}.jpg": float(row["attractive"]) for row in csv.DictReader(lines)}
    rows, smalls, target = [], [], []
    for path in sources:
        faces = read_picture(proofs.view_of(path), made.readers)
        if len(faces):
            rows.append(faces.parts[0])
            smalls.append(faces.small[0].astype(np.float64))
            target.append(ratings[path.name])
    values, small, y = np.array(rows), np.array(smalls), np.array(target)
    mean = np.nanmean(small, axis=0)
    values[:, list(PARTS).index("averageness")] = small @ mean / np.linalg.norm(mean)
    centre = np.nanmedian(values, axis=0)
    names = list(PARTS)
    told = [dict(zip(names, row, strict=True)) for row in values.tolist()]
    everybody = [dict(zip(names, centre.tolist(), strict=True))] * len(told)
    spread = {k: float(1.4826 * np.nanmedian(np.abs(values[:, i] - centre[i]))) for i, k in enumerate(names)}
    ageless = {name: weight for name, weight in WEIGHTS.items() if name != "youth"}
    scores = {
        "weights of the config": beautification_index(everybody, told, WEIGHTS, spread).index,
        "the same without perceived age": beautification_index(everybody, told, ageless, spread).index,
        f"ridge, cross-fitted over {FOLDS} folds": crossfit(
            np.nan_to_num((values - centre) / list(spread.values())), y
        ),
    }
    lines = ["| score of a portrait | Spearman with rated attractiveness | 95 % interval |", "|---|---|---|"]
    for name, score in scores.items():
        low, high = interval(score, y)
        lines.append(f"| {name} | {spearmanr(score, y, nan_policy='omit').statistic:.2f} | {low:.2f} to {high:.2f} |")
    return f"{len(y)} portraits.\n\n" + "\n".join(lines)


def crossfit(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Score of each row by weights fitted on the other folds."""
    fold = np.random.default_rng(0).permutation(len(y)) % FOLDS
    found = np.zeros(len(y))
    for k in range(FOLDS):
        a, b = x[fold != k], y[fold != k]
        a0, b0 = a.mean(axis=0), b.mean()
        weight = np.linalg.solve((a - a0).T @ (a - a0) + RIDGE * np.eye(x.shape[1]), (a - a0).T @ (b - b0))
        found[fold == k] = (x[fold == k] - a0) @ weight + b0
    return found


def interval(score: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float]:
    """Percentile bootstrap over portraits."""
    known = np.isfinite(score)
    score, y = score[known], y[known]
    rng = np.random.default_rng(0)
    draws = [rng.integers(0, len(y), len(y)) for _ in range(N_BOOT)]
    low, high = np.quantile([spearmanr(score[d], y[d]).statistic for d in draws], [0.025, 0.975])
    return float(low), float(high)


def one_face(paths: Sequence[Path], made: AuditJob) -> list[tuple[View, PictureFaces]]:
    """Pictures with one face whose keypoints are known."""
    found = []
    for path in paths:
        view = proofs.view_of(path)
        faces = read_picture(view, made.readers)
        if len(faces) == 1 and np.isfinite(faces.keypoints).all():
            found.append((view, faces))
    return found


def section(given: argparse.Namespace) -> str:
    """As Markdown."""
    made = job()
    text = (
        "Every face is retouched by known edits at doses from -1 (rough, blotchy, wide, small eyes) to +1 (smooth, "
        "even, slim, large eyes), and saved as JPEG of quality 92; the figures are the mean index (spreads between "
        "people; perceived age left out) and the share of faces whose levels rank in order.\n"
    )
    kinds = [("portraits", proofs.portraits(given.n))]
    if given.renders is not None:
        kinds.append(("renders", sorted(given.renders.glob("*.png"))))
    for name, paths in kinds:
        pictures = one_face(paths, made)
        found, in_order = levels(pictures)
        text += f"\n{len(pictures)} {name}; all four edits at three levels rank in order on {100 * in_order:.0f} %:\n\n"
        text += dose_table(found) + "\n"
    text += f"\nNatural differences, rated by people: {rated(given.rated, made)}\n\n"
    return text + f"Made by `python scripts/audit_beauty.py` at commit {COMMIT}; {machine()}."


def main() -> None:
    """Read, count, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--renders", type=Path)
    parser.add_argument("--n", type=int, default=60, help="portraits that are retouched")
    parser.add_argument("--rated", type=int, default=251, help="portraits whose ratings are compared")
    cv2.setNumThreads(1)
    write_section("audit-beauty", section(parser.parse_args()))


if __name__ == "__main__":
    main()
