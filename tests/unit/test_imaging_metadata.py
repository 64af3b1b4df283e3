"""What travels with a picture and what does not: profile and resolution stay, one mark is added, nothing else."""

from __future__ import annotations

import io
import struct
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin, TiffImagePlugin

from understudy.imaging import DIGITAL_SOURCE_TYPE, decode, encode

SECRETS = [b"SECRETCAMERA", b"SECRETNOTE", b"SECRETXMP", b"SECRETIPTC", b"SECRETTHUMB", b"SECRETCOMMENT", b"SECRETTAIL"]
SECRET_XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/">SECRETXMP</x:xmpmeta>'
GPS_LATITUDE = struct.pack(">6I", 48, 1, 51, 1, 2953, 100)


def saved(image: Image.Image, format_name: str, **arguments: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_name, **arguments)
    return buffer.getvalue()


def picture(height: int = 48, width: int = 64) -> Image.Image:
    return Image.fromarray(np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8))


def telling_exif() -> bytes:
    """EXIF, big-endian, with camera, GPS position, MakerNote and a thumbnail, written by hand."""
    thumbnail = saved(picture(8, 8), "JPEG") + b"SECRETTHUMB"
    blob = bytearray(b"MM\x00*\x00\x00\x00\x08")
    extra = bytearray()
    base = 8 + 2 + 3 * 12 + 4

    def put(body: bytes) -> int:
        at = base + len(extra)
        extra.extend(body + b"\x00" * (len(body) % 2))
        return at

    latitude_at = put(GPS_LATITUDE)
    gps = struct.pack(">H", 2) + struct.pack(">HHI4s", 1, 2, 2, b"N\x00\x00\x00")
    gps += struct.pack(">HHII", 2, 5, 3, latitude_at) + struct.pack(">I", 0)
    gps_at = put(gps)
    note_at = put(b"SECRETNOTE\x00")
    exif_at = put(struct.pack(">H", 1) + struct.pack(">HHII", 37500, 7, 11, note_at) + struct.pack(">I", 0))
    camera_at = put(b"SECRETCAMERA\x00")
    thumbnail_at = put(thumbnail)
    second = struct.pack(">H", 2) + struct.pack(">HHII", 513, 4, 1, thumbnail_at)
    second_at = put(second + struct.pack(">HHII", 514, 4, 1, len(thumbnail)) + struct.pack(">I", 0))
    blob += struct.pack(">H", 3) + struct.pack(">HHII", 271, 2, 13, camera_at)
    blob += struct.pack(">HHII", 34665, 4, 1, exif_at) + struct.pack(">HHII", 34853, 4, 1, gps_at)
    blob += struct.pack(">I", second_at) + extra
    return bytes(blob)


def jpeg_with_everything() -> bytes:
    iptc = b"Photoshop 3.0\x008BIM\x04\x04\x00\x00\x00\x00\x00\x0fSECRETIPTC" + bytes(5)
    segments = b"\xff\xed" + struct.pack(">H", 2 + len(iptc)) + iptc
    segments += b"\xff\xeb" + struct.pack(">H", 14) + b"SECRETNOTE\x00\x00"
    exif = b"Exif\x00\x00" + telling_exif()
    data = saved(picture(), "JPEG", exif=exif, xmp=SECRET_XMP, comment=b"SECRETCOMMENT", extra=segments, dpi=(300, 200))
    return data + b"SECRETTAIL"


def png_with_everything() -> bytes:
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", "SECRETCOMMENT")
    info.add_itxt("XML:com.adobe.xmp", SECRET_XMP.decode())
    info.add_text("Raw", "SECRETIPTC", zip=False)
    return saved(picture(), "PNG", pnginfo=info, exif=telling_exif(), dpi=(300, 200)) + b"SECRETTAIL"


def webp_with_everything() -> bytes:
    return saved(picture(), "WEBP", lossless=True, exif=b"Exif\x00\x00" + telling_exif(), xmp=SECRET_XMP)


def tiff_with_everything() -> bytes:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[271], tags[270], tags[305] = "SECRETCAMERA", "SECRETCOMMENT", "SECRETNOTE"
    tags.tagtype[700], tags.tagtype[33723] = 1, 7
    tags[700], tags[33723] = SECRET_XMP, b"SECRETIPTC"
    return saved(picture(), "TIFF", tiffinfo=tags, dpi=(300, 200)) + b"SECRETTAIL"


FULL = {
    "a.jpg": jpeg_with_everything,
    "a.png": png_with_everything,
    "a.webp": webp_with_everything,
    "a.tif": tiff_with_everything,
}


