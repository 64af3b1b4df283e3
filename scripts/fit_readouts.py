"""Fit the audit's linear read-outs on labelled renders, and write them as one ONNX file.

usage: fit_readouts.py LABELS.jsonl... --output models/understudy-readouts --work WORK

A line of the labels holds file, face_xyxy and the renderer's own labels, as `make render` or scripts/index_people.py
write them. Every render is seen twice: as it is, at CenterFace's keypoints, and varied and mirrored, at MTCNN's; where
one of them finds no face, at the other's twice, and a render in which neither does is left out. So are heads with a
medical mask. Features are kept in WORK/features.npz.

Ridge regression in which every file of labels counts the same, and in it every head, whatever its number of views: one
file for each look of the renderer. The strengths below and the choice of
layers were made by r with people's ratings on the even half of 251 portraits, which took no part in fitting.
Leave-head-out figures (ten folds) stretch the shrunk estimates back, and are printed, of each file of labels too.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from understudy.audit.estimators_readouts import COLUMNS, INPUTS, colour_angle
from understudy.detect.base import Detector
from understudy.detect.centerface import CenterFace
from understudy.detect.mtcnn import Mtcnn
from understudy.detect.overlap import pairwise_iou
from understudy.embed.dlib_chip import aligned_chip, is_frontal
from understudy.embed.dlib_features import N_COARSE, N_FINE, N_LAST, N_MIDDLE, DlibFeatures
from understudy.train.probe import FLAGS, NUMBERS
from understudy.train.probe_bank import ITA_OF_LIGHTEST, ITA_PER_TONE, Truth, truth_of

RIDGE = {"age": 10.0, "femininity": 100.0, "darkness": 3.0, "smile": 10.0, "glasses": 1.0, "beard": 1.0}
EXPRESSION_RIDGE = 3.0
"""Over the mean eigenvalue of the kernel."""
READ_FROM = {"age": ("middle",), "femininity": ("last",), "darkness": ("coarse", "tone")}
OTHERS_FROM = ("fine",)
SIZES = {"fine": N_FINE, "middle": N_MIDDLE, "coarse": N_COARSE, "last": N_LAST, "tone": 1}
N_FOLDS, MIN_IOU = 10, 0.3
Face = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Box and keypoints."""


def vary(view: NDArray[np.uint8], keypoints: NDArray[np.float64], rng: np.random.Generator) -> tuple:
    """Another light, saturation and sharpness, and keypoints a little off."""
    value = (view.astype(np.float32) / 255).clip(1e-3, 1) ** np.exp(rng.normal(0, 0.3) - 0.15)
    value = value * np.exp(rng.normal(0, 0.06, 3))
    grey = value.mean(axis=2, keepdims=True)
    value = grey + (value - grey) * rng.uniform(0.5, 1.3)
    seen = np.clip(value * 255, 0, 255).astype(np.uint8)
    if rng.random() < 0.5:
        height, width = seen.shape[:2]
        share = rng.uniform(0.4, 1)
        small = cv2.resize(seen, (int(width * share), int(height * share)), interpolation=cv2.INTER_AREA)
        seen = np.asarray(cv2.resize(small, (width, height)), np.uint8)
    down = keypoints[3:].mean(axis=0) - keypoints[:2].mean(axis=0)
    reach = np.hypot(*(keypoints[1] - keypoints[0])) + np.hypot(*down)
    return seen, keypoints + rng.normal(0, 0.015 * reach, keypoints.shape)


def face_at(detector: Detector, view: NDArray[np.uint8], place: NDArray[np.float64]) -> Face | None:
    """The face that lies where one was rendered."""
    found = detector(view)
    overlap = pairwise_iou(np.asarray(found.xyxy, np.float64).reshape(-1, 4), place[None])[:, 0]
    best = int(np.argmax(overlap)) if len(overlap) else -1
    if best < 0 or overlap[best] < MIN_IOU or not is_frontal(found.keypoints[best], np.ones(5)):
        return None
    return np.asarray(found.xyxy[best], np.float64), np.asarray(found.keypoints[best], np.float64)


def seen(row: dict, detectors: Sequence[Detector], network: DlibFeatures, rng: np.random.Generator) -> list | None:
    """Features of a render in the order of ``INPUTS``: mean of the plain one and of a varied mirror image."""
    view, shown = np.asarray(Image.open(row["file"]).convert("RGB")), np.ones(5)
    faces = [f for d in detectors if (f := face_at(d, view, np.asarray(row["face_xyxy"], np.float64))) is not None]
    if not faces:
        return None
    varied, moved = vary(view, faces[-1][1], rng)
    pair = np.stack([aligned_chip(view, faces[0][1], shown), aligned_chip(varied, moved, shown)[:, ::-1]])
    found = network.of_pairs(pair[None])
    angles = [colour_angle(view, *faces[0], shown), colour_angle(varied, faces[-1][0], moved, shown)]
    if not np.isfinite(angles).any():
        return None
    return [*(getattr(found, name)[0] for name in INPUTS[:-1]), np.array([np.nanmean(angles)])]


