"""What is known of one picture: box, keypoints, pose, tone and tags; and the rules that reject one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from understudy.attributes.skin_tone import ita_bin, measure_ita
from understudy.color import ita_deg, lab
from understudy.people.camera import Camera, head_pose_deg
from understudy.people.fields import Floats
from understudy.people.landmarks import Ints, five_from_68, project_landmarks, seen_points
from understudy.people.persona import EXPRESSION_CLASS, Persona, age_group, gender_expression
from understudy.people.shape import Head

MIN_FACE_SHARE = 0.5
"""Of the picture's side, for the longer side of a face's box: 96 px of 192."""
MAX_CUT_OFF = 0.10
MIN_LUMA, MAX_LUMA = 7.0, 97.0
MAX_CHROMA = 62.0
MAX_CLIPPED = 0.12
MAX_HAIR_OVER_EYE = 0.5
COVERING = ("medical_mask", "hand")
"""Worn where skin tone would be measured: it is measured on what shows."""
MAX_YAW_OF_PATCHES_DEG = 40.0
"""Further round, patches on both cheeks leave the face, and tone is measured on what shows, too."""
BROW_TO_TOP = 0.40
"""How far over the brows a face box reaches, over the distance from brows to chin."""


@dataclass(frozen=True)
class FaceGeometry:
    """Where one view shows the face."""

    xyxy: Floats  # (4,) px
    keypoints: Floats  # (5, 2) px
    visible: NDArray[np.bool_]  # (5,)
    landmarks: Floats  # (68, 2) px
    landmarks_visible: NDArray[np.bool_]  # (68,)
    pose_deg: tuple[float, float, float]  # yaw, pitch, roll


def face_box(landmarks: Floats) -> Floats:
    """Box (4,) as detectors draw it, from the forehead to the chin, of 68 keypoints."""
    low, high = landmarks.min(axis=0), landmarks.max(axis=0)
    brows, chin = landmarks[17:27].mean(axis=0), landmarks[6:11].mean(axis=0)
    top = brows - BROW_TO_TOP * (chin - brows)
    return np.array([min(low[0], top[0]), min(low[1], top[1]), max(high[0], top[0]), max(high[1], top[1])])


def face_geometry(head: Head, camera: Camera, vertices: Ints, depth: NDArray[np.floating]) -> FaceGeometry:
    """Project the keypoints of a view and find what hides them in its depth map."""
    points, depths = project_landmarks(head, camera, vertices)
    seen = seen_points(points, depths, depth)
    five = np.array([seen[36:42].mean() >= 0.5, seen[42:48].mean() >= 0.5, seen[30], seen[48], seen[54]])
    return FaceGeometry(
        xyxy=face_box(points),
        keypoints=five_from_68(points),
        visible=five,
        landmarks=points,
        landmarks_visible=seen,
        pose_deg=head_pose_deg(head, camera),
    )


def skin_color(picture: NDArray[np.uint8], face: NDArray[np.floating]) -> tuple[float, float, float]:
    """Median L*, median chroma and the share of clipped pixels on bare skin of the face; NaN where none shows."""
    pixels = picture[face > 0.7]
    if len(pixels) < 12:
        return float("nan"), float("nan"), float("nan")
    value = lab(pixels)
    clipped = float((pixels >= 254).all(axis=-1).mean())
    return float(np.median(value[:, 0])), float(np.median(np.hypot(value[:, 1], value[:, 2]))), clipped


def skin_ita(picture: NDArray[np.uint8], face: NDArray[np.floating]) -> float:
    """Median ITA over the bare skin of the face near its median lightness, degrees; NaN where too little shows."""
    pixels = picture[face > 0.7]
    if len(pixels) < 12:
        return float("nan")
    lightness = lab(pixels)[:, 0]
    near = np.abs(lightness - np.median(lightness)) < 15
    return float(np.median(ita_deg(pixels[near])))


def over_disc(mask: NDArray[np.floating], center: Floats, radius: float) -> float:
    """Mean of a mask (H, W) over a disc; 0 outside the picture."""
    height, width = mask.shape
    yy, xx = np.mgrid[0:height, 0:width] + 0.5
    disc = (xx - center[0]) ** 2 + (yy - center[1]) ** 2 <= max(radius, 1.0) ** 2
    return float(mask[disc].mean()) if disc.any() else 0.0


def view_rejection(geometry: FaceGeometry, hair: NDArray[np.floating], size_px: int) -> str | None:
    """The rule that a view breaks, or None: face too small, cut off, or both eyes under hair."""
    x0, y0, x1, y1 = geometry.xyxy
    if max(x1 - x0, y1 - y0) < MIN_FACE_SHARE * size_px:
        return "face_too_small"
    inside = (min(x1, size_px) - max(x0, 0)) * (min(y1, size_px) - max(y0, 0))
    if inside < (1 - MAX_CUT_OFF) * (x1 - x0) * (y1 - y0):
        return "face_cut_off"
    radius = 0.06 * (y1 - y0)
    facing = [side for side, sign in ((0, 1), (1, -1)) if sign * geometry.pose_deg[0] > -50]
    if all(over_disc(hair, geometry.keypoints[side], radius) > MAX_HAIR_OVER_EYE for side in facing):
        return "hair_over_eyes"
    return None


def picture_rejection(picture: NDArray[np.uint8], face: NDArray[np.floating]) -> str | None:
    """The rule that a picture's skin breaks, or None: exposure or saturation."""
    luma, chroma, clipped = skin_color(picture, face)
    if not np.isfinite(luma):
        return None
    if luma < MIN_LUMA:
        return "too_dark"
    if luma > MAX_LUMA or clipped > MAX_CLIPPED:
        return "too_bright"
    return "oversaturated" if chroma > MAX_CHROMA else None


