"""Fit the audit's linear read-outs on labelled renders, and write them as one ONNX file.

usage: fit_readouts.py LABELS.jsonl --output models/understudy-readouts --work WORK

A line of the labels holds file, subject, face_xyxy, keypoints and the renderer's own labels (scripts/index_people.py).
Ridge regression in which every head counts once, whatever its number of views. Features are kept in WORK/features.npz.
The strengths of the ridge below were chosen by scripts/check_readings.py on the even half of 251 rated portraits, which
took no part in fitting. Leave-head-out figures (ten folds) stretch the shrunk estimates back, and are printed.
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

from understudy.attributes.proportions import N_PROPORTIONS, proportions
from understudy.audit.estimators_readouts import COLUMNS
from understudy.embed.dlib_chip import aligned_chip
from understudy.embed.dlib_features import N_CHANNELS, N_GRID, DlibFeatures
from understudy.train.probe import FLAGS, NUMBERS
from understudy.train.probe_bank import ITA_OF_LIGHTEST, ITA_PER_TONE, Truth, truth_of

RIDGE = {"age": 100.0, "femininity": 10.0, "darkness": 1.5, "smile": 10.0, "glasses": 1.0, "beard": 1.0}
EXPRESSION_RIDGE = 10.0
"""Over the mean eigenvalue of the kernel."""
AGE_BLOCKS, OTHER_BLOCKS = ("channels", "proportions"), ("grid",)
SIZES = {"grid": N_GRID, "channels": N_CHANNELS, "proportions": N_PROPORTIONS}
N_FOLDS = 10


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


def pair_of(row: dict, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The chip of a render, and the mirror image of a varied one."""
    view = np.asarray(Image.open(row["file"]).convert("RGB"))
    keypoints, shown = np.asarray(row["keypoints"], np.float64), np.ones(5)
    return np.stack([aligned_chip(view, keypoints, shown), aligned_chip(*vary(view, keypoints, rng), shown)[:, ::-1]])


def features_of(rows: Sequence[dict], work: Path) -> dict[str, NDArray[np.float64]]:
    """Features of every row; those of an earlier run are read again."""
    store = work / "features.npz"
    known: dict[str, tuple] = {}
    if store.exists():
        with np.load(store) as old:
            known = {str(f): (g, c) for f, g, c in zip(old["files"], old["grid"], old["channels"], strict=True)}
    network = DlibFeatures()
    for i, row in enumerate(rows):
        if str(row["file"]) not in known:
            found = network.of_pairs(pair_of(row, np.random.default_rng([1, i]))[None])
            known[str(row["file"])] = (found.grid[0], found.channels[0])
    files = [str(row["file"]) for row in rows]
    grid, channels = (np.stack([known[f][k] for f in files]) for k in (0, 1))
    work.mkdir(parents=True, exist_ok=True)
    np.savez(store, files=files, grid=grid.astype(np.float16), channels=channels.astype(np.float16))
    geometry = np.stack([proportions(np.asarray(r["face_xyxy"]), np.asarray(r["keypoints"])) for r in rows])
    return {"grid": grid.astype(np.float64), "channels": channels.astype(np.float64), "proportions": geometry}


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


def fit(blocks: dict, truths: Sequence[Truth], heads: NDArray[np.int64]) -> tuple[dict, dict]:
    """Coefficients (features, columns) by block with a constant, and the leave-head-out figures."""
    fold = np.random.default_rng(0).permutation(heads.max() + 1)[heads] % N_FOLDS
    share = 1 / np.bincount(heads)[heads]
    answer = {name: np.zeros((size, len(COLUMNS))) for name, size in SIZES.items()}
    answer["constant"], figures = np.zeros(len(COLUMNS)), {}
    for names in (AGE_BLOCKS, OTHER_BLOCKS):
        features, shift, scale = standardised(blocks, names)
        whole = Ridge(features, share)
        parts = [Ridge(features[fold != k], share[fold != k]) for k in range(N_FOLDS)]
        for i, name in enumerate(COLUMNS):
            if (name == "age") != (names == AGE_BLOCKS):
                continue
            target, strength = column(truths, name), RIDGE.get(name, EXPRESSION_RIDGE)
            left_out = np.zeros(len(target))
            for k, part in enumerate(parts):
                coefficients, constant = part.solve(target[fold != k], strength)
                left_out[fold == k] = features[fold == k] @ coefficients + constant
            slope, offset = np.polyfit(left_out, target, 1, w=np.sqrt(share))
            coefficients, constant = whole.solve(target, strength)
            coefficients = slope * coefficients / scale
            at = 0
            for block in names:
                answer[block][:, i] = coefficients[at : at + SIZES[block]]
                at += SIZES[block]
            answer["constant"][i] = slope * constant + offset - coefficients @ shift
            error = np.abs(slope * left_out + offset - target)
            figures[name] = {
                "r": round(float(np.corrcoef(left_out, target)[0, 1]), 3),
                "mean_absolute_error": round(float(np.average(error, weights=share)), 3),
                "slope": round(float(slope), 3),
            }
    return answer, figures


def write(answer: dict, path: Path) -> None:
    """One graph: sum over the blocks of features times coefficients, and the constants."""
    constants = [numpy_helper.from_array(value.astype(np.float32), f"{k}_weights") for k, value in answer.items()]
    nodes = [helper.make_node("MatMul", [k, f"{k}_weights"], [f"{k}_part"]) for k in SIZES]
    nodes.append(helper.make_node("Sum", [*(f"{k}_part" for k in SIZES), "constant_weights"], ["readings"]))
    inputs = [helper.make_tensor_value_info(k, TensorProto.FLOAT, ["n", size]) for k, size in SIZES.items()]
    outputs = [helper.make_tensor_value_info("readings", TensorProto.FLOAT, ["n", len(COLUMNS)])]
    graph = helper.make_graph(nodes, "readouts", inputs, outputs, constants)
    model = helper.make_model(
        graph, producer_name="understudy", opset_imports=[helper.make_opsetid("", 13)], ir_version=8
    )
    onnx.checker.check_model(model, full_check=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(path))


def main() -> None:
    """Fit as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labels", type=Path)
    parser.add_argument("--output", required=True, type=Path)
    parser.add_argument("--work", required=True, type=Path)
    args = parser.parse_args()
    rows = [json.loads(line) for line in args.labels.read_text().splitlines()]
    rows = [{**row, "file": args.labels.parent / row["file"]} for row in rows]
    names = list(dict.fromkeys(str(row["subject"]) for row in rows))
    heads = np.array([names.index(str(row["subject"])) for row in rows])
    answer, figures = fit(features_of(rows, args.work), [truth_of(row) for row in rows], heads)
    write(answer, args.output / "readouts.onnx")
    found = {"pictures": len(rows), "heads": len(names), "leave_head_out": figures}
    (args.work / "figures.json").write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
