"""What becomes of a rendered head before it serves a generator."""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from understudy.diffusion.reference import ReferenceBank
from understudy.people.references import SOFT_LIGHT, dulled, reference, rejection, soft_light

ROOT = Path(__file__).resolve().parents[2]


def lightness(pixels: np.ndarray[Any, Any]) -> float:
    return float(cv2.cvtColor(pixels.reshape(1, -1, 3).astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[..., 0].mean())


@pytest.mark.parametrize(("skin_value", "least_fall"), [(50, 20), (210, 0)])
def test_white_eyes_are_dulled_on_dark_skin_and_hardly_on_light(skin_value: int, least_fall: float) -> None:
    """Skin stays as it is; an eye of lightness 95 falls by 20 or more on dark skin and by under 10 on light skin."""
    picture = np.full((40, 40, 3), skin_value, np.uint8)
    skin = np.ones((40, 40), np.bool_)
    picture[10:20, 10:20], skin[10:20, 10:20] = 240, False
    done = dulled(picture, skin, np.ones((40, 40), np.bool_))
    np.testing.assert_array_equal(done[30:], picture[30:])
    fall = lightness(picture[13:17, 13:17]) - lightness(done[13:17, 13:17])
    assert fall >= least_fall if least_fall else fall < 10


def test_what_is_darker_than_skin_stays() -> None:
    """Brows and pupils are not lifted."""
    picture = np.full((40, 40, 3), 150, np.uint8)
    skin = np.ones((40, 40), np.bool_)
    picture[10:20, 10:20], skin[10:20, 10:20] = 20, False
    np.testing.assert_allclose(dulled(picture, skin, np.ones((40, 40), np.bool_)), picture, atol=1)


def test_eyes_may_be_narrower_in_a_smile() -> None:
    """An opening of 0.17 is a squint at rest and none in a smile; 0.1 is one in both."""

    def row(opening: float, expression: str) -> dict[str, Any]:
        eye = [[0, 0], [3, -opening * 5], [7, -opening * 5], [10, 0], [7, opening * 5], [3, opening * 5]]
        points = np.zeros((68, 2))
        points[36:42] = points[42:48] = eye
        return {
            "plain": True, "worn": "none", "yaw_deg": 0.0, "pitch_deg": 0.0, "expression_name": expression,
            "keypoints": [[0, 0], [10, 0], [5, 5], [0, 12], [10, 12]], "landmarks": points.tolist(),
        }  # fmt: skip

    found = {(o, e): rejection(row(o, e)) for o in (0.1, 0.17, 0.3) for e in ("neutral", "broad_smile")}
    assert {key for key, rule in found.items() if rule == "eyes_closed"} == {
        (0.1, "neutral"), (0.1, "broad_smile"), (0.17, "neutral"),
    }  # fmt: skip
    assert {rule for key, rule in found.items() if key[0] == 0.3} == {None}


def test_a_beard_is_no_reason_to_reject_a_head_but_lipstick_or_glasses_are() -> None:
    """None of the three is plain; nobody wears a beard."""
    row = {"plain": False, "worn": "none", "lipstick": False, "eye_shadow": False, "yaw_deg": 90.0}
    assert rejection(row) == "profile"
    assert rejection({**row, "lipstick": True}) == "not_plain"
    assert rejection({**row, "worn": "glasses"}) == "not_plain"


def bearded_view(folder: Path, beard: str) -> dict[str, Any]:
    """A view whose face is skin down to row 70 and hair from there to row 90."""
    masks = np.zeros((112, 112, 4), np.uint8)
    masks[20:70, 30:82, 2] = 255
    masks[70:90, 30:82, 1] = 255
    Image.fromarray(masks, "RGBA").save(folder / "masks.png")
    light = np.full((112, 112, 3), 0.3, np.float16)
    np.savez(folder / "linear.npz", mixed=light, alpha=np.full((112, 112), 255, np.uint8))
    points = [[44, 40], [68, 40], [56, 52], [47, 62], [65, 62]]
    return {
        "index": 7, "view": 0, "subject": "0-7", "linear": "linear.npz", "masks": "masks.png", "melanin": 0.3,
        "beard": beard, "face_xyxy": [30, 20, 82, 90], "keypoints": points, "age": 40.0, "gender": 0.1,
        "yaw_deg": 0.0, "pitch_deg": 0.0, "expression_name": "neutral", "age_group": 2, "expression": 0,
        "perceived_gender_expression": 0, "code_version": "x",
    }  # fmt: skip


def test_a_beard_is_shown_with_the_head_and_told(tmp_path: Path) -> None:
    """Without one the head ends where its skin does; with one the hair under it is the head's, and a tag says so."""
    picture, labels = reference(bearded_view(tmp_path, "short"), tmp_path)
    assert labels["beard"] == 1
    assert (picture[72:84, 40:70, 3] == 255).all()
    picture, labels = reference(bearded_view(tmp_path, "none"), tmp_path)
    assert labels["beard"] == 0
    assert not picture[76:, :, 3].any()


def test_the_views_that_are_chosen_of_a_head_span_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of seven views, noses from far left to far right, three are the first, the middle and the last."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    script = runpy.run_path(str(ROOT / "scripts" / "choose_references.py"))
    spread, turns = script["spread"], script["turns"]
    views = [
        SimpleNamespace(
            keypoints=np.array([[30, 40], [70, 40], [50 + x, 60], [35, 80], [65, 80]], float),
            xyxy=np.array([0, 0, 100, 120.0]),
        )
        for x in (3, -9, 9, 0, -6, 6, -3)
    ]
    assert [views[i].keypoints[2, 0] - 50 for i in spread(turns(views), 3)] == [-9, 0, 9]
    assert len(spread(turns(views), 20)) == 7


def test_light_that_was_mixed_before_rendering_is_taken_as_it_is_and_groups_are_mixed() -> None:
    mixed = np.full((2, 2, 3), 0.25, np.float16)
    np.testing.assert_array_equal(soft_light({"alpha": np.zeros((2, 2)), "mixed": mixed}), mixed)
    groups = {"alpha": np.zeros((2, 2)), "ambient": np.full((2, 2, 3), 2.0), "key": np.full((2, 2, 3), 4.0)}
    expected = 2 * SOFT_LIGHT["ambient"] + 4 * SOFT_LIGHT["key"]
    np.testing.assert_allclose(soft_light(groups), np.full((2, 2, 3), expected))


def test_heads_of_an_old_bank_stay_with_some_expressions_beside_new_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three heads with two pictures each, the last one's smile stays; every picture is the same after joining."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    script = runpy.run_path(str(ROOT / "scripts" / "choose_references.py"))
    files = [
        cv2.imencode(".webp", np.full((16, 16, 4), (i * 30, 90, 200, 255), np.uint8), [64, 101])[1].ravel()
        for i in range(6)
    ]
    bank = ReferenceBank(
        files=np.concatenate(files),
        ends=np.cumsum([len(file) for file in files]),
        keypoints=np.arange(60, dtype=np.float32).reshape(6, 5, 2),
        ellipses=np.zeros((6, 5), np.float32),
        tags=np.array([[0, 0], [0, 2]] * 3),
        mean_keypoints=np.zeros((5, 2), np.float32),
        subjects=np.repeat(np.arange(3), 2),
    )
    part, names = script["kept_of"](bank, ["a", "b", "c"], frozenset({"c"}), 1, {1: 4, 2: 4})
    assert (names, len(part)) == (["c"], 1)
    np.testing.assert_array_equal(part.picture(0), bank.picture(5))
    whole = script["joined"](part, bank)
    assert whole.subjects.tolist() == [0, 1, 1, 2, 2, 3, 3]
    for i in range(6):
        np.testing.assert_array_equal(whole.picture(i + 1), bank.picture(i))
        np.testing.assert_array_equal(whole.keypoints[i + 1], bank.keypoints[i])
