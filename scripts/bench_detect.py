"""Recall, false positives and time of detectors on scenes of ``face_scenes.py``.

    python scripts/bench_detect.py --scenes FOLDER [--detectors default thorough ...] [--n 500] [--sheet MISSES.png]

Names are those of configs/detector, or paths of YAML files. A face is found when a detection overlaps its true box by
an intersection over union of 0.5; a detection is false when it overlaps no true box by 0.3. Time is CPU time on one
pinned core with one thread, relative to one CenterFace pass over the same pictures in the same run.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf

from understudy.config.parts import PartBuilder
from understudy.detect.base import Detector
from understudy.detect.centerface import CenterFace
from understudy.detect.overlap import pairwise_iou

CONFIGS = Path(__file__).resolve().parents[1] / "configs" / "detector"
FOUND_IOU, FALSE_IOU = 0.5, 0.3


def with_runtime(path: Path) -> DictConfig:
    """A detector's file with what it takes from ``runtime``, as a node that can be resolved."""
    runtime = OmegaConf.load(CONFIGS.parent / "runtime" / "onnx.yaml")
    root = OmegaConf.create({"runtime": runtime, "detector": OmegaConf.load(path)})
    return root.detector


@dataclass
class Tally:
    """What one detector did on the scenes."""

    name: str
    sizes: list[float] = field(default_factory=list)
    rolls: list[float] = field(default_factory=list)
    found: list[bool] = field(default_factory=list)
    misses: list[tuple[str, dict[str, object]]] = field(default_factory=list)
    false: list[tuple[str, list[float]]] = field(default_factory=list)
    n_scenes: int = 0
    seconds: float = 0.0
    baseline_s: float = 0.0

    def recall(self, band: str) -> str:
        """Recall in per cent with its 95 % Wilson interval among the faces of a band."""
        hits = [f for s, r, f in zip(self.sizes, self.rolls, self.found, strict=True) if in_band(s, r, band)]
        if not hits:
            return "-"
        low, high = wilson(sum(hits), len(hits))
        return f"{100 * sum(hits) / len(hits):.1f} ({100 * low:.1f}-{100 * high:.1f})"


