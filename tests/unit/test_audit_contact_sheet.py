"""Contact sheets: what is on them, how many, and what is left out."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from understudy.audit.contact_sheet import BACKGROUND, GAP_PX, contact_sheet
from understudy.errors import InvalidInputError


def plain(color: tuple[int, int, int], height: int = 40, width: int = 40) -> np.ndarray:
    return np.broadcast_to(np.array(color, np.uint8), (height, width, 3)).copy()


def opened(data: bytes) -> np.ndarray:
    image = Image.open(io.BytesIO(data))
    assert image.format == "JPEG"
    return np.asarray(image.convert("RGB")).astype(int)


def test_tiles_stand_in_rows_in_their_order() -> None:
    colors = [(200, 30, 30), (30, 160, 30), (30, 30, 200)]
    sheet = opened(contact_sheet([plain(color) for color in colors], n_columns=2, tile_px=20))
    assert sheet.shape == (2 * 20 + 3 * GAP_PX, 2 * 20 + 3 * GAP_PX, 3)
    first, second = GAP_PX + 10, GAP_PX + 20 + GAP_PX + 10
    for (y, x), color in zip([(first, first), (first, second), (second, first)], colors, strict=True):
        assert np.abs(sheet[y, x] - color).max() <= 12
    assert np.abs(sheet[second, second] - BACKGROUND).max() <= 8  # nothing stands in the fourth place


def test_a_wide_picture_keeps_its_proportions() -> None:
    sheet = opened(contact_sheet([plain((0, 0, 0), 20, 80)], tile_px=80))
    dark = (sheet.sum(axis=2) < 120)[:, sheet.shape[1] // 2]
    assert dark.sum() == pytest.approx(20, abs=2)


def test_many_pictures_are_thinned_evenly_with_the_first_and_the_last() -> None:
    shades = [plain((i, i, i)) for i in range(0, 250, 10)]
    sheet = opened(contact_sheet(shades, n_columns=3, tile_px=16, most=3))
    centres = [sheet[GAP_PX + 8, GAP_PX + 8 + k * (16 + GAP_PX), 0] for k in range(3)]
    assert centres == pytest.approx([0, 120, 240], abs=4)


def test_files_that_cannot_be_read_or_are_too_large_are_left_out(tmp_path: Path) -> None:
    good, broken, large = (tmp_path / name for name in ("good.png", "broken.jpg", "large.png"))
    Image.fromarray(plain((9, 90, 9))).save(good)
    broken.write_bytes(b"\xff\xd8\xff\xe0 not more")
    Image.fromarray(plain((9, 9, 90), 100, 100)).save(large)
    sheet = opened(contact_sheet([broken, good, large, tmp_path / "gone.png"], tile_px=32, max_pixels=5000))
    assert sheet.shape[:2] == (32 + 2 * GAP_PX, 32 + 2 * GAP_PX)
    assert np.abs(sheet[GAP_PX + 16, GAP_PX + 16] - (9, 90, 9)).max() <= 8


def test_the_sheet_carries_no_metadata_of_its_pictures(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010E] = "somebody's name"
    Image.fromarray(plain((50, 50, 50))).save(tmp_path / "a.jpg", exif=exif)
    data = contact_sheet([tmp_path / "a.jpg"])
    assert b"somebody" not in data
    assert not Image.open(io.BytesIO(data)).getexif()


def test_what_cannot_be_meant_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="1 or more"):
        contact_sheet([plain((0, 0, 0))], n_columns=0)
    with pytest.raises(InvalidInputError, match="uint8"):
        contact_sheet([np.zeros((4, 4, 3))])  # type: ignore[list-item]
    with pytest.raises(InvalidInputError, match="none of 1 pictures"):
        contact_sheet([tmp_path / "gone.png"])
