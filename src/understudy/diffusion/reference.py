"""References that a sampler starts from: pictures of rendered subjects, warped to where a face is wanted.

Retrieval-augmented diffusion (Blattmann et al. 2022, arXiv:2204.11824) in its smallest form: the reference is laid into
the erased region before the context is encoded, and the denoiser has learnt to make one picture of both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from understudy.errors import InvalidInputError
from understudy.geometry import nose_offset

TAG_WEIGHT = 0.03
"""What one bin's difference of a tag counts beside the distance of the keypoints' shapes."""
FAR, FAR_STEEP = 0.11, 5.0
"""Distance of shapes from which a picture is warped visibly, and how many times the excess counts beside it: one tag or
two do not make up for a profile under a face that looks ahead."""
_RIDGE = 0.02


@dataclass(frozen=True)
class ReferenceBank:
    """Pictures of rendered subjects, each with keypoints, the ellipse that may be shown, and tags."""

    files: NDArray[np.uint8]  # (B,) encoded pictures one after the other
    ends: NDArray[np.int64]  # (N,) where each ends
    keypoints: NDArray[np.float32]  # (N, K, 2) px of the picture
    ellipses: NDArray[np.float32]  # (N, 5) center x, y, semi-axes a, b px, roll degrees
    tags: NDArray[np.int64]  # (N, T), -1 = not known
    mean_keypoints: NDArray[np.float32]  # (K, 2) px of a crop: where they lie when nobody says
    subjects: NDArray[np.int64]  # (N,) pictures of one subject share a number

    def __post_init__(self) -> None:
        n = len(self.ends)
        if n == 0 or any(len(part) != n for part in (self.keypoints, self.ellipses, self.tags, self.subjects)):
            raise InvalidInputError(
                f"a reference bank needs one row of everything for each picture, got {n} pictures and "
                f"{[len(part) for part in (self.keypoints, self.ellipses, self.tags, self.subjects)]} rows"
            )

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.ends)

    def picture(self, index: int) -> NDArray[np.uint8]:
        """One picture, (H, W, 4): sRGB and how much of a pixel is the subject."""
        start = int(self.ends[index - 1]) if index else 0
        decoded = cv2.imdecode(self.files[start : int(self.ends[index])], cv2.IMREAD_UNCHANGED)
        if decoded is None or decoded.ndim != 3:
            raise InvalidInputError(f"reference {index} of the bank cannot be decoded as a picture in colour")
        code = cv2.COLOR_BGRA2RGBA if decoded.shape[2] == 4 else cv2.COLOR_BGR2RGBA  # all of it may be the subject
        return np.asarray(cv2.cvtColor(decoded, code), np.uint8)

    @cached_property
    def _shapes(self) -> NDArray[np.complex128]:
        """Shapes of the pictures' keypoints, and of their mirror images.  (2, N, K)"""
        plain = shape_of(self.keypoints)
        return np.stack([plain, mirrored_shape(plain)])

    def draw(
        self,
        seed: int,
        keypoints: NDArray[np.floating] | None,
        wanted: Sequence[float | None] = (),
        n_least: int = 24,
        weights: Sequence[float] = (),
        turn_weight: float = 0.0,
        flags: Sequence[int] = (),
    ) -> tuple[int, bool]:
        """Number of a picture and whether to mirror it: of those that suit best, one a subject, one by the seed.

        Parameters
        ----------
        seed : int
        keypoints : (K, 2), optional
            Where they are wanted; pictures whose keypoints have that shape suit. Without, the mean keypoints.
        wanted : sequence of float or None
            One value for each tag, which may lie between bins; None = anything.
        n_least : int
            So many subjects stay in the draw, each with the picture of it that suits best; with ``flags``, of all.
        weights : sequence of float
            What one bin's difference of each tag counts beside the distance of shapes; ``TAG_WEIGHT`` where left out.
        turn_weight : float
            What a difference of ``nose_offset`` counts: a warp moves keypoints, and turns a head only half as far.
        flags : sequence of int
            What the last tags have to be; of the subjects that have a picture like that, the same share is in the draw.
            Where no picture is like that, all are; -1 is like nothing.
        """
        places = np.asarray(self.mean_keypoints if keypoints is None else keypoints)
        target = shape_of(places[None])[0]
        distance = shape_distance(target, self._shapes)  # (2, N)
        distance = distance + FAR_STEEP * np.maximum(distance - FAR, 0)
        if turn_weight and places.shape[-2] == len(MIRRORED):
            offset = nose_offset(self.keypoints)
            distance = distance + turn_weight * np.abs(np.stack([offset, -offset]) - nose_offset(places))
        counts = (*weights, *[TAG_WEIGHT] * len(self.tags.T))
        for column, value, weight in zip(self.tags.T, wanted, counts, strict=False):
            if value is not None:
                distance = distance + weight * np.where(column < 0, 1.0, np.abs(column - value))
        if len(flags) > self.tags.shape[1]:
            raise InvalidInputError(f"{len(flags)} flags are asked for, but pictures have {self.tags.shape[1]} tags")
        alike = (self.tags[:, self.tags.shape[1] - len(flags) :] == np.asarray(flags, np.int64)).all(axis=1)
        alike = alike if alike.any() else np.ones_like(alike)
        share = len(np.unique(self.subjects[alike])) / len(np.unique(self.subjects))
        order = np.argsort(distance.reshape(-1), kind="stable")
        order = order[np.tile(alike, 2)[order]]
        _, first = np.unique(np.tile(self.subjects, 2)[order], return_index=True)
        eligible = order[np.sort(first)[: max(round(n_least * share), 1)]]
        random = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, 2])))
        chosen = int(eligible[random.integers(0, len(eligible))])
        return chosen % len(self), chosen >= len(self)

    def lay(
        self,
        index: int,
        mirror: bool,
        keypoints: NDArray[np.floating] | None,
        size: int,
        scale: int = 1,
        bend: NDArray[np.float64] | None = None,
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """A picture warped so that its keypoints lie at the wanted ones.

        Parameters
        ----------
        index : int
        mirror : bool
        keypoints : (K, 2) px of a crop, optional
            Where they are wanted; without, the mean keypoints.
        size : int
            Side of the crop, px.
        scale : int
            Pixels of the result for each of the crop, each way.
        bend : (len(BENDS), 2), optional
            How the shape of the subject is changed; see :func:`bend_for`.

        Returns
        -------
        pixels : (scale * size, scale * size, 3) uint8
        cover : (scale * size, scale * size) bool
            Where the picture shows its subject.
        """
        picture, points, ellipse = self.picture(index), self.keypoints[index], self.ellipses[index]
        if mirror:
            picture, points, ellipse = mirrored(picture, points, ellipse)
        goal = self.mean_keypoints if keypoints is None else keypoints
        return warp(picture, points, ellipse, scale * np.asarray(goal, np.float64), scale * size, bend)


BENDS: tuple[tuple[float, float, float], ...] = (
    (-0.5, 0.0, 0.28), (0.5, 0.0, 0.28), (0.0, 0.45, 0.25), (0.0, 1.0, 0.30),
    (-0.75, 0.9, 0.40), (0.75, 0.9, 0.40), (0.0, 1.5, 0.40), (0.0, -0.8, 0.50),
)  # fmt: skip
"""Where a shape is changed: right eye, left eye, nose, mouth, jaw's corners, chin, forehead, in widths between the eyes
to the left and below their middle, along the face's own axes (one down = the mouth's middle), and how far it reaches.
Brows are left alone: lifted or drawn together they are an expression."""
_WHITE = np.float32(259)
_PAIRS = ((0, 1), (4, 5))
_WIDE_OPEN = 0.03
"""By how much rendered eyes are wider open than people's (even half of 251 portraits)."""
_BEND_SHARE = np.array([[1.0, 1.0]] * 2 + [[1.2, 0.6], [0.0, 1.4]] + [[1.2, 0.8]] * 2 + [[1, 1], [0.6, 0.6]])


def bend_for(seed: int, strength: float) -> NDArray[np.float64] | None:
    """Magnification less one, across and along the face, at each of ``BENDS``, (len(BENDS), 2); None for strength 0.

    Both sides are changed alike, so that a head stays a head. ``strength`` is a standard deviation.
    """
    if not strength:
        return None
    random = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, 3])))
    amount = np.clip(random.normal(0, strength, (len(BENDS), 2)), -2 * strength, 2 * strength) * _BEND_SHARE
    amount[:2, 1] -= _WIDE_OPEN
    for right, left in _PAIRS:
        amount[left] = amount[right]
    return np.asarray(amount, np.float64)


