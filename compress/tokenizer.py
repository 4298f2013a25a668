# SPDX-License-Identifier: Apache-2.0
"""Sentence to token ids: a Unigram vocabulary with ALBERT's normalization and special tokens.

Text is lower-cased, decomposed (NFKD) and stripped of accents. Punctuation and clitics ("n't",
"'s") are set apart, so that running text and treebank text ("it 's") give the same pieces.
"""

import math
from collections import Counter
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

__all__ = [
    "SPECIAL",
    "Encoding",
    "SentenceTokenizer",
    "albert_tokenizer",
    "load",
    "train_tokenizer",
]

SPECIAL = ("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]")
CLITICS = ("n't", "'s", "'re", "'ve", "'ll", "'d", "'m")
MARKS = '.,!?;:"()[]&/*-'


@dataclass(frozen=True)
class Encoding:
    """One sentence or pair: token ids, segment ids, and the pieces as text for a person."""

    ids: list
    segments: list
    pieces: list


class SentenceTokenizer:
    """Encodes sentences and pairs, cut to `positions` tokens with [CLS] and [SEP] kept."""

    def __init__(self, tokenizer, positions):
        if positions < 4:
            raise ValueError(f"Positions must be at least 4, not {positions}")
        self.positions = positions
        self.tokenizer = tokenizer
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(positions, strategy="longest_first")

    @property
    def vocabulary(self):
        return self.tokenizer.get_vocab_size()

    def encode(self, text, pair=None):
        """Encoding of `[CLS] text [SEP]`, or of `[CLS] text [SEP] pair [SEP]`."""
        return _encoding(self.tokenizer.encode(text, pair))

    def encode_many(self, rows):
        """Encodings of many rows at once."""
        inputs = [row.sentence if row.pair is None else (row.sentence, row.pair) for row in rows]
        return [_encoding(one) for one in self.tokenizer.encode_batch(inputs)]

    def encode_ids(self, rows):
        """The ids alone of many single sentences, quickly."""
        return [one.ids for one in self.tokenizer.encode_batch_fast([r.sentence for r in rows])]

    def decode(self, ids):
        """The text of some ids, without special tokens."""
        return self.tokenizer.decode(list(ids), skip_special_tokens=True)


def _encoding(one):
    return Encoding(one.ids, one.type_ids, one.tokens)


def load(path, positions=64):
    """The tokenizer of a checkpoint folder, or of a `tokenizer.json` itself."""
    path = Path(path)
    path = path / "tokenizer.json" if path.is_dir() else path
    if not path.is_file():
        raise FileNotFoundError(f"No tokenizer at {path}")
    return SentenceTokenizer(Tokenizer.from_file(str(path)), positions)


def train_tokenizer(sentences, vocabulary):
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


def albert_tokenizer(path):
    """A `tokenizers.Tokenizer` from ALBERT's vocabulary: lines `piece<TAB>log probability`.

    Line number = id; the first five are SPECIAL. Normalized and split as transformers'
    AlbertTokenizer does it. Raises ValueError with the line that is wrong.
    """
    pieces = []
    for number, line in enumerate(Path(path).read_bytes().splitlines(), 1):
        try:
            piece, _, score = line.decode("utf-8").partition("\t")
            if not math.isfinite(float(score)):
                raise ValueError
        except ValueError:
            raise ValueError(
                f"{path} line {number}: must be a piece, a tab and its log "
                f"probability in UTF-8, not {line!r}"
            ) from None
        pieces.append((piece, float(score)))
    if tuple(piece for piece, _ in pieces[: len(SPECIAL)]) != SPECIAL:
        raise ValueError(f"{path} must begin with {', '.join(SPECIAL)}")
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=1))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Replace("``", '"'),
            normalizers.Replace("''", '"'),
            normalizers.NFKD(),
            normalizers.StripAccents(),
            normalizers.Lowercase(),
        ]
    )
    words = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), words])
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    return _with_special(tokenizer)


def _with_special(tokenizer):
    """The tokenizer with special tokens put around a sentence or pair."""
    tokenizer.add_special_tokens(list(SPECIAL))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
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
