"""Proportions of the heads that the renderer builds, against people's: nothing is rendered.

usage: check_proportions.py BODY.npz [--heads 60] [--seed 3] [--effects]

BODY.npz is what ``make render`` exports. Lengths are of the mesh's 68 landmarks as seen from the front, from far away,
at rest, of heads of 20 to 75 years, as shares of the distance between the middles of the eyes. Goals are rounded from
what anthropometry gives (after Farkas 1994, Anthropometry of the Head and Face; from memory, so trust the first digit).
``--effects`` tells for each length which local details of the body model change it most when they are added to the mean
head.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from understudy.people.body import LOCAL, Body, load_body
from understudy.people.landmarks import landmark_vertices
from understudy.people.persona import generator, sample_persona
from understudy.people.shape import DETAIL_PARTS, detail_weights, expression_weights, phenotype_weights

STREAM = 9
GOALS = {
    "length of an eye": "0.48",
    "height of an eye over its length": "0.32",
    "eyes to brows": "0.35",
    "eyes to mouth": "1.08, sd 0.07",
    "eyes to chin": "1.80, sd 0.10",
    "width of the nose": "0.55, sd 0.05",
    "width of the mouth": "0.80, sd 0.06",
    "width at the ears": "2.2",
    "width of the jaw": "1.7",
}
N_STRONGEST = 8


def lengths(body: Body, vertices: NDArray[np.int64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """One value for each of ``GOALS`` of the head that the weights make."""
    cage = body.template + (weights.astype(np.float32) @ body.targets).reshape(-1, 3)
    points = (body.subdivide @ cage[body.surface_vertices])[vertices][:, [0, 2]]

    def between(a: int, b: int) -> float:
        return float(np.linalg.norm(points[a] - points[b]))

    right, left = points[[36, 39]].mean(axis=0), points[[42, 45]].mean(axis=0)
    eyes, mouth, brow = (right + left) / 2, points[[48, 54]].mean(axis=0), points[18:21].mean(axis=0)
    unit = float(np.linalg.norm(right - left))
    eye = between(36, 39)
    found = [eye, unit * between(37, 41) / eye, *(float(np.linalg.norm(v)) for v in (brow - right, eyes - mouth))]
    found += [float(np.linalg.norm(eyes - points[8])), between(31, 35), between(48, 54), between(0, 16), between(4, 12)]
    return np.array(found) / unit


def weights_of(body: Body, seed: int, index: int) -> NDArray[np.float64]:
    """Weights of one grown-up head at rest."""
    persona = sample_persona(seed, index)
    persona = replace(persona, expression="neutral", age=float(np.clip(persona.age, 20, 75)))
    rng = generator(seed, STREAM, index)
    weights = detail_weights(body, persona, rng)
    weights[: len(body.phenotype_mask)] += phenotype_weights(body, persona, rng.uniform(0.3, 0.9))
    return np.asarray(weights + expression_weights(body, persona.expression, rng))


def effects(body: Body, vertices: NDArray[np.int64], mean: NDArray[np.float64]) -> list[str]:
    """For each length the details that change it most, each added with weight 1, on both sides where there are two."""
    before, found = lengths(body, vertices, mean), []
    for label, place in body.index.items():
        name = label.removeprefix(LOCAL)
        if not label.startswith(LOCAL) or not name.startswith(DETAIL_PARTS):
            continue
        changed = mean.copy()
        changed[place] += 1
        if name.startswith("l-"):
            changed[body.index[LOCAL + "r" + name[1:]]] += 1
        found.append((name, lengths(body, vertices, changed) - before))
    lines = []
    for k, length in enumerate(GOALS):
        strongest = sorted(found, key=lambda item: -abs(item[1][k]))[:N_STRONGEST]
        lines.append(f"{length}: " + ", ".join(f"{name} {change[k]:+.2f}" for name, change in strongest))
    return lines


def main() -> None:
    """Measure as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("body", type=Path)
    parser.add_argument("--heads", type=int, default=60)
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--effects", action="store_true")
    args = parser.parse_args()
    body = load_body(args.body)
    vertices = landmark_vertices(body)
    weights = np.stack([weights_of(body, args.seed, index) for index in range(args.heads)])
    found = np.stack([lengths(body, vertices, row) for row in weights])
    print(f"{args.heads} heads, mean and standard deviation | people, about")
    for k, (name, goal) in enumerate(GOALS.items()):
        print(f"{name}: {found[:, k].mean():.2f}, sd {found[:, k].std():.2f} | {goal}")
    if args.effects:
        print("\n".join(effects(body, vertices, weights.mean(axis=0))))


if __name__ == "__main__":
    main()
