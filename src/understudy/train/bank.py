"""Choose the reference faces that a model carries, from labelled renders."""

from __future__ import annotations

import io
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from understudy.diffusion.reference import ReferenceBank
from understudy.errors import InvalidInputError
from understudy.train.data import CropBank
from understudy.train.records import Record
from understudy.train.references import box_ellipse, has_alpha, reference_picture

SIDE_PX = 224
REACH = 1.45
"""Side of what is kept, of the longer side of the face's box."""
QUALITY = 68
EVERYWHERE = 10.0
"""Semi-axes in sides of the picture, where the picture's own alpha says what is shown."""
FRONTAL = 0.1
"""Offset of the nose from the middle of the eyes, of their distance, up to which a face is frontal."""


def mean_keypoints(bank: CropBank) -> NDArray[np.float32]:
    """Where the keypoints of frontal faces lie in a bank's crops, (K, 2) px."""
    shown = (bank.visibility > 0).all(axis=1)
    points = bank.keypoints[shown]
    between = points[:, 1, 0] - points[:, 0, 0]
    offset = np.abs(points[:, 2, 0] - points[:, :2, 0].mean(axis=1)) / np.maximum(np.abs(between), 1e-6)
    frontal = points[offset < FRONTAL]
    if not len(frontal):
        raise InvalidInputError(f"no frontal face among {len(points)} crops: a mean place of the keypoints needs some")
    return np.asarray(frontal.mean(axis=0), np.float32)


def reference_bank(records: Sequence[Record], mean: NDArray[np.float32]) -> ReferenceBank:
    """Pictures of plain subjects; what is shown of one is its own alpha, or else its foreground in the face's ellipse.

    Raises
    ------
    InvalidInputError
        There is none.
    """
    chosen = [record for record in records if record.plain]
    if not chosen:
        raise InvalidInputError("no record is plain: there is nothing to make references of")
    names = {name: i for i, name in enumerate(dict.fromkeys(record.subject for record in chosen))}
    files, points, ellipses = zip(*(_cut(record) for record in chosen), strict=True)
    return ReferenceBank(
        files=np.concatenate(files),
        ends=np.cumsum([len(file) for file in files]).astype(np.int64),
        keypoints=np.stack(points).astype(np.float32),
        ellipses=np.stack(ellipses).astype(np.float32),
        tags=np.array([record.tags for record in chosen], np.int64).reshape(len(chosen), -1),
        mean_keypoints=mean,
        subjects=np.array([names[record.subject] for record in chosen], np.int64),
    )


def _cut(record: Record) -> tuple[NDArray[np.uint8], NDArray[np.float64], NDArray[np.float64]]:
    """The face of a record in a square of ``SIDE_PX``: encoded, with keypoints and ellipse."""
    picture = reference_picture(record)
    ellipse = box_ellipse(record.xyxy)
    scale = SIDE_PX / (REACH * 2 * max(ellipse[2], ellipse[3]))
    move = SIDE_PX / 2 - scale * ellipse[:2]
    affine = np.array([[scale, 0, move[0] + (scale - 1) / 2], [0, scale, move[1] + (scale - 1) / 2]])
    cut = cv2.warpAffine(picture, affine, (SIDE_PX, SIDE_PX), flags=cv2.INTER_AREA, borderValue=(0, 0, 0, 0))
    # shown or not is all that is asked of the alpha, and its shades would be most of the file
    inside = cut[..., 3] > 127
    cut[..., 3] = np.where(inside, 255, 0)
    if inside.any():  # one colour around the subject is a tenth fewer bytes, and no dark fringe when it is warped
        cut[~inside, :3] = np.median(cut[inside, :3], axis=0)
    buffer = io.BytesIO()
    Image.fromarray(cut, "RGBA").save(buffer, "WEBP", quality=QUALITY, method=6)
    encoded = np.frombuffer(buffer.getvalue(), np.uint8)
    axes = (EVERYWHERE * SIDE_PX,) * 2 if has_alpha(record) else scale * ellipse[2:4]
    placed = np.array([*(scale * ellipse[:2] + move), *axes, ellipse[4]])
    return encoded, record.keypoints * scale + move, placed
