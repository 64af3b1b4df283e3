"""Fitting the attribute probe: who is held out, what is learnt, how uncertainty is calibrated, and the ONNX file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from understudy import weights
from understudy.errors import InvalidInputError
from understudy.runtime.onnx_shapes import free_dimensions
from understudy.train.probe import (
    CENTERS,
    NUMBERS,
    SPREADS,
    ProbeBank,
    ProbeSettings,
    Ridge,
    fit_probe,
    split_heads,
    split_outputs,
    varied_views,
    world_weights,
)
from understudy.train.probe_bank import develop, truth_of
from understudy.train.probe_calibration import Calibration, calibrate, export_probe, raw_outputs, weighted_quantile
from understudy.train.probe_trunk import SOURCE, Trunk

SMALL = ProbeSettings(crop_size=32, n_views=1, layers={"first": 4, "second": 2})


def small_network() -> onnx.ModelProto:
    """Two convolutions of stride 2 with four channels, and a third one that nobody asks for."""
    rng = np.random.default_rng(0)
    nodes, held = [], []
    for name, before, channels in (("first", "input.1", 3), ("second", "first", 4), ("third", "second", 4)):
        held.append(numpy_helper.from_array(rng.normal(0, 0.2, (4, channels, 3, 3)).astype(np.float32), f"{name}_w"))
        nodes.append(
            helper.make_node("Conv", [before, f"{name}_w"], [f"{name}_sum"], strides=[2, 2], pads=[1, 1, 1, 1])
        )
        nodes.append(helper.make_node("Relu", [f"{name}_sum"], [name]))
    shape = helper.make_tensor_value_info("input.1", TensorProto.FLOAT, [10, 3, 32, 32])
    third = helper.make_tensor_value_info("third", TensorProto.FLOAT, [10, 4, 4, 4])
    graph = helper.make_graph(nodes, "small", [shape], [third], held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 9)], ir_version=4)


@pytest.fixture(scope="module")
def trunk() -> Trunk:
    return Trunk(small_network().SerializeToString(), SMALL.layers, SMALL.crop_size)


def lit_bank(n: int, seed: int) -> ProbeBank:
    """Grey crops whose lightness is the age: 10 years black, 80 white; all else is noise."""
    rng = np.random.default_rng(seed)
    age = rng.uniform(10, 80, n)
    level = (age - 10) / 70 * 255
    pixels = np.clip(level[:, None, None, None] + rng.normal(0, 6, (n, 40, 40, 3)), 0, 255).astype(np.uint8)
    numbers = np.full((n, len(NUMBERS)), 0.0, np.float32)
    numbers[:, 0] = age
    flags = rng.integers(0, 2, (n, 2)).astype(np.float32)
    return ProbeBank(pixels, numbers, rng.integers(0, 4, n), flags, np.arange(n) // 2)


def convolved(pixels: NDArray[np.float32], kernel: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, C, h, w) through a 3 x 3 convolution of stride 2 with a border of zeros, and what is under 0 cut off."""
    padded = np.pad(pixels, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))[:, :, ::2, ::2]
    return np.maximum(np.einsum("nchwij,ocij->nohw", windows, kernel), 0)


def test_no_head_has_views_on_two_sides() -> None:
    learn, tune, test = split_heads(np.repeat(np.arange(50), 3), (0.1, 0.2), seed=3)
    assert (len(learn), len(tune), len(test)) == (35, 5, 10)
    assert sorted([*learn, *tune, *test]) == list(range(50))


def test_the_trunk_is_its_network_up_to_the_layers_averaged_over_cells(trunk: Trunk) -> None:
    """Convolutions written out in numpy give the same; the third one and its weights are left out."""
    pixels = np.random.default_rng(1).uniform(0, 1, (3, 3, 32, 32)).astype(np.float32)
    first_w, second_w, _ = (numpy_helper.to_array(w) for w in small_network().graph.initializer)
    first = convolved(255 * pixels, first_w)  # (3, 4, 16, 16)
    second = convolved(first, second_w)  # (3, 4, 8, 8)
    cells = [first.reshape(3, 4, 4, 4, 4, 4).mean(axis=(3, 5)), second.reshape(3, 4, 2, 4, 2, 4).mean(axis=(3, 5))]
    expected = np.concatenate([c.reshape(3, -1) for c in cells], axis=1)
    assert trunk.sizes == (64, 16)
    assert trunk(torch.from_numpy(pixels)) == pytest.approx(expected, rel=1e-4, abs=1e-3)
    assert [w.name for w in trunk.model.graph.initializer] == ["first_w", "second_w"]


