# SPDX-License-Identifier: Apache-2.0
"""From what a user typed to token ids, with everything that can be wrong with it."""

from dataclasses import dataclass

from terse import catalog
from terse.errors import UserError

__all__ = ["Sentence", "encode", "gather"]


@dataclass(frozen=True)
class Sentence:
    """One input: its text (of a pair both, with " / " between), label if known, and tokens."""

    text: str
    label: int | None
    ids: tuple
    segments: tuple
    pieces: tuple
    unknown: tuple = ()  # pieces that the vocabulary does not have
    truncated: bool = False


def gather(model, texts, pair=False, count=None):
    """[((text,) or (text, second), label)]: the given texts, or the model's sample sentences."""
    if count is not None and count < 1:
        raise UserError(f"--sentences must be at least 1, not {count}")
    if texts and pair:
        if len(texts) % 2:
            raise UserError(f"--pair takes texts two by two, not {len(texts)}")
        inputs = [(pair, None) for pair in zip(texts[::2], texts[1::2], strict=True)]
    elif texts:
        inputs = [((text,), None) for text in texts]
    elif pair:
        raise UserError("--pair needs texts: the sample sentences are single ones")
    else:
        inputs = [((text,), label) for text, label in catalog.samples(model)]
        if count is not None and count > len(inputs):
            raise UserError(
                f"--sentences must be at most {len(inputs)}, the samples of {model}, not {count}"
            )
    return inputs[:count]


def encode(tokenizer, inputs, positions, truncate=False):
    """`Sentence`s of `gather`'s result, each at most `positions` tokens long."""
    tokenizer.check_pairs(any(len(texts) > 1 for texts, _ in inputs))
    return [
        _encode(tokenizer, texts, label, positions, truncate, number)
        for number, (texts, label) in enumerate(inputs, 1)
    ]


def _encode(tokenizer, texts, label, positions, truncate, number):
    if not all(text.strip() for text in texts):
        raise UserError(f"Text {number} is empty")
    missing, tokenizer = tokenizer.unknown, tokenizer.tokenizer
    tokenizer.no_truncation()
    one = tokenizer.encode(*texts)
    length = len(one.ids)
    if length > positions and not truncate:
        raise UserError(
            f"Text {number} has {length} tokens, the longest sentence has {positions}; --truncate cuts it"
        )
    if length == len(texts) + 1:
        raise UserError(f"Text {number} holds nothing that the vocabulary could take")
    tokenizer.enable_truncation(positions, strategy="longest_first")
    one = tokenizer.encode(*texts)
    strange = tuple(
        piece for piece, token in zip(one.tokens, one.ids, strict=True) if token == missing
    )
    return Sentence(
        " / ".join(texts),
        label,
        tuple(one.ids),
        tuple(one.type_ids),
        tuple(one.tokens),
        strange,
        length > positions,
    )
