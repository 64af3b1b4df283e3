"""Fitting the attribute probe: who is held out, what is learnt, how uncertainty is calibrated, and the ONNX file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from understudy.train.probe import (
    CENTERS,
    NUMBERS,
    SPREADS,
    ProbeBank,
    ProbeSettings,
    fit_probe,
    proportion_features,
    split_heads,
    split_outputs,
    varied_views,
)
from understudy.train.probe_bank import develop, truth_of
from understudy.train.probe_calibration import CalibratedProbe, Calibration, calibrate, export_probe, raw_outputs

SMALL = ProbeSettings(crop_size=32, n_views=1)


def lit_bank(n: int, seed: int) -> ProbeBank:
    """Grey crops whose lightness is the age: 10 years black, 80 white; all else is noise."""
    rng = np.random.default_rng(seed)
    age = rng.uniform(10, 80, n)
    level = (age - 10) / 70 * 255
    pixels = np.clip(level[:, None, None, None] + rng.normal(0, 6, (n, 40, 40, 3)), 0, 255).astype(np.uint8)
    numbers = np.full((n, len(NUMBERS)), 0.0, np.float32)
    numbers[:, 0] = age
    proportions = rng.normal(0.5, 0.1, (n, 15)).astype(np.float32)
    flags = rng.integers(0, 2, (n, 2)).astype(np.float32)
    return ProbeBank(pixels, proportions, numbers, rng.integers(0, 4, n), flags, np.arange(n) // 2)


def test_no_head_has_views_on_two_sides() -> None:
    learn, tune, test = split_heads(np.repeat(np.arange(50), 3), (0.1, 0.2), seed=3)
    assert (len(learn), len(tune), len(test)) == (35, 5, 10)
    assert sorted([*learn, *tune, *test]) == list(range(50))


def test_what_is_in_the_pixels_is_learnt_and_its_scale_covers_the_errors() -> None:
    """Without augmentation, lightness tells the age; 68 % of fresh errors lie within one scale, 95 % within two."""
    settings = ProbeSettings(crop_size=32, n_views=0)
    network = fit_probe(varied_views(lit_bank(160, 0), settings, seed=0), settings)
    tune, test = lit_bank(160, 1), lit_bank(160, 2)
    calibration = calibrate(raw_outputs(network, tune, settings), tune, settings)
    means, log_scales, *_ = split_outputs(raw_outputs(network, test, settings), 4)
    age = means[:, 0].numpy() * SPREADS[0] + CENTERS[0]
    scale = np.exp(log_scales[:, 0].numpy()) * SPREADS[0] * calibration.scale_factors[0]
    error = np.abs(age - test.numbers[:, 0])
    assert np.corrcoef(age, test.numbers[:, 0])[0, 1] > 0.97
    assert 0.5 < (error <= scale).mean() < 0.85


def test_a_confident_classifier_that_is_wrong_half_the_time_is_cooled_down() -> None:
    """Logits (4, 0, 0, 0) on a class that is right in half of the cases: the best temperature gives it one half."""
    outputs = torch.zeros(40, 16)
    outputs[:, 10] = 4.0
    bank = lit_bank(40, 0)
    codes = np.where(np.arange(40) < 20, 0, 1 + np.arange(40) % 3)
    half = ProbeBank(bank.pixels, bank.proportions, bank.numbers, codes, bank.flags, bank.head)
    temperature = calibrate(outputs, half, SMALL).temperatures[0]
    probability = np.exp(4 / temperature) / (np.exp(4 / temperature) + 3)
    assert probability == pytest.approx(0.5, abs=0.02)


def test_proportions_do_not_change_in_a_mirror() -> None:
    """A mirror swaps left and right keypoints and turns x around."""
    row = torch.tensor([[-0.5, 0.0, 0.6, 0.1, 0.2, 0.5, -0.4, 1.0, 0.3, 1.1, 0.9, 0.6, 2.0, 2.5, 0.35]])
    mirrored = torch.tensor([[-0.6, 0.1, 0.5, 0.0, -0.2, 0.5, -0.3, 1.1, 0.4, 1.0, 0.9, 0.6, 2.0, 2.5, 0.35]])
    assert proportion_features(row).numpy() == pytest.approx(proportion_features(mirrored).numpy(), abs=1e-6)


def test_the_onnx_file_says_what_torch_says_also_without_keypoints(tmp_path: Path) -> None:
    bank = lit_bank(40, 0)
    network = fit_probe(varied_views(bank, SMALL, seed=0), SMALL)
    calibration = Calibration((1.5, 1.0, 1.0, 1.0, 1.0), (0.5, 1.0, 2.0))
    export_probe(network, calibration, SMALL, tmp_path / "probe.onnx")
    crops = bank.pixels[:3, 4:36, 4:36]
    shapes = bank.proportions[:3].copy()
    shapes[1] = np.nan
    with torch.no_grad():
        expected = CalibratedProbe(network, calibration, SMALL)(torch.from_numpy(crops), torch.from_numpy(shapes))
    session = onnxruntime.InferenceSession(str(tmp_path / "probe.onnx"))
    for ours, theirs in zip(session.run(None, {"crops": crops, "proportions": shapes}), expected, strict=True):
        assert np.isfinite(ours).all()
        assert ours == pytest.approx(theirs.numpy(), rel=1e-3, abs=1e-3)


def test_labels_of_both_renderers_are_read_alike() -> None:
    """The camera's yaw has the other sign; worn sunglasses are glasses; ITA falls by 115 degrees from light to dark."""
    old = {"age": 30.0, "gender": 0.9, "tone": 0.2, "yaw": -20.0, "pitch": 4.0, "headrot": [3.0, 0.0, 9.0]}
    new = {"age": 30.0, "gender": 0.9, "melanin": 0.2, "yaw_deg": 20.0, "pitch_deg": -7.0}
    first = truth_of({**old, "expr": "bigsmile", "glasses": True, "beard": "stubble"})
    second = truth_of({**new, "expression_name": "broad_smile", "worn": "sunglasses", "beard": "stubble"})
    assert first == second
    assert first.numbers == pytest.approx((30.0, 0.9, 37.0, 20.0, -7.0))
    assert (first.expression, first.flags) == (2, (1.0, 0.5))


def test_a_linear_picture_is_developed_differently_for_each_draw() -> None:
    linear = np.ones((8, 8, 4), np.float32) * np.array([0.2, 0.15, 0.1, 1.0], np.float32)
    one, again, other = (develop(linear, np.random.default_rng(s)) for s in (1, 1, 2))
    assert (one == again).all()
    assert (one != other).any()
    assert one.dtype == np.uint8
