# SPDX-License-Identifier: Apache-2.0
"""A student's vocabulary and first weights out of a pre-trained encoder."""

import tempfile
from collections import Counter
from pathlib import Path

import torch

from compress.tokens.vocabulary import wordpiece_tokenizer

__all__ = ["cut_vocabulary", "take_over"]

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
LINEARS = {  # the student's map, and that of each of the encoder's layers
    "attention.query": "attention.self.query",
    "attention.key": "attention.self.key",
    "attention.value": "attention.self.value",
    "attention.output": "attention.output.dense",
    "feed_forward.up": "intermediate.dense",
    "feed_forward.down": "output.dense",
}
NORMS = {
    "attention.norm": "attention.output.LayerNorm",
    "feed_forward.norm": "output.LayerNorm",
}


def cut_vocabulary(tokenizer, texts, size: int) -> str:
    """A tokenizer.json with the `size` WordPiece pieces that texts use most.

    tokenizer : compress.tokens.tokenizer.SentenceTokenizer of the encoder. Single letters stay,
        so that every word still has pieces; special tokens come first.
    """
    counts: Counter = Counter()
    tokenizer.tokenizer.no_truncation()
    for start in range(0, len(texts), 4096):
        for one in tokenizer.tokenizer.encode_batch_fast(texts[start : start + 4096]):
            counts.update(one.ids)
    names = {number: piece for piece, number in tokenizer.tokenizer.get_vocab().items()}
    used = {names[number]: count for number, count in counts.items()}
    letters = [piece for piece in used if len(piece.removeprefix("##")) == 1]
    ranked = sorted(used, key=lambda piece: (piece not in letters, -used[piece], piece))
    chosen = [piece for piece in ranked if piece not in SPECIAL][: size - len(SPECIAL)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vocab.txt"
        path.write_text("\n".join((*SPECIAL, *chosen)) + "\n", encoding="utf-8")
        return wordpiece_tokenizer(path).to_str()


@torch.no_grad()
def take_over(network, encoder, ids):
    """Give the network what fits of an encoder's weights.

    The word, position and segment tables are the encoder's in the directions of the largest
    variance of its words. Where the widths are equal, the shared layer is the mean of the encoder's
    layers, and E -> H leads back to the encoder's directions.

    ids : (V,) the encoder's id of each piece
    """
    table = encoder.bert.embeddings
    words = table.word_embeddings.weight[ids]
    size = network.config.embedding
    mean = words.mean(0)
    _, _, directions = torch.linalg.svd(words - mean, full_matrices=False)
    basis = directions[:size].T  # (encoder's H, E), orthonormal columns
    positions = network.config.positions
    network.embedding.word.copy_((words - mean) @ basis)
    network.embedding.position.copy_(table.position_embeddings.weight[:positions] @ basis)
    network.embedding.segment.copy_(
        (table.token_type_embeddings.weight[: network.config.segments] + mean) @ basis
    )
    if network.config.hidden != encoder.config.hidden:
        return
    scale = (encoder.config.hidden / size) ** 0.5  # a norm leaves a length of sqrt(features)
    network.embedding.project.weight.copy_(table.LayerNorm.weight[:, None] * basis * scale)
    network.embedding.project.bias.copy_(table.LayerNorm.bias)
    layers = encoder.bert.encoder.layer
    for ours, theirs in LINEARS.items():
        _mean(network.get_submodule(ours), [layer.get_submodule(theirs) for layer in layers])
    for ours, theirs in NORMS.items():
        norm = network.get_submodule(ours)
        found = [layer.get_submodule(theirs) for layer in layers]
        norm.gamma.copy_(torch.stack([one.weight for one in found]).mean(0))
        norm.beta.copy_(torch.stack([one.bias for one in found]).mean(0))


def _mean(linear, others):
    linear.weight.copy_(torch.stack([one.weight for one in others]).mean(0))
    linear.bias.copy_(torch.stack([one.bias for one in others]).mean(0))
