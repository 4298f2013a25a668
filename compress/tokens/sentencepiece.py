# SPDX-License-Identifier: Apache-2.0
"""A reader of SentencePiece models (spiece.model): pieces with their scores, without its library.

The file is a protocol buffer, `ModelProto` of sentencepiece_model.proto. Read are its pieces
(field 1: piece 1, score 2, type 3), the trainer's model type (field 2: 3) and the normalizer's
precompiled character map (field 3: 2).
"""

import struct
from collections.abc import Iterator
from typing import Any

__all__ = ["read_pieces"]

UNIGRAM, NORMAL, UNKNOWN = 1, 1, 2  # the model types and piece types that are told apart here
VARINT, LENGTH = 0, 2  # wire types
FIXED = {1: 8, 5: 4}  # bytes of the other wire types


def read_pieces(data: bytes) -> tuple[list[tuple[str, float]], bytes]:
    """([(piece, score)] by id, character map or b"") of a Unigram model.

    Raises ValueError where the bytes are no such model.
    """
    pieces, charsmap = [], b""
    try:
        for number, value in _fields(data):
            inner = dict(_fields(value)) if number in (1, 2, 3) else {}
            if number == 1:
                pieces.append(_piece(inner, len(pieces)))
            elif number == 2 and inner.get(3, UNIGRAM) != UNIGRAM:
                raise ValueError("its model type must be unigram")
            elif number == 3:
                charsmap = bytes(inner.get(2, b""))
    except (IndexError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise ValueError("it is damaged") from error
    return pieces, charsmap


def _piece(fields, index):
    """(text, score); the unknown piece must be where ALBERT has it."""
    if (fields.get(3, NORMAL) == UNKNOWN) != (index == 1):
        raise ValueError("its unknown piece must be the second")
    return fields[1].decode("utf-8"), struct.unpack("<f", fields[2])[0]


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """(field number, value) of a message: an integer for a varint, bytes for all else."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        wire = key & 7
        if wire == VARINT:
            value, at = _varint(data, at)
        else:
            size, at = _varint(data, at) if wire == LENGTH else (FIXED[wire], at)
            value = data[at : at + size]
            at += size
        if at > len(data):
            raise ValueError("it is cut")
        yield key >> 3, value


def _varint(data, at):
    value, shift = 0, 0
    while True:
        value |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 0x80:
            return value, at
