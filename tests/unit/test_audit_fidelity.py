"""What stayed is measured outside the masks only, and a seam shows where there is one."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from understudy.audit.fidelity import context_fidelity, keypoint_nme, seam_visibility, ssim
from understudy.errors import InvalidInputError


def picture(seed: int, side: int = 96) -> np.ndarray:
    rng = np.random.default_rng(seed)
    smooth = cv2.GaussianBlur(rng.normal(size=(side, side, 3)), (0, 0), 4)
    return np.clip(128 + 40 * smooth / smooth.std(), 0, 255).astype(np.uint8)


def disc(side: int = 96, radius: float = 24) -> np.ndarray:
    ys, xs = np.mgrid[:side, :side] + 0.5
    return (xs - side / 2) ** 2 + (ys - side / 2) ** 2 <= radius**2


def test_what_happens_under_the_mask_does_not_count() -> None:
    before, mask = picture(1), disc()
    after = np.where(mask[..., None], np.uint8(0), before)
    found = context_fidelity(before, after, mask)
    assert (found.changed_share, found.max_abs, found.mean_abs) == (0, 0, 0)
    assert np.isnan(found.psnr_db)
    assert found.ssim == pytest.approx(1)
    assert found.n == (~mask).sum()


def test_one_changed_pixel_outside_is_seen() -> None:
    before, mask = picture(2), disc()
    after = before.copy()
    after[0, 0, 1] ^= 1
    found = context_fidelity(before, after, mask)
    assert found.changed_share == pytest.approx(1 / (~mask).sum())
    assert found.max_abs == 1
    assert found.mean_abs == pytest.approx(1 / (3 * (~mask).sum()))


def test_psnr_equals_opencvs_without_a_mask() -> None:
    before, after = picture(3), picture(4)
    nothing = np.zeros((96, 96), bool)
    assert context_fidelity(before, after, nothing).psnr_db == pytest.approx(cv2.PSNR(before, after))


def test_ssim_equals_its_formula_written_out_at_one_place() -> None:
    before, after = picture(5), picture(6)
    only = np.zeros((96, 96), bool)
    only[20:31, 40:51] = True  # one window fits: its centre is (25, 45)
    x, y = (p.astype(float) @ [0.299, 0.587, 0.114] for p in (before, after))
    d = np.arange(11) - 5
    w = np.exp(-(d[:, None] ** 2 + d[None] ** 2) / (2 * 1.5**2))
    w /= w.sum()
    x, y = x[20:31, 40:51], y[20:31, 40:51]
    mx, my = (w * x).sum(), (w * y).sum()
    vx, vy, cov = (w * (x - mx) ** 2).sum(), (w * (y - my) ** 2).sum(), (w * (x - mx) * (y - my)).sum()
    c1, c2 = 6.5025, 58.5225
    expected = (2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    assert ssim(before, after, only) == pytest.approx(expected)


def test_ssim_falls_with_blur() -> None:
    before, everything = picture(7), np.ones((96, 96), bool)
    sharp = np.random.default_rng(1).integers(0, 40, before.shape, dtype=np.uint8) + before // 2
    values = [ssim(sharp, cv2.GaussianBlur(sharp, (0, 0), s), everything) for s in (0.5, 1, 3)]
    assert values == sorted(values, reverse=True)


def test_a_picture_all_mask_has_no_context() -> None:
    found = context_fidelity(picture(1), picture(2), np.ones((96, 96), bool))
    assert found.n == 0
    assert np.isnan([found.ssim, found.changed_share]).all()


def test_a_pasted_disc_has_a_seam_that_grows_with_its_step_and_an_untouched_picture_has_none() -> None:
    before, mask = picture(8), disc()
    readings = []
    for step in (0, 8, 20, 60):
        after = np.clip(before.astype(int) + step * mask[..., None], 0, 255).astype(np.uint8)
        readings.append(seam_visibility(after, mask))
    assert abs(readings[0]) < 0.2
    assert readings == sorted(readings)
    assert readings[-1] > 1


def test_a_soft_edge_shows_less_than_a_hard_one() -> None:
    before, mask = picture(9), disc()
    soft = cv2.GaussianBlur(mask.astype(float), (0, 0), 6)[..., None]
    hard = mask[..., None].astype(float)
    paste = [np.clip(before + 50 * alpha, 0, 255).astype(np.uint8) for alpha in (soft, hard)]
    assert seam_visibility(paste[0], mask) < seam_visibility(paste[1], mask) - 0.5


def test_a_line_that_runs_into_the_face_is_no_seam() -> None:
    image = np.full((96, 96, 3), 120, np.uint8)
    image[46:50] = 20  # runs across the mask's edge at a right angle
    assert seam_visibility(image, disc()) < 0.5


def test_a_mask_without_an_edge_has_no_seam() -> None:
    assert np.isnan(seam_visibility(picture(1), np.zeros((96, 96), bool)))
    assert np.isnan(seam_visibility(picture(1), np.ones((96, 96), bool)))


FACE = np.array([[30.0, 40], [70, 40], [50, 60], [35, 80], [65, 80]])


def test_keypoint_error_by_hand() -> None:
    # eyes 40 apart, mouth 40 below: size 40; everything moves by 3, 4
    assert keypoint_nme(FACE[None], FACE[None] + [3.0, 4.0]) == pytest.approx([5 / 40])


def test_keypoint_error_does_not_depend_on_scale_or_place() -> None:
    other = FACE + np.random.default_rng(1).normal(0, 2, FACE.shape)
    one, scaled = keypoint_nme(FACE[None], other[None]), keypoint_nme(FACE[None] * 7 + 100, other[None] * 7 + 100)
    assert one == pytest.approx(scaled)


def test_an_absent_keypoint_is_left_out_and_no_keypoint_is_nan() -> None:
    partly, none = FACE + np.array([3.0, 4.0]), np.full((5, 2), np.nan)
    partly[2] = np.nan
    found = keypoint_nme(np.stack([FACE, FACE]), np.stack([partly, none]))
    assert found[0] == pytest.approx(5 / 40)
    assert np.isnan(found[1])


def test_pictures_of_two_sizes_are_refused_with_both() -> None:
    with pytest.raises(InvalidInputError, match="one size"):
        context_fidelity(picture(1), picture(1, 64), disc())
