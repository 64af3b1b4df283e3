"""The references of a model for whole people, from labelled renders (``make render ARGS="... subject=body"``)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from understudy.diffusion.bodies import FULL, UPPER, BodyBank
from understudy.errors import InvalidInputError

QUALITY = 88
TAGS = ("skin_tone", "age_group", "perceived_gender_expression")
FRAMINGS = {"full": FULL, "upper": UPPER}


@dataclass(frozen=True)
class BodyRecord:
    """One labelled render of a person without a background."""

    path: Path
    subject: str
    xyxy: NDArray[np.float64]  # (4,) px
    keypoints: NDArray[np.float64]  # (17, 2) px
    shown: NDArray[np.bool_]  # (17,)
    framing: int
    yaw_deg: float
    tags: tuple[int, ...]
    sitting: bool = False

    def picture(self) -> NDArray[np.uint8]:
        """SRGB and how much of a pixel is the person, (H, W, 4)."""
        return np.asarray(Image.open(self.path).convert("RGBA"))


def load_body_records(labels: Path) -> list[BodyRecord]:
    """Read the labels.jsonl of whole people.

    Raises
    ------
    InvalidInputError
        A row lacks what is needed, or there is none.
    """
    records = []
    for n, line in enumerate(labels.read_text().splitlines(), 1):
        row: dict[str, Any] = json.loads(line)
        missing = {"file", "body_xyxy", "keypoints", "keypoints_visible", "framing", "trunk_yaw_deg"} - set(row)
        if missing:
            raise InvalidInputError(f"{labels}:{n} lacks {sorted(missing)}")
        records.append(
            BodyRecord(
                path=labels.parent / row["file"],
                subject=str(row.get("subject", row["file"])),
                xyxy=np.asarray(row["body_xyxy"], np.float64),
                keypoints=np.asarray(row["keypoints"], np.float64),
                shown=np.asarray(row["keypoints_visible"], np.bool_),
                framing=FRAMINGS[row["framing"]],
                yaw_deg=float(row["trunk_yaw_deg"]),
                tags=tuple(-1 if row.get(key) is None else int(row[key]) for key in TAGS),
                sitting=row.get("stance") == "sit",
            )
        )
    if not records:
        raise InvalidInputError(f"{labels} names no picture")
    return records


def body_bank(records: Sequence[BodyRecord]) -> BodyBank:
    """The pictures of some records, each cut to its person."""
    files, moves, widths = [], [], []
    for record in records:
        picture = record.picture().copy()
        x0, y0, x1, y1 = (int(v) for v in record.xyxy)
        left, top = max(x0 - 4, 0), max(y0 - 4, 0)
        cut = picture[top : min(y1 + 4, picture.shape[0]), left : min(x1 + 4, picture.shape[1])]
        cut[cut[..., 3] < 6] = 0  # a plain colour there keeps the file small
        done, encoded = cv2.imencode(
            ".webp", cv2.cvtColor(cut, cv2.COLOR_RGBA2BGRA), [cv2.IMWRITE_WEBP_QUALITY, QUALITY]
        )
        if not done:
            raise InvalidInputError(f"{record.path} could not be encoded as a reference")
        files.append(np.asarray(encoded, np.uint8).reshape(-1))
        moves.append((left, top))
        widths.append(cut.shape[1])
    move = np.array(moves, np.float32)
    return BodyBank(
        files=np.concatenate(files),
        ends=np.cumsum([len(file) for file in files]).astype(np.int64),
        keypoints=(np.stack([record.keypoints for record in records]) - move[:, None]).astype(np.float32),
        shown=np.stack([record.shown for record in records]),
        boxes=(np.stack([record.xyxy for record in records]) - np.tile(move, 2)).astype(np.float32),
        widths=np.array(widths, np.int64),
        framing=np.array([record.framing for record in records], np.int64),
        yaw_deg=np.array([record.yaw_deg for record in records], np.float32),
        tags=np.array([record.tags for record in records], np.int64),
        sitting=np.array([record.sitting for record in records], np.bool_),
    )
