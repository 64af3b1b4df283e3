"""Who is rendered: attributes dealt by index, so that any prefix of a run is spread over tone, age, gender, pose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np

from understudy.errors import InvalidInputError

Expression = Literal["neutral", "smile", "broad_smile", "talk", "frown", "surprise"]
EXPRESSIONS: tuple[Expression, ...] = ("neutral", "smile", "broad_smile", "talk", "frown", "surprise")
EXPRESSION_SHARES = (0.30, 0.27, 0.27, 0.07, 0.04, 0.05)
EXPRESSION_CLASS: dict[Expression, int] = {
    "neutral": 0,
    "smile": 1,
    "broad_smile": 2,
    "talk": 3,
    "frown": 3,
    "surprise": 3,
}
"""0 neutral, 1 smile with a closed mouth, 2 smile with teeth, 3 anything else."""
AGE_EDGES = (13, 30, 45, 60)
MONK_STEPS = 10
MIN_AGE, MAX_AGE = 3.0, 90.0
MAX_YAW_DEG = 90.0
RACE_TONE, RACE_TONE_SD = (0.78, 0.40, 0.30), (0.16, 0.19, 0.20)
"""Tone (0 to 1) around which each ancestry of the body model lies, and how far it spreads: african, asian, caucasian.
Brown skin goes with features from all over the world: South Asia, Arabia and the Americas as well as Africa."""
MASCULINE_HAIR = ("buzz", "short", "short", "short", "side", "side", "curly", "afro", "slick", "bald", "receding")
FEMININE_HAIR = (
    "long", "long", "long", "bob", "bob", "wavy", "wavy", "curlylong", "afro", "tied", "tied", "tied", "short", "side",
)  # fmt: skip
SHAVEN = "shaven"
"""Hair of a head that is rendered as a reference: not a strand, not a shadow of one."""
WORN = ("none", "glasses", "sunglasses", "medical_mask", "cap", "headscarf", "hand")
WORN_SHARES = (0.66, 0.12, 0.05, 0.04, 0.05, 0.05, 0.03)

WEIGHT_SD, CHILD_YEARS = 0.24, 14.0
"""Spread of weight on the body model's axis from 0 to 1, and the age under which it is less than half of that."""
BLOCK = 20
"""Heads or views over which age, gender and yaw are dealt evenly."""


@dataclass(frozen=True)
class Persona:
    """One head's attributes, every one an input of the renderer."""

    index: int
    seed: int
    monk_step: int  # 1 to 10
    melanin: float  # 0 to 1 along the tone ramp
    age: float  # years
    gender: float  # 0 masculine to 1 feminine, flat
    feminine: bool  # which styles of hair, make-up and brows
    mixture: tuple[float, float, float]  # african, asian, caucasian
    weight: float
    muscle: float
    expression: Expression
    hair: str
    beard: str
    worn: str
    lipstick: bool
    eye_shadow: bool

    @property
    def plain(self) -> bool:
        """Whether the face would suit anybody: nothing worn, no beard, no make-up."""
        return self.beard == "none" and self.worn in ("none", "cap") and not self.lipstick and not self.eye_shadow

    def labels(self) -> dict[str, Any]:
        """The attributes as plain values."""
        return asdict(self)


@dataclass(frozen=True)
class View:
    """How one head is seen: asked for, before the neck's own turn is added."""

    number: int
    yaw_deg: float
    pitch_deg: float
    roll_deg: float
    gaze_at_camera: bool


def generator(seed: int, *path: int) -> np.random.Generator:
    """Random numbers of one part of one head: independent of every other part, head and process."""
    return np.random.default_rng([seed, *path])


def monk_step(seed: int, index: int) -> int:
    """Step of the Monk scale, 1 to 10: a fresh permutation for each ten heads, so that any prefix is near flat."""
    block, place = divmod(index, MONK_STEPS)
    return int(generator(seed, 0, block).permutation(MONK_STEPS)[place]) + 1


def dealt(seed: int, stream: int, number: int) -> float:
    """A value in [0, 1) for item ``number``: each block of 20 items holds one in each twentieth, in any order."""
    block, place = divmod(number, BLOCK)
    rng = generator(seed, 1, stream, block)
    order, within = rng.permutation(BLOCK), rng.random(BLOCK)
    return float((order[place] + within[place]) / BLOCK)


def age_group(age: float) -> int:
    """0 under 13, 1 under 30, 2 under 45, 3 under 60, 4 from 60."""
    return int(sum(age >= edge for edge in AGE_EDGES))


def gender_expression(gender: float) -> int:
    """0 masculine (under .35), 1 between, 2 feminine (over .65)."""
    return int(gender >= 0.35) + int(gender > 0.65)


