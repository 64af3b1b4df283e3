"""Glasses for an understudy whose condition carries them: drawn by formula over a finished face, no two alike."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from understudy.attributes.head_pose import NOSE_DEPTH
from understudy.geometry import nose_offset

_EYES_TO_MOUTH = 1.1
"""Distance from the eyes' middle to the mouth's, of that between the eyes, which is the unit of what follows."""
_FRONT, _WRAP = 0.17, 0.10
"""How far the rims stand before the eyes, and how much less of it at each unit to the side."""
_APART, _DROP = 0.515, 0.05
"""Middle of a lens: to the side of the face's middle, and below the eyes."""
_EAR = (1.14, 0.0, -1.35)
"""Where a temple ends: to the side, down, forward."""
_HIDDEN_DEG = 6.0
"""Turn from which the temple on the far side is not seen."""
_FINER = 4
"""Lines are drawn at so many times the resolution."""
_FRAMES = ((18, 16, 16), (24, 22, 28), (46, 30, 22), (62, 44, 30), (96, 96, 100), (128, 108, 78), (40, 40, 58))
"""Colours of frames in bright light, sRGB: black, horn, metal."""
_BRIGHT = 165.0
"""Mean grey level of a face in bright light; in less of it frames are darker."""
_SHADOW, _SHEEN = 0.22, 0.05
"""How much darker skin is under a rim, and how much of white lies on a lens."""


@dataclass(frozen=True)
class Frame:
    """One pair of glasses, in distances between the eyes."""

    wide: float
    """Half the width of a lens."""
    high: float
    power: float
    """2 is an ellipse, more is nearer to a rectangle."""
    thick: float
    color: tuple[int, int, int]

    @classmethod
    def of(cls, seed: int) -> Frame:
        """The pair that belongs to a seed."""
        random = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, 5])))
        return cls(
            wide=float(random.uniform(0.34, 0.41)),
            high=float(random.uniform(0.24, 0.33)),
            power=float(random.uniform(2.0, 4.5)),
            thick=float(random.choice([0.024, 0.034, 0.052])),
            color=_FRAMES[int(random.integers(len(_FRAMES)))],
        )


