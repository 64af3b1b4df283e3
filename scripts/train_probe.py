"""Fit the attribute probe on labelled renders, calibrate it on held-out heads, measure it on others, write it.

usage: train_probe.py LABELS.jsonl... --output models/understudy-probe --work WORK [--seed 0]

A line of the labels holds file, subject, face_xyxy, keypoints and the renderer's own labels (scripts/index_people.py
writes such files). Several files may name the same pictures with the boxes of several detectors. Takes half a minute of
one core for 1,000 heads. Prints the figures of the card, and writes them to WORK/figures.json.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from understudy.attributes.proportions import proportions
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
)
from understudy.train.probe_bank import make_bank
from understudy.train.probe_calibration import Calibration, calibrate, export_probe, raw_outputs

N_BOOT = 2000


def interval(values: np.ndarray, heads: np.ndarray) -> list[float]:
    """95 % percentile interval of a mean; heads are drawn, with all their crops."""
    names = np.unique(heads)
    sums = np.array([values[heads == h].sum() for h in names])
    counts = np.array([(heads == h).sum() for h in names])
    drawn = np.random.default_rng(0).integers(0, len(names), (N_BOOT, len(names)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    return [round(float(v), 3) for v in np.percentile(means, [2.5, 97.5])]


def figures(outputs: torch.Tensor, bank: ProbeBank, calibration: Calibration, n_expressions: int) -> dict[str, object]:
    """Error, correlation and coverage on heads that took no part."""
    means, log_scales, expression, flags = split_outputs(outputs, n_expressions)
    found: dict[str, object] = {"heads": len(np.unique(bank.head)), "crops": len(bank.head)}
    for i, name in enumerate(NUMBERS):
        known = np.isfinite(bank.numbers[:, i])
        value = means[:, i].numpy()[known] * SPREADS[i] + CENTERS[i]
        scale = np.exp(log_scales[:, i].numpy()[known]) * SPREADS[i] * calibration.scale_factors[i]
        error = np.abs(value - bank.numbers[known, i])
        found[name] = {
            "mean_absolute_error": round(float(error.mean()), 3),
            "interval": interval(error, bank.head[known]),
            "r": round(float(np.corrcoef(value, bank.numbers[known, i])[0, 1]), 3),
            "within_one_scale": round(float((error <= scale).mean()), 3),
            "within_two_scales": round(float((error <= 2 * scale).mean()), 3),
        }
    told = bank.expression >= 0
    right = (expression.argmax(dim=1).numpy()[told] == bank.expression[told]).astype(float)
    found["expression"] = {"accuracy": round(float(right.mean()), 3), "interval": interval(right, bank.head[told])}
    for i, name in enumerate(FLAGS):
        known = np.isfinite(bank.flags[:, i]) & (bank.flags[:, i] != 0.5)
        right = ((flags[known, i].numpy() > 0) == (bank.flags[known, i] > 0.5)).astype(float)
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
    bank = make_bank(rows, settings, proportions=proportions, seed=args.seed)
    learn, tune, test = (bank.of_heads(heads) for heads in split_heads(bank.head, settings.shares, args.seed))
    network = fit_probe(varied_views(learn, settings, seed=args.seed), settings)
    calibration = calibrate(raw_outputs(network, tune, settings), tune, settings)
    found = {
        "learnt_from": {"heads": len(np.unique(learn.head)), "crops": len(learn.head)},
        "calibrated_on": {"heads": len(np.unique(tune.head)), "crops": len(tune.head)},
        "scale_factors": [round(v, 3) for v in calibration.scale_factors],
        "temperatures": [round(v, 3) for v in calibration.temperatures],
        "held_out": figures(raw_outputs(network, test, settings), test, calibration, settings.n_expressions),
    }
    export_probe(network, calibration, settings, args.output / "probe.onnx")
    args.work.mkdir(parents=True, exist_ok=True)
    (args.work / "figures.json").write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
