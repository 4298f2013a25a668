# SPDX-License-Identifier: Apache-2.0
"""Precompiled character maps: the library would end the program on a wrong one."""

import base64
import json
import struct

import pytest
from tokenizers import normalizers

from compress.tokens.charsmap import check_charsmap, check_charsmaps

UNITS = [0] * 512
UNITS[0] = 256 << 10  # what a byte leads to is at 256 ^ byte
UNITS[256 ^ ord("A")] = 1 << 8 | ord("A") | 256 << 10  # a text follows, at "A"
UNITS[ord("A")] = 1 << 31  # byte 0 of the texts


def charsmap(changes=(), size=2048, texts=b"a\0"):
    units = list(UNITS)
    for at, value in changes:
        units[at] = value
    return struct.pack("<513I", size, *units) + texts


def test_good_one():
    check_charsmap(charsmap())
    assert normalizers.Precompiled(charsmap()).normalize_str("AbA") == "aba"


@pytest.mark.parametrize(
    "data, message",
    [
        (b"", r"must have a trie of 4\.\.4 bytes, not 0"),
        (charsmap(size=0), r"must have a trie of 4\.\.2050 bytes, not 0"),
        (charsmap(size=0xFFFFFFF0), r"must have a trie of 4\.\.2050 bytes, not 4294967280"),
        (charsmap(size=2046), r"must have a trie of 4\.\.2050 bytes, not 2046"),
        (charsmap([(0, 512 << 10)]), "must lead to one of its 512 units, not 767"),
        (
            charsmap([(256 ^ ord("A"), 1 << 8 | ord("A") | 600 << 10)]),
            "must lead to one of its 512 units, not ",
        ),
        (charsmap([(ord("A"), 1 << 31 | 9)]), "must have a text at byte 9 of 2"),
        (charsmap([(ord("A"), 1 << 31 | 1)], texts="é\0".encode()), "text at byte 1 of 3"),
        (charsmap(texts=b"\xff"), "'utf-8' codec can't decode"),
    ],
)
def test_bad_one(tmp_path, data, message):
    with pytest.raises(ValueError, match=message):
        check_charsmap(data)
    path = tmp_path / "tokenizer.json"
    map_of = {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(data).decode()}
    path.write_text(json.dumps({"normalizer": {"type": "Sequence", "normalizers": [map_of]}}))
    with pytest.raises(ValueError, match=message):
        check_charsmaps(path)


def test_circle():
    """A trie whose unit leads back to where it came from is walked once."""
    check_charsmap(charsmap([(256 ^ ord("A"), ord("A") | (ord("A") ^ ord("A")) << 10)]))
