"""How much nearer the denoiser of whole people comes to the truth than what was laid in, on unseen renders.

usage: python scripts/bench_body.py --labels bodies/labels.jsonl --first 100 --crops 64
The labels are those of ``make render ARGS="... subject=body"``; people with an index under ``--first`` are left out.
Prints the mean absolute error under the mask in grey levels, of what was laid, of what was drawn, and of what is
returned.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from understudy.diffusion.body_model import body_planes
from understudy.diffusion.networks import pixels_from_network, pixels_to_network
from understudy.diffusion.sampler import sample
from understudy.generate.body_latent import BodyLatent
from understudy.seeding import standard_normal
from understudy.train.body_bank import BodyRecord, load_body_records
from understudy.train.body_data import BodyCrops, body_crops


def unseen(labels: Path, first: int) -> list[BodyRecord]:
    """Records of people from an index on."""
    indices = [int(json.loads(line)["index"]) for line in labels.read_text().splitlines()]
    return [record for record, i in zip(load_body_records(labels), indices, strict=True) if i >= first]


def drawn(generator: BodyLatent, crops: BodyCrops, k: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """What the sampler makes of one crop, alone and joined with what was laid."""
    networks, config = generator.networks, generator.config
    if networks is None:
        raise SystemExit("the model has no denoiser: its config says n_steps 0")
    row = slice(k, k + 1)
    planes = body_planes(crops.mask[row], crops.cover[row], crops.keypoints[row], crops.visibility[row])
    context = networks.encode(pixels_to_network([crops.context[k]]))
    style = np.zeros((1, config.style_channels), np.float32)
    noise = standard_normal(k, context.shape) * np.float32(config.noise_scale)
    latents = sample(
        lambda x, time: networks.denoise(x, context, planes, style, time), noise, generator.n_steps, config.shift
    )
    alone = pixels_from_network(networks.decode(latents))[0]
    return alone, generator.joined(crops.context[k], crops.cover[k], alone)


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("models/understudy-body-256x128"))
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--crops", type=int, default=64)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--strength", type=float)
    args = parser.parse_args()
    generator = BodyLatent(args.model, n_steps=args.steps)
    if args.strength is not None:
        generator.config = replace(generator.config, strength=args.strength)
    crops = body_crops(unseen(args.labels, args.first), args.crops, seed=1)
    errors = []
    for k in range(args.crops):
        inside, truth = crops.mask[k], crops.pixels[k].astype(np.float32)
        made = (crops.context[k], *drawn(generator, crops, k))
        errors.append([float(np.abs(picture[inside] - truth[inside]).mean()) for picture in made])
    values = np.array(errors)
    for name, column in zip(("laid", "drawn", "returned"), values.T, strict=True):
        print(f"{name}: {column.mean():.2f} grey levels (sd {column.std(ddof=1):.2f}, n = {len(column)})")
    for name, column in (("drawn", values[:, 1]), ("returned", values[:, 2])):
        gain = values[:, 0] - column
        half = 1.96 * gain.std(ddof=1) / np.sqrt(len(gain))
        print(f"{name} is nearer than laid by {gain.mean():.2f} (95 % interval {gain.mean() - half:.2f} to "
              f"{gain.mean() + half:.2f})")  # fmt: skip


if __name__ == "__main__":
    main()
