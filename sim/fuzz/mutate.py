# SPDX-License-Identifier: Apache-2.0
"""Changes of bytes, of 32-bit words and of JSON, for any format; each takes a `random.Random`."""

import copy
import json
import math
import struct

from firmware.image import HEADER_BYTES, aligned

__all__ = [
    "change_bytes",
    "change_json",
    "change_length",
    "change_text",
    "change_word",
    "put_word",
    "scatter_bytes",
    "take_word",
]

# Values at which something ends, as 32-bit words.
ENDS = (0, 1, 2, 3, 7, 8, 15, 16, 31, 32, 33, 63, 64, 65, 127, 128, 255, 256, 4095, 4096, 65535)
ENDS += (65536, 1 << 24, 1 << 31, (1 << 31) - 1, (1 << 32) - 1, (1 << 32) - 4, (1 << 32) - 32)
# What stands in JSON in place of something else.
ODD = (None, True, False, 0, 1, -1, 2, 3, 0.0, -0.0, 0.5, 1.0, 1.5, -2.5, 1e-300, 5e-324, 1e-30)
ODD += (
    1e30,
    1e300,
    math.nan,
    math.inf,
    -math.inf,
    2**31,
    2**32,
    2**63,
    -(2**63),
    10**30,
    -(10**30),
)
ODD += (
    10**400,
    65536,
    16384,
    4096,
    512,
    64,
    16,
    "",
    " ",
    "0",
    "1",
    "nan",
    "null",
    "\x00",
    "\ud800",
)
ODD += ("x" * 5000, "\x1b[2J", "a\nb", "../x", "ſ", [], {}, [None], [[]], {"": None}, [0] * 64)
ODD += ([1, 2], {"a": {"b": {}}}, ["a", "b"], {"0": "a"}, {"0": "a", "1": "b"}, [1e300, -1])


def take_word(data, at):
    """The little-endian word at byte `at`."""
    return struct.unpack_from("<I", data, at)[0]


def put_word(data, at, value):
    """Write the low 32 bits of a number at byte `at`."""
    struct.pack_into("<I", data, at, value & 0xFFFFFFFF)


def change_word(rng, old):
    """Another 32-bit word: an end of something, near the old one, a bit of it, anything."""
    return (
        rng.choice(
            (
                rng.choice(ENDS),
                rng.choice(ENDS),
                old + rng.randint(-3, 3),
                old + 32 * rng.randint(-4, 4),
                old ^ 1 << rng.randrange(32),
                old << rng.randrange(8),
                rng.getrandbits(rng.randint(1, 32)),
            )
        )
        & 0xFFFFFFFF
    )


def _flip(rng, data):
    for _ in range(rng.choice((1, 1, 2, 8))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _zero(rng, data):
    start = rng.randrange(len(data))
    size = min(rng.choice((1, 4, 32, 256)), len(data) - start)
    data[start : start + size] = bytes([rng.choice((0, 0, 0xFF))]) * size


def _cut(rng, data):
    unit = rng.choice((1, 4, 32))
    del data[len(data) - min(len(data), unit * rng.randint(1, 1 + len(data) // unit)) :]


def _extend(rng, data):
    data += rng.choice((bytes, rng.randbytes))(rng.choice((1, 4, 32, 64, 4096)))


def _swap(rng, data):
    size = min(rng.choice((1, 4, 32, 64)), len(data) // 2)
    one, other = sorted(size * rng.randrange(max(1, len(data) // max(1, size))) for _ in range(2))
    if other >= one + size and other + size <= len(data):
        data[one : one + size], data[other : other + size] = (
            data[other : other + size],
            data[one : one + size],
        )


def _insert(rng, data):
    at = rng.randrange(len(data) + 1)
    data[at:at] = rng.randbytes(rng.choice((1, 2, 4, 32)))


def _remove(rng, data):
    at = rng.randrange(len(data))
    del data[at : at + rng.choice((1, 2, 4, 32))]


def change_bytes(rng, data, other=b""):
    """A bytearray changed in place in one way; `other` is what a splice takes its rest from."""
    if not data:
        return _extend(rng, data)
    if other and rng.random() < 0.1:
        at = 4 * rng.randrange(1 + len(data) // 4)
        data[at:] = other[at:] if rng.random() < 0.5 else other[at : at + 64] + data[at + 64 :]
        return None
    return rng.choice((_flip, _flip, _zero, _cut, _extend, _swap, _insert, _remove))(rng, data)


def scatter_bytes(rng, data, start):
    """Some bytes from `start` on become others: in place."""
    for _ in range(rng.choice((1, 2, 16))):
        if start < len(data):
            data[rng.randrange(start, len(data))] = rng.choice((0, 0xFF, rng.randrange(256)))


def change_length(rng, data, at):
    """Shorter or longer, and the word at `at` of the header says so: in place."""
    change_bytes(rng, data)
    data += bytes(aligned(len(data)) - len(data))
    if len(data) >= HEADER_BYTES:
        put_word(data, at, len(data))


def _places(value):
    """(container, key) of everything inside a JSON value."""
    if isinstance(value, dict):
        keys = list(value)
    elif isinstance(value, list):
        keys = range(len(value))
    else:
        return
    for key in keys:
        yield value, key
        yield from _places(value[key])


def _other(rng, old, values):
    """What may stand in the place of `old`."""
    if isinstance(old, (int, float)) and not isinstance(old, bool) and rng.random() < 0.5:
        return rng.choice((old + 1, old - 1, -old, 2 * old, old // 2, str(old), [old]))
    if isinstance(old, str) and rng.random() < 0.4:
        return rng.choice((old + "x", old[:-1], old.upper(), [old], {"a": old}, old[::-1]))
    return copy.deepcopy(rng.choice(ODD) if rng.random() < 0.8 else rng.choice(values))


def change_json(rng, value, keys=()):
    """A JSON object changed in place: one thing in it, or two.

    keys : that belong nowhere, or elsewhere, and may be added to an object
    """
    for _ in range(rng.choice((1, 1, 1, 2))):
        places = list(_places(value))
        if not places:
            return
        top = [place for place in places if place[0] is value]
        where, key = rng.choice(top if rng.random() < 0.4 else places)
        way = rng.random()
        if way < 0.75:
            where[key] = _other(rng, where[key], [some[name] for some, name in places[:200]])
        elif way < 0.85:
            del where[key]
        elif isinstance(where, dict):
            name = rng.choice((*keys, "", "x", key + "x"))
            where[name] = where.pop(key) if way < 0.92 else copy.deepcopy(rng.choice(ODD))
        else:
            where.insert(key, copy.deepcopy(where[key]))


def change_text(rng, values):
    """The bytes of a JSON value, a few times damaged as text."""
    data = bytearray(json.dumps(values).encode())
    way = rng.random()
    if way > 0.1:
        return bytes(data)
    if way < 0.02:
        nested = rng.choice((b"[", b'{"a":')) * rng.choice((10, 900, 100_000))
        return rng.choice((nested, data.replace(b":", b":" + nested, 1)))
    if way < 0.03:
        return data.replace(b":", b": " + rng.choice((b"1" * 5000, b"-1e999999", b"0x1", b"01")), 1)
    if way < 0.04:
        return rng.choice((b"", b"\xef\xbb\xbf" + data, b"\xff\xfe" + data, b"null", b"[]", b"{}"))
    change_bytes(rng, data)
    return bytes(data)
