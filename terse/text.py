# SPDX-License-Identifier: Apache-2.0
"""From what a user typed to token ids, with everything that can be wrong with it."""

from collections.abc import Sequence
from dataclasses import dataclass

from compress.tokens.tokenizer import SentenceTokenizer
from terse import catalog
from terse.errors import UserError

__all__ = ["Sentence", "encode_texts", "gather"]

Input = tuple[tuple[str, ...], int | None]  # (text,) or (text, second), and its label if known


@dataclass(frozen=True)
class Sentence:
    """One input as tokens.

    text : what it was made of; of a pair both, with " / " between
    label : its class, if known
    ids, segments, pieces : of each token
    unknown : pieces that the vocabulary does not have
    special : special tokens that the text itself names
    truncated : whether it was cut
    """

    text: str
    label: int | None
    ids: tuple[int, ...]
    segments: tuple[int, ...]
    pieces: tuple[str, ...]
    unknown: tuple[str, ...] = ()
    special: tuple[str, ...] = ()
    truncated: bool = False

    @property
    def remarks(self) -> list[str]:
        """What a user should know about how the text was taken."""
        found = []
        if self.unknown:
            found.append(f"not in the vocabulary, taken as unknown: {' '.join(self.unknown)}")
        if self.special:
            found.append(f"taken as special tokens, as transformers does: {' '.join(self.special)}")
        if self.truncated:
            found.append(f"cut to {len(self.ids)} tokens")
        return found


def gather(
    model: str, texts: Sequence[str], pair: bool = False, count: int | None = None
) -> list[Input]:
    """The given texts (two by two with `pair`), or the model's samples; the first `count`."""
    if count is not None and count < 1:
        raise UserError(f"--sentences must be at least 1, not {count}")
    if texts and pair:
        if len(texts) % 2:
            raise UserError(f"--pair takes texts two by two, not {len(texts)}")
        inputs: list[Input] = [(pair, None) for pair in zip(texts[::2], texts[1::2], strict=True)]
    elif texts:
        inputs = [((text,), None) for text in texts]
    elif pair:
        raise UserError("--pair needs texts: samples are pairs where their model's task has pairs")
    else:
        inputs = catalog.samples(model)
        if count is not None and count > len(inputs):
            raise UserError(
                f"--sentences must be at most {len(inputs)}, the samples of {model}, not {count}"
            )
    return inputs[:count]


def encode_texts(
    tokenizer: SentenceTokenizer,
    inputs: Sequence[Input],
    positions: int,
    truncate: bool = False,
) -> list[Sentence]:
    """`Sentence`s of `gather`'s result, each at most `positions` tokens long."""
    tokenizer.check_pairs(any(len(texts) > 1 for texts, _ in inputs))
    return [
        _encode(tokenizer, texts, label, positions, truncate, number)
        for number, (texts, label) in enumerate(inputs, 1)
    ]


def _encode(sentences, texts, label, positions, truncate, number):
    """One `Sentence`; UserError where the text is empty, no Unicode, or too long."""
    if not all(text.strip() for text in texts):
        raise UserError(f"Text {number} is empty")
    # Bytes of the command line that are no UTF-8 arrive as surrogates, which no tokenizer takes.
    if any("\ud800" <= char <= "\udfff" for text in texts for char in text):
        raise UserError(f"Text {number} must be UTF-8")
    tokenizer = sentences.tokenizer
    tokenizer.no_truncation()
    one = tokenizer.encode(*texts)
    length = len(one.ids)
    if length > positions and not truncate:
        raise UserError(
            f"Text {number} has {length} tokens, the longest sentence has {positions}; "
            "--truncate cuts it"
        )
    if length == len(texts) + 1:
        raise UserError(f"Text {number} holds nothing that the vocabulary could take")
    tokenizer.enable_truncation(positions, strategy="longest_first")
    one = tokenizer.encode(*texts)
    return Sentence(
        " / ".join(texts),
        label,
        tuple(one.ids),
        tuple(one.type_ids),
        tuple(one.tokens),
        _pieces(one, {sentences.unknown}),
        _pieces(one, _special_ids(tokenizer) - {sentences.unknown}),
        length > positions,
    )


def _pieces(one, ids):
    """The pieces of an encoding that have one of these ids and come from the text."""
    places = zip(one.tokens, one.ids, one.sequence_ids, strict=True)
    return tuple(piece for piece, token, text in places if token in ids and text is not None)


def _special_ids(tokenizer):
    added = tokenizer.get_added_tokens_decoder()
    return {number for number, token in added.items() if token.special}
