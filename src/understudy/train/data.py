"""Training crops from labelled renders: windows, masks and keypoints that vary as a detector's would."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from understudy.geometry import (
    FaceShape,
    apply_affine,
    crop_frame,
    cut_crop,
    face_shape,
    invert_affine,
    shape_region,
)
from understudy.train.records import Record
from understudy.train.references import lay_reference
from understudy.types import ERASED

Measure = Callable[
    [NDArray[np.uint8], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]], tuple[int | None, ...]
]
"""Picture, box, keypoints and visibility to one bin for each category, None = not known."""

MIRRORED = (1, 0, 2, 4, 3)
"""Keypoints of a mirrored picture, in the order of ``FACE_KEYPOINTS``."""


@dataclass(frozen=True)
class CropBank:
    """Augmented crops as a struct of arrays."""

    pixels: NDArray[np.uint8]  # (N, S, S, 3), nothing erased
    context: NDArray[np.uint8]  # (N, S, S, 3), what the denoiser sees: erased, with a reference laid in
    replace_mask: NDArray[np.bool_]  # (N, S, S)
    known: NDArray[np.bool_]  # (N, S, S), False where the window leaves the picture
    keypoints: NDArray[np.float32]  # (N, 5, 2) crop px
    visibility: NDArray[np.float32]  # (N, 5)
    categories: NDArray[np.int64]  # (N, G), -1 = not known
    subject: NDArray[np.int64]  # (N,) index into ``subjects``
    subjects: tuple[str, ...]
    subject_tags: NDArray[np.int64]  # (n_subjects, T)
    subject_plain: NDArray[np.bool_]  # (n_subjects,)


def without_margin(bank: CropBank, margin_px: int) -> CropBank:
    """The same crops without a margin on each side."""
    if margin_px == 0:
        return bank
    inner = slice(margin_px, -margin_px)
    return replace(
        bank,
        pixels=np.ascontiguousarray(bank.pixels[:, inner, inner]),
        context=np.ascontiguousarray(bank.context[:, inner, inner]),
        replace_mask=np.ascontiguousarray(bank.replace_mask[:, inner, inner]),
        known=np.ascontiguousarray(bank.known[:, inner, inner]),
        keypoints=bank.keypoints - np.float32(margin_px),
    )


def mirror(
    picture: NDArray[np.uint8], xyxy: NDArray[np.float64], keypoints: NDArray[np.float64]
) -> tuple[NDArray[np.uint8], NDArray[np.float64], NDArray[np.float64]]:
    """Left and right swapped, with the subject's own right eye still first."""
    width = picture.shape[1]
    box = np.array([width - xyxy[2], xyxy[1], width - xyxy[0], xyxy[3]])
    points = np.column_stack([width - keypoints[:, 0], keypoints[:, 1]])[list(MIRRORED)]
    return np.ascontiguousarray(picture[:, ::-1]), box, points


def change_colour(rng: np.random.Generator, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Exposure (rather up than down: the renders are dark), white balance and saturation.

    Mostly mild; one picture in eight has a strong cast, one in ten is dim, one in thirty grey.
    """
    value = picture.astype(np.float32) / 255
    value = value ** rng.uniform(0.65, 1.15) * rng.uniform(0.95, 1.2)
    if rng.random() < 0.1:
        value = value ** rng.uniform(1.0, 1.4) * rng.uniform(0.45, 0.9)
    cast = 0.22 if rng.random() < 0.125 else 0.05
    value = value * rng.uniform(1 - cast, 1 + cast, 3).astype(np.float32)
    grey = value.mean(axis=2, keepdims=True)
    value = grey + (value - grey) * (0 if rng.random() < 1 / 30 else rng.uniform(0.75, 1.2))
    return np.asarray(np.clip(value * 255, 0, 255), np.uint8)


def degrade(rng: np.random.Generator, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Now and then blur, fewer pixels, noise or JPEG, as pictures of people far away have."""
    height, width = picture.shape[:2]
    if rng.random() < 0.12:
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.4, 1.4)), np.uint8)
    if rng.random() < 0.12:
        share = rng.uniform(0.35, 0.8)
        small = cv2.resize(picture, (round(width * share), round(height * share)), interpolation=cv2.INTER_AREA)
        picture = np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)
    if rng.random() < 0.2:
        noise = rng.normal(0, rng.uniform(1, 7), picture.shape)
        picture = np.asarray(np.clip(picture + noise, 0, 255), np.uint8)
    if rng.random() < 0.25:
        quality = int(rng.integers(35, 95))
        picture = np.asarray(
            cv2.imdecode(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR),
            np.uint8,
        )
    return picture


