"""The generator of whole people: where it lays whom, what it refuses, and that both runtimes agree."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.tiny_body import STICK, make_tiny_body_model, people

from understudy.attributes.skin_tone import ita_bin, measure_ita
from understudy.diffusion.bodies import NOSE, compose, lay_person, wanted_person
from understudy.diffusion.region import region_box
from understudy.diffusion.surroundings import carry_on
from understudy.errors import GenerationError, InvalidInputError, MissingWeightsError
from understudy.generate.base import Generator, crop_shape
from understudy.generate.body_latent import BodyLatent
from understudy.generate.body_tone import skin_to
from understudy.train.body_bank import body_bank
from understudy.types import ERASED, Condition, Crop, Kind

HEIGHT, WIDTH = 256, 128
NOBODY = (np.zeros((17, 2), np.float32), np.zeros(17, np.float32))


def box_mask(wide: int, high: int) -> np.ndarray:
    """A box in the middle of a crop."""
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[(HEIGHT - high) // 2 : (HEIGHT + high) // 2, (WIDTH - wide) // 2 : (WIDTH + wide) // 2] = True
    return mask


def condition(mask: np.ndarray, points: np.ndarray, shown: np.ndarray, hidden: int = 0) -> Condition:
    around = cv2.resize(np.random.default_rng(0).integers(60, 200, (8, 4, 3), dtype=np.uint8), (WIDTH, HEIGHT))
    pixels = np.where(mask[..., None], np.uint8(hidden), around)
    return Condition(Crop(pixels, mask, np.eye(2, 3)), points, shown, kind=Kind.BODY)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("body")
    return make_tiny_body_model(folder / "model", people(folder))


def test_the_region_is_the_box_in_the_middle_whatever_is_masked_on_one_side_of_it() -> None:
    mask = box_mask(60, 200)
    assert region_box(mask) == ((34.0, 28.0, 94.0, 228.0), False)
    mask[:, 94:] = True  # the picture's end on the right
    assert region_box(mask) == ((34.0, 28.0, 94.0, 228.0), False)
    mask[228:] = True
    box, cut = region_box(mask)
    assert (box, cut) == ((34.0, 28.0, 94.0, 228.0), True)


def test_a_hull_with_a_narrow_head_is_as_high_as_its_head_is() -> None:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    hull = np.array([(58, 26), (70, 26), (104, 120), (96, 230), (34, 230), (24, 120)], np.int32)
    cv2.fillConvexPoly(mask, hull, 1)
    (_, y0, _, y1), cut = region_box(mask > 0)
    assert not cut
    assert y0 == pytest.approx(26, abs=6)
    assert y1 == pytest.approx(230, abs=6)


def test_a_hull_whose_ends_lie_beside_its_middle_is_as_high_as_it_is() -> None:
    """Somebody who walks: the head on one side of the box, the foot on the other."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.fillConvexPoly(mask, np.array([(80, 28), (92, 28), (90, 140), (42, 227), (34, 227), (36, 120)], np.int32), 1)
    (x0, y0, x1, y1), cut = region_box(mask > 0)
    assert not cut
    assert (y0, y1) == (pytest.approx(28, abs=8), pytest.approx(228, abs=8))
    assert (x0, x1) == (pytest.approx(34, abs=4), pytest.approx(93, abs=4))


def test_a_portrait_around_which_the_picture_ends_on_three_sides_is_as_large_as_it_is() -> None:
    mask = np.ones((HEIGHT, WIDTH), bool)
    mask[79:177, 13:115] = box_mask(102, 98)[79:177, 13:115]
    mask[79:120, 13:40] = mask[79:110, 95:115] = mask[79:170, 13:15] = False  # what is seen beside head and shoulder
    (x0, y0, x1, y1), cut = region_box(mask)
    assert cut
    assert (y0, y1) == (pytest.approx(79, abs=3), pytest.approx(177, abs=3))
    assert (x0, x1) == (pytest.approx(13, abs=3), pytest.approx(115, abs=3))


def test_a_region_among_others_is_as_large_as_what_is_seen_of_it_says() -> None:
    mask = box_mask(60, 200)
    mask[100:, :34] = mask[90:, 94:] = True  # shoulders of neighbours, to the picture's end
    mask[228:] = True
    (x0, y0, x1, y1), cut = region_box(mask)
    assert cut
    assert (y0, y1) == (pytest.approx(28, abs=8), pytest.approx(228, abs=8))
    assert (x0, x1) == (pytest.approx(34, abs=2), pytest.approx(94, abs=2))


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.ones((HEIGHT, WIDTH), bool), "nothing is known"),
        (~box_mask(60, 200), "not erased"),
        (box_mask(102, 40), "nobody stands or sits"),
    ],
)
def test_what_cannot_be_done_is_refused_so_that_the_ladder_ends_in_fill(mask: np.ndarray, message: str) -> None:
    with pytest.raises(GenerationError, match=message):
        wanted_person(mask, *NOBODY)


