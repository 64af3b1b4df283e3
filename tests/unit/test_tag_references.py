"""The script that tags references by what the probe sees."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np

from understudy.diffusion.networks import load_references

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "models" / "understudy-face-128"


def test_a_bank_of_one_shows_that_picture_and_draws_no_other() -> None:
    """The third picture of the embedded bank, alone, is the same picture with the same places, whatever the seed."""
    alone = runpy.run_path(str(ROOT / "scripts" / "tag_references.py"))["alone"]
    bank = load_references(MODEL)
    assert bank is not None
    one = alone(bank, 2)
    assert len(one) == 1
    np.testing.assert_array_equal(one.picture(0), bank.picture(2))
    np.testing.assert_array_equal(one.keypoints[0], bank.keypoints[2])
    assert {one.draw(seed, None)[0] for seed in range(8)} == {0}
