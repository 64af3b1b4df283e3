"""Pictures reduced (or enlarged) to the means of bins of whole pixels, as torch's ``interpolate(mode="area")`` does.

Output i of n covers the pixels from floor(i L / n) to ceil((i + 1) L / n) of a length L; neighbours may share a pixel.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Bins:
    """First pixel and the one after the last pixel of each bin, along one side."""

    start: NDArray[np.int64]
    stop: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.start)

    def between(self, first: int, last: int) -> Bins:
        """The bins from ``first`` to before ``last``."""
        return Bins(self.start[first:last], self.stop[first:last])


def bins_of(length: int, n: int) -> Bins:
    """Equal bins, n of them, over a length in pixels."""
    i = np.arange(n, dtype=np.int64)
    return Bins(i * length // n, -((-(i + 1) * length) // n))


def mean_of_bins(view: NDArray[np.uint8], rows: Bins, columns: Bins) -> NDArray[np.float32]:
    """Means of a view (H, W, 3) over each row bin and column bin: (len(rows), len(columns), 3).

    Sums come from a table of all sums up to a pixel, in 32 bits: where those run over, differences still hold.
    """
    top = int(rows.start[0])
    table = np.asarray(cv2.integral(view[top : int(rows.stop[-1])]), np.int32).view(np.uint32)
    bands = table[rows.stop - top] - table[rows.start - top]  # (h, W + 1, 3)
    sums = np.take(bands, columns.stop, axis=1) - np.take(bands, columns.start, axis=1)
    area = (rows.stop - rows.start)[:, None] * (columns.stop - columns.start)[None, :]
    return np.asarray(sums * (1 / area.astype(np.float32))[..., None], np.float32)
