"""Pictures in and out: decode safely, write back into the file's own values, encode without metadata."""

from understudy.imaging.decode import MAX_PIXELS, decode
from understudy.imaging.encode import EncodedImage, encode
from understudy.imaging.fidelity import ReencodeError, reencode_error
from understudy.imaging.files import is_temporary, name_with_suffix, write_atomic
from understudy.imaging.metadata import DIGITAL_SOURCE_TYPE, XMP_PACKET
from understudy.imaging.native import composite_native, to_native, view_of
from understudy.imaging.sniff import HEAD_BYTES, PICTURE_SUFFIXES, VIDEO_SUFFIXES, sniff

__all__ = [
    "DIGITAL_SOURCE_TYPE",
    "HEAD_BYTES",
    "MAX_PIXELS",
    "PICTURE_SUFFIXES",
    "VIDEO_SUFFIXES",
    "XMP_PACKET",
    "EncodedImage",
    "ReencodeError",
    "composite_native",
    "decode",
    "encode",
    "is_temporary",
    "name_with_suffix",
    "reencode_error",
    "sniff",
    "to_native",
    "view_of",
    "write_atomic",
]
