"""HEIC pictures, through the optional package pillow-heif."""

from __future__ import annotations

from io import BytesIO
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from understudy.errors import MissingExtraError

QUALITY = 95

_MODES = {
    "L": "L",
    "LA": "LA",
    "RGB": "RGB",
    "RGBA": "RGBA",
    "L;16": "I;16",
    "I;16L": "I;16",
    "LA;16": "LA;16",
    "RGB;16": "RGB;16",
    "RGBA;16": "RGBA;16",
}


def _library() -> ModuleType:
    try:
        import pillow_heif
    except ImportError as error:
        raise MissingExtraError("HEIC pictures need pillow-heif: run `pip install 'understudy[heic]'`") from error
    return pillow_heif


class HeifPicture:
    """An opened HEIC file whose pixels are not decoded yet."""

    def __init__(self, data: bytes) -> None:
        library = _library()
        library.options.THUMBNAILS = library.options.DEPTH_IMAGES = library.options.AUX_IMAGES = False
        self._file = library.open_heif(data, convert_hdr_to_8bit=False)
        self._image = self._file[self._file.primary_index]
        self.width, self.height = (int(n) for n in self._image.size)
        self.n_pictures = len(self._file)
        self.bit_depth = int(self._image.info.get("bit_depth", 8))
        chroma = self._image.info.get("chroma")
        self.subsampling = {420: "4:2:0", 422: "4:2:2", 444: "4:4:4"}.get(chroma if isinstance(chroma, int) else 0)
        self.icc: bytes | None = self._image.info.get("icc_profile") or None

    def read(self) -> tuple[NDArray[np.generic], str]:
        """Pixels, upright, and their mode."""
        mode = _MODES.get(self._image.mode)
        if mode is None:
            raise ValueError(f"its pixels are of the mode {self._image.mode}")
        pixels = np.asarray(self._image)
        return pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels, mode


def write_heif(
    pixels: NDArray[np.generic], mode: str, *, icc: bytes | None, xmp: bytes | None, subsampling: str | None
) -> bytes:
    """A HEIC file with one picture and nothing else.

    Parameters
    ----------
    pixels : (H, W) or (H, W, C) uint8 or uint16
    mode : str
        Mode of ``SourceImage.native``.
    icc, xmp : bytes, optional
    subsampling : str, optional
        "4:2:0", "4:2:2" or "4:4:4".

    Returns
    -------
    bytes
    """
    library = _library()
    name = {"I;16": "L;16"}.get(mode, mode)
    height, width = pixels.shape[:2]
    heif = library.from_bytes(name, (width, height), np.ascontiguousarray(pixels).tobytes())
    if icc:
        heif[0].info["icc_profile"] = icc
        heif[0].info["icc_profile_type"] = "prof"
    buffer = BytesIO()
    heif.save(buffer, quality=QUALITY, exif=None, xmp=xmp, subsampling=subsampling or "4:2:0")
    return buffer.getvalue()