def cut_off(
    rng: np.random.Generator, picture: NDArray[np.uint8], xyxy: NDArray[np.float64], keypoints: NDArray[np.float64]
) -> tuple[NDArray[np.uint8], NDArray[np.float64], NDArray[np.float64]]:
    """The picture as if its edge ran through the face: up to a third of the box is lost on one side."""
    height, width = picture.shape[:2]
    x0, y0, x1, y1 = xyxy
    share = rng.uniform(0.0, 0.33)
    side = rng.integers(0, 4)
    left = int(max(x0 + share * (x1 - x0), 0)) if side == 0 else 0
    top = int(max(y0 + share * (y1 - y0), 0)) if side == 1 else 0
    right = int(min(x1 - share * (x1 - x0), width)) if side == 2 else width
    bottom = int(min(y1 - share * (y1 - y0), height)) if side == 3 else height
    offset = np.array([left, top], np.float64)
    return (
        np.ascontiguousarray(picture[top:bottom, left:right]),
        xyxy - np.tile(offset, 2),
        keypoints - offset,
    )


def vary_shape(rng: np.random.Generator, shape: FaceShape) -> FaceShape:
    """The same face as another detector's box would have it: size, aspect, place and roll a little off."""
    size, aspect = rng.uniform(0.93, 1.15), np.exp(rng.normal(0, 0.04))
    a, b = shape.semi_axes
    shift = rng.normal(0, 0.03, 2) * min(a, b)
    return FaceShape(
        (shape.center[0] + shift[0], shape.center[1] + shift[1]),
        (a * size * aspect, b * size / aspect),
        shape.roll_deg + rng.normal(0, 4),
    )


def erased_pixels(rng: np.random.Generator, shape: FaceShape, height: int, width: int) -> NDArray[np.bool_]:
    """The face's region; now and then a rectangle in its place, and now and then a neighbour's region too."""
    erased = np.zeros((height, width), np.bool_)
    region = shape_region(shape, height, width)
    erased[region.slices] |= True if rng.random() < 0.08 else region.mask
    if rng.random() < 0.1:
        a, b = shape.semi_axes
        away = rng.choice([-1, 1]) * rng.uniform(1.6, 2.6)
        center = (shape.center[0] + away * a, shape.center[1] + rng.normal(0, 0.5) * b)
        neighbour = shape_region(replace(shape, center=center), height, width)
        erased[neighbour.slices] |= neighbour.mask
    return erased


