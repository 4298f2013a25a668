# SPDX-License-Identifier: Apache-2.0
"""Sparse columns: one 16-bit mask word per 16 rows, then that word's non-zero codes.

The mask is little-endian, its lowest bit the first row; codes follow in ascending row order, a byte
each. A column is filled with zero rows to a multiple of 16.
"""

__all__ = ["WORD_ROWS", "decode_column", "encode_column", "words"]

WORD_ROWS = 16


def words(codes):
    """[(mask, non-zero codes)] of one column, 16 rows each."""
    codes = [int(code) for code in codes]
    result = []
    for start in range(0, len(codes), WORD_ROWS):
        part = codes[start : start + WORD_ROWS]
        mask = sum(1 << row for row, code in enumerate(part) if code)
        result.append((mask, [code for code in part if code]))
    return result


def encode_column(codes):
    """The column's bytes: 2 of mask, low byte first, then its codes; next word."""
    return b"".join(mask.to_bytes(2, "little") + bytes(kept) for mask, kept in words(codes))


def decode_column(data, rows):
    """(codes of `rows` rows, bytes read) from the start of `data`."""
    codes, at = [], 0
    for _ in range(-(-rows // WORD_ROWS)):
        mask = int.from_bytes(data[at : at + 2], "little")
        at += 2
        for row in range(WORD_ROWS):
            codes.append(data[at] if mask >> row & 1 else 0)
            at += mask >> row & 1
    return codes[:rows], at
