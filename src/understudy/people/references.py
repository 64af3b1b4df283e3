"""Make references for a generator out of bare heads: each view in soft, neutral light, with what may be shown of it.

usage: python -m understudy.people.references FOLDER OUTPUT
FOLDER comes from ``render --bare``; OUTPUT gets one RGBA picture a view and references.jsonl, readable as labels.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from understudy.attributes.skin_tone import ita_bin, measure_ita
from understudy.people.develop import exposure, film_curve
from understudy.people.fields import Floats
from understudy.people.light import PORTRAIT, Group
from understudy.people.pack import unique_rows

LABELS = "references.jsonl"
SOFT_LIGHT: dict[Group, float] = {"ambient": 1.0, "key": 0.3}
"""Weight of each group: the sky, and a little modelling; a lamp from the side would be in every picture."""
MIN_EYE_OPENING = {"smile": 0.14, "broad_smile": 0.14}
"""Height of an open eye over its width by expression; a head with both eyes below that squints or has them closed."""
_MIN_EYE_OPENING = 0.2
MAX_PITCH_DEG = 24.0
ELLIPSE = (1.04, 1.02)
"""Semi-axes of what is shown above the nose, of half the face's box: the hairline is the generator's to draw."""
CLOSE_PX = 7
_HAIRY = 64
"""Of 255, from which what covers a bearded head is hair: a beard's edge is thin."""
_LEFT_OUT = (80.0, 5.0)  # degrees of yaw and pixels: full profiles, and faces whose nose has no eyes above it
_DULLED = (0.62, 38.0, 0.4)
"""Lightness above which eyes and teeth are compressed (a share of the skin's and a constant), and by how much."""


def soft_light(arrays: Mapping[str, NDArray[Any]]) -> Floats:
    """The linear foreground (H, W, 3): as it was mixed before rendering, or out of light groups."""
    if "mixed" in arrays:
        return np.asarray(arrays["mixed"], np.float64)
    light: Floats = np.zeros((*arrays["alpha"].shape, 3))
    for group, weight in SOFT_LIGHT.items():
        light = light + weight * arrays[group].astype(np.float64)
    return light


def neutral_picture(row: dict[str, Any], folder: Path) -> tuple[NDArray[np.uint8], Floats, NDArray[np.uint8]]:
    """A view in soft, neutral light, (H, W, 3) sRGB; its foreground in [0, 1]; its masks (H, W, 4)."""
    with np.load(folder / row["linear"]) as arrays:
        light, factor = soft_light(arrays), PORTRAIT.exposure if "mixed" in arrays else 1.0
        alpha: Floats = arrays["alpha"] / 255.0
    masks = np.asarray(Image.open(folder / row["masks"]))
    gain = exposure(light, masks[..., 0] / 255.0, row["melanin"], factor)
    value = film_curve(light * gain / np.maximum(alpha, 0.05)[..., None])
    return np.asarray(np.clip(value, 0, 1) * 255 + 0.5, np.uint8), alpha, masks


def dulled(picture: NDArray[np.uint8], skin: NDArray[np.bool_], cover: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """A head whose eyes and teeth do not glare: what is not skin and much lighter is brought nearer.  (H, W, 3)

    The picture is exposed for the skin, and eyes that are white on light skin would glow on dark skin.
    """
    lab = cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    share, step, slope = _DULLED
    knee = share * float(np.median(lab[skin & cover][:, 0])) + step if (skin & cover).any() else 100.0
    other = cv2.GaussianBlur((~skin & cover).astype(np.float32), (0, 0), 0.7)
    lab[..., 0] -= other * (1 - slope) * np.maximum(lab[..., 0] - knee, 0)
    return np.asarray(np.clip(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB) * 255 + 0.5, 0, 255), np.uint8)


