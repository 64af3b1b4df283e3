"""Compare what the estimators read with what people said: Pearson r against human ratings of synthetic portraits.

usage: check_readings.py FOLDER [--half even|odd] [--keypoints centerface|mtcnn] [--paint] [--limit N] [--output FILE]
       check_readings.py --renders LABELS.jsonl [--keypoints centerface|mtcnn] [--limit N] [--output FILE]

FOLDER holds ratings.csv (stimulus, age, gender, happy, skin-color; 0 to 100) and STIMULUS.jpg. Validating only: choices
are made on the even half (every second row, from the first), figures are reported on the odd one. Intervals are 95 %
percentile intervals of a bootstrap over portraits (2,000 draws, seed 0). Faces are found by CenterFace, or by MTCNN as
the bench of the generator uses it (at 0.9; where it finds nothing, the face is not read).

--paint reads every portrait once more with its skin painted in one colour, light and dark: what a reading loses is what
it had from the colour of skin, what it keeps is form. --renders does the same with labelled renders in place of the
portraits, against their melanin, and counts how their expressions are named.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from understudy.attributes.bins import age_group
from understudy.attributes.skin_tone import measure_face_lab, measure_ita, measure_tone_deg
from understudy.audit.estimators import Estimator, Reading, SkinToneEstimator
from understudy.audit.estimators_probe import ProbeEstimator
from understudy.audit.estimators_readouts import ReadoutEstimator
from understudy.audit.statistics import clopper_pearson
from understudy.detect.base import Detector
from understudy.detect.centerface import CenterFace
from understudy.detect.mtcnn import Mtcnn
from understudy.train.probe_bank import truth_of

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
PAINTS = {"light": (81.5, 9.2, 15.5), "dark": (48.5, 16.0, 25.0)}
PAINT_REACH = 15.0
"""CIELAB distance from the skin's colour, lightness at half its weight, at which a pixel is painted by exp(-1/2)."""
Faces = tuple[list[NDArray[np.uint8]], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]
"""Views, boxes (N, 4), keypoints (N, 5, 2) and visibility (N, 5); 0 where no face is found."""


def correlation(x: NDArray[np.float64], y: NDArray[np.float64]) -> dict[str, object]:
    """Pearson r with its interval, over rows where both are known."""
    known = np.isfinite(x) & np.isfinite(y)
    x, y = x[known], y[known]
    drawn = np.random.default_rng(0).integers(0, len(x), (N_BOOT, len(x)))
    values = [np.corrcoef(x[rows], y[rows])[0, 1] for rows in drawn]
    low, high = np.percentile(values, [2.5, 97.5])
    r = np.corrcoef(x, y)[0, 1]
    return {"r": round(float(r), 3), "interval": [round(float(low), 3), round(float(high), 3)], "n": len(x)}


def detector_of(name: str) -> tuple[Detector, float]:
    """A detector, and the confidence from which its faces count."""
    return (Mtcnn(threshold=0.8, min_face_px=14), 0.9) if name == "mtcnn" else (CenterFace(), 0.0)


def find_faces(paths: list[Path], keypoints: str) -> Faces:
    """The most confident face of every picture."""
    detector, least = detector_of(keypoints)
    views, faces = [], []
    for path in paths:
        view = np.asarray(Image.open(path).convert("RGB"))
        found = detector(view)
        best = int(np.argmax(found.confidence)) if len(found) else -1
        if best >= 0 and found.confidence[best] < least:
            best = -1
        nothing = (np.array([0.0, 0, *view.shape[1::-1]]), np.zeros((5, 2)), np.zeros(5))
        faces.append(nothing if best < 0 else (found.xyxy[best], found.keypoints[best], found.visibility[best]))
        views.append(view)
    boxes, points, shown = (np.stack(column) for column in zip(*faces, strict=True))
    return views, boxes, points, shown


def group_figures(read: NDArray[np.float64], rated: NDArray[np.float64]) -> dict[str, object]:
    """How often the age group is the rated one, or that or one beside it, with Clopper-Pearson intervals."""
    known = np.isfinite(read)
    off = np.abs(np.array([age_group(a) - age_group(b) for a, b in zip(read[known], rated[known], strict=True)]))
    shares = {"group_right": off == 0, "within_one_group": off <= 1}
    found: dict[str, object] = {}
    for name, hits in shares.items():
        share = clopper_pearson(int(hits.sum()), len(hits))
        found[name] = [round(v, 3) for v in (share.value, share.low, share.high)]
    return found


def read_faces(faces: Faces) -> dict[str, Reading]:
    """Readings of every face, by name."""
    views, boxes, points, shown = faces
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


