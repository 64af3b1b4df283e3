"""As much of protobuf's wire format as ONNX files need (https://protobuf.dev/programming-guides/encoding)."""

from __future__ import annotations

from collections.abc import Iterator

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5


def fields(message: bytes) -> Iterator[tuple[int, int, bytes, bytes]]:
    """(field number, wire type, raw bytes with key, payload of length-delimited fields) of a message.

    Raises
    ------
    IndexError
        The bytes are no message.
    """
    at = 0
    while at < len(message):
        start = at
        number, at = _read_varint(message, at)
        field, kind = number >> 3, number & 7
        payload = b""
        if kind == VARINT:
            _, at = _read_varint(message, at)
        elif kind == LENGTH:
            length, at = _read_varint(message, at)
            payload = message[at : at + length]
            at += length
        elif kind in (FIXED64, FIXED32):
            at += 8 if kind == FIXED64 else 4
        else:
            raise IndexError(f"wire type {kind}")
        if at > len(message):
            raise IndexError("truncated message")
        yield field, kind, message[start:at], payload


def text(message: bytes, field: int) -> str:
    """The first text field with that number, or an empty string."""
    return next((payload.decode() for f, _, _, payload in fields(message) if f == field), "")


def integer(field: int, value: int) -> bytes:
    """A field that holds an integer; negative ones in two's complement, as int64 is written."""
    return _key(field, VARINT) + _varint(value & 0xFFFF_FFFF_FFFF_FFFF)


def message(field: int, payload: bytes | str) -> bytes:
    """A field that holds bytes, a text, or the fields of another message."""
    content = payload.encode() if isinstance(payload, str) else payload
    return _key(field, LENGTH) + _varint(len(content)) + content


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _key(field: int, kind: int) -> bytes:
    return _varint(field << 3 | kind)