@dataclass(frozen=True)
class _Pose:
    """Where a face's own axes lie in a picture: weak perspective, and turned by its yaw alone."""

    middle: NDArray[np.float64]
    across: NDArray[np.float64]  # to the subject's left, one unit, foreshortened by the turn
    down: NDArray[np.float64]
    forward: NDArray[np.float64]
    yaw_deg: float

    @classmethod
    def of(cls, keypoints: NDArray[np.floating]) -> _Pose:
        points = np.asarray(keypoints, np.float64)
        eyes, mouth = points[:2].mean(axis=0), points[3:5].mean(axis=0)
        down = (mouth - eyes) / _EYES_TO_MOUTH
        unit = float(np.hypot(*down))
        sine = float(np.clip(nose_offset(points) / NOSE_DEPTH, -0.95, 0.95))
        side = np.array([down[1], -down[0]])  # as long as a unit, to the right of a picture
        # the eyes say how wide the face is seen, unless the turn says that they are nearly behind each other
        seen = points[1] - points[0]
        across = seen if float(seen @ side) > 0.2 * unit**2 else side * np.sqrt(1 - sine**2)
        return cls(eyes, across, down, side * sine, float(np.degrees(np.arcsin(sine))))

    def place(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Pixels (N, 2) of points (N, 3): to the subject's left, down, forward."""
        return np.asarray(self.middle + points @ np.stack([self.across, self.down, self.forward]))


def _rim(frame: Frame, side: int) -> NDArray[np.float64]:
    """Outline of a lens, a superellipse, (N, 3)."""
    angle = np.linspace(0, 2 * np.pi, 73)
    x, y = (np.sign(f) * np.abs(f) ** (2 / frame.power) for f in (np.cos(angle), np.sin(angle)))
    x = side * _APART + frame.wide * x
    return np.stack([x, _DROP + frame.high * y, _FRONT - _WRAP * np.abs(x)], axis=1)


def _bridge(frame: Frame) -> NDArray[np.float64]:
    """From lens to lens over the nose, (N, 3)."""
    s = np.linspace(-1, 1, 9)
    half = _APART - frame.wide
    y = _DROP - frame.high * 0.3 - 0.03 * (1 - s**2)
    return np.stack([half * s, y, np.full(9, _FRONT + 0.02)], axis=1)


def _temple(frame: Frame, side: int) -> NDArray[np.float64]:
    """From a lens's outer edge to the ear, (N, 3)."""
    s = np.linspace(0, 1, 16)[:, None]
    outer = _APART + frame.wide
    start = np.array([side * outer, _DROP - 0.4 * frame.high, _FRONT - _WRAP * outer])
    end = np.array([side * _EAR[0], _EAR[1], _EAR[2]])
    course = start + (end - start) * s
    course[:, 0] = start[0] + (end[0] - start[0]) * np.sqrt(s[:, 0])
    return np.asarray(course)


def _ink(
    shape: tuple[int, int], lines: list[NDArray[np.float64]], width: float, *, filled: bool
) -> NDArray[np.float32]:
    """Lines (N, 2) px, or what they enclose, as how much of each pixel they cover."""
    canvas = np.zeros((shape[0] * _FINER, shape[1] * _FINER), np.uint8)
    for line in lines:
        points = np.rint(line * _FINER - 0.5).astype(np.int32)[:, None]
        if filled:
            cv2.fillPoly(canvas, [points], 255, cv2.LINE_AA)
        else:
            cv2.polylines(canvas, [points], False, 255, max(round(width * _FINER), 1), cv2.LINE_AA)
    return np.asarray(cv2.resize(canvas, shape[::-1], interpolation=cv2.INTER_AREA) / 255, np.float32)


def _moved(ink: NDArray[np.float32], x: float, y: float) -> NDArray[np.float32]:
    affine = np.array([[1, 0, x], [0, 1, y]], np.float32)
    return np.asarray(cv2.warpAffine(ink, affine, ink.shape[::-1]), np.float32)


def with_glasses(
    pixels: NDArray[np.uint8],
    keypoints: NDArray[np.floating],
    mask: NDArray[np.bool_],
    shown: NDArray[np.floating],
    seed: int,
) -> NDArray[np.uint8]:
    """A face with glasses on: rims, bridge, and temples as far as the face is seen.

    Their shape and colour depend on the seed, and nothing of what the person wore is known but that it was glasses.

    Parameters
    ----------
    pixels : (H, W, 3) uint8 sRGB
    keypoints : (5, 2) px
    mask : (H, W) bool
        Where something may be drawn.
    shown : (H, W) float in [0, 1]
        How much of a pixel is the face: temples end where hair begins.
    seed : int
    """
    pose, frame = _Pose.of(keypoints), Frame.of(seed)
    unit = float(np.hypot(*pose.down))
    if not unit >= 4 or not mask.any():  # NaN neither
        return pixels
    shape = (mask.shape[0], mask.shape[1])
    width = max(frame.thick * unit, 0.9)
    rims = [pose.place(_rim(frame, side)) for side in (-1, 1)]
    near = [side for side in (-1, 1) if side * pose.yaw_deg < _HIDDEN_DEG]
    temples = [pose.place(_temple(frame, side)) for side in near]
    frames = _ink(shape, [*rims, pose.place(_bridge(frame))], width, filled=False)
    arms = _ink(shape, temples, width, filled=False) * np.asarray(shown, np.float32)
    ink = np.maximum(frames, arms) * mask
    lens = _ink(shape, rims, 0, filled=True) * mask
    shadow = _moved(ink, 0.03 * pose.down[0], 0.03 * pose.down[1] + 0.4 * width)
    shadow = np.asarray(cv2.GaussianBlur(shadow, (0, 0), 0.02 * unit + 0.5), np.float32)
    light = min(float(pixels[mask].mean()) / _BRIGHT, 1.2)
    value = pixels.astype(np.float32) * (1 - _SHADOW * shadow * mask)[..., None]
    y = np.mgrid[0 : shape[0], 0 : shape[1]][0]
    high = np.clip(0.5 - (y - pose.middle[1]) / (1.2 * frame.high * unit), 0, 1)
    value += (_SHEEN * lens * high)[..., None] * (255 * light - value)
    color = light * np.array(frame.color, np.float32)
    # the upper edge of a frame takes light
    edge = np.clip(ink - _moved(ink, 0, 0.35 * width), 0, 1)
    drawn = color + (45 * light * edge)[..., None]
    value += ink[..., None] * (drawn - value)
    return np.asarray(np.clip(np.rint(value), 0, 255), np.uint8)
