"""Who stands before whom: an understudy laid over those who were drawn behind it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from understudy.geometry import Region, paste_window


def laid_over(
    pixels: NDArray[np.uint8],
    cover: NDArray[np.bool_],
    image_from_crop: NDArray[np.float64],
    region: Region,
    behind: NDArray[np.uint8],
    known: NDArray[np.bool_],
) -> NDArray[np.uint8]:
    """Pixels for a region's window in which neighbours that were drawn before show beside the understudy.

    Parameters
    ----------
    pixels : (h, w, 3) uint8
        What was made for the window, surroundings and all.
    cover : (H, W) bool, in crop px
        Where the understudy itself is.
    image_from_crop : (2, 3)
    region : Region
    behind : (h, w, 3) uint8
        What the window showed before.
    known : (h, w) bool
        Which of that was known: everything else is taken from ``pixels``.
    """
    if not (known & region.mask).any():
        return pixels
    share = paste_window(image_from_crop, cover.astype(np.float32)[..., None], region.window)
    alpha = np.clip(share.reshape(known.shape), 0, 1)[..., None]
    mixed = np.rint(alpha * pixels + (1 - alpha) * behind).astype(np.uint8)
    return np.where((known & region.mask)[..., None], mixed, pixels)
