"""Tag a model's references by what the attribute probe sees where they are laid into pictures.

    python scripts/tag_references.py MODEL PICTURES OUTPUT.npz [--contexts 3] [--limit 150]

A reference is rendered of somebody of 30 who smiles; what an observer sees in a finished picture may be another age
and a stern mouth. The policy reads people with the probe, so a reference is tagged with what the same probe reads of
it, the mean over several pictures whose pose it suits. Those pictures must be renders, or may be used for choosing.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from understudy.attributes.probe import AttributeProbe
from understudy.config.build import job_from_overrides
from understudy.diffusion.networks import REFERENCES, load_config, load_references, save_references
from understudy.diffusion.reference import ReferenceBank, shape_distance, shape_of
from understudy.imaging import decode
from understudy.pipeline import Pipeline
from understudy.types import AnonymizedImage, Detections, SourceImage

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
PROBED = {
    "age_group": lambda reading: reading.age_groups(),
    "expression": lambda reading: reading.expression,
    "perceived_gender_expression": lambda reading: reading.gender_expressions(),
}
N_NEAREST = 24
"""Pictures whose pose suits a reference best; those that it is laid into are some of them, evenly."""

Scene = tuple[SourceImage, Detections]


def alone(bank: ReferenceBank, index: int) -> ReferenceBank:
    """A bank of one picture."""
    start = int(bank.ends[index - 1]) if index else 0
    file = bank.files[start : int(bank.ends[index])]
    only = slice(index, index + 1)
    return replace(
        bank, files=file, ends=np.array([len(file)], np.int64), keypoints=bank.keypoints[only],
        ellipses=bank.ellipses[only], tags=bank.tags[only], subjects=np.zeros(1, np.int64),
    )  # fmt: skip


def scenes(pipeline: Pipeline, folder: Path, limit: int) -> list[Scene]:
    """Pictures with one face that has all its keypoints."""
    made = []
    for path in sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES):
        source = decode(path.read_bytes(), path.name)
        found = pipeline.detect([source])[0]
        if len(found) == 1 and (found.visibility[0, :5] > 0).all():
            made.append((source, found))
        if len(made) == limit:
            break
    return made


def seen(pipeline: Pipeline, probe: AttributeProbe, chosen: Sequence[Scene]) -> dict[str, NDArray[np.float64]]:
    """Mean probability of every bin of what the probe reads of one reference laid into pictures."""
    readings = []
    for source, found in chosen:
        made = pipeline.replace([source], [found])[0]
        if isinstance(made, AnonymizedImage):
            readings.append(probe.read(made.native[..., :3], found.xyxy[0], found.keypoints[0], found.visibility[0]))
    return {name: np.mean([read(r) for r in readings], axis=0) for name, read in PROBED.items()} if readings else {}


def main() -> None:
    """Lay every reference into pictures, read them, write the bank with new tags."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--contexts", type=int, default=3, help="pictures that each reference is laid into")
    parser.add_argument("--limit", type=int, default=150, help="pictures to choose from")
    args = parser.parse_args()
    bank = load_references(args.model)
    if bank is None:
        raise SystemExit(f"{args.model} has no {REFERENCES}: there is nothing to tag")
    job = job_from_overrides([f"generator.model={args.model.resolve()}", "guard=none", "residual=none"])
    pipeline, probe = job.pipeline, AttributeProbe()
    pictures = scenes(pipeline, args.pictures, args.limit)
    shapes = np.stack([shape_of(found.keypoints[0, :5][None])[0] for _, found in pictures])
    columns = {name: list(load_config(args.model).style_tags).index(name) for name in PROBED}
    tags = bank.tags.copy()
    for index in range(len(bank)):
        distance = shape_distance(shape_of(bank.keypoints[index][None])[0], shapes)
        near = np.argsort(distance)[:N_NEAREST]
        pipeline.generator._references = alone(bank, index)  # type: ignore[union-attr]
        means = seen(pipeline, probe, [pictures[i] for i in near[:: max(1, len(near) // args.contexts)]])
        for name, mean in means.items():
            tags[index, columns[name]] = int(mean.argmax())
        print(index + 1, len(bank), bank.tags[index].tolist(), tags[index].tolist(), flush=True)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    save_references(args.output.parent, replace(bank, tags=tags))
    (args.output.parent / REFERENCES).rename(args.output)


if __name__ == "__main__":
    main()
