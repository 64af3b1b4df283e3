"""What writing a picture changes outside the replaced regions, beside what any re-encoding would change."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from understudy.errors import InvalidInputError
from understudy.imaging.decode import decode
from understudy.imaging.encode import EncodedImage, encode
from understudy.types import SourceImage


@dataclass(frozen=True)
class ReencodeError:
    """Absolute differences to the source outside the masks, in native values; NaN where nothing is outside."""

    mean_abs: float
    max_abs: float
    plain_mean_abs: float
    """Of the source decoded and encoded again with nothing replaced, over the same pixels."""
    plain_max_abs: float


def _difference(a: NDArray[np.generic], b: NDArray[np.generic], replace_mask: NDArray[np.bool_]) -> tuple[float, float]:
    """Mean and maximum of |a - b| outside the mask."""
    if a.shape != b.shape:
        raise InvalidInputError(f"pictures of one size are compared, got {a.shape} and {b.shape}")
    n_outside = replace_mask.size - int(np.count_nonzero(replace_mask))
    if not n_outside:
        return float("nan"), float("nan")
    shift = cv2.absdiff(np.ascontiguousarray(a), np.ascontiguousarray(b))
    shift[replace_mask] = 0
    flat = shift.reshape(shift.shape[0], -1)
    n_channels = flat.shape[1] // replace_mask.shape[1]
    return cv2.sumElems(flat)[0] / (n_outside * n_channels), float(cv2.minMaxLoc(flat)[1])


def reencode_error(source: SourceImage, encoded: EncodedImage, replace_mask: NDArray[np.bool_]) -> ReencodeError:
    """Re-encoding error outside the masks, beside that of a plain re-encode of the source.

    Parameters
    ----------
    source : SourceImage
    encoded : EncodedImage
        What ``encode`` made of it; files without loss are not decoded again: their error is 0.
    replace_mask : (H, W) bool
        The union of what was replaced.

    Returns
    -------
    ReencodeError
    """
    if replace_mask.shape != source.native.shape[:2]:
        raise InvalidInputError(f"replace_mask must be {source.native.shape[:2]}, got {replace_mask.shape}")
    if encoded.lossless:
        return ReencodeError(0.0, 0.0, 0.0, 0.0)
    max_pixels = replace_mask.size
    written = decode(encoded.data, source.image_id, max_pixels=max_pixels).native
    mean_abs, max_abs = _difference(source.native, written, replace_mask)
    plain = decode(encode(source, source.native, mark=False).data, source.image_id, max_pixels=max_pixels).native
    plain_mean_abs, plain_max_abs = _difference(source.native, plain, replace_mask)
    return ReencodeError(mean_abs, max_abs, plain_mean_abs, plain_max_abs)
