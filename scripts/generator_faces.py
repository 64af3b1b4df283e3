"""Pictures anonymised by the product, and what independent readers see of the face in each; for bench_generator.py."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from omegaconf import OmegaConf
from PIL import Image

from understudy.attributes.head_pose import estimate_yaw_deg
from understudy.audit.estimators import Estimator, Reading
from understudy.batch.tables import read_table
from understudy.cli.main import main as understudy
from understudy.config.parts import PartBuilder
from understudy.detect.base import Detector
from understudy.detect.overlap import pairwise_iou
from understudy.embed.dlib_onnx import DlibOnnxEmbedder
from understudy.types import Attributes, OutcomeKind

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
MIN_CONFIDENCE, MIN_IOU = 0.9, 0.3
KEPT = ("skin_tone", "age_group", "expression", "head_pose", "glasses", "beard")


@dataclass(frozen=True)
class Collection:
    """One face a picture, as MTCNN, dlib and the audit's estimators read it."""

    paths: list[Path]
    mtcnn: NDArray[np.bool_]  # (N,) found by MTCNN at 0.9
    dlib: NDArray[np.bool_]  # (N,)
    filled: NDArray[np.bool_]  # (N,) anonymised by a fill: a failure
    xyxy: NDArray[np.float64]  # (N, 4), the source's where nothing is found
    keypoints: NDArray[np.float64]  # (N, 5, 2), the source's where nothing is found
    embedding: NDArray[np.float64]  # (N, 128) of dlib
    yaw_deg: NDArray[np.float64]  # (N,)
    roll_deg: NDArray[np.float64]  # (N,)
    kept: NDArray[np.int64]  # (N, 6) bins of KEPT that the default policy carries of the face, -1 = none
    readings: dict[str, Reading]

    @property
    def both(self) -> NDArray[np.bool_]:
        """(N,) found by both detectors, and no fill."""
        return self.mtcnn & self.dlib & ~self.filled


def part(group: str, name: str, *overrides: str) -> Any:
    """What a YAML file of a config group builds, on onnxruntime with one thread; overrides as ``part.key=value``."""
    runtime = OmegaConf.load(CONFIGS / "runtime" / "onnx.yaml")
    root = OmegaConf.create({"runtime": runtime, "part": OmegaConf.load(CONFIGS / group / f"{name}.yaml")})
    root = OmegaConf.merge(root, OmegaConf.from_dotlist(list(overrides)))
    return PartBuilder()(OmegaConf.to_container(root.part, resolve=True), group)


def anonymized(pictures: Sequence[Path], folder: Path, overrides: Sequence[str]) -> list[Path]:
    """The same pictures after ``understudy anonymize``, guard and residual scan off; what is there already stays.

    Raises
    ------
    SystemExit
        The command failed, or left a picture out.
    """
    source = folder / "input"
    source.mkdir(parents=True, exist_ok=True)
    for path in pictures:
        if not (source / path.name).exists():
            shutil.copyfile(path, source / path.name)
    code = understudy(
        ["anonymize", f"input={source}", f"output={folder / 'output'}", "guard=none", "residual=none", *overrides]
    )
    made = [folder / "output" / "images" / path.name for path in pictures]
    missing = [path.name for path in made if not path.exists()]
    if code or missing:
        raise SystemExit(f"understudy anonymize ended with {code} in {folder}; not written: {missing[:5]}")
    return made


def read_collection(paths: Sequence[Path], like: Collection | None = None) -> Collection:
    """Read the largest face of each picture, or the one at the place of another collection's.

    Parameters
    ----------
    paths : sequence of Path
    like : Collection, optional
        The source pictures in the same order: an understudy counts as found only at the place of the source's face.
    """
    mtcnn, dlib = part("detector", "mtcnn"), part("detector", "dlib_hog")
    embedder, policy = DlibOnnxEmbedder(), part("attributes", "default")
    estimators: list[Estimator] = [
        made
        for path in sorted((CONFIGS / "estimator").glob("*.yaml"))
        for made in part("estimator", path.stem).values()
    ]
    anonymised = {} if like is None else regions(paths[0].parent.parent)
    rows: list[dict[str, Any]] = []
    for i, path in enumerate(paths):
        view = np.asarray(Image.open(path).convert("RGB"))
        place = None if like is None else like.xyxy[i]
        found = face_at(mtcnn, view, place, MIN_CONFIDENCE)
        seen = face_at(
            dlib, view, None if found is None and place is None else (place if found is None else found[0]), 0
        )
        if found is not None:
            xyxy, keypoints = found
        elif like is not None:
            xyxy, keypoints = like.xyxy[i], like.keypoints[i]
        else:
            xyxy, keypoints = np.full(4, np.nan), np.full((5, 2), np.nan)
        rows.append(row_of(view, xyxy, keypoints, embedder, estimators, found is not None, seen is not None))
        rows[-1]["filled"] = is_filled(xyxy if like is None else like.xyxy[i], anonymised.get(path.name, ()))
        kept = policy.read(view, xyxy, keypoints, np.ones(5)) if np.isfinite(keypoints).all() else Attributes()
        rows[-1]["kept"] = [-1 if (value := getattr(kept, name)) is None else value for name in KEPT]
    columns = {key: np.array([row[key] for row in rows]) for key in rows[0] if key != "readings"}
    return Collection(paths=list(paths), readings=joined([row["readings"] for row in rows]), **columns)