def test_a_nose_comes_to_lie_on_the_nose_and_the_feet_at_the_lower_edge(tmp_path: Path) -> None:
    bank = body_bank(people(tmp_path)[:1])
    points = np.zeros((17, 2))
    points[:3] = STICK[:3] * 1.6 + [14, 22]
    shown = np.zeros(17)
    shown[:3] = 1
    wanted = wanted_person(box_mask(60, 200), points, shown)
    placed = bank.place(0, False, wanted)
    own, _, box = bank.points(0, False)
    np.testing.assert_allclose(own[NOSE] * placed.scale + placed.move, points[NOSE], atol=1e-6)
    assert box[3] * placed.scale[1] + placed.move[1] == pytest.approx(wanted.xyxy[3], abs=1e-6)


def test_a_mirrored_person_has_its_own_left_on_the_other_side(tmp_path: Path) -> None:
    bank = body_bank(people(tmp_path)[:1])
    plain, _, _ = bank.points(0, False)
    turned, _, _ = bank.points(0, True)
    width = bank.widths[0]
    np.testing.assert_allclose(turned[5], [width - plain[6, 0], plain[6, 1]])
    np.testing.assert_array_equal(bank.picture(0, True), bank.picture(0)[:, ::-1])


def test_whoever_is_seen_by_a_face_detector_is_not_drawn_from_behind(tmp_path: Path) -> None:
    bank = body_bank(people(tmp_path)[:2])
    points, shown = np.zeros((17, 2)), np.zeros(17)
    points[:3], shown[:3] = STICK[:3] * 1.6 + [14, 22], 1
    with_face = wanted_person(box_mask(60, 200), points, shown)
    drawn = {bank.draw(seed, with_face, n_least=2, n_most=2)[0] for seed in range(8)}
    assert drawn == {0}
    from_behind = wanted_person(box_mask(60, 200), *NOBODY)
    assert {bank.draw(seed, from_behind, n_least=2, n_most=2)[0] for seed in range(8)} == {1}


