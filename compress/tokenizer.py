# SPDX-License-Identifier: Apache-2.0
"""Sentence to token ids: a Unigram vocabulary with ALBERT's normalization and special tokens.

What is trained here lower-cases text, decomposes it (NFKD) and strips accents. It sets punctuation
and clitics ("n't", "'s") apart, so that running text and treebank text ("it 's") give the same
pieces. What is imported does as the model's own tokenizer.
"""

import codecs
import json
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tokenizers import (
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from compress import sentencepiece
from compress.data import DataError, Row
from golden_model.config import ModelConfig, brief
from golden_model.files import one_line

__all__ = [
    "SPECIAL",
    "Encoding",
    "SentenceTokenizer",
    "VocabularyError",
    "albert_tokenizer",
    "check_tokenizer",
    "load",
    "train_tokenizer",
    "wordpiece_tokenizer",
]

SPECIAL = ("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]")
CLITICS = ("n't", "'s", "'re", "'ve", "'ll", "'d", "'m")
MARKS = '.,!?;:"()[]&/*-'


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

    def decode(self, ids: Iterable[int]) -> str:
        """The text of some ids, without special tokens."""
        return self.tokenizer.decode(list(ids), skip_special_tokens=True)


def _encoding(one):
    return Encoding(one.ids, one.type_ids, one.tokens, bool(one.overflowing))


def load(
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
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises Exception itself
        raise VocabularyError(f"{path} cannot be read: {one_line(error)}") from error
    check_tokenizer(tokenizer, path, model and model.vocabulary)
    return SentenceTokenizer(tokenizer, positions, model.segments if model else 2)


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
    for texts, wanted in (
        (("a",), "[CLS] A [SEP]"),
        (("a", "a"), "[CLS] A [SEP] B [SEP]"),
    ):
        one = tokenizer.encode(*texts)
        found = _template(tokenizer, one)
        if found != wanted or max(one.type_ids) > 1:
            raise VocabularyError(
                f"{source} must make {wanted}, segments 0 and 1, of "
                f"{'a pair' if len(texts) > 1 else 'a sentence'} (its post_processor does), "
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


def train_tokenizer(sentences: Iterable[str], vocabulary: int) -> Tokenizer:
    """A `tokenizers.Tokenizer` with at most `vocabulary` pieces, learned from an iterable of text.

    The library's Unigram trainer misses words that no longer word begins with, so the frequent
    whole words join its pieces; counts of the best segmentation then rank and score them all.
    """
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = _normalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    words = Counter()
    for sentence in sentences:
        text = tokenizer.normalizer.normalize_str(sentence)
        words.update(f"▁{word}" for word in text.split(" ") if word)
    trainer = trainers.UnigramTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIAL),
        unk_token="<unk>",
        show_progress=False,
        max_piece_length=16,
    )
    tokenizer.train_from_iterator((word.removeprefix("▁") for word in words), trainer)
    pieces = set(tokenizer.get_vocab()) - set(SPECIAL)
    pieces |= {word for word, _ in words.most_common(vocabulary)}
    tokenizer.model = _unigram(_rank(pieces, words, vocabulary - len(SPECIAL)))
    return _with_special(tokenizer)


def albert_tokenizer(
    path: str | Path, do_lower_case: bool = True, keep_accents: bool = False
) -> Tokenizer:
    """A `tokenizers.Tokenizer` from ALBERT's vocabulary, spiece.model or its text.

    The text has lines `piece<TAB>log probability`; line number = id; the first five are SPECIAL.
    Normalized and split as transformers' AlbertTokenizer does it with the same choices. Raises
    VocabularyError with the line that is wrong.
    """
    path = Path(path)
    data = path.read_bytes()
    if path.suffix == ".model" or data.startswith(b"\n"):
        pieces, charsmap = _binary_pieces(path, data)
    else:
        pieces, charsmap = _text_pieces(path, data), b""
    if tuple(piece for piece, _ in pieces[: len(SPECIAL)]) != SPECIAL:
        raise VocabularyError(f"{path} must begin with {', '.join(SPECIAL)}")
    steps = [normalizers.Replace("``", '"'), normalizers.Replace("''", '"')]
    if not keep_accents:
        steps += [normalizers.NFKD(), normalizers.StripAccents()]
    if do_lower_case:
        steps.append(normalizers.Lowercase())
    try:
        if charsmap:
            steps.append(normalizers.Precompiled(charsmap))
        tokenizer = Tokenizer(models.Unigram(pieces, unk_id=1))
    except Exception as error:  # the library raises Exception itself
        raise VocabularyError(f"{path} cannot be used: {one_line(error)}") from error
    tokenizer.normalizer = normalizers.Sequence(steps)
    words = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), words])
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    return _with_special(tokenizer)