def pick(rng: np.random.Generator, values: Sequence[str], shares: Sequence[float] | None = None) -> str:
    """One of several values."""
    return values[int(rng.choice(len(values), p=shares))]


def sample_persona(seed: int, index: int) -> Persona:
    """The attributes of head ``index`` of a run.

    Skin tone, age and gender are dealt flat; the rest is drawn given these.

    Raises
    ------
    InvalidInputError
        For a negative seed or index.
    """
    if seed < 0 or index < 0:
        raise InvalidInputError(f"seed and index must not be negative, got {seed} and {index}")
    rng = generator(seed, 2, index)
    step = monk_step(seed, index)
    melanin = (step - 1 + rng.uniform(0.1, 0.9)) / MONK_STEPS
    age = MIN_AGE + (MAX_AGE - MIN_AGE) * dealt(seed, 0, index)
    gender = dealt(seed, 1, index)
    feminine = bool(gender + rng.normal(0, 0.08) > 0.5)
    closeness = np.exp(-(((np.array(RACE_TONE) - melanin) / np.array(RACE_TONE_SD)) ** 2) / 2) + 0.04
    mixture = rng.dirichlet(0.25 * closeness / closeness.max() + 0.03)
    grown_man = not feminine and age > 19
    hair = pick(rng, FEMININE_HAIR if feminine else MASCULINE_HAIR)
    if age < 16 and hair in ("bald", "receding"):
        hair = "short"
    if hair == "afro" and mixture[0] < 0.3:
        hair = "curlylong" if feminine else "curly"
    beard = "none"
    if grown_man:
        beard = pick(
            rng,
            ("none", "stubble", "short", "full", "moustache", "goatee"),
            (0.46, 0.24, 0.12, 0.08, 0.04, 0.06),
        )
    expression = EXPRESSIONS[int(rng.choice(len(EXPRESSIONS), p=EXPRESSION_SHARES))]
    worn = pick(rng, WORN, WORN_SHARES)
    if worn == "headscarf" and not feminine:
        worn = "cap"
    return Persona(
        index=index,
        seed=seed,
        monk_step=step,
        melanin=float(melanin),
        age=float(age),
        gender=float(gender),
        feminine=feminine,
        mixture=(float(mixture[0]), float(mixture[1]), float(mixture[2])),
        weight=float(np.clip(rng.normal(0.5, WEIGHT_SD * (0.4 if age < CHILD_YEARS else 1)), 0.1, 0.95)),
        muscle=float(np.clip(rng.normal(0.47 - 0.17 * gender, 0.12), 0.1, 0.9)),
        expression=expression,
        hair=hair,
        beard=beard,
        worn=worn,
        lipstick=bool(feminine and age > 14 and rng.random() < 0.35),
        eye_shadow=bool(feminine and age > 14 and rng.random() < 0.35),
    )


def bare(persona: Persona, with_beard: bool = False) -> Persona:
    """The same head with nothing of its own on it but brows and lashes, and its beard if you like: references."""
    beard = persona.beard if with_beard else "none"
    return replace(persona, hair=SHAVEN, beard=beard, worn="none", lipstick=False, eye_shadow=False)


def sample_view(seed: int, index: int, number: int, n_views: int, max_yaw_deg: float = MAX_YAW_DEG) -> View:
    """View ``number`` of head ``index``: yaw to ``max_yaw_deg`` either way, half of the views within a third of it."""
    rng = generator(seed, 3, index, number)
    turn = 2 * dealt(seed, 2, index * n_views + number) - 1
    yaw = np.sign(turn) * max_yaw_deg * abs(turn) ** 1.6
    return View(
        number=number,
        yaw_deg=float(yaw),
        pitch_deg=float(np.clip(rng.normal(1, 9), -28, 28)),
        roll_deg=float(np.clip(rng.normal(0, 5), -20, 20)),
        gaze_at_camera=bool(rng.random() < 0.7),
    )


def swept_view(seed: int, index: int, number: int, n_views: int, max_yaw_deg: float) -> View:
    """View ``number`` of a sweep from the front to ``max_yaw_deg`` on one side, closer to each other near the front.

    For references, which are mirrored where they are drawn: the head's other side would be the same views again.
    """
    rng = generator(seed, 4, index, number)
    yaw = max_yaw_deg * ((number + rng.uniform(0.05, 0.75)) / n_views) ** 1.25
    return View(
        number=number,
        yaw_deg=float(yaw),
        pitch_deg=float(np.clip(rng.normal(0, 7), -16, 16)),
        roll_deg=float(np.clip(rng.normal(0, 3), -8, 8)),
        gaze_at_camera=bool(rng.random() < 0.85),
    )
