"""The shape of one head: phenotype, local details, asymmetry, expression and the turn of the neck."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.spatial.transform import Rotation

from understudy.people.body import LOCAL, Body, vertex_normals
from understudy.people.fields import Floats, smooth_step
from understudy.people.persona import Expression, Persona, pick

DETAIL_SIGMA, DETAIL_LIMIT = 0.4, 0.85
"""Of local details; wider ones make caricatures."""
CHILDREN_ALIKE = 0.5
"""Share of that spread that children lack: their faces have not grown apart yet."""
WIDER = {
    "nose-width": 1.3, "lip-volume": 1.3, "lip-height": 1.2,
    "mouth-scale-horiz": 1.3, "cheek-bones": 1.3, "cheek-volume": 1.3,
}  # fmt: skip
"""Share of the usual spread for details that tell heads apart and stay natural."""
DETAIL_PARTS = (
    "head", "nose", "eye", "eyebrows", "mouth", "cheek", "chin", "forehead", "neck", "measure-neck", "l-eye",
    "l-cheek", "l-ear",
)  # fmt: skip
DAMPED = {
    "head-trans": 0, "head-angle": 0.25, "mouth-trans-out": 0.1, "nose-trans-out": 0.1, "neck-trans": 0.3,
    "chin-jaw-drop": 0.3, "head-age": 0.6, "push": 0.5, "eye-trans": 0.45, "eye-scale": 0.55, "nose-trans": 0.5,
    "mouth-trans": 0.5, "ear": 0.6, "eye-height": 0.6, "bag": 0.7, "epicanthus": 0.8, "neck-double": 0.5,
    "dimples": 0.4, "laugh": 0.6, "nose-compression": 0.5, "nose-scale-depth": 0.35, "nose-volume": 0.6,
    "nose-point": 0.7, "nose-hump": 0.7, "corner": 0.4, "head-scale-vert": 0.35,
    "head-scale-depth": 0.7, "head-scale-horiz": 0.5, "chin-height": 0.55, "eyebrows-angle": 0.5, "mouth-angles": 0.4,
}  # fmt: skip
"""Share of the usual spread for details that look odd soon."""
SOFTER = {
    "eyebrows-trans-backward": 0.45,
    "eyebrows-trans-up": 0.2,
    "eyebrows-angle-down": 0.15,
    "chin-bones-decr": 0.3,
    "chin-width-decr": 0.15,
    "chin-jaw-drop-decr": 0.12,
    "chin-height-decr": 0.12,
    "head-scale-horiz-decr": 0.3,
    "mouth-angles-up": 0.3,
    "l-eye-scale-incr": 0.75,
    "r-eye-scale-incr": 0.75,
    "l-eye-push2-out": 0.5,
    "r-eye-push2-out": 0.5,
    "nose-width3-incr": 0.2,
    "nose-scale-depth-decr": 0.3,
    "nose-volume-decr": 0.15,
    "nose-flaring-incr": 0.1,
    "l-eye-height2-incr": 0.05,
    "r-eye-height2-incr": 0.05,
}
"""Details added to every head against the template's heavy brow and jaw."""
FEMININE = {
    "chin-width-decr": 0.4,
    "chin-bones-decr": 0.35,
    "chin-prominent-decr": 0.1,
    "chin-height-decr": 0.15,
    "eyebrows-trans-up": 0.2,
    "eyebrows-trans-backward": 0.25,
    "l-eye-scale-incr": 0.2,
    "r-eye-scale-incr": 0.2,
    "mouth-upperlip-volume-incr": 0.2,
    "mouth-lowerlip-volume-incr": 0.15,
    "nose-volume-decr": 0.25,
    "nose-width2-decr": 0.15,
    "nose-scale-vert-decr": 0.1,
    "nose-point-up": 0.1,
    "neck-scale-horiz-decr": 0.25,
}
"""Details added in proportion to the gender parameter: the model's feminine head alone is not read as one."""
CHILDLIKE = {
    "l-eye-scale-incr": 0.18,
    "r-eye-scale-incr": 0.18,
    "l-eye-height2-incr": 0.15,
    "r-eye-height2-incr": 0.15,
    "nose-volume-decr": 0.3,
    "nose-scale-vert-decr": 0.2,
    "nose-hump-decr": 0.2,
    "chin-bones-decr": 0.3,
    "chin-height-decr": 0.15,
    "l-cheek-volume-incr": 0.08,
    "r-cheek-volume-incr": 0.08,
    "mouth-scale-horiz-decr": 0.2,
    "head-scale-horiz-decr": 0.15,
}
"""Details added to heads under 12 years, fading out by 16."""
EXPRESSION_RANGES: dict[Expression, dict[str, tuple[float, float]]] = {
    "neutral": {"mouthSmile": (0.10, 0.18)},
    "smile": {
        "mouthSmile": (0.4, 0.85),
        "cheekSquint": (0.1, 0.4),
        "eyeSquint": (0.0, 0.12),
        "mouthDimple": (0, 0.3),
    },
    "broad_smile": {
        "mouthSmile": (0.42, 0.72),
        "jawOpen": (0.06, 0.12),
        "mouthUpperUp": (0.75, 1.0),
        "mouthLowerDown": (0.35, 0.6),
        "mouthStretch": (0.15, 0.4),
        "cheekSquint": (0.15, 0.45),
        "eyeSquint": (0.0, 0.1),
    },
    "talk": {"jawOpen": (0.06, 0.3), "mouthFunnel": (0, 0.4), "mouthUpperUp": (0, 0.4), "mouthStretch": (0, 0.3)},
    "frown": {"browDown": (0.3, 0.8), "mouthFrown": (0.2, 0.6), "mouthPress": (0, 0.5)},
    "surprise": {"browInnerUp": (0.3, 0.9), "browOuterUp": (0.3, 0.8), "eyeWide": (0.2, 0.6), "jawOpen": (0.05, 0.4)},
}