def features_of(rows: Sequence[dict], work: Path) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.int64]]:
    """Features of the rows in which a face is found, and which these are; those of an earlier run are read again."""
    store = work / "features.npz"
    known: dict[str, list | None] = {}
    if store.exists():
        with np.load(store) as old:
            blocks = [old[name] for name in INPUTS]
            known = {str(f): [b[i] for b in blocks] for i, f in enumerate(old["files"])}
            known |= {str(f): None for f in old["without"]}
    network, detectors = DlibFeatures(), (CenterFace(), Mtcnn(threshold=0.8, min_face_px=14))
    for i, row in enumerate(rows):
        if str(row["file"]) not in known:
            known[str(row["file"])] = seen(row, detectors, network, np.random.default_rng([1, i]))
    files = [str(row["file"]) for row in rows]
    kept = np.array([i for i, file in enumerate(files) if known[file] is not None])
    found = {name: np.array([known[files[i]][k] for i in kept], np.float16) for k, name in enumerate(INPUTS)}
    work.mkdir(parents=True, exist_ok=True)
    without = [file for file in files if known[file] is None]
    np.savez(store, files=[files[i] for i in kept], without=np.array(without, np.str_), **found)
    return {name: block.astype(np.float64) for name, block in found.items()}, kept


def column(truths: Sequence[Truth], name: str) -> NDArray[np.float64]:
    """What a read-out should say of every row; NaN = not known."""
    numbers = np.array([t.numbers for t in truths])
    codes = np.array([t.expression for t in truths])
    if name in FLAGS:
        return np.array([t.flags[FLAGS.index(name)] for t in truths])
    if name == "age":
        return numbers[:, NUMBERS.index("age")]
    if name == "femininity":
        return numbers[:, NUMBERS.index("gender_expression")]
    if name == "darkness":
        return (numbers[:, NUMBERS.index("ita")] - ITA_OF_LIGHTEST) / ITA_PER_TONE
    wanted = {"smile": (1, 2)}.get(name) or (COLUMNS.index(name) - len(COLUMNS) + 4,)
    value = np.isin(codes, wanted).astype(float)
    if name == "smile":
        value[codes == 1] = 0.5  # a smile that shows teeth is the larger one
    return np.where(codes < 0, np.nan, value)


class Ridge:
    """Ridge regression in the dual, where one decomposition serves every strength and target."""

    def __init__(self, features: NDArray[np.float64], weights: NDArray[np.float64]) -> None:
        self.features, self.roots = features, np.sqrt(weights / weights.mean())
        kernel = self.roots[:, None] * (features @ features.T) * self.roots
        self.values, self.vectors = np.linalg.eigh(kernel)

    def solve(self, target: NDArray[np.float64], strength: float) -> tuple[NDArray[np.float64], float]:
        """Coefficients and constant."""
        mean = float(np.average(target, weights=self.roots**2))
        dual = self.vectors.T @ (self.roots * (target - mean)) / (self.values + strength * self.values.mean())
        return self.features.T @ (self.roots * (self.vectors @ dual)), mean


def standardised(blocks: dict[str, NDArray[np.float64]], names: Sequence[str]) -> tuple:
    """Blocks side by side, each of mean 0 and of one total variance; with what undoes it."""
    parts, shifts, scales = [], [], []
    for name in names:
        block = blocks[name]
        shift, scale = block.mean(axis=0), block.std(axis=0) + 1e-3 * block.std() + 1e-6
        scale = scale * np.sqrt(block.shape[1])
        parts.append((block - shift) / scale)
        shifts.append(shift)
        scales.append(scale)
    return np.concatenate(parts, axis=1), np.concatenate(shifts), np.concatenate(scales)


def sources_of(name: str) -> tuple[str, ...]:
    """Which blocks a column is read from."""
    return READ_FROM.get(name, OTHERS_FROM)


def fit(
    blocks: dict[str, NDArray[np.float64]],
    truths: Sequence[Truth],
    heads: NDArray[np.int64],
    share: NDArray[np.float64],
) -> tuple[dict[str, tuple[NDArray[np.float64], float]], dict[str, NDArray[np.float64]]]:
    """Coefficients with a constant, and leave-head-out estimates, by column."""
    fold = np.random.default_rng(0).permutation(heads.max() + 1)[heads] % N_FOLDS
    answer, estimates = {}, {}
    for names in dict.fromkeys(sources_of(name) for name in COLUMNS):
        features, shift, scale = standardised(blocks, names)
        whole = Ridge(features, share)
        parts = [Ridge(features[fold != k], share[fold != k]) for k in range(N_FOLDS)]
        for name in COLUMNS:
            if sources_of(name) != names:
                continue
            target, strength = column(truths, name), RIDGE.get(name, EXPRESSION_RIDGE)
            left_out = np.zeros(len(target))
            for k, part in enumerate(parts):
                coefficients, constant = part.solve(target[fold != k], strength)
                left_out[fold == k] = features[fold == k] @ coefficients + constant
            slope, offset = np.polyfit(left_out, target, 1, w=np.sqrt(share))
            coefficients, constant = whole.solve(target, strength)
            coefficients = slope * coefficients / scale
            answer[name] = coefficients, float(slope * constant + offset - coefficients @ shift)
            estimates[name] = slope * left_out + offset
    return answer, estimates


