"""Where a whole person is wanted in a crop, and renders of people who do not exist that are laid there.

As for faces (``reference.py``): the reference is laid into the erased region before the context is encoded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from understudy.diffusion.region import region_box
from understudy.diffusion.surroundings import carry_on
from understudy.errors import GenerationError, InvalidInputError

MIRRORED = (0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15)
"""Places of the 17 COCO keypoints of a mirrored person."""
NOSE, LEFT_EYE, RIGHT_EYE = 0, 1, 2
FULL, UPPER = 0, 1
"""Framings: the whole person, or cut by the lower edge."""
MARGIN = 0.037
"""Of the region's longer side, on each side: how far it reaches beyond the detector's box."""
LYING = 1.5
"""Width over height of a box from which on nobody stands or sits in it."""
TAG_COSTS = (0.12, 0.03, 0.08)
"""Of one bin's difference in skin tone, age group and perceived gender expression."""
CLOSEST = 6.0
"""Largest scale over that at which a picture ends where the region does: of a close-up little but the head is seen."""
TURNED = 1.4
"""Of a difference in where the nose lies across the eyes, over the size of a face."""
OVER = 1.2
"""Of what a region's edge would cut off at the sides, besides what any shift costs."""
SITTING_COSTS = (0.6, 0.2)
"""Of somebody who sits, in a box under 0.65 as wide as high, and in a wider one: nobody brings a chair."""
NEARLY = 0.2
"""Of the cost over the best one's, up to which a picture suits nearly as well."""
FAR = 0.5
"""Of the cost over the best one's, from which on a picture is never drawn."""
MIN_POSE_POINTS = 6
"""Of body keypoints, with which a pose is chosen and not only a place."""