def make_bank(
    records: Sequence[Record],
    n_crops: int,
    seed: int,
    *,
    crop_size: int = 128,
    context: tuple[float, float] = (1.4, 1.5),
    measure: Measure | None = None,
    references: bool = False,
) -> CropBank:
    """Cut ``n_crops`` varied crops of every record; half of them mirrored.

    Parameters
    ----------
    records : sequence of Record
    n_crops : int
        Crops of each record.
    seed : int
    crop_size : int
    context : (float, float)
        Range of the window's side over the region's longer side.
    measure : callable, optional
        Bins that are measured on the picture as it is after the change of colour.
    references : bool
        Whether the subject's own face is laid into the erased region, with other colours and a little out of place.
    """
    subjects = tuple(dict.fromkeys(r.subject for r in records))
    index = {name: i for i, name in enumerate(subjects)}
    last = {r.subject: r for r in records}
    pictures: dict[str, list[Record]] = {}
    for record in records:
        pictures.setdefault(record.subject, []).append(record)
    rows = []
    for i, record in enumerate(records):
        picture = np.asarray(Image.open(record.path).convert("RGB"))
        for k in range(n_crops):
            rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, i, k])))
            crop, mirrored = _crop(rng, picture, record, crop_size, context, measure)
            told = np.where(crop.replace_mask[..., None], np.uint8(ERASED), crop.pixels)
            if references:
                others = [other for other in pictures[record.subject] if other is not record]
                laid, cover = lay_reference(rng, record, others, crop.places, mirrored, crop_size)
                told = np.where((crop.replace_mask & cover)[..., None], laid, told)
            rows.append((crop, told, index[record.subject]))
    crops = [crop for crop, _, _ in rows]
    return CropBank(
        pixels=np.stack([crop.pixels for crop in crops]),
        context=np.stack([told for _, told, _ in rows]),
        replace_mask=np.stack([crop.replace_mask for crop in crops]),
        known=np.stack([crop.known for crop in crops]),
        keypoints=np.stack([crop.places * crop.visibility[:, None] for crop in crops]).astype(np.float32),
        visibility=np.stack([crop.visibility for crop in crops]).astype(np.float32),
        categories=np.array([crop.categories for crop in crops], np.int64).reshape(len(rows), -1),
        subject=np.array([subject for _, _, subject in rows], np.int64),
        subjects=subjects,
        subject_tags=np.array([last[s].tags for s in subjects], np.int64).reshape(len(subjects), -1),
        subject_plain=np.array([last[s].plain for s in subjects], np.bool_),
    )


@dataclass(frozen=True)
class _Crop:
    """One crop and what is known of it."""

    pixels: NDArray[np.uint8]  # (S, S, 3)
    replace_mask: NDArray[np.bool_]  # (S, S)
    known: NDArray[np.bool_]  # (S, S)
    places: NDArray[np.float64]  # (K, 2) of the keypoints, shown or not
    visibility: NDArray[np.float64]  # (K,)
    categories: list[int]


def _crop(
    rng: np.random.Generator,
    picture: NDArray[np.uint8],
    record: Record,
    crop_size: int,
    context: tuple[float, float],
    measure: Measure | None,
) -> tuple[_Crop, bool]:
    """One crop, and whether it shows its picture mirrored."""
    xyxy, keypoints = record.xyxy, record.keypoints
    mirrored = bool(rng.random() < 0.5)
    if mirrored:
        picture, xyxy, keypoints = mirror(picture, xyxy, keypoints)
    picture = change_colour(rng, picture)
    shown = np.ones(len(keypoints))
    bins = () if measure is None else measure(picture, xyxy, keypoints, shown)
    bins = (*bins, *record.bins)
    picture = degrade(rng, picture)
    at_edge = rng.random() < 0.07
    if at_edge:
        picture, xyxy, keypoints = cut_off(rng, picture, xyxy, keypoints)
    if rng.random() < 0.1:  # a box without keypoints, as a user may give it
        shown = np.zeros(len(keypoints))
    border = rng.choice(np.array([-1, cv2.BORDER_REPLICATE, cv2.BORDER_REFLECT_101]), p=[0.45, 0.35, 0.2])
    if border >= 0 and not at_edge:  # renders are framed tightly: let half the windows find something beside them
        pad = max(picture.shape[:2]) // 2
        picture = np.asarray(cv2.copyMakeBorder(picture, pad, pad, pad, pad, int(border)), np.uint8)
        xyxy, keypoints = xyxy + pad, keypoints + pad
    shape = vary_shape(rng, face_shape(xyxy, keypoints, shown))
    height, width = picture.shape[:2]
    image_from_crop = crop_frame(shape, crop_size, rng.uniform(*context))
    whole = cut_crop(picture, np.zeros((height, width), np.bool_), image_from_crop, crop_size)
    erased = erased_pixels(rng, shape, height, width)
    crop = cut_crop(picture, erased, image_from_crop, crop_size)
    points = apply_affine(invert_affine(image_from_crop), keypoints)
    points = points + rng.normal(0, 0.008 * crop_size, points.shape)
    categories = [-1 if b is None else int(b) for b in bins]
    return _Crop(whole.pixels, crop.replace_mask, ~whole.replace_mask, points, shown, categories), mirrored
