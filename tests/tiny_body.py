"""A tiny model of whole people, and people of one colour as its references."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from understudy.train.body_bank import BodyRecord

STICK = np.array(
    [
        (32, 14), (34, 12), (30, 12), (37, 13), (27, 13), (42, 28), (22, 28), (46, 44), (18, 44), (47, 58), (17, 58),
        (38, 60), (26, 60), (38, 84), (26, 84), (38, 108), (26, 108),
    ],
    np.float64,
)  # fmt: skip
"""Where the 17 keypoints of somebody who stands lie, as seen from the front, px of a picture of 64 x 128."""


def person(
    folder: Path, name: str, color: tuple[int, int, int], *, yaw_deg: float = 0.0, framing: int = 0
) -> BodyRecord:
    """A body of one colour, whole or cut at the hips, with a head of another."""
    picture = np.zeros((128, 64, 4), np.uint8)
    cv2.ellipse(picture, (32, 14), (8, 11), 0, 0, 360, (220, 180, 160, 255), -1)
    cv2.rectangle(picture, (19, 26), (45, 120), (*color, 255), -1)
    points, shown = STICK.copy(), np.ones(17, bool)
    if framing:
        picture, points = picture[:64], points
        picture = np.concatenate([np.zeros((64, 64, 4), np.uint8), picture])
        points = points + np.array([0, 64])
        shown = points[:, 1] < 128
    if abs(yaw_deg) > 90:
        shown[:3] = False
    path = folder / f"{name}.png"
    cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGBA2BGRA))
    rows, columns = np.nonzero(picture[..., 3])
    box = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], np.float64)
    return BodyRecord(path, name, box, points, shown, framing, yaw_deg, (2, 1, 1))


def people(folder: Path) -> list[BodyRecord]:
    """Red, green and blue: whole from the front, whole from behind, the upper part from the front."""
    return [
        person(folder, "red", (200, 30, 30)),
        person(folder, "green", (30, 200, 30), yaw_deg=170.0),
        person(folder, "blue", (30, 30, 200), framing=1),
    ]


def make_tiny_body_model(folder: Path, records: Sequence[BodyRecord], **config: float) -> Path:
    """Write a valid model folder of whole people with random weights, ONNX included."""
    from tests.tiny import make_tiny_face_model

    from understudy.diffusion.body_model import BodyConfig
    from understudy.export.onnx import export_onnx
    from understudy.train.body_model import train_body
    from understudy.train.loop import Schedule

    faces = make_tiny_face_model(folder.with_name(folder.name + "-faces"))
    settings = BodyConfig(latent_channels=4, style_channels=32, **config)  # type: ignore[arg-type]
    train_body([], records, faces, folder / "work", folder, Schedule(0), config=settings)
    export_onnx(folder)
    return folder