def test_a_layer_that_is_not_there_or_does_not_fall_into_cells_is_refused() -> None:
    source = small_network().SerializeToString()
    with pytest.raises(InvalidInputError, match=r"no layer \['fourth'\]"):
        Trunk(source, {"fourth": 2}, 32)
    with pytest.raises(InvalidInputError, match="no 3 x 3 cells"):
        Trunk(source, {"first": 3}, 32)


def test_ridge_in_the_dual_is_ridge_in_the_primal_also_with_rows_left_out() -> None:
    """The normal equations of centred features, written out, on the rows that are left."""
    rng = np.random.default_rng(0)
    features, weights = rng.normal(2, 1, (12, 5)).astype(np.float32), rng.uniform(0.5, 2, 12)
    target, out = rng.normal(size=12), np.arange(12) % 3 == 0
    found, constant = Ridge(features, weights).solve(target, 0.3, left_out=out)
    x, y, w = features[~out].astype(np.float64), target[~out], (weights / weights.mean())[~out]
    middle, centre = w @ x / w.sum(), w @ y / w.sum()
    strength = 0.3 * (w[:, None] * x**2).sum() / len(x)
    moments = (x - middle).T @ (w[:, None] * (x - middle))
    expected = np.linalg.solve(moments + strength * np.eye(5), (x - middle).T @ (w * (y - centre)))
    assert found == pytest.approx(expected, abs=1e-5)
    assert constant == pytest.approx(centre - middle @ expected, abs=1e-5)


def test_a_constant_that_is_not_fitted_is_the_mean_of_the_targets() -> None:
    """Features of 0 get the weighted mean, whatever the features' own mean."""
    rng = np.random.default_rng(0)
    features, target = rng.normal(2, 1, (12, 5)).astype(np.float32), np.arange(12.0)
    weights = np.where(np.arange(12) < 2, 5.0, 1.0)
    assert Ridge(features, weights, free_constant=False).solve(target, 0.3)[1] == pytest.approx((5 * 1 + 65) / 20)


def test_heads_weigh_as_much_as_people_of_their_age_are_many() -> None:
    """Two heads under 13 share 21 %, the one of 50, which has two crops, has 17 % for itself."""
    weights = world_weights(np.array([3.0, 9.0, 50.0, 50.0, np.nan]), np.array([0, 1, 2, 2, 3]))
    assert weights / weights[0] == pytest.approx([1, 1, 0.17 / 0.21, 0.17 / 0.21, 0])


def test_a_weighted_quantile_with_equal_weights_is_that_of_split_conformal_inference() -> None:
    """Of 9 values the share 0.68 of 10 is the 7th; a value with all the weight is its own quantile."""
    values = np.array([5.0, 1, 9, 3, 7, 2, 8, 4, 6])
    assert weighted_quantile(values, np.ones(9), 0.68) == 7
    assert weighted_quantile(values, np.array([1e9, 1, 1, 1, 1, 1, 1, 1, 1]), 0.68) == 5
    assert weighted_quantile(np.zeros(0), np.zeros(0), 0.68) == 1