@dataclass
class Head:
    """One posed head; later steps displace ``vertices``."""

    cage: Floats  # (V, 3) with eyes, teeth and tongue
    vertices: Floats  # (N, 3) of the skin
    normals: Floats  # (N, 3)
    rotation: Floats  # (3, 3) of the head against the shoulders
    eyes: tuple[tuple[Floats, float], ...]  # centre and radius: the subject's left, then right
    targets: Floats = field(default_factory=lambda: np.zeros(0))

    def to_world(self, vectors: Floats) -> Floats:
        """Directions of the template turned with the head."""
        return np.asarray(vectors @ self.rotation.T)


def anchor_weights(value: float, n: int, low: float = 0.0, high: float = 1.0) -> Floats:
    """Linear interpolation weights on ``n`` anchors between ``low`` and ``high``."""
    anchors = np.linspace(low, high, n)
    i = int(np.clip(np.searchsorted(anchors, value) - 1, 0, n - 2))
    t = float(np.clip((value - anchors[i]) / (anchors[i + 1] - anchors[i]), 0, 1))
    weights = np.zeros(n)
    weights[i], weights[i + 1] = 1 - t, t
    return weights


def model_age(age: float) -> float:
    """Age in years on the body model's axis: 0 baby, 1/3 ten, 2/3 twenty-five, 1 ninety."""
    return float(np.interp(age, [1, 10, 25, 90], [0, 1 / 3, 2 / 3, 1]))


def model_gender(gender: float) -> float:
    """The flat parameter pushed to both ends, so that what is labelled feminine or masculine looks so."""
    return float(smooth_step(0.12, 0.88, gender))


def phenotype_weights(body: Body, persona: Persona, proportions: float, height: float = 0.5) -> Floats:
    """Weights of the phenotype targets: each is the product of the weights of what it names."""
    by_name = {
        "age": anchor_weights(model_age(persona.age), 5, -1 / 3, 1),
        "gender": anchor_weights(model_gender(persona.gender), 2),
        "muscle": anchor_weights(persona.muscle, 3),
        "weight": anchor_weights(persona.weight, 3),
        "height": anchor_weights(height, 2),
        "proportions": anchor_weights(proportions, 2)[::-1],
        "cupsize": anchor_weights(0.5, 3),
        "firmness": anchor_weights(0.5, 3),
        "race": np.array(persona.mixture),
    }
    flat = np.concatenate([by_name[name] for name in body.phenotypes])
    return np.asarray(np.prod(flat[None] * body.phenotype_mask + 1 - body.phenotype_mask, axis=1))