def turned_further(keypoints: NDArray[np.floating], factor: float) -> NDArray[np.float32]:
    """Five keypoints (5, 2) whose nose lies ``factor`` times as far from the line between eyes and mouth."""
    points = np.array(keypoints, np.float32)
    eyes, mouth = points[:2].mean(axis=0), points[3:].mean(axis=0)
    down = mouth - eyes
    across = np.array([down[1], -down[0]]) / max(float(np.hypot(*down)), 1e-6)
    points[2] += (factor - 1) * ((points[2] - eyes) @ across) * across
    return points


MIRRORED = (1, 0, 2, 4, 3)
"""Places of the five keypoints of a mirrored face; other numbers of keypoints keep their order."""


def mirrored(
    picture: NDArray[np.uint8], keypoints: NDArray[np.floating], ellipse: NDArray[np.floating]
) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]]:
    """Left and right swapped."""
    width = picture.shape[1]
    points = np.stack([width - keypoints[:, 0], keypoints[:, 1]], axis=1)
    points = points[list(MIRRORED)] if len(points) == len(MIRRORED) else points
    turned = np.array([width - ellipse[0], *ellipse[1:4], -ellipse[4]])
    return np.ascontiguousarray(picture[:, ::-1]), points.astype(np.float32), turned.astype(np.float32)


