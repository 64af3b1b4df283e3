"""What a file is, told by its first bytes; its name only decides what is said about content that is no media."""

from __future__ import annotations

from pathlib import PurePosixPath

from understudy.errors import NotMediaError, RefusedImageError, UnreadableImageError

HEAD_BYTES = 512
"""How many bytes of a file ``sniff`` looks at, at most."""

READABLE = {
    "image/jpeg": "JPEG",
    "image/png": "PNG",
    "image/webp": "WEBP",
    "image/tiff": "TIFF",
    "image/bmp": "BMP",
    "image/gif": "GIF",
    "image/heic": "HEIF",
}
"""Kinds that are decoded, with the format name of ``Encoding``."""

_RAW = "3fr arw cr2 cr3 dcr dng erf iiq kdc mef mos mrw nef nrw orf pef raf rw2 rwl sr2 srf srw"
_PICTURES = "apng avif bmp dib gif heic heif hif jfif jp2 jpe jpeg jpg jxl png tif tiff webp"
_VIDEOS = "3g2 3gp avi flv m2ts m4v mkv mov mp4 mpeg mpg mts ogv webm wmv"

RAW_SUFFIXES = frozenset("." + name for name in _RAW.split())
PICTURE_SUFFIXES = frozenset("." + name for name in _PICTURES.split()) | RAW_SUFFIXES
VIDEO_SUFFIXES = frozenset("." + name for name in _VIDEOS.split())

_PREFIXES: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"II+\x00", "image/tiff"),
    (b"MM\x00+", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
    (b"\x00\x00\x00\x0cjP  ", "image/jp2"),
    (b"\xff\x4f\xff\x51", "image/jp2"),
    (b"\x00\x00\x00\x0cJXL ", "image/jxl"),
    (b"\xff\x0a", "image/jxl"),
    (b"8BPS", "image/vnd.adobe.photoshop"),
    (b"\x76\x2f\x31\x01", "image/x-exr"),
    (b"#?RADIANCE", "image/vnd.radiance"),
    (b"qoif", "image/qoi"),
    (b"\x00\x00\x01\x00", "image/x-icon"),
    (b"FUJIFILMCCD-RAW", "image/x-raw"),
    (b"IIU\x00", "image/x-raw"),
    (b"IIRO", "image/x-raw"),
    (b"IIRS", "image/x-raw"),
    (b"MMOR", "image/x-raw"),
    (b"\x1a\x45\xdf\xa3", "video/x-matroska"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "video/x-ms-asf"),
    (b"FLV\x01", "video/x-flv"),
    (b"\x00\x00\x01\xba", "video/mpeg"),
    (b"\x00\x00\x01\xb3", "video/mpeg"),
)
_BMP_HEADER_SIZES = {12, 16, 40, 52, 56, 64, 108, 124}


def _sniff_iso_media(head: bytes) -> str | None:
    """Kind of a file made of ISO boxes: HEIC, AVIF, MP4, QuickTime, camera raw; audio is no media here."""
    box, major = head[4:8], head[8:12]
    if box in (b"moov", b"mdat", b"wide", b"pnot"):
        return "video/quicktime"
    if box != b"ftyp":
        return None
    brands = {head[i : i + 4] for i in range(16, min(int.from_bytes(head[:4], "big"), len(head)), 4)} | {major}
    if major == b"crx ":
        return "image/x-raw"
    if brands & {b"avif", b"avis"}:
        return "image/avif"
    if major in (b"heic", b"heix", b"heim", b"heis", b"mif1", b"mif2", b"hevc", b"hevx", b"msf1"):
        return "image/heic-sequence" if major in (b"hevc", b"hevx", b"msf1") else "image/heic"
    if major in (b"M4A ", b"M4B ", b"M4P ", b"F4A "):
        return None
    return "video/quicktime" if major == b"qt  " else "video/mp4"


def sniff(head: bytes) -> str | None:
    """Media kind of a file, by content.

    Parameters
    ----------
    head : bytes
        The file's first bytes; ``HEAD_BYTES`` are enough.

    Returns
    -------
    str or None
        Such as "image/jpeg" or "video/mp4"; None where the content is neither a picture nor a video.
    """
    if head[:4] == b"II*\x00":
        return "image/x-raw" if head[8:10] == b"CR" else "image/tiff"
    for prefix, kind in _PREFIXES:
        if head.startswith(prefix):
            return kind
    if head[:4] == b"RIFF":
        return {b"WEBP": "image/webp", b"AVI ": "video/x-msvideo"}.get(head[8:12])
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADER_SIZES:
        return "image/bmp"
    if head[:4] == b"OggS" and b"theora" in head[:HEAD_BYTES]:
        return "video/ogg"
    if len(head) > 376 and head[0] == head[188] == head[376] == 0x47:
        return "video/mp2t"
    return _sniff_iso_media(head)


def readable_format(data: bytes, image_id: str) -> str:
    """Format name of a picture that can be decoded.

    Parameters
    ----------
    data : bytes
        The file, or its first ``HEAD_BYTES`` bytes.
    image_id : str
        The file's name, for its extension and for messages.

    Returns
    -------
    str
        One of the values of ``READABLE``.

    Raises
    ------
    NotMediaError
        Neither content nor name is that of a picture or a video.
    UnreadableImageError
        The name is that of a picture or a video, the content is not.
    RefusedImageError
        A video, or a kind of picture that is not handled.
    """
    suffix = PurePosixPath(image_id).suffix.lower()
    kind = sniff(data[:HEAD_BYTES])
    if kind is None:
        if suffix not in PICTURE_SUFFIXES | VIDEO_SUFFIXES:
            raise NotMediaError(f"{image_id}: neither a picture nor a video ({len(data)} bytes)")
        what = "is empty (0 bytes)" if not data else f"holds no picture (it starts with {data[:8].hex(' ')})"
        raise UnreadableImageError(f"{image_id}: {what}, although it is named {suffix}")
    if kind.startswith("video/"):
        raise RefusedImageError(
            f"{image_id}: {kind} is a video, and pictures are read here; `understudy anonymize` takes films"
        )
    if kind in ("image/heic-sequence", "image/x-raw") or suffix in RAW_SUFFIXES:
        what = "an image sequence" if kind == "image/heic-sequence" else "a camera raw file"
        raise RefusedImageError(f"{image_id}: {what} is not handled; export it as JPEG, PNG or TIFF")
    if kind not in READABLE:
        raise RefusedImageError(f"{image_id}: {kind} is not handled; convert it to JPEG, PNG, WebP or TIFF")
    return READABLE[kind]