def test_what_is_in_the_pixels_is_learnt_and_its_scale_covers_the_errors(trunk: Trunk) -> None:
    """Without augmentation, lightness tells the age; its level taken off, 68 % of errors lie within one scale."""
    settings = ProbeSettings(crop_size=32, n_views=0, layers=SMALL.layers)
    matrix = fit_probe(varied_views(lit_bank(160, 0), trunk, settings, seed=0), settings)
    tune, test = lit_bank(160, 1), lit_bank(160, 2)
    calibration = calibrate(raw_outputs(matrix, trunk, tune, settings), tune)
    means, log_scales, *_ = split_outputs(raw_outputs(matrix, trunk, test, settings))
    age = means[:, 0] * SPREADS[0] + CENTERS[0]
    scale = np.exp(log_scales[:, 0]) * SPREADS[0] * calibration.scale_factors[0]
    error = age - test.numbers[:, 0]
    error = np.abs(error - error.mean())
    assert np.corrcoef(age, test.numbers[:, 0])[0, 1] > 0.97
    assert 0.5 < (error <= scale).mean() < 0.85


def test_a_confident_classifier_that_is_wrong_half_the_time_is_cooled_down() -> None:
    """Logits (4, 0, 0, 0) on a class that is right in half of the cases: the best temperature gives it one half."""
    outputs = np.zeros((40, 16))
    outputs[:, 10] = 4.0
    bank = lit_bank(40, 0)
    codes = np.where(np.arange(40) < 20, 0, 1 + np.arange(40) % 3)
    half = ProbeBank(bank.pixels, bank.numbers, codes, bank.flags, bank.head)
    temperature = calibrate(outputs, half).temperatures[0]
    probability = np.exp(4 / temperature) / (np.exp(4 / temperature) + 3)
    assert probability == pytest.approx(0.5, abs=0.02)


def test_the_onnx_file_says_what_was_fitted_for_any_number_of_crops(trunk: Trunk, tmp_path: Path) -> None:
    """Factors, temperatures and units, applied here by hand; the shape of the face is asked for and not read."""
    bank = lit_bank(40, 0)
    matrix = fit_probe(varied_views(bank, trunk, SMALL, seed=0), SMALL)
    calibration = Calibration((1.5, 1.0, 1.0, 1.0, 1.0), (0.5, 1.0, 2.0))
    export_probe(matrix, trunk, calibration, SMALL, tmp_path / "probe.onnx")
    crops = np.ascontiguousarray(bank.pixels[:3, 4:36, 4:36])
    pixels = torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 255
    means, log_scales, logits, flags = split_outputs(matrix(trunk(pixels)))
    shares = np.exp(logits / 0.5)
    expected = (
        means * SPREADS + CENTERS,
        np.exp(log_scales) * SPREADS * calibration.scale_factors,
        shares / shares.sum(axis=1, keepdims=True),
        1 / (1 + np.exp(-flags / (1.0, 2.0))),
    )
    session = onnxruntime.InferenceSession(str(tmp_path / "probe.onnx"))
    found = session.run(None, {"crops": crops, "proportions": np.full((3, 15), np.nan, np.float32)})
    alone = session.run(None, {"crops": crops[1:2], "proportions": np.zeros((1, 15), np.float32)})
    for ours, one, theirs in zip(found, alone, expected, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-3)
        assert one[0] == pytest.approx(ours[1], rel=1e-5, abs=1e-5)


@pytest.mark.weights("centerface")
@pytest.mark.weights("understudy_probe")
def test_the_trunk_of_the_committed_probe_is_that_of_the_detector() -> None:
    """The same bytes through both graphs: the layers that the probe reads hold the same values to the last digits."""
    layers = list(ProbeSettings().layers)
    crops = np.random.default_rng(0).integers(0, 256, (2, 128, 128, 3), dtype=np.uint8)
    probe = onnx.load(str(weights.resolve("understudy_probe")))
    whole = onnx.load_from_string(
        free_dimensions(weights.resolve(SOURCE).read_bytes(), "input.1", ("n", 3, "height", "width"))
    )
    for model in (probe, whole):
        model.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in layers)
    run = onnxruntime.InferenceSession(probe.SerializeToString()).run
    ours = run(layers, {"crops": crops, "proportions": np.zeros((2, 15), np.float32)})
    pixels = crops.transpose(0, 3, 1, 2).astype(np.float32)
    theirs = onnxruntime.InferenceSession(whole.SerializeToString()).run(layers, {"input.1": pixels})
    for a, b in zip(ours, theirs, strict=True):
        assert a == pytest.approx(b, rel=1e-4, abs=1e-4)


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
