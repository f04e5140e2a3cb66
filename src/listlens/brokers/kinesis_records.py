"""What is in a Kinesis record: one message, or many that Amazon's producer library packed into one.

Source of the format: "KPL Aggregated Record Format" in the repository
awslabs/amazon-kinesis-producer: four magic bytes, a Protocol Buffers message, and the MD5 of that
message. The Python package that reads it, aws-kinesis-agg, is of 2022 and brings protobuf; all that
is needed of it stands here, and a test reads what that package wrote.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

MAGIC = b"\xf3\x89\x9a\xc2"
_RECORDS, _DATA = 3, 3  # numbers of the fields: AggregatedRecord.records and Record.data
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def bodies(data: bytes) -> list[bytes]:
    """Return the messages of a record; what is not packed, or damaged, is one as it came.

    Example:
        >>> bodies(b'{"kind": "photo.added"}')
        [b'{"kind": "photo.added"}']
    """
    packed, digest = data[len(MAGIC) : -16], data[-16:]
    if not data.startswith(MAGIC) or hashlib.md5(packed, usedforsecurity=False).digest() != digest:
        return [data]
    try:
        return [
            body
            for record in _fields(packed, _RECORDS)
            for body in list(_fields(record, _DATA))[-1:]
        ]
    except (IndexError, ValueError):
        return [data]


def _fields(message: bytes, wanted: int) -> Iterator[bytes]:
    """Yield the byte fields of a number; the others are passed over."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        kind = tag & 7
        if kind == _VARINT:
            _, at = _varint(message, at)
        elif kind in (_FIXED32, _FIXED64):
            at += 4 if kind == _FIXED32 else 8
        elif kind == _BYTES:
            size, at = _varint(message, at)
            if at + size > len(message):
                raise ValueError("a field is longer than what holds it")
            if tag >> 3 == wanted:
                yield message[at : at + size]
            at += size
        else:
            raise ValueError(f"no such kind of field: {kind}")


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """Read a number of 7 bits a byte, the lowest first; return it and where it ends."""
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
        if shift > 63:
            raise ValueError("a number of more than 64 bits")
