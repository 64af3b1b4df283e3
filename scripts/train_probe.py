"""Fit the attribute probe on labelled renders, calibrate it on held-out heads, measure it on others, write it.

usage: train_probe.py LABELS.jsonl... --output models/understudy-probe --work WORK [--seed 0]

A line of the labels holds file, subject, face_xyxy, keypoints and the renderer's own labels (scripts/index_people.py
writes such files; with --detector default, boxes and keypoints are those that the policy gets). Takes a minute
of one core for 1,000 heads. Prints the figures of the card, and writes them to WORK/figures.json.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from understudy import weights as registry
from understudy.train.probe import (
    CENTERS,
    FLAGS,
    NUMBERS,
    SPREADS,
    ProbeBank,
    ProbeSettings,
    fit_probe,
    split_heads,
    split_outputs,
    varied_views,
    world_weights,
)
from understudy.train.probe_bank import make_bank
from understudy.train.probe_calibration import Calibration, calibrate, export_probe, raw_outputs
from understudy.train.probe_trunk import SOURCE, Trunk

N_BOOT = 2000


def interval(values: np.ndarray, heads: np.ndarray) -> list[float]:
    """95 % percentile interval of a mean; heads are drawn, with all their crops."""
    names = np.unique(heads)
    sums = np.array([values[heads == h].sum() for h in names])
    counts = np.array([(heads == h).sum() for h in names])
    drawn = np.random.default_rng(0).integers(0, len(names), (N_BOOT, len(names)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    return [round(float(v), 3) for v in np.percentile(means, [2.5, 97.5])]


def figures(outputs: np.ndarray, bank: ProbeBank, calibration: Calibration) -> dict[str, object]:
    """Error, correlation and coverage on heads that took no part."""
    means, log_scales, expression, flags = split_outputs(outputs)
    found: dict[str, object] = {"heads": len(np.unique(bank.head)), "crops": len(bank.head)}
    for i, name in enumerate(NUMBERS):
        known = np.isfinite(bank.numbers[:, i])
        value = means[known, i] * SPREADS[i] + CENTERS[i]
        scale = np.exp(log_scales[known, i]) * SPREADS[i] * calibration.scale_factors[i]
        error, level = value - bank.numbers[known, i], 0.0
        if name == "age":  # its level is that of the world's people, not of the renders: see fit_probe
            weights = world_weights(bank.numbers[known, i], bank.head[known])
            level = float(np.average(error, weights=weights))
        error = np.abs(error - level)
        found[name] = {
            "level": round(level, 3),
            "mean_absolute_error": round(float(error.mean()), 3),
            "interval": interval(error, bank.head[known]),
            "r": round(float(np.corrcoef(value, bank.numbers[known, i])[0, 1]), 3),
            "within_one_scale": round(float((error <= scale).mean()), 3),
            "within_two_scales": round(float((error <= 2 * scale).mean()), 3),
        }
    told = bank.expression >= 0
    right = (expression.argmax(axis=1)[told] == bank.expression[told]).astype(float)
    found["expression"] = {"accuracy": round(float(right.mean()), 3), "interval": interval(right, bank.head[told])}
    for i, name in enumerate(FLAGS):
        known = np.isfinite(bank.flags[:, i]) & (bank.flags[:, i] != 0.5)
        right = ((flags[known, i] > 0) == (bank.flags[known, i] > 0.5)).astype(float)
        found[name] = {"accuracy": round(float(right.mean()), 3), "interval": interval(right, bank.head[known])}
    return found


def main() -> None:
    """Train as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labels", nargs="+", type=Path)
    parser.add_argument("--output", required=True, type=Path)
    parser.add_argument("--work", required=True, type=Path)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = [
        {**row, "file": path.parent / row["file"]}
        for path in args.labels
        for row in map(json.loads, path.read_text().splitlines())
    ]
    settings = ProbeSettings()
    trunk = Trunk(registry.resolve(SOURCE).read_bytes(), settings.layers, settings.crop_size)
    bank = make_bank(rows, settings, seed=args.seed)
    learn, tune, test = (bank.of_heads(heads) for heads in split_heads(bank.head, settings.shares, args.seed))
    matrix = fit_probe(varied_views(learn, trunk, settings, seed=args.seed), settings)
    calibration = calibrate(raw_outputs(matrix, trunk, tune, settings), tune)
    found = {
        "learnt_from": {"heads": len(np.unique(learn.head)), "crops": len(learn.head)},
        "calibrated_on": {"heads": len(np.unique(tune.head)), "crops": len(tune.head)},
        "scale_factors": [round(v, 3) for v in calibration.scale_factors],
        "temperatures": [round(v, 3) for v in calibration.temperatures],
        "held_out": figures(raw_outputs(matrix, trunk, test, settings), test, calibration),
    }
    export_probe(matrix, trunk, calibration, settings, args.output / "probe.onnx")
    args.work.mkdir(parents=True, exist_ok=True)
    (args.work / "figures.json").write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