@dataclass(frozen=True)
class Wanted:
    """What a crop asks for, from its mask and keypoints alone."""

    xyxy: tuple[float, float, float, float]
    """The person's box, crop px."""
    cut: bool
    """Whether the picture ends under the box: the person goes on below."""
    keypoints: NDArray[np.float64]  # (17, 2) crop px
    shown: NDArray[np.bool_]  # (17,)
    tags: tuple[int | None, ...] = ()
    """Skin tone, age group, perceived gender expression; None = anything."""

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of the box, px."""
        return self.xyxy[2] - self.xyxy[0], self.xyxy[3] - self.xyxy[1]

    def lower_end(self, framing: int) -> float:
        """Where somebody of this framing ends: who is seen in part goes on under whatever hides the rest."""
        return self.xyxy[3] + (2.2 * MARGIN * max(self.size) if framing == UPPER and not self.cut else 0.0)


def wanted_person(
    mask: NDArray[np.bool_],
    keypoints: NDArray[np.floating],
    visibility: NDArray[np.floating],
    tags: Sequence[int | None] = (),
) -> Wanted:
    """What a crop asks for.

    Raises
    ------
    GenerationError
        There is nothing that a reference could be laid into: somebody lies, or no region is to be seen.
    """
    (x0, y0, x1, y1), cut = region_box(mask)
    margin = MARGIN * max(x1 - x0, y1 - y0) / (1 + 2 * MARGIN)
    box = (x0 + margin, y0 + margin, x1 - margin, y1 if cut else y1 - margin)
    wide, high = box[2] - box[0], box[3] - box[1]
    if wide < 8 or high < 16:
        raise GenerationError(f"the region is too small in its crop for a person: {wide:.0f} x {high:.0f} px")
    if wide > LYING * high:
        raise GenerationError(f"nobody stands or sits in a box of {wide:.0f} x {high:.0f} px")
    return Wanted(box, cut, np.asarray(keypoints, np.float64), np.asarray(visibility) > 0, tuple(tags))


@dataclass(frozen=True)
class Placed:
    """A reference moved to where a person is wanted: crop px = scale * picture px + move, per axis."""

    cost: float
    scale: tuple[float, float]
    move: tuple[float, float]


@dataclass(frozen=True)
class BodyBank:
    """Pictures of rendered people without a background, with keypoints and tags."""

    files: NDArray[np.uint8]  # (B,) encoded pictures one after the other
    ends: NDArray[np.int64]  # (N,) where each ends
    keypoints: NDArray[np.float32]  # (N, 17, 2) px
    shown: NDArray[np.bool_]  # (N, 17) seen in the picture
    boxes: NDArray[np.float32]  # (N, 4) px, of the person
    widths: NDArray[np.int64]  # (N,) px, of the picture
    framing: NDArray[np.int64]  # (N,) FULL or UPPER
    yaw_deg: NDArray[np.float32]  # (N,) of the trunk against the camera
    tags: NDArray[np.int64]  # (N, 3) skin tone, age group, perceived gender expression; -1 = not known
    sitting: NDArray[np.bool_]  # (N,)

    def __post_init__(self) -> None:
        n = len(self.ends)
        rows: list[NDArray[np.generic]] = [self.keypoints, self.shown, self.boxes, self.widths]
        rows += [self.framing, self.yaw_deg, self.tags, self.sitting]
        if n == 0 or any(len(part) != n for part in rows):
            raise InvalidInputError(
                f"a bank of bodies needs one row of everything for each picture, got {n} pictures and "
                f"{[len(part) for part in rows]} rows"
            )

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.ends)

    def picture(self, index: int, mirror: bool = False) -> NDArray[np.uint8]:
        """One picture, (H, W, 4): sRGB and how much of a pixel is the person."""
        start = int(self.ends[index - 1]) if index else 0
        decoded = cv2.imdecode(self.files[start : int(self.ends[index])], cv2.IMREAD_UNCHANGED)
        if decoded is None or decoded.ndim != 3 or decoded.shape[2] != 4:
            raise InvalidInputError(f"reference {index} of the bank cannot be decoded as a picture with alpha")
        rgba = np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGRA2RGBA), np.uint8)
        return np.ascontiguousarray(rgba[:, ::-1]) if mirror else rgba

    def points(self, index: int, mirror: bool) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.float64]]:
        """Keypoints (17, 2), which of them are seen, and the box (4,) of a picture or its mirror image."""
        points, shown = self.keypoints[index].astype(np.float64), self.shown[index]
        box = self.boxes[index].astype(np.float64)
        if not mirror:
            return points, shown, box
        width = float(self.widths[index])
        turned = np.column_stack([width - points[:, 0], points[:, 1]])[list(MIRRORED)]
        return turned, shown[list(MIRRORED)], np.array([width - box[2], box[1], width - box[0], box[3]])

    def place(self, index: int, mirror: bool, wanted: Wanted) -> Placed:
        """How well a picture suits, and where it would lie."""
        points, shown, box = self.points(index, mirror)
        both = shown & wanted.shown
        if both.sum() >= MIN_POSE_POINTS and both[5:].sum() >= 4:
            placed = _by_pose(points, both, wanted)
        elif wanted.shown[NOSE] or (wanted.shown[LEFT_EYE] and wanted.shown[RIGHT_EYE]):
            placed = _by_face(points, shown, box, int(self.framing[index]), wanted)
        else:
            placed = _by_box(box, int(self.framing[index]), wanted)
            placed = Placed(placed.cost + 0.10 * (abs(float(self.yaw_deg[index])) < 50), placed.scale, placed.move)
        seated = self.framing[index] == FULL and bool(self.sitting[index])
        cost = placed.cost + seated * SITTING_COSTS[wanted.size[0] > 0.65 * wanted.size[1]]
        for tag, value, step in zip(self.tags[index], wanted.tags, TAG_COSTS, strict=False):
            if value is not None:
                cost += step * (1.0 if tag < 0 else abs(int(tag) - value))
        return Placed(cost, placed.scale, placed.move)

    def draw(self, seed: int, wanted: Wanted, n_least: int = 6, n_most: int = 24) -> tuple[int, bool, Placed]:
        """Number of a picture, whether to mirror it, and its place: one of those that suit best, by the seed.

        ``n_least`` of them are in the draw, unless they suit far worse than the best, and up to ``n_most`` that suit
        nearly as well as the best.
        """
        every = [(k % len(self), k >= len(self)) for k in range(2 * len(self))]
        placed = [self.place(index, mirror, wanted) for index, mirror in every]
        costs = np.array([p.cost for p in placed])
        order = np.argsort(costs, kind="stable")
        near, far = (int((costs <= costs.min() + limit).sum()) for limit in (NEARLY, FAR))
        eligible = order[: min(max(near, min(n_least, far)), max(n_most, n_least), len(order))]
        random = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, 2])))
        chosen = int(eligible[random.integers(0, len(eligible))])
        return (*every[chosen], placed[chosen])


def _by_box(box: NDArray[np.float64], framing: int, wanted: Wanted) -> Placed:
    """Without a face: the box says it all."""
    (wide, high), (x0, y0, x1, y1) = wanted.size, wanted.xyxy
    own_w, own_h = float(box[2] - box[0]), float(box[3] - box[1])
    if framing == FULL and not (wanted.cut and wide > 0.5 * high):
        scale = high / own_h
        across = scale * float(np.clip(wide / (scale * own_w), 0.9, 1.12))
        cost = abs(np.log(wide * own_h / (high * own_w))) + 0.15 * wanted.cut
        return Placed(cost, (across, scale), ((x0 + x1) / 2 - across * (box[0] + box[2]) / 2, y1 - scale * box[3]))
    if framing == FULL:
        return Placed(9.0, (1.0, 1.0), (0.0, 0.0))
    scale = max(wide / own_w, (wanted.lower_end(framing) - y0) / own_h)
    over = np.log(scale * own_h / high)  # what would be lost below
    across = np.log(scale * own_w / wide)
    cost = 0.35 * over + abs(across) + (0.0 if wanted.cut or wide > 0.62 * high else 0.5)
    return Placed(cost, (scale, scale), ((x0 + x1) / 2 - scale * (box[0] + box[2]) / 2, y0 - scale * box[1]))


def _by_face(
    points: NDArray[np.float64], shown: NDArray[np.bool_], box: NDArray[np.float64], framing: int, wanted: Wanted
) -> Placed:
    """The nose comes to lie on the nose; eyes and box say how large."""
    anchor = NOSE if wanted.shown[NOSE] else slice(LEFT_EYE, RIGHT_EYE + 1)
    goal, own = wanted.keypoints[anchor].reshape(-1, 2).mean(axis=0), points[anchor].reshape(-1, 2).mean(axis=0)
    (wide, high), (x0, _, x1, _) = wanted.size, wanted.xyxy
    hidden = 1.5 * (1 - float(shown[anchor].mean()) if isinstance(anchor, slice) else float(not shown[anchor]))
    by_box = max(wanted.lower_end(framing) - goal[1], 0.2 * high) / max(float(box[3] - own[1]), 1.0)
    by_eyes, turned = by_box, 0.0
    if wanted.shown[LEFT_EYE] and wanted.shown[RIGHT_EYE] and wanted.shown[NOSE]:
        spread, own_spread = _face_size(wanted.keypoints), _face_size(points)
        by_eyes = spread / max(own_spread, 0.5)
        turned = abs(_face_turn(wanted.keypoints) - _face_turn(points))
        hidden += 0.8 * (2 - float(shown[LEFT_EYE]) - float(shown[RIGHT_EYE]))
    ends_below = wanted.cut or framing == UPPER
    scale = by_eyes if ends_below else by_box
    scale = float(np.clip(scale, 0.6 * by_box, CLOSEST * by_box)) if ends_below else scale
    missing = np.log(max(by_box / max(by_eyes, 1e-3), 1.0)) if ends_below else abs(np.log(by_box / max(by_eyes, 1e-3)))
    reach = np.log(max(scale / by_box, 1.0)) if ends_below else 0.0
    if framing == UPPER and not wanted.cut:  # whoever has a small face in a high box is seen down to the feet
        missing = 1.6 * missing + 0.6 * (high > 1.9 * wide)
    scale = max(scale, by_box) if ends_below else scale
    missing += 2.0 * max(abs(np.log(scale / max(by_eyes, 1e-3))) - 0.3, 0.0)  # a head of another size than its face
    left, right = own[0] - box[0], box[2] - own[0]
    width_off = abs(np.log(max(scale * (left + right), 1.0) / wide))
    shift = abs((goal[0] - scale * left) - x0) + abs((goal[0] + scale * right) - x1)
    shift += OVER * (max(x0 - (goal[0] - scale * left), 0.0) + max((goal[0] + scale * right) - x1, 0.0))
    blurred = np.log(max(scale / 1.3, 1.0))
    cost = hidden + 1.2 * missing + 0.25 * reach + 0.5 * width_off + 0.7 * shift / wide + TURNED * turned + blurred
    return Placed(cost, (scale, scale), (float(goal[0] - scale * own[0]), float(goal[1] - scale * own[1])))


def _face_size(points: NDArray[np.float64]) -> float:
    """Root mean square distance of nose and eyes from their middle, px."""
    face = points[[NOSE, LEFT_EYE, RIGHT_EYE]]
    return float(np.sqrt(((face - face.mean(axis=0)) ** 2).sum(axis=1).mean()))


def _face_turn(points: NDArray[np.float64]) -> float:
    """Where the nose lies across the eyes: about 0 from the front, towards the picture's left under 0."""
    eyes = points[[LEFT_EYE, RIGHT_EYE]]
    return float((points[NOSE, 0] - eyes[:, 0].mean()) / max(_face_size(points), 1e-3))