def without_holes(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A mask with its holes closed, such as eyes and brows in skin."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (CLOSE_PX, CLOSE_PX))
    closed = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, kernel)
    contours, _ = cv2.findContours(closed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = np.zeros_like(closed)
    cv2.drawContours(filled, contours, -1, 1, -1)
    return np.asarray(filled > 0)


def shown(skin: NDArray[np.bool_], xyxy: NDArray[np.floating], keypoints: NDArray[np.floating]) -> NDArray[np.bool_]:
    """What a generator may show of a bare head: the face's ellipse, and jaw and neck below the nose.  (H, W)

    Parameters
    ----------
    skin : (H, W) bool, without holes
    xyxy : (4,) px, of the face
    keypoints : (5, 2) px
    """
    height, width = skin.shape
    ys, xs = np.mgrid[0:height, 0:width] + 0.5
    center, half = (xyxy[:2] + xyxy[2:]) / 2, (xyxy[2:] - xyxy[:2]) / 2
    inside = ((xs - center[0]) / (ELLIPSE[0] * half[0])) ** 2 + ((ys - center[1]) / (ELLIPSE[1] * half[1])) ** 2 <= 1
    down = keypoints[3:].mean(axis=0) - keypoints[:2].mean(axis=0)
    below = (xs - keypoints[2, 0]) * down[0] + (ys - keypoints[2, 1]) * down[1] > 0
    return np.asarray(skin & (inside | below))


def eye_opening(landmarks: NDArray[np.floating]) -> float:
    """Height over width of the more open eye, of 68 landmarks. Soukupova and Cech 2016, eye aspect ratio."""
    ratios = []
    for first in (36, 42):
        eye = landmarks[first : first + 6]
        rise = np.linalg.norm(eye[1] - eye[5]) + np.linalg.norm(eye[2] - eye[4])
        ratios.append(float(rise / 2 / max(float(np.linalg.norm(eye[0] - eye[3])), 1e-6)))
    return max(ratios)


def rejection(row: dict[str, Any]) -> str | None:
    """The rule that a view breaks, or None. A beard breaks none: labels say so, and that such a face is not plain."""
    if not (row["plain"] or (row["worn"] == "none" and not row["lipstick"] and not row["eye_shadow"])):
        return "not_plain"
    if abs(row["yaw_deg"]) > _LEFT_OUT[0]:
        return "profile"
    if abs(row["pitch_deg"]) > MAX_PITCH_DEG:
        return "tilted"
    points = np.asarray(row["keypoints"])
    if points[3:, 1].mean() - points[:2, 1].mean() < _LEFT_OUT[1]:
        return "upside_down"
    least = MIN_EYE_OPENING.get(row["expression_name"], _MIN_EYE_OPENING)
    return "eyes_closed" if eye_opening(np.asarray(row["landmarks"])) < least else None


def reference(row: dict[str, Any], folder: Path) -> tuple[NDArray[np.uint8], dict[str, Any]]:
    """One reference, (H, W, 4) with what is shown as its alpha, and its labels."""
    picture, alpha, masks = neutral_picture(row, folder)
    box, points = np.asarray(row["face_xyxy"], np.float64), np.asarray(row["keypoints"], np.float64)
    skin, bearded = masks[..., 2] > 127, row["beard"] != "none"
    of_head = skin | (masks[..., 1] > _HAIRY) if bearded else skin
    cover = shown(without_holes(of_head), box, points)
    picture = dulled(picture, skin, cover)
    ita = measure_ita(picture, box, points, np.ones(len(points)))
    kept = ("subject", "face_xyxy", "keypoints", "age", "gender", "yaw_deg", "pitch_deg", "expression_name")
    tags = ("age_group", "expression", "perceived_gender_expression", "code_version")
    labels = {
        "file": f"{row['index']:06d}_{row['view']}.png",
        **{name: row[name] for name in (*kept, *tags)},
        "plain": not bearded,
        "beard": int(bearded),
        "skin_tone": ita_bin(ita) if np.isfinite(ita) else None,
        "ita_deg": round(float(ita), 2) if np.isfinite(ita) else None,
    }
    return np.dstack([picture, np.asarray(cover * alpha * 255 + 0.5, np.uint8)]), labels


def write_references(folder: Path, output: Path) -> Counter[str]:
    """References of every view that no rule rejects; how many were kept and rejected."""
    output.mkdir(parents=True, exist_ok=True)
    counts: Counter[str] = Counter()
    lines = []
    for row in unique_rows(folder):
        if row["mix"] != 0 or row["linear"] is None:
            continue
        rule = rejection(row)
        counts[rule or "kept"] += 1
        if rule is None:
            picture, labels = reference(row, folder)
            buffer = io.BytesIO()
            Image.fromarray(picture, "RGBA").save(buffer, "PNG", compress_level=1)
            (output / labels["file"]).write_bytes(buffer.getvalue())
            lines.append(json.dumps(labels) + "\n")
    (output / LABELS).write_text("".join(lines))
    return counts


def main() -> None:
    """Write the references of a folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("output", type=Path)
    args = parser.parse_args()
    counts = write_references(args.folder, args.output)
    sys.stdout.write("".join(f"{rule}: {n}\n" for rule, n in sorted(counts.items())))


if __name__ == "__main__":
    main()
