"""Training crops of whole people: renders over surroundings by formula, one region erased, a reference laid in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from understudy.diffusion.bodies import Placed, compose, lay_person
from understudy.train.body_bank import BodyRecord
from understudy.train.data import degrade
from understudy.train.references import change_light

HEIGHT, WIDTH = 256, 128
REGION = (0.8, 0.8)
"""Height and width of a crop that a region takes at most."""


@dataclass(frozen=True)
class BodyCrops:
    """Crops as a struct of arrays."""

    pixels: NDArray[np.uint8]  # (N, H, W, 3), nothing erased
    context: NDArray[np.uint8]  # (N, H, W, 3), erased, with a reference laid in
    mask: NDArray[np.bool_]  # (N, H, W)
    cover: NDArray[np.bool_]  # (N, H, W) where the reference shows its person
    keypoints: NDArray[np.float32]  # (N, 17, 2) px
    visibility: NDArray[np.float32]  # (N, 17)


def backdrop(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Surroundings by formula, (H, W, 3): a wall or sky, a ground, boxes, stripes and noise at several scales."""
    picture = np.empty((HEIGHT, WIDTH, 3), np.float32)
    picture[:] = rng.uniform(20, 235) * np.clip(1 + rng.normal(0, 0.12, 3), 0.6, 1.4)
    ys, xs = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    horizon = rng.uniform(0.3, 0.95) * HEIGHT + rng.normal(0, 0.15) * (xs - WIDTH / 2)
    ground = rng.uniform(20, 200) * np.clip(1 + rng.normal(0, 0.12, 3), 0.6, 1.4)
    picture = np.where((ys > horizon)[..., None], ground.astype(np.float32), picture)
    for _ in range(int(rng.integers(0, 12))):
        wide, high = rng.exponential(0.3) * WIDTH + 3, rng.exponential(0.25) * HEIGHT + 3
        left, top = rng.uniform(-0.2, 1) * WIDTH, rng.uniform(-0.2, 1) * HEIGHT
        slanted = xs + rng.normal(0, 0.06) * ys
        inside = (slanted > left) & (slanted < left + wide) & (ys > top) & (ys < top + high)
        color = rng.uniform(5, 245) * np.clip(1 + rng.normal(0, 0.2, 3), 0.4, 1.6)
        picture = np.where(inside[..., None], color.astype(np.float32), picture)
    if rng.random() < 0.4:
        turn = rng.uniform(0, np.pi)
        wave = np.sin((xs * np.cos(turn) + ys * np.sin(turn)) * 2 * np.pi / rng.uniform(5, 50))
        picture = picture * (1 + rng.uniform(0.03, 0.25) * np.sign(wave) * (ys > horizon))[..., None]
    for cells in (4, 12, 40):
        noise = rng.normal(0, rng.uniform(0, 0.1), (2 * cells, cells, 1)).astype(np.float32)
        picture = picture * (1 + cv2.resize(noise, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)[..., None])
    blurred = cv2.GaussianBlur(picture, (0, 0), float(rng.uniform(0.4, 3.0)))
    return np.clip(blurred, 0, 255).astype(np.uint8)


