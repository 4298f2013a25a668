# SPDX-License-Identifier: Apache-2.0
"""GloVe's vectors as a word table."""

import pytest
import torch

from compress.data.text_files import DataError
from compress.teachers.glove import glove_table, read_glove

VECTORS = torch.randn(8, 6, generator=torch.Generator().manual_seed(1))
WORDS = dict(zip("abcdefgh", VECTORS, strict=True))
NAMES = ("[UNK]", "\u2581A", "b", "##c", "\u2581zz", "\u2581d", "\u2581e", "f")
PIECES = {piece: number for number, piece in enumerate(NAMES)}


def test_words_keep_their_angles():
    """In a table as wide as the vectors, or wider, words stand to each other as they did."""
    for size in (6, 9):
        table = glove_table(WORDS, PIECES, size, scale=0.05)
        assert table.shape == (8, size) and not table[[0, 3, 4]].any() and not table[:, 6:].any()
        theirs = torch.stack([WORDS[name] for name in "abdef"])
        ours = table[[1, 2, 5, 6, 7]]
        assert torch.allclose(ours.square().mean().sqrt() * (size / 6) ** 0.5, torch.tensor(0.05))
        ratio = (ours @ ours.T) / (theirs @ theirs.T)
        assert torch.allclose(ratio, ratio[0, 0].expand(5, 5), rtol=1e-3)


def test_narrow_table_keeps_the_largest_directions():
    table = glove_table(WORDS, PIECES, 2, scale=0.05)
    whole = glove_table(WORDS, PIECES, 6, scale=0.05)
    cosine = torch.nn.functional.cosine_similarity(table.flatten(), whole[:, :2].flatten(), dim=0)
    assert table.shape == (8, 2) and cosine > 0.999


def test_refused(tmp_path, monkeypatch):
    with pytest.raises(DataError, match="GloVe must know a word of the vocabulary"):
        glove_table({"x": torch.ones(2)}, PIECES, 2, 1.0)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"need pyarrow: pip install 'terse\[hub\]'"):
        read_glove(tmp_path)