def _binary_pieces(path, data):
    try:
        return sentencepiece.read(data)
    except ValueError as error:
        raise VocabularyError(
            f"{path} must be a SentencePiece model (spiece.model), or text with a piece, a tab and "
            f"its log probability on each line: {one_line(error)}"
        ) from error


def _text_pieces(path, data):
    pieces = []
    for number, line in enumerate(data.removeprefix(codecs.BOM_UTF8).splitlines(), 1):
        try:
            piece, _, score = line.decode("utf-8").partition("\t")
            pieces.append((piece, float(score)))
            if not math.isfinite(pieces[-1][1]):
                raise ValueError
        except ValueError:
            raise VocabularyError(
                f"{path} line {number}: must be a piece, a tab and its log "
                f"probability in UTF-8, not {brief(line)}"
            ) from None
    return pieces


def wordpiece_tokenizer(
    path: str | Path,
    do_lower_case: bool = True,
    strip_accents: bool | None = None,
    tokenize_chinese_chars: bool = True,
) -> Tokenizer:
    """A `tokenizers.Tokenizer` from BERT's vocabulary (vocab.txt), which Chinese ALBERTs have.

    A piece a line, line number = id, [UNK], [CLS] and [SEP] among them. Normalized and split as
    transformers' BertTokenizer does it with the same choices. Raises VocabularyError.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise VocabularyError(f"{path} must be text in UTF-8: {one_line(error)}") from error
    vocabulary = {piece: i for i, piece in enumerate(lines) if piece or i < len(lines) - 1}
    for piece in ("[UNK]", "[CLS]", "[SEP]"):
        if piece not in vocabulary:
            raise VocabularyError(
                f"{path} must be a vocabulary: WordPiece with a line {piece}, which is missing, or "
                "ALBERT's with a piece, a tab and its log probability on each line"
            )
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=tokenize_chinese_chars,
        strip_accents=strip_accents,
        lowercase=do_lower_case,
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    special = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    return _with_special(tokenizer, [piece for piece in special if piece in vocabulary])


def _with_special(tokenizer, special=SPECIAL):
    """The tokenizer with special tokens put around a sentence or pair."""
    tokenizer.add_special_tokens(list(special))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[(piece, tokenizer.token_to_id(piece)) for piece in ("[CLS]", "[SEP]")],
    )
    return tokenizer


def _rank(pieces, words, size, rounds=4):
    """The `size` most used pieces (all single characters among them) with log probabilities."""
    counts = {piece: 1.0 + words.get(piece, 0) for piece in pieces}
    for step in range(rounds):
        names, scores = zip(*sorted(_scores(counts).items()), strict=True)
        model = _unigram(list(zip(names, scores, strict=True)))
        used = Counter()
        for word, count in words.items():
            for token in model.tokenize(word):
                used[token.value] += count
        keep = max(size, int(len(counts) * 0.85)) if step < rounds - 1 else size
        ranked = sorted(names, key=lambda piece: (len(piece) > 1, -used[piece], piece))[:keep]
        counts = {piece: used[piece] + 0.1 for piece in ranked}
    return sorted(_scores(counts).items(), key=lambda item: (-item[1], item[0]))


def _scores(counts):
    total = sum(counts.values())
    return {piece: math.log(count / total) for piece, count in counts.items()}


def _unigram(pieces):
    return models.Unigram([(name, 0.0) for name in SPECIAL] + list(pieces), unk_id=1)


def _normalizer():
    steps = [
        normalizers.Replace("``", '"'),
        normalizers.Replace("''", '"'),
        normalizers.NFKD(),
        normalizers.StripAccents(),
        normalizers.Lowercase(),
        normalizers.Replace("-lrb-", " ( "),
        normalizers.Replace("-rrb-", " ) "),
        normalizers.Replace("`", "'"),
        normalizers.Replace("’", "'"),
    ]
    steps += [normalizers.Replace(Regex(rf"(?<=\w){clitic}\b"), f" {clitic}") for clitic in CLITICS]
    steps += [normalizers.Replace(mark, f" {mark} ") for mark in MARKS]
    steps += [normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()]
    return normalizers.Sequence(steps)