def test_a_cut_region_that_is_wide_gets_an_upper_body(tmp_path: Path) -> None:
    mask = box_mask(102, 130)
    mask[(HEIGHT + 130) // 2 :] = True
    wanted = wanted_person(mask, *NOBODY)
    assert wanted.cut
    bank = body_bank(people(tmp_path))
    assert {bank.draw(seed, wanted, n_least=2, n_most=2)[0] for seed in range(8)} == {2}


def test_a_pose_is_met_by_the_least_squares_scale_and_move(tmp_path: Path) -> None:
    bank = body_bank(people(tmp_path)[:1])
    goal = bank.keypoints[0] * 1.4 + [20, 30]
    placed = bank.place(0, False, wanted_person(box_mask(60, 200), goal, np.ones(17)))
    assert placed.scale == pytest.approx((1.4, 1.4), rel=1e-5)
    assert placed.move == pytest.approx((20, 30), abs=1e-3)
    assert placed.cost == pytest.approx(0, abs=1e-4)


def test_a_moved_picture_lies_where_its_place_says(tmp_path: Path) -> None:
    bank = body_bank(people(tmp_path)[:1])
    placed = bank.place(0, False, wanted_person(box_mask(60, 200), *NOBODY))
    _, share = lay_person(bank.picture(0), placed, HEIGHT, WIDTH)
    rows, columns = np.nonzero(share > 0.5)
    (x0, y0, x1, y1), box = bank.boxes[0], (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    (sx, sy), (dx, dy) = placed.scale, placed.move
    np.testing.assert_allclose(box, (sx * x0 + dx, sy * y0 + dy, sx * x1 + dx, sy * y1 + dy), atol=1.5)


@pytest.mark.parametrize("tone", [0, 2, 4])
def test_the_skin_of_a_laid_person_comes_into_the_wanted_bin_and_clothes_and_surroundings_stay(tone: int) -> None:
    laid = np.full((HEIGHT, WIDTH, 3), (90, 110, 140), np.uint8)
    cover = np.zeros((HEIGHT, WIDTH), bool)
    cover[30:230, 34:94] = True
    laid[30:90, 34:94], laid[90:230, 34:94] = (196, 150, 124), (40, 60, 160)  # a head, a blue coat
    head = np.array([(64, 62), (72, 54), (56, 54)], np.float32)
    made = skin_to(laid, cover, head, tone)
    ita = measure_ita(made, np.array([46, 42, 82, 80]), np.zeros((5, 2)), np.zeros(5))
    assert ita_bin(ita) == tone
    assert (made[~cover] == laid[~cover]).all()
    assert np.abs(made[95:, 40:90].astype(int) - laid[95:, 40:90]).max() <= 1
    assert skin_to(laid, cover, head, None) is laid


def test_surroundings_are_carried_on_from_known_pixels_alone() -> None:
    mask, pixels = box_mask(60, 200), np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    pixels[:128], pixels[128:] = (200, 100, 50), (20, 120, 220)
    one = carry_on(np.where(mask[..., None], np.uint8(0), pixels), mask)
    two = carry_on(np.where(mask[..., None], np.uint8(255), pixels), mask)
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(one[~mask], pixels[~mask])
    assert np.abs(one[60, 64].astype(int) - (200, 100, 50)).max() <= 12
    assert np.abs(one[200, 64].astype(int) - (20, 120, 220)).max() <= 12


def test_nothing_is_laid_outside_the_mask() -> None:
    mask, context = box_mask(60, 200), np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    share = np.ones((HEIGHT, WIDTH), np.float32)
    pixels, cover = compose(context, mask, np.full((HEIGHT, WIDTH, 3), 240, np.float32), share)
    assert (pixels[~mask] == 90).all()
    np.testing.assert_array_equal(cover, mask)


def test_it_is_a_generator_of_crops_twice_as_high_as_wide(model: Path) -> None:
    generator = BodyLatent(model)
    assert isinstance(generator, Generator)
    assert crop_shape(generator) == (HEIGHT, WIDTH)
    assert len(generator.digests()) == 5


def test_torch_and_onnx_draw_the_same_person_within_a_grey_level(model: Path) -> None:
    given = [condition(box_mask(60, 200), *NOBODY), condition(box_mask(102, 140), *NOBODY)]
    onnx, torch = (BodyLatent(model, runtime)(given, [5, 6]) for runtime in ("onnx", "torch"))  # type: ignore[arg-type]
    for one, two in zip(onnx, torch, strict=True):
        assert np.abs(one.pixels.astype(int) - two.pixels).max() <= 2
        assert np.abs(one.pixels.astype(int) - two.pixels).mean() < 0.02


def test_the_seed_alone_decides_and_another_one_draws_somebody_else(model: Path) -> None:
    generator, given = BodyLatent(model), condition(box_mask(60, 200), *NOBODY)
    first, again, other = (generator([given], [seed])[0].pixels for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    shared = generator([condition(box_mask(102, 140), *NOBODY), given], [9, 1])[1].pixels
    np.testing.assert_array_equal(first, shared)


def test_without_steps_the_reference_stays_as_it_was_laid(model: Path) -> None:
    given = condition(box_mask(60, 200), *NOBODY)
    generator = BodyLatent(model, n_steps=0)
    pixels, cover = generator.lay(given, 3)
    (made,) = generator([given], [3])
    np.testing.assert_array_equal(made.pixels, pixels)
    np.testing.assert_array_equal(made.cover, cover)
    assert 0.1 < cover[given.replace_mask].mean() < 0.9
    assert set(generator.digests()) == {"model/config.json", "model/references.npz"}
    strong = BodyLatent(model)
    strong.config = replace(strong.config, strength=0.0)
    inside = cv2.erode(cover.astype(np.uint8), np.ones((15, 15), np.uint8)) > 0  # at a figure's edge surroundings go on
    np.testing.assert_array_equal(strong([given], [3])[0].pixels[inside], pixels[inside])
    assert inside.sum() > 200


def test_wrong_sizes_and_folders_are_refused_with_what_was_given(model: Path, tmp_path: Path) -> None:
    square = Condition(Crop(np.full((128, 128, 3), ERASED, np.uint8), np.ones((128, 128), bool), np.eye(2, 3)))
    with pytest.raises(InvalidInputError, match=r"\(256, 128, 3\), got \(128, 128, 3\)"):
        BodyLatent(model, n_steps=0)([square], [0])
    with pytest.raises(MissingWeightsError, match="no model folder"):
        BodyLatent(tmp_path)
    with pytest.raises(InvalidInputError, match="kind 'body'"):
        BodyLatent(model.with_name("model-faces"))
