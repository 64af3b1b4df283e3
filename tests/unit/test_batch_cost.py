"""What a picture will take, told by its header."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from understudy.batch.cost import picture_cost
from understudy.batch.flow import Cost


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.jpg", {}),
        ("a.png", {}),
        ("a.gif", {}),
        ("a.bmp", {}),
        ("a.tif", {}),
        ("lossy.webp", {}),
        ("lossless.webp", {"lossless": True}),
        ("extended.webp", {"icc_profile": b"x" * 200}),
    ],
)
def test_pixels_are_read_from_the_header_of_every_format(tmp_path: Path, name: str, options: dict[str, object]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (37, 53, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / name, **options)  # type: ignore[arg-type]
    assert picture_cost(tmp_path / name) == Cost(37 * 53, (tmp_path / name).stat().st_size)


def test_a_cut_off_picture_still_tells_its_size(tmp_path: Path) -> None:
    Image.new("RGB", (400, 300)).save(tmp_path / "a.jpg")
    data = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(data[: len(data) // 2])
    assert picture_cost(tmp_path / "a.jpg").pixels == 120_000


@pytest.mark.parametrize("content", [b"", b"text", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_picture_takes_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.png").write_bytes(content)
    assert picture_cost(tmp_path / "a.png").pixels == 0


def test_a_file_that_is_not_there_takes_nothing(tmp_path: Path) -> None:
    assert picture_cost(tmp_path / "none.png") == Cost()


def test_a_picture_without_a_readable_header_is_guessed_by_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff\xe0" + bytes(996))
    assert picture_cost(tmp_path / "a.jpg") == Cost(8000, 1000)
