"""Train the model of whole people on renders, beginning with the model of faces.

usage: python scripts/train_body.py bodies/labels.jsonl --output models/understudy-body-256x128 --seconds 2400
The labels are those of ``make render ARGS="bodies subject=body"``. Stopped at any moment, the same command goes on.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import torch

from understudy.export.onnx import export_onnx
from understudy.train.body_bank import load_body_records
from understudy.train.body_model import train_body
from understudy.train.loop import Schedule


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labels", type=Path)
    parser.add_argument("--output", type=Path, required=True, help="the model folder")
    parser.add_argument("--work", type=Path, help="checkpoint and loss curve; OUTPUT.work where left out")
    parser.add_argument("--start", type=Path, default=Path("models/understudy-face-128"))
    parser.add_argument("--without", default="", help="numbers of rows that are no references, with commas between")
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=2400.0)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rate", type=float, default=2e-4)
    parser.add_argument("--crops", type=int, default=1500)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def main() -> None:
    """Train what the command line asks for."""
    args = parse_arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(args.threads)
    records = load_body_records(args.labels)
    without = {int(word) for word in args.without.split(",") if word}
    schedule = Schedule(
        args.steps, args.batch, args.rate, n_warmup_steps=20, ema_decay=0.98, n_seconds=args.seconds or None
    )
    train_body(
        records,
        [record for i, record in enumerate(records) if i not in without],
        args.start,
        args.work or args.output.with_name(f"{args.output.name}.work"),
        args.output,
        schedule,
        n_crops=args.crops,
    )
    export_onnx(args.output)


if __name__ == "__main__":
    main()
