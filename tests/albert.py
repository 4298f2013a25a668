# SPDX-License-Identifier: Apache-2.0
"""Small random ALBERT classifiers of transformers, and words for a vocabulary."""

import torch
from transformers import AlbertConfig, AlbertForSequenceClassification

from compress.tokens.tokenizer import SPECIAL

SMALL = dict(
    vocab_size=64,
    embedding_size=16,
    hidden_size=48,
    num_hidden_layers=3,
    num_attention_heads=3,
    intermediate_size=96,
    max_position_embeddings=32,
    num_labels=3,
)
# The first five stand for themselves in a text, with the score 0.
PIECES = [
    "(",
    ")",
    '"',
    "-",
    ".",
    "▁",
    "▁a",
    "▁good",
    "▁film",
    "▁bad",
    "▁the",
    "s",
    "▁no",
    "t",
    "e",
    "!",
    "▁go",
    "od",
    "fi",
    "lm",
]


def save_albert(folder, seed=0, spread=0.1, **changes):
    """A random classifier as `save_pretrained` writes it; biases and LayerNorms are random too."""
    torch.manual_seed(seed)
    network = AlbertForSequenceClassification(
        AlbertConfig(**SMALL | {"initializer_range": spread} | changes)
    )
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("bias") or "norm" in name.lower():
                parameter.add_(0.1 * torch.randn_like(parameter))
    network.save_pretrained(folder)
    return folder


def scored(pieces=()):
    """[(piece, score)] like ALBERT's vocabulary, `pieces` behind the others."""
    plain = [(piece, 0.0) for piece in (*SPECIAL, *PIECES[:5])]
    return plain + [(piece, -1 - i / 4) for i, piece in enumerate((*PIECES[5:], *pieces))]


def write_vocabulary(path, pieces=()):
    """The text of `scored`."""
    lines = [f"{piece}\t{score:g}\n" for piece, score in scored(pieces)]
    path.write_text("".join(lines), encoding="utf-8")
    return path
