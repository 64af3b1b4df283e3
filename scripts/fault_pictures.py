"""Pictures that are broken, odd or hostile, made from one portrait; and files that are no pictures at all."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

PORTRAIT = Path(__file__).parents[1] / "src/understudy/portraits/grace_hopper.jpg"

NASTY_NAMES = (
    "a,b=c(1)'\".jpg",
    "with two  spaces.jpg",
    "star*question?[brackets]{braces}.jpg",
    "$HOME.jpg",
    "${oc.env:HOME}.jpg",
    "`id`;&|<>.jpg",
    "new\nline.jpg",
    "tab\t.jpg",
    "back\\slash.jpg",
    "-rf.jpg",
    "--help.jpg",
    "#hash.jpg",
    "%41%00.jpg",
    "~.jpg",
    "colon:at@.jpg",
    "key=value.jpg",
    "trailing space .jpg",
    "two.dots..jpg",
    "UPPER.JPG",
    os.fsdecode(b"not utf-8 \xff\xfe.jpg"),
)
UNICODE_NAMES = (
    "e\u0301 decomposed.jpg",
    "\u00e9 composed.jpg",
    "\u65e5\u672c\u8a9e.jpg",
    "\u0627\u0644\u0639\u0631\u0628\u064a\u0629.jpg",
    "\U0001f600\u200d\U0001f9d1.jpg",
    "\u202egpj.right-to-left.jpg",
)


def portrait(height: int = 320) -> Image.Image:
    """The portrait of Grace Hopper, RGB; the sides are multiples of 16, so that turned JPEGs hold the same blocks."""
    with Image.open(PORTRAIT) as image:
        rgb = image.convert("RGB")
    size = (round(rgb.width * height / rgb.height / 16) * 16, height // 16 * 16)
    return rgb.resize(size, Image.Resampling.LANCZOS)


def jpeg(image: Image.Image | None = None, **options: object) -> bytes:
    """A picture as JPEG bytes."""
    buffer = io.BytesIO()
    (image or portrait()).save(buffer, "JPEG", **{"quality": 92, **options})
    return buffer.getvalue()


def save(path: Path, data: bytes) -> Path:
    """Write bytes, making folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def good(folder: Path, n: int = 1, name: str = "good{}.jpg") -> None:
    """Portraits with nothing wrong, each of other bytes."""
    for k in range(n):
        save(folder / name.format(k), jpeg(quality=80 + k % 16, dpi=(72 + k // 16, 72)))


def truncated(folder: Path) -> None:
    """A JPEG and a PNG, cut off after six tenths."""
    data = jpeg()
    save(folder / "cut.jpg", data[: len(data) * 6 // 10])
    buffer = io.BytesIO()
    portrait().save(buffer, "PNG")
    save(folder / "cut.png", buffer.getvalue()[: len(buffer.getvalue()) * 6 // 10])


def deep(folder: Path) -> None:
    """16 bits a channel: colour PNG and TIFF, grey PNG."""
    import cv2

    rng = np.random.default_rng(0)
    rgb = np.asarray(portrait()).astype(np.uint16) * 256
    rgb += rng.integers(0, 256, rgb.shape, np.uint16)
    cv2.imwrite(str(folder / "deep.png"), rgb[..., ::-1])
    cv2.imwrite(str(folder / "deep.tif"), rgb[..., ::-1])
    cv2.imwrite(str(folder / "deep grey.png"), rgb[..., 1])


def cmyk(folder: Path) -> None:
    """A JPEG in four inks."""
    save(folder / "cmyk.jpg", jpeg(portrait().convert("CMYK")))


def palette(folder: Path) -> None:
    """256 colours: PNG with transparency, GIF of one frame."""
    image = portrait().quantize(256)
    image.save(folder / "palette.png", transparency=3)
    image.save(folder / "palette.gif")


def orientations(folder: Path) -> None:
    """One portrait stored in each of the eight ways, with the tag that says so."""
    inverse = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    for value, transpose in inverse.items():
        image = portrait() if transpose is None else portrait().transpose(transpose)
        exif = Image.Exif()
        exif[0x0112] = value
        save(folder / f"orientation{value}.jpg", jpeg(image, exif=exif.tobytes(), subsampling=0))


def located(folder: Path) -> None:
    """GPS position, maker's note, XMP with a name, a comment, and an embedded thumbnail of the face."""
    thumbnail = jpeg(portrait(120))
    tiff = _exif_with_thumbnail(thumbnail)
    xmp = b"http://ns.adobe.com/xap/1.0/\x00<x:xmpmeta xmlns:x='adobe:ns:meta/'>SECRETNAME</x:xmpmeta>"
    data = jpeg(comment=b"SECRETCOMMENT")
    segments = b"".join(
        b"\xff\xe1" + struct.pack(">H", len(payload) + 2) + payload for payload in (b"Exif\x00\x00" + tiff, xmp)
    )
    save(folder / "located.jpg", data[:2] + segments + data[2:])


def _exif_with_thumbnail(thumbnail: bytes) -> bytes:
    """A little-endian EXIF block by hand: make, GPS latitude, maker's note, and IFD1 with a JPEG thumbnail."""
    head = 8
    ifd0 = struct.pack("<H", 2) + struct.pack("<HHI4s", 0x010F, 2, 4, b"SEC\x00")
    gps_at = head + 2 + 2 * 12 + 4
    ifd0 += struct.pack("<HHII", 0x8825, 4, 1, gps_at)
    latitude_at = gps_at + 2 + 2 * 12 + 4
    ifd1_at = latitude_at + 24
    gps = struct.pack("<H", 2) + struct.pack("<HHI4s", 1, 2, 2, b"N\x00\x00\x00")
    gps += struct.pack("<HHII", 2, 5, 3, latitude_at) + struct.pack("<I", 0)
    latitude = struct.pack("<6I", 48, 1, 51, 1, 29, 1)
    thumbnail_at = ifd1_at + 2 + 3 * 12 + 4
    ifd1 = struct.pack("<H", 3) + struct.pack("<HHII", 0x0103, 3, 1, 6)
    ifd1 += struct.pack("<HHII", 0x0201, 4, 1, thumbnail_at) + struct.pack("<HHII", 0x0202, 4, 1, len(thumbnail))
    return (
        b"II*\x00" + struct.pack("<I", head) + ifd0 + struct.pack("<I", ifd1_at) + gps + latitude
        + ifd1 + struct.pack("<I", 0) + thumbnail
    )  # fmt: skip


def bomb(folder: Path) -> None:
    """A PNG of 40,000 x 40,000 px in a file of some megabytes."""
    side, n_rows = 40_000, 100
    squeezer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = squeezer.compress(bytes((1 + 3 * side) * n_rows)) + squeezer.flush(zlib.Z_FULL_FLUSH)
    n_bytes = (1 + 3 * side) * side
    checksum = n_bytes % 65521 << 16 | 1  # Adler-32 of zeros
    packed = b"\x78\xda" + block * (side // n_rows) + b"\x03\x00" + struct.pack(">I", checksum)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)), (b"IDAT", packed), (b"IEND", b"")]
    data = b"\x89PNG\r\n\x1a\n"
    for name, payload in chunks:
        data += struct.pack(">I", len(payload)) + name + payload + struct.pack(">I", zlib.crc32(name + payload))
    save(folder / "bomb.png", data)


def animated(folder: Path) -> None:
    """A GIF and a WebP of three frames, and the beginning of a video."""
    frames = [portrait(96).rotate(k) for k in range(3)]
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:])
    frames[0].save(folder / "moving.webp", save_all=True, append_images=frames[1:])
    save(folder / "film.mp4", b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom" + bytes(4000))


def tiny(folder: Path) -> None:
    """Pictures of 1 x 1, 3 x 900 and 900 x 3 px."""
    for width, height in ((1, 1), (3, 900), (900, 3)):
        pixels = np.random.default_rng(width).integers(0, 256, (height, width, 3), np.uint8)
        for suffix in ("png", "jpg"):
            Image.fromarray(pixels).save(folder / f"{width}x{height}.{suffix}")


def upright(path: Path) -> np.ndarray:  # type: ignore[type-arg]
    """Pixels of any picture here as they are meant to be seen, RGB, 8 bit."""
    with Image.open(path) as image:
        image.load()
        turned = ImageOps.exif_transpose(image)
        if turned.mode.startswith("I"):
            return np.repeat((np.asarray(turned) >> 8).astype(np.uint8)[..., None], 3, axis=2)
        return np.asarray(turned.convert("RGB"))