def detail_weights(body: Body, persona: Persona, rng: np.random.Generator) -> Floats:
    """Weights of local details, nearly symmetric, and of asymmetry and head shape."""
    weights = np.zeros(len(body.labels))
    feminine, child = model_gender(persona.gender), float(smooth_step(16, 12, persona.age))
    spread = rng.uniform(0.7, 1.3) * (1 - CHILDREN_ALIKE * child)

    def put(one: str, other: str, value: float) -> None:
        weights[body.index[LOCAL + (one if value > 0 else other)]] += abs(value)

    for one, other in body.local_pairs:
        if not one.startswith(DETAIL_PARTS):
            continue
        damping = min([1.0, *(share for part, share in DAMPED.items() if part in one)])
        damping *= max([1.0, *(share for part, share in WIDER.items() if part in one)])
        value = float(np.clip(rng.normal(0, DETAIL_SIGMA) * spread * damping, -DETAIL_LIMIT, DETAIL_LIMIT))
        if one.startswith("head-age"):
            value += float(np.clip((persona.age - 45) / 60, 0, 0.5))
        put(one, other, value)
        if one.startswith("l-"):
            put("r" + one[1:], "r" + other[1:], float(np.clip(value + rng.normal(0, 0.05) * damping, -0.9, 0.9)))
    for label, i in body.index.items():
        if label.startswith("extra:asym") and "breast" not in label:
            weights[i] += max(0.0, rng.normal(0, 0.12))
    shapes = [label for label in body.labels if label.startswith("extra:head")]
    weights[body.index[pick(rng, shapes)]] += rng.uniform(0, 0.5)
    for share, details in ((1.0, SOFTER), (feminine, FEMININE), (child, CHILDLIKE)):
        for name, value in details.items():
            weights[body.index[LOCAL + name]] += share * value
    return weights


def expression_weights(body: Body, expression: Expression, rng: np.random.Generator) -> Floats:
    """Weights of the facial actions: the expression, a little life, and the lids."""
    weights = np.zeros(len(body.labels))

    def act(action: str, value: float, asymmetry: float = 0.12) -> None:
        for side in ("", "Left", "Right"):
            label = f"facial_action:{action}{side}"
            if label in body.index:
                weights[body.index[label]] += float(np.clip(value * (1 + rng.normal(0, asymmetry)), 0, 1))

    for action, (low, high) in EXPRESSION_RANGES[expression].items():
        act(action, rng.uniform(low, high))
    act("browInnerUp", max(0.0, rng.normal(0.06, 0.08)))
    act("browOuterUp", max(0.0, rng.normal(0.02, 0.08)))
    blink = rng.uniform(0, 0.08) if rng.random() < 0.995 else rng.uniform(0.85, 1)
    act("eyeBlink", blink, 0.04)
    act("eyeWide", rng.uniform(0.0, 0.12), 0.04)
    return weights


def build_head(body: Body, persona: Persona, rng: np.random.Generator) -> Head:
    """Morph, turn and subdivide the template for one persona."""
    weights = detail_weights(body, persona, rng)
    n = len(body.phenotype_mask)
    weights[:n] += phenotype_weights(body, persona, rng.uniform(0.3, 0.9))
    weights += expression_weights(body, persona.expression, rng)
    cage = body.template + (weights.astype(np.float32) @ body.targets).reshape(-1, 3)
    pivot = cage[body.group_vertices("joint-neck")].mean(axis=0)
    turn_deg = [rng.normal(0, 6), rng.normal(0, 4), rng.normal(0, 13)]
    turn = Rotation.from_euler("xyz", turn_deg, degrees=True)
    share = smooth_step(-0.03, 0.07, cage[:, 2] - pivot[2])
    cage = Rotation.from_rotvec(share[:, None] * turn.as_rotvec()[None]).apply(cage - pivot) + pivot
    vertices = body.subdivide @ cage[body.surface_vertices]
    eyes = []
    for side in "lr":
        ball = cage[body.group_vertices(f"helper-{side}-eye")]
        center = (ball.max(axis=0) + ball.min(axis=0)) / 2
        eyes.append((center, float(np.linalg.norm(ball - center, axis=1).mean())))
    return Head(
        cage=cage,
        vertices=vertices,
        normals=vertex_normals(vertices, body.faces),
        rotation=turn.as_matrix(),
        eyes=tuple(eyes),
        targets=weights,
    )
