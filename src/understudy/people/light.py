"""Light in groups that are rendered apart, and the recipes that mix them: one render gives many pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from understudy.people.fields import Floats
from understudy.people.persona import generator

Group = Literal["ambient", "sun", "key", "fill"]
GROUPS: tuple[Group, ...] = ("ambient", "sun", "key", "fill")
Mood = Literal["hard_sun", "overcast", "window", "room", "studio", "dusk", "night", "portrait"]
Range = tuple[float, float]
SKY_SHAPE = (32, 64)

DAYLIGHT = np.array([1.0, 1.0, 1.0])
WARM = np.array([1.25, 1.0, 0.68])
COOL = np.array([0.86, 1.0, 1.22])


@dataclass(frozen=True)
class Recipe:
    """Ranges of the weight of each group, of each group's warmth (-1 cool to 1 warm) and of the exposure."""

    weights: dict[Group, Range]
    warmth: dict[Group, Range]
    exposure: Range = (0.85, 1.2)


RECIPES: dict[Mood, Recipe] = {
    "hard_sun": Recipe(
        {"sun": (1, 1), "ambient": (0.12, 0.4), "key": (0, 0.1)}, {"sun": (0, 0.5), "ambient": (-0.6, 0)}, (0.9, 1.35)
    ),
    "overcast": Recipe({"ambient": (1, 1), "key": (0, 0.35), "sun": (0, 0.08)}, {"ambient": (-0.4, 0.1)}),
    "window": Recipe(
        {"key": (1, 1), "ambient": (0.06, 0.3), "fill": (0, 0.2)}, {"key": (-0.4, 0.3), "ambient": (-0.2, 0.6)}
    ),
    "room": Recipe(
        {"key": (0.5, 0.8), "fill": (0.3, 0.8), "ambient": (0.15, 0.5)},
        {"key": (0, 0.9), "fill": (-0.2, 0.9), "ambient": (0, 0.7)},
    ),
    "studio": Recipe(
        {"key": (1, 1), "fill": (0.3, 1.0), "ambient": (0.1, 0.3)}, {"key": (-0.1, 0.2), "fill": (-0.2, 0.3)}
    ),
    "dusk": Recipe(
        {"ambient": (0.6, 1), "fill": (0.1, 0.8), "sun": (0, 0.25)},
        {"ambient": (-0.9, -0.2), "fill": (0.3, 1.0), "sun": (0.6, 1.0)},
        (0.45, 0.8),
    ),
    "night": Recipe(
        {"fill": (0.6, 1), "key": (0.1, 0.5), "ambient": (0.03, 0.15)},
        {"fill": (0.2, 1.0), "key": (-0.6, 0.8), "ambient": (-0.9, 0)},
        (0.4, 0.75),
    ),
}
MOODS: tuple[Mood, ...] = tuple(RECIPES)
MOOD_SHARES = (0.17, 0.18, 0.2, 0.18, 0.14, 0.08, 0.05)


@dataclass(frozen=True)
class Rig:
    """Where the lamps of a view stand, in angles from the camera, radians; each alone gives unit irradiance."""

    sun: tuple[float, float]  # azimuth, elevation
    sun_size: float
    key: tuple[float, float]
    key_size_m: float
    fill: tuple[float, float]
    fill_size_m: float
    sky: Floats  # (32, 64) relative radiance; the first row is the zenith


@dataclass(frozen=True)
class Mix:
    """One picture's light: the mood and the weight of each group per channel."""

    mood: Mood
    weights: dict[Group, tuple[float, float, float]]
    exposure: float
    white_balance: tuple[float, float, float]

    def labels(self) -> dict[str, object]:
        """The mix as plain values."""
        return {
            "mood": self.mood,
            "light": {group: [round(v, 4) for v in weight] for group, weight in self.weights.items()},
            "exposure": round(self.exposure, 4),
            "white_balance": [round(v, 4) for v in self.white_balance],
        }


