# SPDX-License-Identifier: Apache-2.0
"""A word table out of GloVe's vectors, as a student's start."""

import importlib.util
from pathlib import Path

import numpy as np
import torch

from compress.data.text_files import DataError

__all__ = ["glove_table", "read_glove"]


def read_glove(folder: str | Path) -> dict[str, torch.Tensor]:
    """{word: its vector (50,)} of the files that `fetch` brings.

    Raises DataError where pyarrow is not installed, which reads the list of words.
    """
    if importlib.util.find_spec("pyarrow") is None:
        raise DataError("GloVe's words need pyarrow: pip install 'terse[hub]'")
    from pyarrow import parquet

    table = torch.from_numpy(np.load(Path(folder) / "glove_6B_50d_emb.npy"))
    words = parquet.read_table(Path(folder) / "glove_6B_index.parquet")["index"].to_pylist()
    return dict(zip(words, table, strict=True))


def glove_table(
    words: dict[str, torch.Tensor], pieces: dict[str, int], size: int, scale: float
) -> torch.Tensor:
    """(V,size) vectors of the pieces that are words; the others are zero.

    words : vectors by lower-case word
    pieces : ids by piece; a word's first one is marked by U+2581 or not marked
    scale : root mean square of the rows that there are

    A table narrower than the vectors keeps the directions of the largest variance; in a wider one
    the rest is zero.
    """
    names = {number: _word(piece) for piece, number in pieces.items()}
    found = {number: words[name] for number, name in names.items() if name in words}
    if not found:
        raise DataError("GloVe must know a word of the vocabulary, it knows none")
    rows = torch.stack(list(found.values()))
    _, directions = torch.linalg.eigh((rows - rows.mean(0)).T.cov())  # the largest variance last
    rows = (rows @ directions.flip(1))[:, :size]
    table = torch.zeros(max(pieces.values()) + 1, size)
    table[list(found), : rows.shape[1]] = rows * (scale / rows.square().mean().sqrt())
    return table


def _word(piece):
    """The word that a piece is, "" for one inside a word."""
    if piece.startswith("\u2581"):
        return piece[1:].lower()
    return "" if piece.startswith("##") else piece.lower()
