"""Contact sheet of before, after and difference; for bench_generator.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from generator_faces import Collection
from numpy.typing import NDArray
from PIL import Image

CELL_PX, N_COLUMNS, N_PICTURES = 160, 8, 24


def face_cell(path: Path, xyxy: NDArray[np.float64]) -> Image.Image:
    """The face with its surroundings, as a square cell."""
    with Image.open(path) as picture:
        rgb = picture.convert("RGB")
    center, side = (xyxy[:2] + xyxy[2:]) / 2, 1.9 * max(xyxy[2] - xyxy[0], xyxy[3] - xyxy[1])
    box = (*(center - side / 2), *(center + side / 2))
    return rgb.transform((CELL_PX, CELL_PX), Image.Transform.EXTENT, box, Image.Resampling.BICUBIC)


def write_sheet(before: Collection, after: Collection, path: Path) -> None:
    """Rows of before, after and their signed difference about grey, for pictures spread over the collection."""
    usable = np.flatnonzero(before.mtcnn)
    chosen = usable[np.linspace(0, len(usable) - 1, min(N_PICTURES, len(usable))).astype(int)]
    n_rows = -(-len(chosen) // N_COLUMNS)
    sheet = Image.new("RGB", (N_COLUMNS * CELL_PX, n_rows * 3 * CELL_PX))
    for place, i in enumerate(chosen):
        row, column = divmod(place, N_COLUMNS)
        cells = [face_cell(c.paths[i], before.xyxy[i]) for c in (before, after)]
        a, b = (np.asarray(cell, np.float64) for cell in cells)
        cells.append(Image.fromarray(np.clip(128 + (b - a) / 2, 0, 255).astype(np.uint8)))
        for k, cell in enumerate(cells):
            sheet.paste(cell, (column * CELL_PX, (3 * row + k) * CELL_PX))
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path)