@pytest.mark.parametrize("mark", [True, False])
@pytest.mark.parametrize("name", FULL)
def test_nothing_personal_survives(name, mark):
    """GPS, MakerNote, camera, XMP, IPTC, comments, the embedded thumbnail and trailing bytes are all gone."""
    data = FULL[name]()
    assert sum(secret in data for secret in SECRETS) >= 3
    source = decode(data, name)
    out = encode(source, source.native, mark=mark).data
    assert [secret for secret in [*SECRETS, GPS_LATITUDE, b"Exif"] if secret in out] == []
    with Image.open(io.BytesIO(out)) as image:
        image.load()
        assert not set(image.getexif()) & {271, 34665, 34853, 37500, 270, 305}
        assert "comment" not in image.info
    assert out.count(b"\xff\xd8\xff") == (1 if name == "a.jpg" else 0)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif"])
def test_resolution_stays(name):
    """Dots per inch are kept, each on its axis."""
    source = decode(FULL[name](), name)
    with Image.open(io.BytesIO(encode(source, source.native).data)) as image:
        assert [round(float(value)) for value in image.info["dpi"]] == [300, 200]


def test_resolution_turns_with_the_picture():
    """On a quarter turn the two resolutions change places."""
    exif = Image.Exif()
    exif[274] = 6
    source = decode(saved(picture(), "JPEG", exif=exif, dpi=(300, 200)), "a.jpg")
    with Image.open(io.BytesIO(encode(source, source.native).data)) as image:
        assert image.info["dpi"] == (200, 300)


def parsed_mark(xmp: bytes) -> list[str]:
    tree = ET.fromstring(xmp)
    return [node.text for node in tree.iter("{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType")]


def xmp_of(data: bytes) -> bytes | None:
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        xmp = image.info.get("xmp")
        if xmp is None and image.format == "TIFF":
            xmp = image.tag_v2.get(700)
        return xmp.encode() if isinstance(xmp, str) else xmp


@pytest.mark.parametrize("name", FULL)
def test_mark_is_there_and_parses(name):
    """The written picture declares, in XMP that an XML parser reads, that parts were made by a trained model."""
    source = decode(FULL[name](), name)
    xmp = xmp_of(encode(source, source.native).data)
    assert parsed_mark(xmp) == [DIGITAL_SOURCE_TYPE]
    assert DIGITAL_SOURCE_TYPE.endswith("compositeWithTrainedAlgorithmicMedia")


@pytest.mark.parametrize("name", FULL)
def test_no_mark_where_none_is_asked_for(name):
    """With ``mark=False`` there is no XMP at all."""
    source = decode(FULL[name](), name)
    out = encode(source, source.native, mark=False).data
    assert not xmp_of(out)
    assert b"xmpmeta" not in out


@pytest.mark.parametrize("format_name", ["PNG", "TIFF"])
@pytest.mark.parametrize("channels", [3, 4])
def test_deep_files_carry_mark_profile_and_resolution(format_name, channels):
    """16-bit files, which we write ourselves, hold mark, profile and resolution where Pillow finds them."""
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    base = decode(saved(picture(), format_name, icc_profile=icc, dpi=(300, 200)), "a")
    values = np.random.default_rng(2).integers(0, 65536, (48, 64, channels), dtype=np.uint16)
    mode = {3: "RGB;16", 4: "RGBA;16"}[channels]
    deep = type(base)("a", values, mode, base.icc, base.view.copy(), base.digest, base.encoding)
    out = encode(deep, values).data
    assert parsed_mark(xmp_of(out)) == [DIGITAL_SOURCE_TYPE]
    with Image.open(io.BytesIO(out)) as image:
        assert image.info["icc_profile"] == icc
        assert [round(float(value)) for value in image.info["dpi"]] == [300, 200]
    assert np.array_equal(decode(out, "a").native, values)


@pytest.mark.parametrize(
    ("format_name", "note"), [("BMP", "bmp cannot hold the mark"), ("GIF", "gif cannot hold the mark")]
)
def test_formats_without_room_for_the_mark_say_so(format_name, note):
    """BMP and GIF are written without a mark, and a note says so, but only if one was asked for."""
    source = decode(saved(Image.new("L", (8, 8), 7), format_name), "a." + format_name.lower())
    assert note in encode(source, source.native).notes
    assert encode(source, source.native, mark=False).notes == ()


def test_heic_drops_metadata_and_holds_the_mark():
    """HEIC is written without EXIF, and with the mark."""
    heif = pytest.importorskip("pillow_heif", reason="needs the extra [heic]")
    buffer = io.BytesIO()
    file = heif.from_bytes("RGB", (64, 48), picture().tobytes())
    file.save(buffer, quality=90, exif=b"Exif\x00\x00" + telling_exif(), xmp=SECRET_XMP)
    assert b"SECRETNOTE" in buffer.getvalue()
    source = decode(buffer.getvalue(), "a.heic")
    out = encode(source, source.native).data
    assert [secret for secret in [*SECRETS, GPS_LATITUDE] if secret in out] == []
    assert parsed_mark(heif.open_heif(out).info["xmp"]) == [DIGITAL_SOURCE_TYPE]
    assert not heif.open_heif(encode(source, source.native, mark=False).data).info.get("xmp")
