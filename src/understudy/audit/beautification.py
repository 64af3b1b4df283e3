"""Whether faces were made prettier: measurable parts, each signed, and an index of their drift.

Every part is a number that grows when a face is retouched in the direction that its name says; most are natural
logarithms, so that a difference is a relative change. The index is the weighted mean of the parts' drift, each over the
spread of that part between the people of the original collection and levelled off where it is very large.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from understudy.audit.aligned import (
    CHEEKS,
    EYE_CORES,
    EYES,
    FACE,
    FOREHEAD,
    LIP_CORE,
    LIPS,
    SIZE,
    UNDER_EYES,
    AlignedFace,
    mask_of,
    skin_distance,
)
from understudy.errors import InvalidInputError

NAN = float("nan")
PARTS: Mapping[str, str] = {
    "skin_smoothness": "minus log of the micro-texture on skin (band of 1 to 3 px of a 256 px crop)",
    "wrinkle_reduction": "minus log of the dark lines on forehead, under the eyes and on the cheeks",
    "skin_evenness": "minus log of the blotches of colour and lightness on skin, without the slope of the light",
    "symmetry": "minus log of the difference between the face and its mirror image, without the slope of the light",
    "eye_contrast": "lightness of skin minus that of the darkest third of the eyes, over their sum",
    "lip_contrast": "colour difference between lips and skin, CIELAB units over 100",
    "eye_size": "half the log of the area around the eyes that is no skin",
    "slimness": "minus log of the face's width at mouth and nose over the distance from eyes to mouth",
    "averageness": "correlation with the mean face of the original collection",
    "sharpness": "log of the fine detail of eyes and lips",
    "exposure": "lightness of skin, CIELAB units over 100",
    "youth": "minus perceived age in years, from an estimator that is handed in",
}
"""The parts and what each measures."""
WEIGHTS: Mapping[str, float] = {
    "skin_smoothness": 2.0,
    "wrinkle_reduction": 1.5,
    "skin_evenness": 1.5,
    "symmetry": 1.0,
    "eye_contrast": 0.5,
    "lip_contrast": 0.5,
    "eye_size": 1.0,
    "slimness": 1.0,
    "averageness": 0.5,
    "sharpness": 1.75,
    "exposure": 0.25,
    "youth": 1.0,
}
"""Weights of the index where the config names no others. Sharpness weighs nearly as much as smoothness, so that a
picture that is blurred as a whole scores less than one with retouched skin."""
MIN_SPREAD: Mapping[str, float] = {
    "skin_smoothness": 0.15,
    "wrinkle_reduction": 0.15,
    "skin_evenness": 0.15,
    "symmetry": 0.15,
    "eye_contrast": 0.05,
    "lip_contrast": 0.03,
    "eye_size": 0.05,
    "slimness": 0.04,
    "averageness": 0.05,
    "sharpness": 0.15,
    "exposure": 0.05,
    "youth": 3.0,
}
"""Least spread of each part between people, so that a collection of like faces does not make a trifle large."""
USUAL_SPREAD: Mapping[str, float] = {
    "skin_smoothness": 0.40,
    "wrinkle_reduction": 0.55,
    "skin_evenness": 0.41,
    "symmetry": 0.43,
    "eye_contrast": 0.11,
    "lip_contrast": 0.09,
    "eye_size": 0.22,
    "slimness": 0.12,
    "averageness": 0.18,
    "sharpness": 0.20,
    "exposure": 0.11,
    "youth": 13.0,
}
"""Spread of each part between 250 portraits of 320 px: for collections of too few people to have one of their own."""
LEAST_PEOPLE = 8
"""Faces under which a collection's own spread, and its mean face, say nothing."""
LARGEST = 3.0
"""Towards this many spreads a part's share in the index levels off (as a hyperbolic tangent): none rules it alone."""
MIN_WEIGHT = 0.5
"""Share of the weights that must be measured for a face to have an index."""
FLOOR = 0.02
"""Added to each energy before its logarithm, in CIELAB units: less than a camera shows."""
AVERAGE_SIZE = 32
"""Side of the coarse faces that averageness compares, px."""
EYES_TO_MOUTH = 76.6
"""In the crop, px."""
RUN = 5
"""So many pixels in a row that are no skin end a face."""