def figures_of(
    estimates: dict[str, NDArray[np.float64]], truths: Sequence[Truth], share: NDArray[np.float64]
) -> dict[str, object]:
    """r and mean absolute error by column, and how many expressions are named rightly; every head counts once."""
    found: dict[str, object] = {}
    for name, value in estimates.items():
        target = column(truths, name)
        error = np.average(np.abs(value - target), weights=share)
        found[name] = {
            "r": round(float(np.corrcoef(value, target)[0, 1]), 3),
            "mean_absolute_error": round(float(error), 3),
        }
    named = np.argmax([estimates[name] for name in COLUMNS[-4:]], axis=0)
    codes = np.array([t.expression for t in truths])
    table = [[int(((codes == a) & (named == b)).sum()) for b in range(4)] for a in range(4)]
    return {
        **found,
        "expression_named": round(float(np.average(codes == named, weights=share)), 3),
        "rendered_and_named": table,
    }


def write(answer: dict[str, tuple[NDArray[np.float64], float]], path: Path) -> None:
    """One graph: columns that are read from the same blocks are one sum of products, and stand side by side."""
    nodes, constants, outputs = [], [], []
    for names in dict.fromkeys(sources_of(name) for name in COLUMNS):
        columns = [name for name in COLUMNS if sources_of(name) == names]
        matrix = np.stack([answer[name][0] for name in columns], axis=1).astype(np.float32)
        label, at, parts = columns[0], 0, []
        for block in names:
            constants.append(numpy_helper.from_array(matrix[at : at + SIZES[block]], f"{label}_{block}"))
            nodes.append(helper.make_node("MatMul", [block, f"{label}_{block}"], [f"{label}_of_{block}"]))
            parts.append(f"{label}_of_{block}")
            at += SIZES[block]
        constant = np.array([answer[name][1] for name in columns], np.float32)
        constants.append(numpy_helper.from_array(constant, f"{label}_constant"))
        nodes.append(helper.make_node("Sum", [*parts, f"{label}_constant"], [f"{label}_readings"]))
        outputs.append(f"{label}_readings")
    nodes.append(helper.make_node("Concat", outputs, ["readings"], axis=1))
    graph = helper.make_graph(
        nodes,
        "readouts",
        [helper.make_tensor_value_info(k, TensorProto.FLOAT, ["n", size]) for k, size in SIZES.items()],
        [helper.make_tensor_value_info("readings", TensorProto.FLOAT, ["n", len(COLUMNS)])],
        constants,
    )
    model = helper.make_model(
        graph, producer_name="understudy", opset_imports=[helper.make_opsetid("", 13)], ir_version=8
    )
    onnx.checker.check_model(model, full_check=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(path))


def main() -> None:
    """Fit as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labels", type=Path, nargs="+")
    parser.add_argument("--output", required=True, type=Path)
    parser.add_argument("--work", required=True, type=Path)
    args = parser.parse_args()
    rows = []
    for path in args.labels:
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        own = [{**row, "file": path.parent / row["file"], "labels": path} for row in lines]
        rows += [row for row in own if row.get("worn") != "medical_mask"]
    blocks, kept = features_of(rows, args.work)
    rows = [rows[i] for i in kept]
    subjects = [f"{row['labels']}:{row.get('subject', row['file'])}" for row in rows]
    names = list(dict.fromkeys(subjects))
    heads = np.array([names.index(subject) for subject in subjects])
    share, truths = 1 / np.bincount(heads)[heads], [truth_of(row) for row in rows]
    for path in args.labels:
        of = np.array([row["labels"] == path for row in rows])
        share[of] /= share[of].sum()
    answer, estimates = fit(blocks, truths, heads, share)
    write(answer, args.output / "readouts.onnx")
    found: dict[str, object] = {
        "all": {"pictures": len(rows), "heads": len(names), **figures_of(estimates, truths, share)}
    }
    for path in args.labels:
        of = np.flatnonzero([row["labels"] == path for row in rows])
        own = figures_of({k: v[of] for k, v in estimates.items()}, [truths[i] for i in of], share[of])
        found[str(path)] = {"pictures": len(of), "heads": len(set(heads[of])), **own}
    (args.work / "figures.json").write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
