"""The committed face model gives the same understudy on onnxruntime and on torch, and says what its files are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from understudy.diffusion.networks import load_config, load_styles
from understudy.export.parity import compare
from understudy.generate.latent import LatentDiffusionGenerator
from understudy.types import Attributes, Condition, Crop

FOLDER = Path(__file__).parents[2] / "models" / "understudy-face-128"
MAX_DIFFERENCE = 2
"""Grey levels of 255, the stated tolerance between the two runtimes."""
MEAN_DIFFERENCE = 0.02


def _conditions() -> list[Condition]:
    """Plain surroundings, an oval mask, and keypoints of a frontal and of a turned face."""
    conditions = []
    for i, (shift, tone) in enumerate(((0, 1), (18, 4), (-18, None))):
        ys, xs = np.mgrid[0:256, 0:256] // 2
        pixels = np.stack([xs + 60, ys + 40, 90 + 0 * xs + 10 * i], axis=-1).astype(np.uint8)
        mask = ((xs - 64) / 34) ** 2 + ((ys - 64) / 44) ** 2 <= 1
        points = np.array([[100, 108], [156, 108], [128 + shift, 140], [106, 168], [150, 168]], np.float32)
        conditions.append(
            Condition(Crop(pixels, mask, np.eye(2, 3)), points, np.ones(5, np.float32), Attributes(skin_tone=tone))
        )
    return conditions


def test_both_runtimes_give_the_same_understudy() -> None:
    """Pixels differ by the stated tolerance at most."""
    parity = compare(
        LatentDiffusionGenerator(FOLDER), LatentDiffusionGenerator(FOLDER, "torch"), _conditions(), [1, 2, 3]
    )
    assert parity.max_difference <= MAX_DIFFERENCE
    assert parity.mean_difference <= MEAN_DIFFERENCE


def test_different_seeds_give_visibly_different_understudies() -> None:
    """Under the mask two seeds differ by 4 grey levels or more on average, and never by nothing."""
    condition = _conditions()[0]
    made = LatentDiffusionGenerator(FOLDER)([condition] * 4, [11, 12, 13, 14])
    faces = np.stack([m.pixels[condition.replace_mask].astype(float) for m in made])
    differences = [np.abs(faces[i] - faces[j]).mean() for i in range(4) for j in range(i)]
    assert min(differences) > 0
    assert np.mean(differences) >= 4


def test_a_carried_skin_tone_makes_skin_lighter_or_darker() -> None:
    """The lightest bin gives a lighter face than the darkest, with the same seeds."""
    base = _conditions()[0]
    generator = LatentDiffusionGenerator(FOLDER)

    def lightness(tone: int) -> float:
        condition = Condition(
            Crop(base.context, base.replace_mask, np.eye(2, 3)),
            base.keypoints,
            base.visibility,
            Attributes(skin_tone=tone),
        )
        made = generator([condition] * 3, [5, 6, 7])
        return float(np.mean([m.pixels[96:180, 96:160].mean() for m in made]))

    assert lightness(0) > lightness(5) + 30


def test_the_config_fits_the_styles() -> None:
    """Every style carries the tags that the config names."""
    config, styles = load_config(FOLDER), load_styles(FOLDER)
    assert styles.tags.shape == (len(styles.vectors), len(config.style_tags))
    assert config.crop_size == 128
    assert config.condition_size == 256
