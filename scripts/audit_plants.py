"""Changes planted into portraits, each with its known size and with what it may move besides.

The lists of expected side effects were written before the first run; see ``scripts/bench_audit.py``.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from understudy.audit.faces import PictureFaces
from understudy.audit.pairs import region_mask

ITA_CENTRES = (60.0, 48.0, 34.5, 19.0, -10.0, -45.0)
"""Middle of each ITA bin, very light first."""
ITA_CUTS = (55.0, 41.0, 28.0, 10.0, -30.0)
SHIFT_PX = 0.5
QUALITIES = (80, 97)
"""Of the null edits: a shift of at most this in each direction, and a JPEG quality drawn between these."""


@dataclass(frozen=True)
class Plant:
    """One planted change."""

    name: str
    what: str
    """In the table's words."""
    found_by: tuple[tuple[str, str, str], ...]
    """(metric, attribute, group) of the rows that must find it."""
    may_move: frozenset[str] = field(default_factory=frozenset)
    """Attributes that it may move besides; "*" for any."""
    untouched: tuple[str, ...] = ()
    """Groups in which nothing at all may be flagged."""


_SKIN = {"exposure", "eye_contrast", "lip_contrast", "skin_evenness", "skin_smoothness", "wrinkle_reduction"}
PLANTS: dict[str, Plant] = {
    plant.name: plant
    for plant in (
        Plant(
            "lighter",
            "skin of 10 % two ITA bins lighter",
            (("mean_drift", "ita", "overall"), ("net_changed_share", "skin_tone", "overall")),
            # lighter skin is nearer to white tones, darker features stand out, and edges of skin lie elsewhere
            frozenset(
                {"ita", "skin_tone", "monk_tone", "perceived_darkness", "index", "sharpness", "eye_size", "slimness"}
            )
            | _SKIN,
        ),
        Plant(
            "smooth",
            "skin of every third face smoothed (bilateral)",
            (("beautification_drift", "skin_smoothness", "overall"),),
            # smooth skin reads as young; stubble and lines go, and so does the detail around eyes and lips
            frozenset(
                {
                    "index",
                    "skin_smoothness",
                    "wrinkle_reduction",
                    "skin_evenness",
                    "sharpness",
                    "averageness",
                    "symmetry",
                }
                | {
                    "youth",
                    "perceived_age",
                    "age_group",
                    "perceived_femininity",
                    "perceived_gender_expression",
                    "beard",
                }
            ),
        ),
        Plant(
            "group",
            "only people rated as rather feminine are blurred",
            (("residual_share", "", "overall"), ("rank1_rate_gap", "dlib/rated", "overall")),
            frozenset({"*"}),  # a blurred face may read as anything; the others must not
            ("rated=masculine",),
        ),
        Plant(
            "left",
            "5 % of faces left as they were, the others filled",
            (("residual_share", "", "overall"),),
        ),
        Plant(
            "age",
            "perceived age 5 years up (planted on the readings)",
            (("mean_drift", "perceived_age", "overall"),),
            frozenset({"perceived_age", "age_group", "youth", "index"}),
        ),
    )
}


