"""The colour of hair: melanin, redness and grey, tied to skin tone, ancestry and age."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from understudy.people.fields import Floats
from understudy.people.persona import Persona

EUMELANIN = np.array([0.506, 0.841, 1.653])
PHEOMELANIN = np.array([0.343, 0.733, 1.924])
"""Absorption of linear red, green and blue; d'Eon et al. 2011, doi:10.1111/j.1467-8659.2011.01976.x."""


@dataclass(frozen=True)
class HairColor:
    """Parameters of the hair shader, and the colour that they give from afar."""

    color: Floats  # (3,) linear
    melanin: float
    redness: float
    grey: float


def hair_color(persona: Persona, rng: np.random.Generator) -> HairColor:
    """Dark hair goes with dark skin and most ancestries; grey comes from 38 on."""
    dark_ancestry = persona.mixture[0] + persona.mixture[1]
    if rng.random() < max(dark_ancestry * 0.9, 0.98 * float(persona.melanin > 0.45)):
        melanin, redness = rng.uniform(0.8, 0.98), rng.uniform(0.1, 0.35)
    else:
        low, high = ((0.12, 0.3), (0.3, 0.55), (0.55, 0.9))[rng.integers(3)]
        melanin = rng.uniform(low, high)
        redness = rng.uniform(0.1, 0.45) if rng.random() < 0.94 else rng.uniform(0.8, 1)
    grey = 0.0
    likely = (0.45 if persona.feminine else 0.8) + 0.25 * (persona.age > 62)
    if persona.age > 38 and rng.random() < likely:
        grey = float(np.clip((persona.age - 38) / 34 * rng.uniform(0.5, 1.6), 0, 1))
    left = melanin * (1 - 0.93 * grey)
    red = redness * (1 - grey)
    amount = -np.log(max(1 - left, 1e-4))
    absorption = amount * (1 - red) * EUMELANIN + amount * red * PHEOMELANIN
    color = np.clip(np.exp(-np.sqrt(absorption) * 1.25), 0.004, 0.75)
    return HairColor(color=color, melanin=float(left), redness=float(red), grey=grey)