def face_at(
    detector: Detector, view: NDArray[np.uint8], place: NDArray[np.floating] | None, least: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Box and keypoints of the largest face, or of the one that overlaps a place most; None where there is none."""
    found = detector(view)
    kept = np.flatnonzero(found.confidence >= least)
    if not len(kept):
        return None
    xyxy = np.asarray(found.xyxy, np.float64)[kept]
    if place is None:
        best = int(np.argmax((xyxy[:, 2] - xyxy[:, 0]) * (xyxy[:, 3] - xyxy[:, 1])))
    else:
        overlap = pairwise_iou(xyxy, np.asarray(place, np.float64)[None])[:, 0]
        best = int(np.argmax(overlap))
        if overlap[best] < MIN_IOU:
            return None
    keypoints = np.asarray(found.keypoints, np.float64)[kept[best]]
    return xyxy[best], keypoints[:5] if len(keypoints) >= 5 else np.full((5, 2), np.nan)


def row_of(
    view: NDArray[np.uint8],
    xyxy: NDArray[np.float64],
    keypoints: NDArray[np.float64],
    embedder: DlibOnnxEmbedder,
    estimators: Sequence[Estimator],
    in_mtcnn: bool,
    in_dlib: bool,
) -> dict[str, Any]:
    """Everything that is read of one face."""
    placed = bool(np.isfinite(keypoints).all())
    visible = np.full(5, float(placed))
    points = np.nan_to_num(keypoints)
    embedding = embedder.embed(view, points, visible) if placed else np.full(128, np.nan)
    yaw = estimate_yaw_deg(points, visible, xyxy) if placed else None
    across = points[1] - points[0]
    readings = [
        reading
        for estimator in (estimators if placed else ())
        for reading in estimator.read([view], xyxy[None], points[None], visible[None], embedding[None])
        if not estimator.used_by_policy
    ]
    return {
        "mtcnn": in_mtcnn,
        "dlib": in_dlib,
        "xyxy": xyxy,
        "keypoints": keypoints,
        "embedding": np.asarray(embedding, np.float64),
        "yaw_deg": np.nan if yaw is None else yaw,
        "roll_deg": np.degrees(np.arctan2(across[1], across[0])) if placed else np.nan,
        "readings": readings,
    }


def joined(rows: Sequence[Sequence[Reading]]) -> dict[str, Reading]:
    """Readings of single faces as one of each name; not read where a face was not placed."""
    first = {reading.name: reading for row in rows for reading in row}
    whole = {}
    for name, like in first.items():
        absent = np.nan if like.kind == "numeric" else -1
        values = [next((r.values[0] for r in row if r.name == name), absent) for row in rows]
        if like.kind == "numeric":
            whole[name] = Reading.numbers(name, like.unit, values)
        else:
            whole[name] = Reading.codes(name, like.categories, values)
    return whole


def regions(folder: Path) -> dict[str, list[tuple[NDArray[np.float64], bool]]]:
    """By picture, box (4,) of each anonymised region of a run and whether it was filled."""
    found: dict[str, list[tuple[NDArray[np.float64], bool]]] = {}
    for row in read_table(folder, "regions"):
        xyxy = np.array([float(str(row[key])) for key in ("x0", "y0", "x1", "y1")])
        name = Path(str(row["image_id"])).name
        found.setdefault(name, []).append((xyxy, row["outcome"] == OutcomeKind.FILLED.value))
    return found


def is_filled(xyxy: NDArray[np.floating], of_picture: Sequence[tuple[NDArray[np.float64], bool]]) -> bool:
    """Whether the smallest region that holds the middle of a face was filled; no region holds it: no."""
    x, y = (xyxy[:2] + xyxy[2:]) / 2
    around = [(box, filled) for box, filled in of_picture if box[0] <= x <= box[2] and box[1] <= y <= box[3]]
    if not around:
        return False
    return min(around, key=lambda one: (one[0][2] - one[0][0]) * (one[0][3] - one[0][1]))[1]