def wilson(k: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """Wilson's score interval of a share k / n (doi:10.1080/01621459.1927.10502953)."""
    share = k / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return middle - half, middle + half


ANY = (0.0, math.inf)
BANDS = {
    "all": (ANY, ANY),
    "14-24 px": ((0, 24), ANY),
    "24-48 px": ((24, 48), ANY),
    "48-96 px": ((48, 96), ANY),
    "96-190 px": ((96, math.inf), ANY),
    "roll 0-30": (ANY, (0, 30.5)),
    "roll 31-90": (ANY, (30.5, 90.5)),
    "roll > 90": (ANY, (90.5, math.inf)),
}
"""Sizes in px and absolute rolls in degrees, from inclusive to exclusive."""


def in_band(size: float, roll: float, band: str) -> bool:
    """Whether a face of some size and roll belongs to a band."""
    sizes, rolls = BANDS[band]
    return sizes[0] <= size < sizes[1] and rolls[0] <= abs(roll) < rolls[1]


def read(path: Path) -> NDArray[np.uint8]:
    """A picture as RGB."""
    return np.asarray(cv2.cvtColor(cv2.imread(str(path), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB), np.uint8)


def load_detector(name: str) -> Detector:
    """A detector by the name of its config or the path of a YAML file."""
    path = Path(name) if name.endswith(".yaml") else CONFIGS / f"{name}.yaml"
    detector: Detector = PartBuilder()(OmegaConf.to_container(with_runtime(path), resolve=True), "detector")
    return detector


def score(tally: Tally, scene: dict[str, object], boxes: NDArray[np.float32]) -> None:
    """Add one scene's finds to a tally."""
    faces: list[dict[str, object]] = scene["faces"]  # type: ignore[assignment]
    truth = np.array([face["xyxy"] for face in faces], np.float32).reshape(-1, 4)
    iou = pairwise_iou(truth, boxes)
    name = str(scene["file"])
    for row, face in enumerate(faces):
        hit = bool((iou[row] >= FOUND_IOU).any())
        tally.sizes.append(float(face["size"]))  # type: ignore[arg-type]
        tally.rolls.append(float(face["roll"]))  # type: ignore[arg-type]
        tally.found.append(hit)
        if not hit:
            tally.misses.append((name, face))
    false = (iou < FALSE_IOU).all(axis=0) if len(truth) else np.ones(len(boxes), bool)
    tally.false += [(name, [float(v) for v in box]) for box in boxes[false]]
    tally.n_scenes += 1


def measure(folder: Path, names: list[str], n: int) -> list[Tally]:
    """Run every detector on every scene, in turn with one CenterFace pass."""
    baseline = CenterFace()
    detectors = {name: load_detector(name) for name in names}
    tallies = {name: Tally(Path(name).stem) for name in names}
    lines = (folder / "truth.jsonl").read_text().splitlines()[:n]
    for line in lines:
        scene = json.loads(line)
        view = read(folder / scene["file"])
        start = time.process_time()
        baseline(view)
        once = time.process_time() - start
        for name, detector in detectors.items():
            start = time.process_time()
            boxes = detector(view).xyxy
            tallies[name].seconds += time.process_time() - start
            tallies[name].baseline_s += once
            score(tallies[name], scene, boxes)
    return list(tallies.values())


def table(tallies: list[Tally]) -> str:
    """Markdown rows: recall by band with 95 % intervals, false positives, time."""
    heads = ["detector", *BANDS, "false / picture", "time (CenterFace pass = 1)", "ms / picture"]
    rows = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for tally in sorted(tallies, key=lambda t: t.seconds):
        cells = [tally.name, *(tally.recall(band) for band in BANDS)]
        cells += [
            f"{len(tally.false) / tally.n_scenes:.3f}",
            f"{tally.seconds / tally.baseline_s:.2f}",
            f"{1000 * tally.seconds / tally.n_scenes:.0f}",
        ]
        rows.append(f"| {' | '.join(cells)} |")
    n_faces = len(tallies[0].found)
    pairs = list(zip(tallies[0].sizes, tallies[0].rolls, strict=True))
    counts = {band: sum(in_band(size, roll, band) for size, roll in pairs) for band in BANDS}
    rows += ["", f"n = {n_faces} faces in {tallies[0].n_scenes} scenes; by band: {counts}"]
    return "\n".join(rows)


def sheet(folder: Path, tally: Tally, path: Path, *, cell: int = 128, columns: int = 12, most: int = 96) -> None:
    """Contact sheet of misses (green frame) and then of false positives (red frame)."""
    marked = [(name, face["xyxy"], (0, 255, 0)) for name, face in tally.misses]
    marked += [(name, box, (255, 0, 0)) for name, box in tally.false]
    cells = []
    for name, box, colour in marked[:most]:
        view = read(folder / name)
        x0, y0, x1, y1 = (float(v) for v in box)  # type: ignore[attr-defined]
        half = 1.2 * max(x1 - x0, y1 - y0, 12)
        matrix = np.array([[1, 0, half - (x0 + x1) / 2], [0, 1, half - (y0 + y1) / 2]]) * cell / (2 * half)
        crop = cv2.warpAffine(view, matrix, (cell, cell), flags=cv2.INTER_CUBIC)
        crop[[0, -1]] = crop[:, [0, -1]] = colour
        cells.append(crop)
    if not cells:
        return
    cells += [np.zeros_like(cells[0])] * (-len(cells) % columns)
    rows = [np.hstack(cells[i : i + columns]) for i in range(0, len(cells), columns)]
    cv2.imwrite(str(path), np.vstack(rows)[..., ::-1])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=Path, required=True)
    parser.add_argument("--detectors", nargs="+", default=["centerface", "default", "thorough"])
    parser.add_argument("--n", type=int, default=500)
    parser.add_argument("--sheet", type=Path, help="contact sheet of the last detector's misses and false positives")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    tallies = measure(arguments.scenes, arguments.detectors, arguments.n)
    print(table(tallies))
    if arguments.sheet:
        sheet(arguments.scenes, tallies[-1], arguments.sheet)


if __name__ == "__main__":
    main()