def region_mask(rng: np.random.Generator, xyxy: Sequence[float], share: NDArray[np.float32]) -> NDArray[np.bool_]:
    """What is erased about a person: a rounded box mostly, else a hull or a fat silhouette; now and then more."""
    x0, y0, x1, y1 = xyxy
    longer = max(x1 - x0, y1 - y0)
    margin = rng.uniform(0.02, 0.1) * longer
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    kind = rng.random()
    if kind < 0.7:
        corner = (int(max(x0 - margin, 0)), int(max(y0 - margin, 0)))
        cv2.rectangle(mask, corner, (int(x1 + margin), int(y1 + margin)), 1, -1)
    else:
        solid = (share > 0.3).astype(np.uint8)
        if kind < 0.85 and solid.any():
            hull = cv2.convexHull(cv2.findNonZero(solid))
            cv2.fillConvexPoly(solid, hull, 1)
        reach = 2 * int(margin) + 3
        mask = np.asarray(cv2.dilate(solid, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))), np.uint8)
    if rng.random() < 0.3:  # a neighbour
        left = int(rng.choice([-40, 90]) + rng.integers(-10, 30))
        top = int(rng.integers(0, 120))
        cv2.rectangle(mask, (left, top), (left + 60, top + int(rng.integers(60, 200))), 1, -1)
    if rng.random() < 0.35:  # the picture's end
        side = rng.integers(0, 3)
        if side == 0:
            mask[int(min(y1 + margin, HEIGHT - 1)) :] = 1
        else:
            edge = int(rng.integers(4, 28))
            mask[:, slice(0, edge) if side == 1 else slice(WIDTH - edge, WIDTH)] = 1
    return mask > 0


def _place(rng: np.random.Generator, record: BodyRecord) -> Placed:
    """Where a person stands in a crop, as the pipeline frames one."""
    x0, y0, x1, y1 = record.xyxy
    size = rng.uniform(0.9, 1.05)
    scale = float(size * min(REGION[0] * HEIGHT / (y1 - y0), REGION[1] * WIDTH / (x1 - x0)))
    move = np.array([WIDTH, HEIGHT]) / 2 - scale * np.array([(x0 + x1) / 2, (y0 + y1) / 2]) + rng.normal(0, 2, 2)
    return Placed(0.0, (scale, scale), (float(move[0]), float(move[1])))


def body_crop(rng: np.random.Generator, record: BodyRecord) -> tuple[NDArray[np.generic], ...]:
    """One crop of a record: pixels, context, mask, cover, keypoints, visibility."""
    picture, placed = record.picture(), _place(rng, record)
    colours, share = lay_person(picture, placed, HEIGHT, WIDTH)
    behind = backdrop(rng)
    # one light on both, so that the surroundings tell what the person's is
    whole = behind * (1 - share[..., None]) + colours
    gain, tint = rng.uniform(0.55, 1.15), np.clip(1 + rng.normal(0, 0.06, 3), 0.85, 1.15)
    pixels = degrade(rng, np.clip(whole * gain * tint, 0, 255).astype(np.uint8))
    (sx, sy), (dx, dy) = placed.scale, placed.move
    box = (sx * record.xyxy[0] + dx, sy * record.xyxy[1] + dy, sx * record.xyxy[2] + dx, sy * record.xyxy[3] + dy)
    mask = region_mask(rng, box, share)
    stretch = np.exp(rng.normal(0, 0.02, 2))
    moved = Placed(0.0, (sx * stretch[0], sy * stretch[1]), (dx + rng.normal(0, 1.5), dy + rng.normal(0, 1.5)))
    told, seen = lay_person(change_light(rng, picture), moved, HEIGHT, WIDTH)
    context, cover = compose(np.where(mask[..., None], np.uint8(127), pixels), mask, told, seen)
    points = record.keypoints * np.array([sx, sy]) + np.array([dx, dy]) + rng.normal(0, 1.0, (17, 2))
    shown = record.shown.astype(np.float32)
    kept = rng.random()
    if kept < 0.4:  # a face detector's
        shown[3:] = 0
    elif kept < 0.75:
        shown[:] = 0
    return pixels, context, mask, cover, points.astype(np.float32), shown


def body_crops(records: Sequence[BodyRecord], n: int, seed: int) -> BodyCrops:
    """``n`` crops, the records in turn."""
    rows = []
    for k in range(n):
        rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, k])))
        rows.append(body_crop(rng, records[k % len(records)]))
    pixels, context, mask, cover, points, shown = (np.stack(part) for part in zip(*rows, strict=True))
    return BodyCrops(
        pixels.astype(np.uint8), context.astype(np.uint8), mask.astype(np.bool_), cover.astype(np.bool_),
        points.astype(np.float32), shown.astype(np.float32),
    )  # fmt: skip
