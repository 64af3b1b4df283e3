"""A bank of crops for the attribute probe, cut out of labelled renders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from understudy.errors import InvalidInputError
from understudy.geometry import crop_frame, cut_crop, face_shape
from understudy.train.probe import FLAGS, NUMBERS, ProbeBank, ProbeSettings

ITA_OF_LIGHTEST, ITA_PER_TONE = 60.0, -115.0
"""ITA in even light over the renderer's tone, 0 light to 1 dark: about a line through the medians of 994 renders."""
STUBBLE = 0.5
"""How much of a beard stubble is."""
EXPRESSIONS = {"neutral": 0, "smile": 1, "bigsmile": 2, "broad_smile": 2, "talk": 3, "frown": 3, "surprise": 3}
"""Codes of the renderer's expressions: neutral, smile with the mouth closed, smile with teeth, other."""
BORDERS = (cv2.BORDER_CONSTANT, cv2.BORDER_REFLECT_101, cv2.BORDER_REPLICATE)


@dataclass(frozen=True)
class Truth:
    """What a render's labels say; NaN and -1 = not known."""

    numbers: tuple[float, ...]
    expression: int
    flags: tuple[float, ...]


def truth_of(row: Mapping[str, Any]) -> Truth:
    """Truth of one line of labels.jsonl, as `make render` writes it or with the names of the first renderer.

    In the first renderer's, ``yaw`` is the camera's, so a head that turns to its own left has a negative one; the pitch
    of camera and head add up to how far a face looks down in the picture. Here, pitch is positive where it looks up.
    """
    numbers = {
        "age": row.get("age", np.nan),
        "gender_expression": row.get("gender", np.nan),
        "ita": ITA_OF_LIGHTEST + ITA_PER_TONE * row.get("melanin", row.get("tone", np.nan)),
        "yaw": row.get("yaw_deg", -row.get("yaw", np.nan)),
        "pitch": row.get("pitch_deg", -row.get("pitch", np.nan) - row.get("headrot", [0.0])[0]),
    }
    worn, beard = row.get("worn"), row.get("beard")
    glasses = row.get("glasses", np.nan if worn is None else worn in ("glasses", "sunglasses"))
    flags = {
        "glasses": float(glasses),
        "beard": np.nan if beard is None else {"none": 0.0, "stubble": STUBBLE}.get(beard, 1.0),
    }
    return Truth(
        tuple(float(numbers[name]) for name in NUMBERS),
        EXPRESSIONS.get(str(row.get("expression_name", row.get("expr"))), -1),
        tuple(flags[name] for name in FLAGS),
    )


def make_bank(rows: Sequence[Mapping[str, Any]], settings: ProbeSettings, *, seed: int = 0) -> ProbeBank:
    """A crop of every render, and where its linear values lie beside it, another one that is developed anew.

    Parameters
    ----------
    rows : sequence of mappings
        Lines of labels.jsonl: ``file``, ``subject``, ``face_xyxy``, ``keypoints``, and the renderer's own labels.
        Where a .npy file of linear RGBA lies beside a picture, its light and background are varied.
    settings : ProbeSettings
    seed : int
    """
    if not rows:
        raise InvalidInputError("no rows: a bank needs at least one labelled render")
    heads = {name: i for i, name in enumerate(dict.fromkeys(str(row["subject"]) for row in rows))}
    pixels, truths, of_head = [], [], []
    for i, row in enumerate(rows):
        path = Path(row["file"])
        pictures = [(np.asarray(Image.open(path).convert("RGB")), cv2.BORDER_CONSTANT)]
        linear = path.with_suffix(".npy")
        if linear.is_file():
            rng = np.random.default_rng([seed, i])
            pictures.append((develop(np.load(linear), rng), BORDERS[int(rng.integers(0, 3))]))
        for picture, border in pictures:
            pixels.append(_cut(picture, row, settings, border))
            truths.append(truth_of(row))
            of_head.append(heads[str(row["subject"])])
    return ProbeBank(
        pixels=np.stack(pixels),
        numbers=np.array([truth.numbers for truth in truths], np.float32),
        expression=np.array([truth.expression for truth in truths], np.int64),
        flags=np.array([truth.flags for truth in truths], np.float32),
        head=np.array(of_head, np.int64),
    )


def _cut(picture: NDArray[np.uint8], row: Mapping[str, Any], settings: ProbeSettings, border: int) -> NDArray[np.uint8]:
    """The window of one face with the margin that augmentation needs."""
    xyxy, keypoints = np.asarray(row["face_xyxy"], np.float64), np.asarray(row["keypoints"], np.float64)
    if border != cv2.BORDER_CONSTANT:
        pad = max(picture.shape[:2]) // 2
        picture = np.asarray(cv2.copyMakeBorder(picture, pad, pad, pad, pad, border), np.uint8)
        xyxy, keypoints = xyxy + pad, keypoints + pad
    side = round(settings.crop_size * settings.augmentation.margin)
    shape = face_shape(xyxy, keypoints, np.ones(len(keypoints)))
    frame = crop_frame(shape, side, settings.context * settings.augmentation.margin)
    return cut_crop(picture, np.zeros(picture.shape[:2], np.bool_), frame, side).pixels


def develop(linear: NDArray[np.floating], rng: np.random.Generator) -> NDArray[np.uint8]:
    """A picture of linear, premultiplied RGBA: exposure, white balance, tone curve and background drawn at random.

    Parameters
    ----------
    linear : (H, W, 4), alpha in [0, 1]
    rng : numpy Generator

    Returns
    -------
    (H, W, 3) uint8 sRGB
    """
    value = np.asarray(linear, np.float32)
    alpha, colour = value[..., 3:].clip(0, 1), value[..., :3]
    solid = colour[alpha[..., 0] > 0.9]
    level = float(np.percentile(solid.mean(axis=1), 80)) if len(solid) else 1.0
    exposure = 0.75 * rng.uniform(0.5, 1.3) * float(rng.choice([0.5, 0.8, 1.0])) / max(level, 1e-3)
    cells = int(rng.integers(1, 9))
    coarse = rng.uniform(0, 1, (cells, cells, 3)).astype(np.float32) ** 2
    behind = np.asarray(cv2.resize(coarse, colour.shape[1::-1], interpolation=cv2.INTER_CUBIC), np.float32)
    value = colour * exposure + behind.clip(0, 1) * (1 - alpha)
    value = value * np.exp(rng.normal(0, 0.06, 3)).astype(np.float32)
    if rng.random() < 0.4:  # a filmic curve: Narkowicz's fit of the ACES reference
        value = value * (2.51 * value + 0.03) / (value * (2.43 * value + 0.59) + 0.14)
    value = value.clip(0, 1)
    encoded = np.where(value <= 0.0031308, 12.92 * value, 1.055 * value ** (1 / 2.4) - 0.055)
    return np.asarray(np.clip(encoded * 255 + 0.5, 0, 255), np.uint8)
