# SPDX-License-Identifier: Apache-2.0
"""Sentence to token ids with [CLS] and [SEP], by the tokenizer.json of a checkpoint.

`compress.tokens.pieces` trains one, `compress.tokens.vocabulary` takes it from a folder of Hugging
Face.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer, processors

from compress.data.tasks import Row
from compress.data.text_files import DataError
from compress.tokens.charsmap import check_charsmaps
from golden_model.config import ModelConfig, brief
from golden_model.files import one_line

__all__ = [
    "SPECIAL",
    "Encoding",
    "SentenceTokenizer",
    "VocabularyError",
    "check_tokenizer",
    "from_text",
    "load_tokenizer",
    "refusing",
    "with_special",
]

SPECIAL = ("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]")


class VocabularyError(DataError):
    """A vocabulary or tokenizer that cannot be used: what was wrong, what is allowed, one line."""


@dataclass(frozen=True)
class Encoding:
    """One sentence or pair: token ids, segment ids, and the pieces as text for a person.

    truncated : whether it was cut to the tokenizer's positions
    """

    ids: list[int]
    segments: list[int]
    pieces: list[str]
    truncated: bool = False


class SentenceTokenizer:
    """Encodes sentences and pairs, cut to `positions` tokens with [CLS] and [SEP] kept.

    `segments` is how many the model tells apart; with one it takes no pairs (VocabularyError).
    """

    def __init__(self, tokenizer: Tokenizer, positions: int, segments: int = 2):
        if positions < 4:
            raise VocabularyError(f"Positions must be at least 4, not {positions}")
        self.positions = positions
        self.segments = segments
        self.tokenizer = tokenizer
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(positions, strategy="longest_first")

    @property
    def vocabulary(self) -> int:
        """Number of pieces."""
        return self.tokenizer.get_vocab_size()

    @property
    def unknown(self) -> int | None:
        """Id of the piece that stands for what the vocabulary does not have, None without one."""
        return self.tokenizer.token_to_id(_unknown_piece(self.tokenizer))

    def check_pairs(self, pairs: bool) -> None:
        """VocabularyError where there are `pairs` and the model has one segment only."""
        if pairs and self.segments < 2:
            raise VocabularyError(
                "Texts must be single sentences, not pairs: the model has one segment "
                "(type_vocab_size 1)"
            )

    def encode(self, text: str, pair: str | None = None) -> Encoding:
        """Encoding of `[CLS] text [SEP]`, or of `[CLS] text [SEP] pair [SEP]`."""
        self.check_pairs(pair is not None)
        return _encoding(self.tokenizer.encode(text, pair))

    def encode_many(self, rows: list[Row]) -> list[Encoding]:
        """Encodings of many rows at once."""
        self.check_pairs(any(row.pair is not None for row in rows))
        inputs = [row.sentence if row.pair is None else (row.sentence, row.pair) for row in rows]
        return [_encoding(one) for one in self.tokenizer.encode_batch(inputs)]

    def encode_ids(self, rows: list[Row]) -> list[list[int]]:
        """The ids alone of many single sentences, quickly."""
        return [one.ids for one in self.tokenizer.encode_batch_fast([r.sentence for r in rows])]

    def encode_whole(self, rows: list[Row]) -> list[list[int]]:
        """The ids of many single sentences, however long."""
        self.tokenizer.no_truncation()
        try:
            return self.encode_ids(rows)
        finally:
            self.tokenizer.enable_truncation(self.positions, strategy="longest_first")

    def decode(self, ids: Iterable[int]) -> str:
        """The text of some ids, without special tokens."""
        return self.tokenizer.decode(list(ids), skip_special_tokens=True)


def _encoding(one):
    return Encoding(one.ids, one.type_ids, one.tokens, bool(one.overflowing))


@contextmanager
def refusing(kind: type[DataError], text: str) -> Iterator[None]:
    """Raise `kind`, with `text` before one line, for whatever libraries of tokenizers raise.

    That is Exception itself, among others, and where their Rust panics what is no Exception.
    """
    try:
        yield
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise kind(f"{text}{one_line(error)}") from error


def load_tokenizer(
    path: str | Path, positions: int = 64, model: ModelConfig | None = None
) -> SentenceTokenizer:
    """The tokenizer of a checkpoint folder, or of a `tokenizer.json` itself.

    Raises FileNotFoundError without the file, VocabularyError where it is damaged, does not put
    [CLS] and [SEP] around sentences, or has ids beyond the vocabulary of the `model`.
    """
    path = Path(path)
    path = path / "tokenizer.json" if path.is_dir() else path
    if not path.is_file():
        raise FileNotFoundError(f"No tokenizer at {path}")
    with refusing(VocabularyError, f"{path} cannot be read: "):
        check_charsmaps(path)
        tokenizer = Tokenizer.from_file(str(path))
    check_tokenizer(tokenizer, path, model and model.vocabulary)
    return SentenceTokenizer(tokenizer, positions, model.segments if model else 2)


def from_text(text: str, positions: int) -> SentenceTokenizer:
    """The tokenizer of the text of a tokenizer.json that Terse wrote itself."""
    return SentenceTokenizer(Tokenizer.from_str(text), positions)


def check_tokenizer(tokenizer: Tokenizer, source: Path, vocabulary: int | None = None) -> None:
    """Raise VocabularyError, about the file `source`, unless a model can take its tokens.

    It must know [CLS], [SEP] and its unknown piece, put the first two around a sentence and between
    a pair, and give no id beyond the `vocabulary` of the word embedding.
    """
    for piece in ("[CLS]", "[SEP]", _unknown_piece(tokenizer)):
        if tokenizer.token_to_id(piece) is None:
            raise VocabularyError(f"{source} must have the piece {piece}, it is missing")
    if vocabulary is not None:
        largest = max(tokenizer.get_vocab().values())
        if largest >= vocabulary:
            raise VocabularyError(
                f"{source} must have at most the {vocabulary} pieces of the word "
                f"embedding, not {largest + 1}"
            )
    _check_special(tokenizer, source)
    for second, wanted in ((None, "[CLS] A [SEP]"), ("a", "[CLS] A [SEP] B [SEP]")):
        with refusing(VocabularyError, f"{source} must encode the text a: "):
            one = tokenizer.encode("a", second)
        found = _template(tokenizer, one)
        if found != wanted or max(one.type_ids) > 1:
            raise VocabularyError(
                f"{source} must make {wanted}, segments 0 and 1, of "
                f"{'a pair' if second else 'a sentence'} (its post_processor does), "
                f"not {found}, segments {brief(one.type_ids)}"
            )


def _check_special(tokenizer, source):
    """The tokens of its template must have one id each; the library panics where one is missing."""
    if not isinstance(tokenizer.post_processor, processors.TemplateProcessing):
        return
    state = json.loads(tokenizer.post_processor.__getstate__())
    for place in (*state["single"], *state["pair"]):
        name = place.get("SpecialToken", {}).get("id")
        known = state["special_tokens"].get(name, {"ids": [], "tokens": []})
        if name is not None and not len(known["ids"]) == len(known["tokens"]) == 1:
            raise VocabularyError(
                f"{source}: the post_processor must give the token {brief(name)} one id, "
                f"not {brief(known['ids'])}"
            )


def _template(tokenizer, one):
    """What a tokenizer put where, for example "[CLS] A [SEP]"; A and B stand for any tokens."""
    words = []
    for token, sequence in zip(one.ids, one.sequence_ids, strict=True):
        # The name that the vocabulary has for an id: the template may have another.
        word = str(tokenizer.id_to_token(token)) if sequence is None else "AB"[sequence]
        if sequence is None or words[-1:] != [word]:
            words.append(word)
    return brief(" ".join(words)).strip("'") or "nothing"


def _unknown_piece(tokenizer):
    """Its name: WordPiece and BPE tell it, ALBERT's Unigram calls it <unk>."""
    return getattr(tokenizer.model, "unk_token", None) or SPECIAL[1]


def with_special(tokenizer: Tokenizer, special: Sequence[str] = SPECIAL) -> Tokenizer:
    """The tokenizer with its special tokens marked, [CLS] and [SEP] put around what it is given."""
    tokenizer.add_special_tokens(list(special))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[(piece, tokenizer.token_to_id(piece)) for piece in ("[CLS]", "[SEP]")],
    )
    return tokenizer
