"""Compare what the estimators read with what people said: Pearson r against human ratings of synthetic portraits.

usage: check_readings.py FOLDER [--half even|odd] [--limit N] [--output FIGURES.json]

FOLDER holds ratings.csv (stimulus, age, gender, happy, skin-color; 0 to 100) and STIMULUS.jpg. Validating only: choices
are made on the even half (every second row, from the first), figures are reported on the odd one. Intervals are 95 %
percentile intervals of a bootstrap over portraits (2,000 draws, seed 0). Faces are found by CenterFace.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from understudy.attributes.skin_tone import measure_ita, measure_tone_deg
from understudy.audit.estimators import Estimator, Reading, SkinToneEstimator
from understudy.audit.estimators_probe import ProbeEstimator
from understudy.audit.estimators_readouts import ReadoutEstimator
from understudy.detect.centerface import CenterFace

PAIRS = {
    "perceived_age": "age",
    "perceived_femininity": "feminine",
    "perceived_darkness": "skin-color",
    "smile": "happy",
    "ita": "lightness",
    "patch_ita": "lightness",
    "policy_tone": "lightness",
    "probe_perceived_age": "age",
    "probe_perceived_gender_expression": "feminine",
    "probe_ita": "lightness",
    "probe_smile": "happy",
}
"""A reading, and the rating that it should follow; feminine is 100 - gender, lightness 100 - skin-color. ``ita`` is the
audit's, of the whole face; ``patch_ita`` that of cheeks and forehead; ``policy_tone`` is what the policy measures."""
N_BOOT = 2000


def correlation(x: NDArray[np.float64], y: NDArray[np.float64]) -> dict[str, object]:
    """Pearson r with its interval, over rows where both are known."""
    known = np.isfinite(x) & np.isfinite(y)
    x, y = x[known], y[known]
    drawn = np.random.default_rng(0).integers(0, len(x), (N_BOOT, len(x)))
    values = [np.corrcoef(x[rows], y[rows])[0, 1] for rows in drawn]
    low, high = np.percentile(values, [2.5, 97.5])
    r = np.corrcoef(x, y)[0, 1]
    return {"r": round(float(r), 3), "interval": [round(float(low), 3), round(float(high), 3)], "n": len(x)}


def read_faces(rows: list[dict[str, str]], folder: Path) -> dict[str, Reading]:
    """Readings of the most confident face of every portrait, by name."""
    detector = CenterFace()
    views, faces = [], []
    for row in rows:
        view = np.asarray(Image.open(folder / f"{row['stimulus']}.jpg").convert("RGB"))
        found = detector(view)
        best = int(np.argmax(found.confidence)) if len(found) else -1
        nothing = (np.array([0.0, 0, *view.shape[1::-1]]), np.zeros((5, 2)), np.zeros(5))
        faces.append(nothing if best < 0 else (found.xyxy[best], found.keypoints[best], found.visibility[best]))
        views.append(view)
    boxes, points, shown = (np.stack(column) for column in zip(*faces, strict=True))
    estimators: tuple[Estimator, ...] = (SkinToneEstimator(), ReadoutEstimator(), ProbeEstimator())
    readings = {r.name: r for e in estimators for r in e.read(views, boxes, points, shown, None)}
    for name, measure in (("patch_ita", measure_ita), ("policy_tone", measure_tone_deg)):
        angles = [measure(*face) for face in zip(views, boxes, points, shown, strict=True)]
        readings[name] = Reading.numbers(name, "degrees", angles)
    probe = estimators[-1]
    if isinstance(probe, ProbeEstimator):
        found = [probe.probe.read(*face).expression for face in zip(views, boxes, points, shown, strict=True)]
        smiles = np.array([0.5 * e[1] + e[2] for e in found])
        readings["probe_smile"] = Reading.numbers("probe_smile", "0 to 1", smiles)
    return readings


def main() -> None:
    """Compare as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--half", choices=["even", "odd"], default="even")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    with (args.folder / "ratings.csv").open(newline="") as file:
        rows = [row for i, row in enumerate(csv.DictReader(file)) if i % 2 == (args.half == "odd")][: args.limit]
    ratings = {key: np.array([float(row[key]) for row in rows]) for key in ("age", "gender", "happy", "skin-color")}
    ratings |= {"feminine": 100 - ratings["gender"], "lightness": 100 - ratings["skin-color"]}
    readings = read_faces(rows, args.folder)
    found: dict[str, object] = {"half": args.half, "portraits": len(rows)}
    for name, rating in PAIRS.items():
        found[name] = {"rating": rating, **correlation(np.asarray(readings[name].values, np.float64), ratings[rating])}
    for name in ("perceived_age", "probe_perceived_age"):
        error = np.asarray(readings[name].values, np.float64) - ratings["age"]
        found[f"{name}_error"] = {
            "mean": round(float(np.nanmean(error)), 1),
            "mean_absolute": round(float(np.nanmean(np.abs(error))), 1),
        }
    if args.output is not None:
        args.output.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