def sample_rig(rng: np.random.Generator) -> Rig:
    """Lamps about the camera: the key mostly in front, the fill anywhere."""
    zenith = np.linspace(1, -1, SKY_SHAPE[0])[:, None]
    azimuth = np.linspace(-np.pi, np.pi, SKY_SHAPE[1])[None]
    sky = np.where(zenith > 0, 0.7 + 0.6 * zenith, rng.uniform(0.15, 0.6)) * np.ones(SKY_SHAPE)
    for _ in range(2):
        turned = (azimuth - rng.uniform(-np.pi, np.pi) + np.pi) % (2 * np.pi) - np.pi
        spot = np.exp(-((turned / 0.7) ** 2) - ((zenith * np.pi / 2 - rng.uniform(-0.1, 0.9)) / 0.5) ** 2)
        sky = sky + rng.uniform(0, 1.6) * spot
    return Rig(
        sun=(float(np.clip(rng.normal(0, 0.95), -2.0, 2.0)), float(rng.uniform(0.25, 1.15))),
        sun_size=float(rng.uniform(0.01, 0.06)),
        key=(float(np.clip(rng.normal(0, 0.75), -1.5, 1.5)), float(rng.uniform(0.0, 0.95))),
        key_size_m=float(rng.uniform(0.5, 1.5)),
        fill=(float(rng.uniform(-2.6, 2.6)), float(rng.uniform(-0.25, 0.7))),
        fill_size_m=float(rng.uniform(0.25, 0.9)),
        sky=sky / sky.mean(),
    )


def portrait_rig(rng: np.random.Generator) -> Rig:
    """A portrait's light: a large soft key over the camera, to one side, a low fill from the other, an even sky."""
    side = 1.0 if rng.random() < 0.5 else -1.0
    zenith = np.linspace(1, -1, SKY_SHAPE[0])[:, None]
    sky = (1 + 0.45 * zenith) * np.ones(SKY_SHAPE)
    return Rig(
        sun=(0.0, 0.7),
        sun_size=0.05,
        key=(side * float(np.radians(rng.uniform(18, 30))), float(np.radians(rng.uniform(33, 43)))),
        key_size_m=1.5,
        fill=(-side * float(np.radians(rng.uniform(25, 45))), float(np.radians(rng.uniform(-8, 8)))),
        fill_size_m=1.6,
        sky=sky / sky.mean(),
    )


def tint(warmth: float) -> Floats:
    """Colour of light, green 1: -1 cool, 0 daylight, 1 warm."""
    return np.asarray(DAYLIGHT + abs(warmth) * ((WARM if warmth >= 0 else COOL) - DAYLIGHT))


PORTRAIT = Mix(
    "portrait",
    {"key": (0.84, 0.84, 0.84), "fill": (0.1, 0.1, 0.1), "ambient": (0.19, 0.19, 0.19)},
    exposure=1.12,
    white_balance=(1.0, 1.0, 1.0),
)
"""How bright the lamps of ``portrait_rig`` are: neutral, with the shadows at a quarter of the light."""


def sample_mixes(seed: int, index: int, view: int, n: int) -> list[Mix]:
    """Light of each picture of a view: moods without repetition while there are any left."""
    rng = generator(seed, 5, index, view)
    order = rng.choice(len(MOODS), len(MOODS), replace=False, p=MOOD_SHARES)
    return [_sample_mix(MOODS[order[k % len(MOODS)]], rng) for k in range(n)]


def _sample_mix(mood: Mood, rng: np.random.Generator) -> Mix:
    recipe = RECIPES[mood]
    weights: dict[Group, tuple[float, float, float]] = {}
    for group, (low, high) in recipe.weights.items():
        color = rng.uniform(low, high) * tint(rng.uniform(*recipe.warmth.get(group, (-0.1, 0.2))))
        weights[group] = (float(color[0]), float(color[1]), float(color[2]))
    light = sum((np.array(w) for w in weights.values()), np.zeros(3))
    balance = (light[1] / light) ** rng.uniform(0.45, 0.95) * (1 + 0.025 * rng.normal(size=3))
    return Mix(
        mood=mood,
        weights=weights,
        exposure=float(rng.uniform(*recipe.exposure)),
        white_balance=(float(balance[0]), float(balance[1]), float(balance[2])),
    )


def mix_groups(groups: dict[Group, NDArray[np.floating]], mix: Mix) -> Floats:
    """Linear foreground (H, W, 3) of one mix: the groups' sum, weighted channel by channel."""
    total: Floats = np.zeros_like(next(iter(groups.values())), dtype=np.float64)
    for group, weight in mix.weights.items():
        total += np.asarray(groups[group], np.float64) * np.asarray(weight)
    return total
