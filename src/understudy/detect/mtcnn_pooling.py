"""Pictures reduced (or enlarged) to the means of bins of whole pixels, as torch's ``interpolate(mode="area")`` does.

Output i of n covers the pixels from floor(i L / n) to ceil((i + 1) L / n) of a length L; neighbours may share a pixel.
Sums come from a table of all sums up to a pixel (Crow 1984, doi:10.1145/800031.808600), in 32 bits: where those run
over, differences still hold.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

_WHOLE_PX = 4_000_000
"""Pictures up to this size have one table, 12 bytes a pixel; larger ones have one for each part that is asked for."""


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


class AreaMeans:
    """Means over bins of a picture.

    Parameters
    ----------
    view : (H, W, 3) uint8
    """

    def __init__(self, view: NDArray[np.uint8]) -> None:
        self._view = view
        self._table = _table(view) if view.shape[0] * view.shape[1] <= _WHOLE_PX else None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the picture, px."""
        return self._view.shape[0], self._view.shape[1]

    def grid(self, rows: Bins, columns: Bins) -> NDArray[np.float32]:
        """Means over each row bin and column bin: (3, len(rows), len(columns))."""
        top = 0 if self._table is not None else int(rows.start[0])
        table = _table(self._view[top : int(rows.stop[-1])]) if self._table is None else self._table
        bands = table[rows.stop - top] - table[rows.start - top]  # (h, W + 1, 3)
        sums = np.take(bands, columns.stop, axis=1) - np.take(bands, columns.start, axis=1)
        area = (rows.stop - rows.start)[:, None] * (columns.stop - columns.start)[None, :]
        means = np.empty((3, len(rows), len(columns)), np.float32)
        np.multiply(sums.transpose(2, 0, 1), 1 / area.astype(np.float32), out=means)
        return means

    def crops(self, low: NDArray[np.int64], high: NDArray[np.int64], side: int) -> NDArray[np.float32]:
        """Windows from ``low`` to before ``high``, (N, 2) x and y in px, brought to one size: (N, 3, side, side)."""
        if self._table is None:
            windows = [self._view[y0:y1, x0:x1] for (x0, y0), (x1, y1) in zip(low, high, strict=True)]
            each = [AreaMeans(w).grid(bins_of(w.shape[0], side), bins_of(w.shape[1], side)) for w in windows]
            return np.stack(each) if each else np.zeros((0, 3, side, side), np.float32)
        i = np.arange(side)
        size = (high - low)[:, :, None]
        start, stop = low[:, :, None] + i * size // side, low[:, :, None] - (-(i + 1) * size) // side  # (N, 2, side)
        stride = self._table.shape[1]
        flat = self._table.reshape(-1, 3)

        def corner(y: NDArray[np.int64], x: NDArray[np.int64]) -> NDArray[np.uint32]:
            at = y[:, :, None] * stride + x[:, None, :]
            return np.asarray(np.take(flat, at, axis=0))  # (N, side, side, 3)

        sums = corner(stop[:, 1], stop[:, 0])
        sums -= corner(start[:, 1], stop[:, 0])
        sums -= corner(stop[:, 1], start[:, 0])
        sums += corner(start[:, 1], start[:, 0])
        extent = stop - start
        area = (extent[:, 1, :, None] * extent[:, 0, None, :]).astype(np.float32)
        means = np.empty((len(low), 3, side, side), np.float32)
        np.multiply(sums.transpose(0, 3, 1, 2), (1 / area)[:, None], out=means)
        return means


def _table(view: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Sums of all pixels above and to the left of each corner, (H + 1, W + 1, 3)."""
    return np.asarray(cv2.integral(view), np.int32).view(np.uint32)
