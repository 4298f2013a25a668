# SPDX-License-Identifier: Apache-2.0
"""Mutants of safetensors files: tables and values that are framed as they must be, or nearly so.

A table is {name: (dtype, shape, bytes)}.
"""

import json
import math
import struct

from sim.fuzz.mutate import change_bytes, change_json

__all__ = ["change_tensors", "pack_tensors", "read_table"]

# Kinds that a file may name, and bits of an element.
KINDS = {"F64": 64, "F32": 32, "F16": 16, "BF16": 16, "I64": 64, "I32": 32, "I16": 16, "I8": 8}
KINDS |= {"U64": 64, "U32": 32, "U16": 16, "U8": 8, "BOOL": 8, "F8_E5M2": 8, "F8_E4M3": 8}
KINDS |= {"F8_E8M0": 8, "F8_E5M2FNUZ": 8, "F8_E4M3FNUZ": 8, "C64": 64, "F4": 4, "F6_E2M3": 6}
CODES = {"F64": "d", "F32": "f", "F16": "e"}
# Values that no weight has, or that few have.
VALUES = (
    math.nan,
    math.inf,
    -math.inf,
    0.0,
    1.0,
    -1.0,
    300.0,
    65504.0,
    -6e4,
    1e9,
    1.1e9,
    -2e9,
    3e38,
)
VALUES += (1e-30, 1e-38, 1e-45, -1e-20, 5e-324, 1e300)


def read_table(data):
    """The table of a safetensors file that is sound."""
    (size,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + size])
    header.pop("__metadata__", None)
    table = {}
    for name, entry in header.items():
        start, end = entry["data_offsets"]
        table[name] = (entry["dtype"], entry["shape"], data[8 + size + start : 8 + size + end])
    return table


def _header(table):
    header, at = {}, 0
    for name, (kind, shape, data) in table.items():
        entry = {"dtype": kind, "shape": list(shape), "data_offsets": [at, at + len(data)]}
        header[name], at = entry, at + len(data)
    return header


def _framed(header, data):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def pack_tensors(table):
    """The bytes of a file with this table."""
    return _framed(_header(table), b"".join(data for _, _, data in table.values()))


# Changes of a table, in place; `name` is one of it.


def _values(rng, table, name):
    """One value, all of them, or all but a few."""
    kind, shape, data = table[name]
    if kind not in CODES or not data:
        return
    size = KINDS[kind] // 8
    try:
        value = struct.pack(f"<{CODES[kind]}", rng.choice(VALUES))
    except OverflowError:  # more than a half or a float holds
        value = struct.pack(f"<{CODES[kind]}", math.inf)
    if rng.random() < 0.5:
        at = size * rng.randrange(len(data) // size)
        data = data[:at] + value + data[at + size :]
    else:
        data = value * (len(data) // size)
    table[name] = (kind, shape, data)


def _scale(rng, table, name):
    """All values times a power of two."""
    kind, shape, data = table[name]
    if kind not in CODES:
        return
    factor = 2.0 ** rng.choice((-140, -100, -60, -30, -16, -8, 8, 16, 27, 30, 60))
    code = f"<{len(data) * 8 // KINDS[kind]}{CODES[kind]}"
    values = (max(-6e4, min(6e4, value * factor)) for value in struct.unpack(code, data))
    table[name] = (kind, shape, struct.pack(code, *values))


def _shape(rng, table, name):
    """Other sizes, with as many bytes as those have."""
    kind, shape, _ = table[name]
    shape = list(shape)
    way = rng.randrange(6)
    if way == 0:
        shape.reverse()
    elif way == 1:
        shape = []
    elif way == 2:
        shape.insert(rng.randrange(len(shape) + 1), rng.choice((0, 1, 2)))
    elif way == 3:
        shape = [math.prod(shape)]
    elif shape:
        at = rng.randrange(len(shape))
        shape[at] = max(0, shape[at] + rng.choice((-1, 1, 16, -shape[at])))
    table[name] = (kind, shape, rng.randbytes(math.prod(shape) * KINDS[kind] // 8))


def _retype(rng, table, name):
    """Another kind, with as many bytes as it takes; zeros, ones or noise."""
    kind = rng.choice(list(KINDS))
    shape = table[name][1]
    size = math.prod(shape) * KINDS[kind] // 8
    data = rng.choice((bytes(size), b"\1" * size, b"\x38" * size, rng.randbytes(size)))
    table[name] = (kind, shape, data)


def _rename(rng, table, name):
    if rng.random() < 0.3:
        del table[name]
        return
    new = rng.choice(
        (name + "x", "", "dense." + name, "__metadata__", name.upper(), "\x1b[2J", "\ud800")
    )
    entry = table[name] if rng.random() < 0.5 else table.pop(name)
    table[new] = entry


def _exchange(rng, table, name):
    other = rng.choice(list(table))
    table[name], table[other] = table[other], table[name]


def change_tensors(rng, table):
    """The bytes of a file with a changed table; a few times the frame is wrong too."""
    table = dict(table)
    way = rng.random()
    if way < 0.75:
        for _ in range(rng.choice((1, 1, 2, 3))):
            if table:
                change = rng.choice((_values, _values, _scale, _shape, _retype, _rename, _exchange))
                change(rng, table, rng.choice(list(table)))
        if way < 0.7 or "__metadata__" in table:
            return pack_tensors(table)
    header, data = _header(table), b"".join(part for _, _, part in table.values())
    if way < 0.92:
        change_json(rng, header, ("__metadata__",))
        return _framed(header, data)
    whole = bytearray(_framed(header, data))
    if way < 0.96:
        struct.pack_into("<Q", whole, 0, rng.choice((0, 7, 1 << 20, 1 << 63, (1 << 64) - 1)))
    else:
        change_bytes(rng, whole)
    return bytes(whole)