def painted(
    view: NDArray[np.uint8],
    xyxy: NDArray[np.float64],
    keypoints: NDArray[np.float64],
    visibility: NDArray[np.float64],
    lab: tuple[float, float, float],
) -> NDArray[np.uint8]:
    """The picture with the face's skin moved to a CIELAB colour; shading and features stay where they were."""
    skin = measure_face_lab(view, xyxy, keypoints, visibility)
    if not np.isfinite(skin).all():
        return view
    value = cv2.cvtColor(view.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    away = (value - skin) * np.array([0.5, 1, 1])
    weight = np.exp(-((away**2).sum(axis=2)) / (2 * PAINT_REACH**2))
    moved = (value + weight[..., None] * (np.array(lab) - skin)).astype(np.float32)
    return np.asarray(np.clip(cv2.cvtColor(moved, cv2.COLOR_LAB2RGB) * 255 + 0.5, 0, 255), np.uint8)


def paint_figures(faces: Faces, truth: NDArray[np.float64]) -> dict[str, object]:
    """``perceived_darkness`` and ``ita`` of the faces as they are and painted: r with the truth, mean, mean change."""
    views, *places = faces
    kinds = {"as it is": views}
    for kind, lab in PAINTS.items():
        kinds[kind] = [painted(*face, lab) for face in zip(views, *places, strict=True)]
    plain: dict[str, NDArray[np.float64]] = {}
    found: dict[str, object] = {}
    estimators: tuple[Estimator, ...] = (SkinToneEstimator(), ReadoutEstimator())
    for kind, pictures in kinds.items():
        readings = {r.name: r for e in estimators for r in e.read(pictures, *places, None)}
        for name in ("perceived_darkness", "ita"):
            values = np.asarray(readings[name].values, np.float64)
            before = plain.setdefault(name, values)
            found[f"{name}, {kind}"] = {
                **correlation(values, truth),
                "mean": round(float(np.nanmean(values)), 3),
                "change_in_sd": round(float(np.nanmean(values - before) / np.nanstd(before)), 2),
            }
    return found


def check_renders(labels: Path, keypoints: str, limit: int | None) -> dict[str, object]:
    """What painting does to renders, against their melanin (0 light to 1 dark), and how expressions are named."""
    rows = [json.loads(line) for line in labels.read_text().splitlines()][:limit]
    faces = find_faces([labels.parent / row["file"] for row in rows], keypoints)
    melanin = np.array([row.get("melanin", row.get("tone", np.nan)) for row in rows], np.float64)
    readings = {r.name: r for r in ReadoutEstimator().read(*faces, None)}
    read = readings["expression"]
    truth = np.array([truth_of(row).expression for row in rows])
    table = {
        name: {other: int(((truth == i) & (read.values == j)).sum()) for j, other in enumerate(read.categories)}
        for i, name in enumerate(read.categories)
    }
    return {"renders": len(rows), "expression, rendered and read": table, **paint_figures(faces, melanin)}


def check_portraits(folder: Path, half: str, keypoints: str, paint: bool, limit: int | None) -> dict[str, object]:
    """r of every reading with people's ratings, the error of age, and what painting does."""
    with (folder / "ratings.csv").open(newline="") as file:
        rows = [row for i, row in enumerate(csv.DictReader(file)) if i % 2 == (half == "odd")][:limit]
    ratings = {key: np.array([float(row[key]) for row in rows]) for key in ("age", "gender", "happy", "skin-color")}
    ratings |= {"feminine": 100 - ratings["gender"], "lightness": 100 - ratings["skin-color"]}
    faces = find_faces([folder / f"{row['stimulus']}.jpg" for row in rows], keypoints)
    readings = read_faces(faces)
    found: dict[str, object] = {"half": half, "keypoints": keypoints, "portraits": len(rows)}
    for name, rating in PAIRS.items():
        found[name] = {"rating": rating, **correlation(np.asarray(readings[name].values, np.float64), ratings[rating])}
    for name in ("perceived_age", "probe_perceived_age"):
        error = np.asarray(readings[name].values, np.float64) - ratings["age"]
        found[f"{name}_error"] = {
            "mean": round(float(np.nanmean(error)), 1),
            "mean_absolute": round(float(np.nanmean(np.abs(error))), 1),
            **group_figures(np.asarray(readings[name].values, np.float64), ratings["age"]),
        }
    if paint:
        found["painted"] = paint_figures(faces, ratings["skin-color"])
    return found


def main() -> None:
    """Compare as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--half", choices=["even", "odd"], default="even")
    parser.add_argument("--keypoints", choices=["centerface", "mtcnn"], default="centerface")
    parser.add_argument("--paint", action="store_true")
    parser.add_argument("--renders", type=Path)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    if (args.folder is None) == (args.renders is None):
        parser.error("name a FOLDER of portraits, or --renders LABELS.jsonl")
    if args.renders is not None:
        found = check_renders(args.renders, args.keypoints, args.limit)
    else:
        found = check_portraits(args.folder, args.half, args.keypoints, args.paint, args.limit)
    if args.output is not None:
        args.output.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