def _by_pose(points: NDArray[np.float64], both: NDArray[np.bool_], wanted: Wanted) -> Placed:
    """The least squares scale and move of all keypoints that both have."""
    own, goal = points[both], wanted.keypoints[both]
    middle, origin = goal.mean(axis=0), own.mean(axis=0)
    scale = float(((goal - middle) * (own - origin)).sum() / max(((own - origin) ** 2).sum(), 1e-6))
    scale = max(scale, 0.05)
    rest = goal - (scale * (own - origin) + middle)
    size = float(np.sqrt(((goal - middle) ** 2).sum(axis=1).mean()))
    cost = float(np.sqrt((rest**2).sum(axis=1).mean())) / max(size, 1.0) + 0.04 * float((wanted.shown & ~both).sum())
    move = middle - scale * origin
    return Placed(cost, (scale, scale), (float(move[0]), float(move[1])))


def lay_person(
    picture: NDArray[np.uint8], placed: Placed, height: int, width: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A reference at its place.

    Parameters
    ----------
    picture : (h, w, 4) uint8
    placed : Placed
    height, width : int
        Of the crop, px.

    Returns
    -------
    colours : (height, width, 3) float32
        SRGB in grey levels, times the share.
    share : (height, width) float32
        How much of each pixel is the person, 0 to 1.
    """
    alpha = picture[..., 3:].astype(np.float32) / 255
    values = np.concatenate([picture[..., :3].astype(np.float32) * alpha, alpha], axis=-1)
    (sx, sy), (dx, dy) = placed.scale, placed.move
    shrink = min(1.0, max(sx, sy))
    if shrink < 0.75:
        h, w = values.shape[:2]
        size = (max(2, round(w * shrink)), max(2, round(h * shrink)))
        values = cv2.resize(values, size, interpolation=cv2.INTER_AREA)
        sx, sy = sx * w / size[0], sy * h / size[1]
    # pixel centres at .5, as keypoints have them
    matrix = np.array([[sx, 0, dx + (sx - 1) / 2], [0, sy, dy + (sy - 1) / 2]])
    moved = cv2.warpAffine(values, matrix, (width, height), flags=cv2.INTER_LINEAR, borderValue=(0, 0, 0, 0))
    return np.asarray(moved[..., :3], np.float32), np.clip(moved[..., 3], 0, 1).astype(np.float32)


def match_light(
    colours: NDArray[np.float32], share: NDArray[np.float32], surroundings: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Brightness and tint of a laid person moved some way towards those of the surroundings.

    Parameters
    ----------
    colours : (H, W, 3) grey levels times the share
    share : (H, W)
    surroundings : (N, 3) known pixels; with fewer than 16 nothing is changed
    """
    if len(surroundings) < 16 or share.sum() < 1:
        return colours
    mean = surroundings.mean(axis=0)
    luma = float(mean.mean())
    gain = np.clip((luma / 110) ** 0.35, 0.7, 1.15)
    tint = np.clip((np.maximum(mean, 4) / max(luma, 4)) ** 0.25, 0.92, 1.08)
    lifted = colours * np.float32(gain) * tint.astype(np.float32)
    return np.asarray(np.minimum(lifted, 255 * share[..., None]), np.float32)


def compose(
    context: NDArray[np.uint8],
    mask: NDArray[np.bool_],
    colours: NDArray[np.float32],
    share: NDArray[np.float32],
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A person on surroundings that are carried on behind them, under the mask only.

    Returns
    -------
    pixels : (H, W, 3) uint8
    cover : (H, W) bool
        Where the person shows.
    """
    behind = carry_on(context, mask).astype(np.float32)
    lit = match_light(colours, share, context[~mask].astype(np.float32))
    person = np.where(mask, share, 0)[..., None]
    mixed = behind * (1 - person) + np.where(mask[..., None], lit, 0)
    pixels = np.clip(np.rint(mixed), 0, 255).astype(np.uint8)
    return np.where(mask[..., None], pixels, context), mask & (share > 0.5)