def picture_labels(
    persona: Persona, geometry: FaceGeometry, picture: NDArray[np.uint8], face: NDArray[np.floating]
) -> dict[str, Any]:
    """Labels of one picture: the subject's attributes, the geometry, and what is measured on the pixels."""
    luma, chroma, _ = skin_color(picture, face)
    yaw, pitch, roll = geometry.pose_deg
    if persona.worn in COVERING or abs(yaw) > MAX_YAW_OF_PATCHES_DEG:
        ita = skin_ita(picture, face)
    else:
        ita = measure_ita(picture, geometry.xyxy, geometry.keypoints, np.ones(5))
    return {
        **{name: _rounded(value) for name, value in persona.labels().items() if name != "expression"},
        "subject": f"{persona.seed}-{persona.index:06d}",
        "expression_name": persona.expression,
        "plain": persona.plain,
        "face_xyxy": np.round(geometry.xyxy, 2).tolist(),
        "keypoints": np.round(geometry.keypoints, 2).tolist(),
        "keypoints_visible": geometry.visible.astype(int).tolist(),
        "landmarks": np.round(geometry.landmarks, 2).tolist(),
        "landmarks_visible": geometry.landmarks_visible.astype(int).tolist(),
        "yaw_deg": round(yaw, 2),
        "pitch_deg": round(pitch, 2),
        "roll_deg": round(roll, 2),
        "ita_deg": round(ita, 2) if np.isfinite(ita) else None,
        "skin_l": round(luma, 2) if np.isfinite(luma) else None,
        "skin_chroma": round(chroma, 2) if np.isfinite(chroma) else None,
        "skin_tone": ita_bin(ita) if np.isfinite(ita) else None,
        "age_group": age_group(persona.age),
        "expression": None if persona.worn == "medical_mask" else EXPRESSION_CLASS[persona.expression],
        "perceived_gender_expression": gender_expression(persona.gender),
    }


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 5)
    return [round(v, 5) for v in value] if isinstance(value, tuple) else value