def shape_of(keypoints: NDArray[np.floating]) -> NDArray[np.complex128]:
    """Keypoints (N, K, 2) as complex numbers (N, K) without place and size. Kendall 1984, doi:10.1112/blms/16.2.81."""
    z = keypoints[..., 0].astype(np.float64) + 1j * keypoints[..., 1].astype(np.float64)
    z = z - z.mean(axis=-1, keepdims=True)
    return np.asarray(z / np.maximum(np.linalg.norm(z, axis=-1, keepdims=True), 1e-9), np.complex128)


def mirrored_shape(shape: NDArray[np.complex128]) -> NDArray[np.complex128]:
    """Shapes of the mirror images."""
    swapped = shape[..., list(MIRRORED)] if shape.shape[-1] == len(MIRRORED) else shape
    return np.asarray(-swapped.conj(), np.complex128)


def shape_distance(shape: NDArray[np.complex128], others: NDArray[np.complex128]) -> NDArray[np.float64]:
    """Procrustes distance in [0, 1] of a shape (K,) from others (..., K): 0 for the same shape at any angle."""
    overlap = np.abs((others.conj() * shape).sum(axis=-1))
    return np.asarray(np.sqrt(np.maximum(1 - overlap**2, 0)), np.float64)


def warp(
    picture: NDArray[np.uint8],
    keypoints: NDArray[np.floating],
    ellipse: NDArray[np.floating],
    goal: NDArray[np.float64],
    size: int,
    bend: NDArray[np.float64] | None = None,
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A picture moved so that its keypoints come to lie at others: a similarity, and a smooth rest.

    Parameters
    ----------
    picture : (H, W, 4) uint8
        sRGB and how much of a pixel is the subject, 0 to 255.
    keypoints, goal : (K, 2) px of the picture, px of the result
    ellipse : (5,) px of the picture
    size : int
        Side of the result, px.
    bend : (len(BENDS), 2), optional
        A further change of shape about eyes, nose, mouth, jaw and forehead of five keypoints.

    Returns
    -------
    pixels : (size, size, 3) uint8
    cover : (size, size) bool
        Inside the ellipse and the picture, and the subject's.
    """
    source = keypoints[:, 0] + 1j * keypoints[:, 1]
    target = goal[:, 0] + 1j * goal[:, 1]
    middle, origin = target.mean(), source.mean()
    spread = float((np.abs(target - middle) ** 2).sum())
    turn = ((target - middle).conj() @ (source - origin)) / max(spread, 1e-9)  # least squares, result px -> picture px
    rest = source - (turn * (target - middle) + origin)
    width = 1.6 * float(np.abs(target - middle).mean())
    kernel = np.exp(-(np.abs(target[:, None] - target[None]) ** 2) / (2 * width**2))
    weights = np.linalg.solve(kernel + _RIDGE * np.eye(len(target)), rest)
    ys, xs = np.mgrid[0:size, 0:size]
    z = xs + 0.5 + 1j * (ys + 0.5)
    z = z if bend is None or len(goal) != len(MIRRORED) else _bent(z, target, bend)
    bumps = np.exp(-(np.abs(z[..., None] - target) ** 2) / (2 * width**2))
    place = turn * (z - middle) + origin + bumps @ weights
    x, y = place.real - 0.5, place.imag - 0.5
    warped = cv2.remap(
        picture, x.astype(np.float32), y.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    height, width_px = picture.shape[:2]
    inside = (x > 0) & (y > 0) & (x < width_px - 1) & (y < height - 1)
    turned = (place - (ellipse[0] + 1j * ellipse[1])) * np.exp(-1j * np.radians(float(ellipse[4])))
    within = (turned.real / float(ellipse[2])) ** 2 + (turned.imag / float(ellipse[3])) ** 2 <= 1
    shown = inside & within & (warped[..., 3] > 127)
    return np.ascontiguousarray(warped[..., :3]), np.asarray(shown, np.bool_)


def _bent(z: NDArray[np.complex128], face: NDArray[np.complex128], bend: NDArray[np.float64]) -> NDArray[np.complex128]:
    """Places (H, W) from where a bent face takes its pixels: near each of ``BENDS`` the picture is magnified."""
    eyes, mouth = face[:2].mean(), face[3:].mean()
    down = mouth - eyes
    across = (
        -1j * down * abs(face[1] - face[0]) / max(abs(down), 1e-9)
    )  # to the left eye, as wide as the eyes' distance
    across = across if ((face[1] - face[0]) * across.conj()).real >= 0 else -across
    width = max(abs(across), 0.5 * abs(down))
    moved = z.copy()
    for (x, y, reach), (wide, tall) in zip(BENDS, bend, strict=True):
        away = z - (eyes + x * across + y * down)
        along = (away * down.conj()).real / max(abs(down) ** 2, 1e-9) * down
        near = np.exp(-(np.abs(away) ** 2) / (2 * (reach * width) ** 2))
        moved -= near * (wide / (1 + abs(wide)) * (away - along) + tall / (1 + abs(tall)) * along)
    return np.asarray(moved, np.complex128)


def edged(cover: NDArray[np.bool_]) -> NDArray[np.float32]:
    """How much of each pixel (H, W) is the subject's, in [0, 1]: its edge as soft as a lens draws it."""
    inside = cover.astype(np.float32)
    return np.asarray(cv2.GaussianBlur(cv2.erode(inside, np.ones((3, 3), np.uint8)), (0, 0), 1.2), np.float32)


def transfer_detail(
    drawn: NDArray[np.uint8],
    reference: NDArray[np.uint8],
    cover: NDArray[np.bool_],
    *,
    sigma_px: float,
    share: float,
) -> NDArray[np.uint8]:
    """Fine structure of a reference under the colours and the light of what was drawn.

    The ratio of the reference to its own blur, times the blur of what was drawn: a quotient image, which knows neither
    the reference's light nor its tone. Riklin-Raviv and Shashua 2001, doi:10.1109/34.908964.

    Parameters
    ----------
    drawn, reference : (H, W, 3) uint8
    cover : (H, W) bool
        Where the reference shows its subject.
    sigma_px : float
        Of the blur, px: finer structure comes from the reference.
    share : float
        0 keeps what was drawn, 1 takes the reference's structure alone, a little more makes up for softness.
    """
    inside = cover.astype(np.float32)
    weight = edged(cover) * np.float32(share)
    covered = np.maximum(cv2.GaussianBlur(inside, (0, 0), sigma_px), 1e-3)[..., None]
    shown = reference.astype(np.float32) + 4  # a step up, so that noise in the dark is no structure
    own = drawn.astype(np.float32) + 4
    # both blurs are means over the covered pixels alone, so that what lies around does not weigh in
    coarse = cv2.GaussianBlur(shown * inside[..., None], (0, 0), sigma_px) / covered
    light = cv2.GaussianBlur(own * inside[..., None], (0, 0), sigma_px) / covered
    # no eye or tooth on dark skin glares: what is lighter comes no nearer to white than in the reference
    scaled = light * np.clip(shown / np.maximum(coarse, 1), 0.3, 2.5)
    nearest = _WHITE - (_WHITE - light) * np.clip((_WHITE - shown) / np.maximum(_WHITE - coarse, 1), 0, 1)
    detailed = np.where(shown <= coarse, scaled, np.minimum(scaled, nearest)) - 4
    mixed = drawn + weight[..., None] * (detailed - drawn)
    return np.asarray(np.clip(mixed + 0.5, 0, 255), np.uint8)
