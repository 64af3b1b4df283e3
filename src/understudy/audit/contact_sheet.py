"""A contact sheet: many pictures on one, read one at a time."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from understudy.errors import InvalidInputError, UnderstudyError
from understudy.imaging import decode

N_COLUMNS = 6
TILE_PX = 160
GAP_PX = 6
MOST_PICTURES = 36
MAX_PIXELS = 50_000_000
"""A picture with more is left out, so that memory stays that of one picture."""
BACKGROUND = (244, 246, 248)
QUALITY = 82


def contact_sheet(
    pictures: Sequence[Path | NDArray[np.uint8]],
    *,
    n_columns: int = N_COLUMNS,
    tile_px: int = TILE_PX,
    most: int = MOST_PICTURES,
    max_pixels: int = MAX_PIXELS,
) -> bytes:
    """Pictures side by side in rows, each fitted into a square tile; at most ``most``, evenly drawn from all.

    Parameters
    ----------
    pictures : sequence of Path or (H, W, 3) uint8 sRGB
        Of ``after``, in their order. Files are opened one at a time; those that cannot be read are left out. No name is
        written on the sheet, since a name may tell who somebody is.
    n_columns, tile_px, most : int
        1 or more.
    max_pixels : int
        Larger pictures are left out.

    Returns
    -------
    bytes
        JPEG, without metadata.

    Raises
    ------
    InvalidInputError
        For a size under 1, an array that is no picture, or where not one picture can be read.
    """
    if min(n_columns, tile_px, most) < 1:
        raise InvalidInputError(f"n_columns, tile_px and most must be 1 or more, got {n_columns}, {tile_px} and {most}")
    tiles = [
        tile for i in _spread(len(pictures), most) if (tile := _tile(pictures[i], tile_px, max_pixels)) is not None
    ]
    if not tiles:
        raise InvalidInputError(f"none of {len(pictures)} pictures can be shown: leave report.pictures at none")
    columns = min(n_columns, len(tiles))
    rows = -(-len(tiles) // columns)
    step = tile_px + GAP_PX
    sheet = Image.new("RGB", (columns * step + GAP_PX, rows * step + GAP_PX), BACKGROUND)
    for i, tile in enumerate(tiles):
        x, y = GAP_PX + step * (i % columns), GAP_PX + step * (i // columns)
        sheet.paste(tile, (x + (tile_px - tile.width) // 2, y + (tile_px - tile.height) // 2))
    buffer = io.BytesIO()
    sheet.save(buffer, "JPEG", quality=QUALITY, optimize=True)
    return buffer.getvalue()


def _spread(n: int, most: int) -> list[int]:
    """At most ``most`` places among n, evenly."""
    return sorted({round(place) for place in np.linspace(0, n - 1, min(n, most))}) if n else []


def _tile(picture: Path | NDArray[np.uint8], tile_px: int, max_pixels: int) -> Image.Image | None:
    if isinstance(picture, np.ndarray):
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or picture.size == 0:
            raise InvalidInputError(f"pictures must be (H, W, 3) uint8, got {picture.shape} {picture.dtype}")
        pixels = picture
    else:
        try:
            pixels = decode(picture.read_bytes(), picture.name, max_pixels=max_pixels).view
        except (UnderstudyError, OSError):
            return None  # told by the audit itself, which counts what it cannot read
    height, width = pixels.shape[:2]
    scale = tile_px / max(height, width)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    return Image.fromarray(np.ascontiguousarray(pixels)).resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
