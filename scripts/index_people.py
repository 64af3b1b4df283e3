"""Write labels.jsonl for a folder of rendered people: face box and keypoints (MTCNN), measured skin tone and head pose.

usage: index_people.py FOLDER... --output labels.jsonl [--detector NAME]
Lines that the output file holds already are kept, so that it can be run again while pictures are added. With the name
of a file of configs/detector, boxes and keypoints are those that this detector finds, and the renderer's other labels
stay as they are; a picture in which it does not find the face that the labels know is left out.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import sys
from pathlib import Path

import numpy as np
import torch
from bench_detect import load_detector
from facenet_pytorch import MTCNN
from PIL import Image

from understudy.attributes.head_pose import estimate_yaw_deg, yaw_bin
from understudy.attributes.skin_tone import ita_bin, measure_ita
from understudy.detect.base import Detector
from understudy.detect.overlap import pairwise_iou

MIN_CONFIDENCE = 0.9
MIN_OVERLAP = 0.3
"""IoU of the box that the labels know and of one that is found there."""


def name_of(path: Path) -> str:
    """The head that a picture shows: its folder, and its name up to the first underscore."""
    return f"{path.parent.name}/{path.stem.split('_')[0]}"


def detect_again(detector: Detector, path: Path, labels: dict[str, object]) -> dict[str, object] | None:
    """Labels with box and keypoints as a detector finds them, or None where it does not find the face."""
    found = detector(np.asarray(Image.open(path).convert("RGB")))
    scores = found.confidence
    if "face_xyxy" in labels:
        known = np.asarray([labels["face_xyxy"]], np.float32)
        scores = pairwise_iou(known, found.xyxy)[0]
    if not len(found) or scores.max() < MIN_OVERLAP:
        return None
    best = int(scores.argmax())
    measured = {
        "face_xyxy": [round(float(v), 1) for v in found.xyxy[best]],
        "keypoints": [[round(float(v), 1) for v in point] for point in found.keypoints[best]],
    }
    return {"subject": name_of(path), **labels, "file": os.fspath(path), **measured}


def index_picture(mtcnn: MTCNN, path: Path, labels: dict[str, object]) -> dict[str, object] | None:
    """One line of labels.jsonl, or None where no face is found with confidence."""
    picture = Image.open(path).convert("RGB")
    if "face_xyxy" in labels:
        xyxy, keypoints = np.asarray(labels["face_xyxy"]), np.asarray(labels["keypoints"])
    else:
        boxes, confidence, points = mtcnn.detect(picture, landmarks=True)
        if boxes is None or confidence[0] < MIN_CONFIDENCE:
            return None
        xyxy, keypoints = np.asarray(boxes[0], np.float64), np.asarray(points[0], np.float64)
        labels["face_confidence"] = round(float(confidence[0]), 4)
    shown = np.ones(5)
    ita, yaw = measure_ita(np.asarray(picture), xyxy, keypoints, shown), estimate_yaw_deg(keypoints, shown, xyxy)
    measured = {
        "face_xyxy": np.round(xyxy, 1).tolist(),
        "keypoints": np.round(keypoints, 1).tolist(),
        "ita_deg": round(ita, 1) if np.isfinite(ita) else None,
        "skin_tone": ita_bin(ita) if np.isfinite(ita) else None,
        "yaw_deg": None if yaw is None else round(yaw, 1),
        "head_pose": None if yaw is None else yaw_bin(yaw),
    }
    plain = labels.get("beard", "none") == "none" and not labels.get("glasses") and not labels.get("lipstick")
    measured["plain"] = plain
    return {"file": os.fspath(path), "subject": name_of(path), **labels, **measured}


def labels_of(folder: Path) -> dict[str, dict[str, object]]:
    """The renderer's own labels by file name: from the folder's labels.jsonl, or a .json beside each picture."""
    if (folder / "labels.jsonl").exists():
        rows = [json.loads(line) for line in (folder / "labels.jsonl").read_text().splitlines()]
        return {row.pop("file"): row for row in rows}
    return {p.with_suffix(".png").name: json.loads(p.read_text()) for p in sorted(folder.glob("*.json"))}


def main() -> None:
    """Index the folders that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--detector", help="a file of configs/detector whose boxes and keypoints are kept")
    args = parser.parse_args()
    torch.set_num_threads(1)
    done = args.output.read_text().splitlines() if args.output.exists() else []
    seen = {json.loads(line)["file"] for line in done}
    if args.detector:
        index = functools.partial(detect_again, load_detector(args.detector))
    else:
        index = functools.partial(index_picture, MTCNN(select_largest=False, min_face_size=24, device="cpu"))
    with args.output.open("a") as out:
        for folder in args.folders:
            for name, labels in labels_of(folder).items():
                path = folder / name
                if os.fspath(path) in seen or not path.exists():
                    continue
                row = index(path, labels)
                if row is not None:
                    out.write(json.dumps(row) + "\n")
                    out.flush()
    sys.stdout.write(f"{len(args.output.read_text().splitlines())} pictures indexed\n")


if __name__ == "__main__":
    main()
