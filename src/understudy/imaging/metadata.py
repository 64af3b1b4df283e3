"""The one thing that is added to a written picture: a mark that says what it is."""

from __future__ import annotations

import struct
import zlib

DIGITAL_SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
"""IPTC term for a picture of which parts were made by a trained model."""

XMP_PACKET = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
    '<x:xmpmeta xmlns:x="adobe:ns:meta/">\n'
    ' <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">\n'
    '  <rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">\n'
    f"   <Iptc4xmpExt:DigitalSourceType>{DIGITAL_SOURCE_TYPE}</Iptc4xmpExt:DigitalSourceType>\n"
    "  </rdf:Description>\n"
    " </rdf:RDF>\n"
    "</x:xmpmeta>\n"
    '<?xpacket end="w"?>'
).encode()
"""XMP with ``Iptc4xmpExt:DigitalSourceType`` and nothing else."""

PNG_XMP_KEYWORD = "XML:com.adobe.xmp"


def jpeg_xmp_segment(packet: bytes) -> bytes:
    """The APP1 segment that holds an XMP packet."""
    body = b"http://ns.adobe.com/xap/1.0/\x00" + packet
    return b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body


def png_chunk(kind: bytes, body: bytes) -> bytes:
    """One PNG chunk with length and checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_xmp_chunk(packet: bytes) -> bytes:
    """The iTXt chunk that holds an XMP packet."""
    return png_chunk(b"iTXt", PNG_XMP_KEYWORD.encode() + b"\x00\x00\x00\x00\x00" + packet)