def null_edit(view: NDArray[np.uint8], seed: int) -> bytes:
    """A picture moved by a fraction of a pixel and compressed anew: JPEG bytes.

    Parameters
    ----------
    view : (H, W, 3) uint8 sRGB
    seed : int
    """
    rng = np.random.default_rng(seed)
    dx, dy = rng.uniform(-SHIFT_PX, SHIFT_PX, 2)
    quality = int(rng.integers(*QUALITIES, endpoint=True))
    shift = np.array([[1.0, 0.0, dx], [0.0, 1.0, dy]])
    size = (view.shape[1], view.shape[0])
    moved = cv2.warpAffine(view, shift, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    _, packed = cv2.imencode(".jpg", np.ascontiguousarray(moved[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, quality])
    return packed.tobytes()


def face_mask(faces: PictureFaces) -> NDArray[np.bool_]:
    """(H, W) True on the faces of a picture."""
    return region_mask(faces.xyxy, faces.xyxy, faces.keypoints, faces.size)


def soft(mask: NDArray[np.bool_], sigma: float = 5.0) -> NDArray[np.float32]:
    """(H, W, 1) the mask with a soft edge that lies inside it."""
    inside = cv2.erode(mask.astype(np.uint8), np.ones((2 * round(sigma) + 1,) * 2, np.uint8))
    return np.asarray(cv2.GaussianBlur(inside.astype(np.float32), (0, 0), sigma), np.float32)[..., None]


def cheek_lab(view: NDArray[np.uint8], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3,) median CIELAB of two discs on the cheeks, half way from the eyes to the mouth's corners.

    By OpenCV's conversion, and not as the audit measures skin: a second opinion of the size that was planted.
    """
    lab = cv2.cvtColor(view.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)
    reach = 0.16 * float(np.linalg.norm(points[1] - points[0]))
    ys, xs = np.mgrid[: view.shape[0], : view.shape[1]]
    chosen = np.zeros(view.shape[:2], np.bool_)
    for eye, corner in ((0, 3), (1, 4)):
        x, y = (points[eye] + points[corner]) / 2
        chosen |= (xs - x) ** 2 + (ys - y) ** 2 <= reach**2
    return np.asarray(np.median(lab[chosen], axis=0), np.float64)


def ita_of(lab: NDArray[np.float64]) -> float:
    """Individual typology angle of a colour, degrees."""
    return float(np.degrees(np.arctan2(lab[0] - 50, lab[2])))


def bin_of(ita: float) -> int:
    """Bin of an angle, 0 the lightest."""
    return int(sum(ita <= cut for cut in ITA_CUTS))


def lighten(view: NDArray[np.uint8], faces: PictureFaces, n_bins: int = 2) -> tuple[NDArray[np.uint8], float] | None:
    """The picture with the skin of its one face lighter by ``n_bins`` ITA bins, and by how many degrees that is.

    Returns
    -------
    (H, W, 3) uint8 and degrees, or None
        None where the skin is too light already, or too near to white for its hue to last.
    """
    if len(faces) != 1:
        return None
    before = cheek_lab(view, faces.keypoints[0])
    target = bin_of(ita_of(before)) - n_bins
    if target < 0:
        return None
    gain = 50 + before[2] * np.tan(np.radians(ITA_CENTRES[target])) - before[0]
    if before[0] + gain > 92 or before[2] < 4:
        return None
    lab = cv2.cvtColor(view.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)
    lab[..., 0] = np.clip(lab[..., 0] + np.float32(gain) * soft(face_mask(faces))[..., 0], 0, 100)
    lighter = np.clip(np.round(255 * cv2.cvtColor(lab, cv2.COLOR_Lab2RGB)), 0, 255).astype(np.uint8)
    return lighter, ita_of(cheek_lab(lighter, faces.keypoints[0])) - ita_of(before)


def bare_mask(faces: PictureFaces) -> NDArray[np.bool_]:
    """(H, W) True on the faces' skin, as retouching takes it: without eyes, brows and mouth."""
    mask = face_mask(faces).astype(np.uint8)
    for points in faces.keypoints:
        apart = float(np.linalg.norm(points[1] - points[0]))
        middle = points[3:].mean(axis=0)
        for center, axes in ((points[0], (0.42, 0.36)), (points[1], (0.42, 0.36)), (middle, (0.58, 0.3))):
            place = (round(float(center[0])), round(float(center[1])))
            cv2.ellipse(mask, place, (round(axes[0] * apart), round(axes[1] * apart)), 0, 0, 360, 0, -1)
    return np.asarray(mask > 0, np.bool_)


def smooth(view: NDArray[np.uint8], faces: PictureFaces) -> NDArray[np.uint8]:
    """The picture with its faces' skin smoothed as retouching does: eyes, brows and mouth stay as they are."""
    return blended(view, cv2.bilateralFilter(view, 9, 30, 6), soft(bare_mask(faces), 3.0))


def blur(view: NDArray[np.uint8], faces: PictureFaces) -> NDArray[np.uint8]:
    """The picture with its faces blurred beyond recognition."""
    sides = (faces.xyxy[:, 2:] - faces.xyxy[:, :2]).max() if len(faces) else 1.0
    return blended(
        view, cv2.GaussianBlur(view, (0, 0), float(sides) / 6), face_mask(faces)[..., None].astype(np.float32)
    )


def fill(view: NDArray[np.uint8], faces: PictureFaces) -> NDArray[np.uint8]:
    """The picture with its faces filled with one grey."""
    filled = view.copy()
    filled[face_mask(faces)] = 127
    return filled


def blended(below: NDArray[np.uint8], above: NDArray[np.uint8], alpha: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 of two pictures and the weight (H, W, 1) of the upper one."""
    mixed = below.astype(np.float32) * (1 - alpha) + above.astype(np.float32) * alpha
    return np.clip(np.round(mixed), 0, 255).astype(np.uint8)
