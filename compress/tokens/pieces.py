# SPDX-License-Identifier: Apache-2.0
"""A Unigram vocabulary learned from text, with ALBERT's normalization and special tokens.

Text is lower-cased, decomposed (NFKD) and stripped of accents. Punctuation and clitics ("n't",
"'s") are set apart, so that running text and treebank text ("it 's") give the same pieces.
"""

import math
from collections import Counter
from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from compress.tokens.tokenizer import SPECIAL, with_special

__all__ = ["train_tokenizer"]

CLITICS = ("n't", "'s", "'re", "'ve", "'ll", "'d", "'m")
MARKS = '.,!?;:"()[]&/*-'


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
    return with_special(tokenizer)


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
    """Lower case without accents; punctuation and clitics apart, treebank's brackets as such."""
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
