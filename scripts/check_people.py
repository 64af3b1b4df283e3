"""Check rendered people: keypoints and boxes against MTCNN, and measured skin tone by Monk step.

usage: check_people.py FOLDER [--limit 60]
Of each view one picture is taken. Errors are shares of the distance between the eyes, or of 0.28 of the box's height
where a turned head shows them closer together than that.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from facenet_pytorch import MTCNN
from numpy.typing import NDArray
from PIL import Image

from understudy.people.output import count_rejected
from understudy.people.pack import unique_rows

MARGIN_PX = 40
MIN_CONFIDENCE = 0.9
BANDS = ((0, 30), (30, 60), (60, 90))
CLOSEST_EYES = 0.28
"""Of the box's height: about the distance between the eyes of a head that is turned by 50 degrees."""


def detect(mtcnn: MTCNN, path: Path) -> tuple[float, NDArray[np.float64], NDArray[np.float64]] | None:
    """Confidence, box and keypoints, or None; the picture gets a grey margin, since detectors like room."""
    with Image.open(path) as picture:
        wide = Image.new("RGB", (picture.width + 2 * MARGIN_PX, picture.height + 2 * MARGIN_PX), (110, 110, 110))
        wide.paste(picture, (MARGIN_PX, MARGIN_PX))
    boxes, confidence, points = mtcnn.detect(wide, landmarks=True)
    if boxes is None:
        return None
    return float(confidence[0]), _shifted(boxes[0]), _shifted(points[0])


def _shifted(values: Any) -> NDArray[np.float64]:
    return np.asarray(values, np.float64) - MARGIN_PX


def compare(row: dict[str, Any], found: tuple[float, NDArray[np.float64], NDArray[np.float64]]) -> NDArray[np.float64]:
    """Errors of the five keypoints, then of the box's sides over its height."""
    _, box, points = found
    xyxy, keypoints = np.asarray(row["face_xyxy"]), np.asarray(row["keypoints"])
    height = xyxy[3] - xyxy[1]
    eyes = max(float(np.linalg.norm(keypoints[0] - keypoints[1])), CLOSEST_EYES * height)
    return np.concatenate([np.linalg.norm(points - keypoints, axis=1) / eyes, (box - xyxy) / height])


def report(rows: list[dict[str, Any]], found: list[Any]) -> list[str]:
    """Lines of the report."""
    lines = []
    for low, high in BANDS:
        band = [(r, f) for r, f in zip(rows, found, strict=True) if low <= abs(r["yaw_deg"]) < high]
        hits = [(r, f) for r, f in band if f is not None and f[0] >= MIN_CONFIDENCE]
        lines.append(f"yaw {low} to {high}: MTCNN finds {len(hits)} of {len(band)} at {MIN_CONFIDENCE}")
        if hits:
            errors = np.array([compare(r, f) for r, f in hits])
            points = ", ".join(f"{v:.3f}" for v in np.median(errors[:, :5], axis=0))
            sides = ", ".join(f"{v:+.3f}" for v in np.median(errors[:, 5:], axis=0))
            lines.append(
                f"  keypoints off by (median, of the eyes' distance): {points}; box sides (of height): {sides}"
            )
    for step in range(1, 11):
        tones = [r["ita_deg"] for r in rows if r["monk_step"] == step and r["ita_deg"] is not None]
        if tones:
            lines.append(f"Monk step {step}: median ITA {np.median(tones):.0f} deg, n = {len(tones)}")
    return lines


def main() -> None:
    """Check the folder that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--limit", type=int, default=60, help="views")
    args = parser.parse_args()
    torch.set_num_threads(1)
    first = {(row["index"], row["view"]): row for row in reversed(unique_rows(args.folder))}
    rows = [first[key] for key in sorted(first)][: args.limit]
    mtcnn = MTCNN(keep_all=False, select_largest=False, min_face_size=24, device="cpu")
    lines = report(rows, [detect(mtcnn, args.folder / row["file"]) for row in rows])
    counts = ", ".join(f"{rule} {n}" for rule, n in sorted(count_rejected(args.folder).items()))
    sys.stdout.write("\n".join([f"{len(rows)} views of {args.folder}; pictures: {counts}", *lines]) + "\n")


if __name__ == "__main__":
    main()
