# SPDX-License-Identifier: Apache-2.0
"""A precompiled character map of SentencePiece: whether it can be walked without leaving it.

It is the bytes of a trie (their number first, then units of 32 bits, a double array of Darts), and
behind it the texts that characters are replaced by, each with a NUL at its end. The library that
reads it trusts all of that: it takes as much memory as the number says, and ends the program where
a unit leads outside.
"""

import base64
import json
from pathlib import Path

import numpy as np

from golden_model.config import brief

__all__ = ["check_charsmap", "check_charsmaps"]

KEY = "precompiled_charsmap"
LABEL = 1 << 31 | 0xFF  # bits of a unit that must be the byte that led to it
VALUE = (1 << 31) - 1


def check_charsmap(data: bytes) -> None:
    """Raise ValueError where the map is cut, or leads outside of its trie or of its texts."""
    size = int.from_bytes(data[:4], "little")
    if not 4 <= size <= len(data) - 4 or size % 4:
        raise ValueError(
            f"character map must have a trie of 4..{max(4, len(data) - 4)} bytes, not {size}"
        )
    units = np.frombuffer(data, "<u4", size // 4, 4).astype(np.int64)
    texts = data[4 + size :]
    texts.decode("utf-8")
    seen = np.zeros(len(units), bool)
    bases = np.array([_offset(units[0])])
    while len(bases):
        _inside(bases | 0xFF, len(units))  # the last of all places that a byte leads to
        seen[bases] = True
        places = bases[:, None] ^ np.arange(1, 256)
        found = places[units[places] & LABEL == np.arange(1, 256)]
        after = found ^ _offset(units[found])
        _inside(after, len(units))
        _check_texts(units[after[units[found] >> 8 & 1 == 1]] & VALUE, texts)
        bases = np.unique(after[~seen[after]])


def _offset(unit):
    return unit >> 10 << ((unit & 1 << 9) >> 6)


def _inside(places, count):
    if len(places) and places.max() >= count:
        raise ValueError(f"character map must lead to one of its {count} units, not {places.max()}")


def _check_texts(starts, texts):
    """A text must begin where a character does."""
    for start in starts.tolist():
        if start > len(texts) or texts[start : start + 1] and texts[start] & 0xC0 == 0x80:
            raise ValueError(f"character map must have a text at byte {start} of {len(texts)}")


def check_charsmaps(path: Path) -> None:
    """`check_charsmap` of every map of a tokenizer.json; of what is no JSON the library speaks."""
    try:
        left = [json.loads(path.read_bytes())]
    except (ValueError, RecursionError):
        return
    while left:
        value = left.pop()
        if isinstance(value, dict):
            found = value.get(KEY)
            if value.get("type") == "Precompiled" and not isinstance(found, str):
                raise ValueError(f"character map must be text in base64, not {brief(found)}")
            if isinstance(found, str):
                check_charsmap(base64.b64decode(found, validate=True))
            left += value.values()
        elif isinstance(value, list):
            left += value