def _blur(channel: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    return np.asarray(cv2.GaussianBlur(channel, (0, 0), sigma), np.float64)


def _without_slope(values: NDArray[np.float64], mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(N, C) values of the masked pixels less their least-squares plane."""
    ys, xs = np.nonzero(mask)
    basis = np.stack([np.ones(len(xs)), (xs - SIZE / 2) / SIZE, (ys - SIZE / 2) / SIZE], axis=1)
    inside = values[mask].reshape(len(xs), -1)
    coefficients, *_ = np.linalg.lstsq(basis, inside, rcond=None)
    return np.asarray(inside - basis @ coefficients, np.float64)


def _spread(values: NDArray[np.float64]) -> float:
    """Robust standard deviation: single spots and hairs count little."""
    return float(1.4826 * np.median(np.abs(values - np.median(values))))


def _gain(face: AlignedFace) -> float:
    """What differences of lightness grow by when the light does: L* + 16 goes with the cube root of the light."""
    return float((face.skin_lab[0] + 16) / 100)


def skin_smoothness(face: AlignedFace) -> float:
    """Micro-texture of the skin, band-passed between 1 and 3 px; the band is made of skin pixels alone."""
    lightness, weight = face.lab[..., 0], face.skin.astype(np.float64)
    fine, coarse = (_blur(lightness * weight, s) / np.maximum(_blur(weight, s), 1e-3) for s in (0.7, 2.0))
    return -float(np.log(_spread((fine - coarse)[face.skin]) / _gain(face) + FLOOR))


def wrinkle_reduction(face: AlignedFace) -> float:
    """Dark lines: the positive part of the largest second derivative at a scale of 2.5 px."""
    lightness = _blur(face.lab[..., 0], 2.5)
    dy, dx = np.gradient(lightness)
    dyy, dyx = np.gradient(dy)
    _, dxx = np.gradient(dx)
    largest = (dxx + dyy) / 2 + np.sqrt(((dxx - dyy) / 2) ** 2 + dyx**2)
    mask = mask_of([FOREHEAD, *CHEEKS, *UNDER_EYES])
    return -float(np.log(np.mean(np.maximum(largest[mask], 0)) * 2.5**2 / _gain(face) + FLOOR))


def skin_evenness(face: AlignedFace) -> float:
    """Blotches: deviation of smoothed colour and lightness on each patch of skin, the slope of the light left out."""
    smooth = np.stack([_blur(face.lab[..., c], 3.0) for c in range(3)], axis=-1)
    rest = []
    for ellipse in (FOREHEAD, *CHEEKS):
        patch = mask_of([ellipse]) & face.skin
        if patch.sum() >= 50:
            rest.append(_without_slope(smooth, patch))
    deviation = np.sqrt((np.concatenate(rest) ** 2).mean(axis=0).sum()) if rest else NAN
    return -float(np.log(deviation / _gain(face) + FLOOR))


def symmetry(face: AlignedFace) -> float:
    """Mirror difference of lightness at 3 px, over the face's own contrast."""
    mask = mask_of([FACE])
    lightness = np.zeros((SIZE, SIZE))
    lightness[mask] = _without_slope(_blur(face.lab[..., 0], 3.0), mask)[:, 0]
    gap = np.abs(lightness - lightness[:, ::-1])[mask].mean()
    contrast = float(lightness[mask].std())
    return -float(np.log(gap / contrast + FLOOR)) if contrast > 0.5 else NAN


def eye_contrast(face: AlignedFace) -> float:
    """Contrast of skin against the darkest third of both eyes, after Russell 2009, doi:10.1068/p6331."""
    lightness = face.lab[..., 0]
    eyes = [np.sort(lightness[mask_of([core])]) for core in EYE_CORES]
    dark = np.mean([values[: len(values) // 3].mean() for values in eyes])
    return float((face.skin_lab[0] - dark) / max(face.skin_lab[0] + dark, 1.0))


def lip_contrast(face: AlignedFace) -> float:
    """Distance between the median colours of lips and skin."""
    lips = np.median(face.lab[mask_of([LIP_CORE])], axis=0)
    return float(np.linalg.norm(lips - face.skin_lab) / 100)


def eye_size(face: AlignedFace) -> float:
    """Area around both eyes whose colour is far from skin, soft at its edge."""
    smooth = np.stack([_blur(face.lab[..., c], 1.0) for c in range(3)], axis=-1)
    distance = skin_distance(smooth, face.skin_lab, np.array([8.0, 4.0, 4.0]))
    mask = mask_of(EYES)
    area = float(np.clip(distance[mask] - 1, 0, 1).sum())
    return 0.5 * float(np.log(area)) if area > 20 else NAN


def slimness(face: AlignedFace) -> float:
    """Width of the face between nose and mouth, from where skin ends on both sides; NaN where no end is seen."""
    smooth = np.stack([_blur(face.lab[..., c], 1.5) for c in range(3)], axis=-1)
    middle = mask_of(CHEEKS) & face.skin
    deviation = np.maximum(face.skin_deviation, [6.0, 3.0, 3.0])
    away = skin_distance(smooth, face.skin_lab, deviation) > 2.5
    if middle.sum() < 50:
        return NAN
    widths = []
    for row in range(140, 172, 2):
        left, right = _first_run(away[row, 100::-1]), _first_run(away[row, 156:])
        if left is not None and right is not None:
            widths.append(left + right + 56)
    return -float(np.log(np.median(widths) / EYES_TO_MOUTH)) if len(widths) >= 6 else NAN


def _first_run(away: NDArray[np.bool_]) -> int | None:
    """Steps until ``RUN`` entries in a row are True; None where that never happens."""
    runs = np.convolve(away, np.ones(RUN, np.int64), mode="valid") == RUN
    return int(np.argmax(runs)) if runs.any() else None


def sharpness(face: AlignedFace) -> float:
    """Mean absolute fine detail (under 1.5 px) of eyes and lips."""
    lightness = face.lab[..., 0]
    detail = np.abs(lightness - _blur(lightness, 1.5))[mask_of([*EYES, LIPS])]
    return float(np.log(detail.mean() / _gain(face) + FLOOR))


def exposure(face: AlignedFace) -> float:
    """Lightness of the skin."""
    return float(face.skin_lab[0] / 100)


def small_face(face: AlignedFace) -> NDArray[np.float64]:
    """(AVERAGE_SIZE ** 2,) lightness of the face, coarse, with mean 0 and length 1: what averageness compares."""
    mask = cv2.resize(mask_of([FACE]).astype(np.float32), (AVERAGE_SIZE, AVERAGE_SIZE), interpolation=cv2.INTER_AREA)
    coarse = cv2.resize(face.lab[..., 0], (AVERAGE_SIZE, AVERAGE_SIZE), interpolation=cv2.INTER_AREA)
    inside = np.where(mask > 0.5, coarse, 0.0)
    centred = np.where(mask > 0.5, inside - inside[mask > 0.5].mean(), 0.0).ravel()
    return np.asarray(centred / max(float(np.linalg.norm(centred)), 1e-9), np.float64)


MEASURES = {
    "skin_smoothness": skin_smoothness,
    "wrinkle_reduction": wrinkle_reduction,
    "skin_evenness": skin_evenness,
    "symmetry": symmetry,
    "eye_contrast": eye_contrast,
    "lip_contrast": lip_contrast,
    "eye_size": eye_size,
    "slimness": slimness,
    "sharpness": sharpness,
    "exposure": exposure,
}
"""The parts that one face carries by itself."""


def measure(
    face: AlignedFace | None, mean_face: NDArray[np.float64] | None = None, age: float = NAN
) -> dict[str, float]:
    """All parts of one face.

    Parameters
    ----------
    face : AlignedFace or None
        None (no skin to be seen) gives NaN throughout.
    mean_face : (AVERAGE_SIZE ** 2,), optional
        Mean of ``small_face`` over the originals; without it averageness is NaN.
    age : float
        Perceived age in years, from an estimator; NaN without.

    Returns
    -------
    dict
        A number for each name of ``PARTS``; NaN where it could not be measured.
    """
    values = dict.fromkeys(PARTS, NAN)
    if face is None:
        return values
    values |= {name: part(face) for name, part in MEASURES.items()}
    if mean_face is not None:
        values["averageness"] = float(small_face(face) @ mean_face / max(float(np.linalg.norm(mean_face)), 1e-9))
    values["youth"] = -age
    return values


@dataclass(frozen=True)
class BeautificationIndex:
    """Drift of the parts in units of their spread between people, and their weighted mean, for each face."""

    names: tuple[str, ...]
    standardised: NDArray[np.float64]  # (N, P) after minus before over the spread; NaN where not measured
    index: NDArray[np.float64]  # (N,) NaN where too few parts were measured
    spread: NDArray[np.float64]  # (P,) robust deviation of each part between the originals


def beautification_index(
    before: Sequence[Mapping[str, float]],
    after: Sequence[Mapping[str, float]],
    weights: Mapping[str, float] = WEIGHTS,
    spread: Mapping[str, float] | None = None,
) -> BeautificationIndex:
    """Index of each face; positive where it was made prettier in the sense of the parts.

    Parameters
    ----------
    before, after : sequence of mappings
        From ``measure``, one pair for each face.
    weights : mapping
        0 or more, by part; parts that it does not name have no weight.
    spread : mapping, optional
        Deviation of each part between people, where another collection's is to be used (the same one for after
        and for the null edit). Without it: that of ``before``, and ``USUAL_SPREAD`` with fewer than 8 faces.

    Returns
    -------
    BeautificationIndex
    """
    unknown = sorted(set(weights) - set(PARTS))
    if unknown or any(w < 0 for w in weights.values()) or not sum(weights.values()) > 0:
        raise InvalidInputError(f"weights must be 0 or more, over {list(PARTS)}, got {dict(weights)}")
    if len(before) != len(after):
        raise InvalidInputError(f"before and after must be as many faces, got {len(before)} and {len(after)}")
    names = tuple(PARTS)
    first, second = (
        np.array([[m[k] for k in names] for m in part]).reshape(-1, len(names)) for part in (before, after)
    )
    least = np.array([MIN_SPREAD[k] for k in names])
    scale = _between_people(first) if spread is None else np.array([spread.get(k, NAN) for k in names])
    scale = np.maximum(scale, least)  # NaN stays
    usable = np.isfinite(scale)
    standardised = np.full(first.shape, NAN)
    standardised[:, usable] = (second - first)[:, usable] / scale[usable]
    weight = np.array([weights.get(k, 0.0) for k in names]) * np.isfinite(standardised)
    possible = sum(weights.get(k, 0.0) for k, any_face in zip(names, weight.any(axis=0), strict=True) if any_face)
    total = weight.sum(axis=1)
    summed = (LARGEST * np.tanh(np.nan_to_num(standardised) / LARGEST) * weight).sum(axis=1)
    index = np.divide(summed, total, out=np.full(len(first), NAN), where=total >= max(MIN_WEIGHT * possible, 1e-12))
    return BeautificationIndex(names, standardised, index, scale)


def _between_people(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(P,) robust deviation of each part between faces; the usual one with fewer than ``LEAST_PEOPLE``."""
    columns = {name: column[np.isfinite(column)] for name, column in zip(PARTS, values.T, strict=True)}
    return np.array([_spread(c) if len(c) >= LEAST_PEOPLE else USUAL_SPREAD[name] for name, c in columns.items()])
