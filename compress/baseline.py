# SPDX-License-Identifier: Apache-2.0
"""What a linear classifier and naive Bayes make of a task: the rows that every model must beat.

scikit-learn does the work (extra `study`). Both are trained on the train split with settings that
nobody tuned on dev.
"""

import importlib.util
from typing import Any

from compress.data.tasks import Row, Task
from compress.data.text_files import DataError

__all__ = ["BASELINE_VERSION", "baselines"]

BASELINE_VERSION = 1  # counted up when equal rows come to give other figures
SPLITS = ("dev", "test")
STEPS = 2000  # at most, of the solver


def baselines(task: Task) -> dict[str, Any]:
    """{model: {split: accuracy in percent}} of the splits with labels that are there.

    linear : logistic regression on tf-idf of words 1-2 and characters 2-6
    bayes : multinomial naive Bayes on counts of words and word pairs

    Raises DataError where scikit-learn is missing.
    """
    if importlib.util.find_spec("sklearn") is None:
        raise DataError(
            "Baselines must have scikit-learn, which is missing: pip install 'terse[study]'"
        )
    train = task.rows("train")
    found: dict[str, Any] = {}
    for name, model in (("linear", _linear(task.pair)), ("bayes", _bayes(task.pair))):
        model.fit(_texts(train, task.pair), [row.label for row in train])
        found[name] = {}
        for split in SPLITS:
            if split in task.files or split == "dev":
                rows = task.rows(split)
                right = model.score(_texts(rows, task.pair), [row.label for row in rows])
                found[name][split] = round(100 * float(right), 2)
    return found


def _texts(rows: list[Row], pair: bool):
    """What the features are made of: a text, or both of a pair."""
    return [(row.sentence, row.pair) if pair else row.sentence for row in rows]


def _linear(pair):
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline, make_union

    vectors = [
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"\S+"),
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 6), sublinear_tf=True, min_df=2),
    ]
    if not pair:
        return make_pipeline(make_union(*vectors), LogisticRegression(C=4.0, max_iter=STEPS))
    return make_pipeline(_pair_features(vectors[0]), LogisticRegression(C=1.0, max_iter=STEPS))


def _bayes(pair):
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.naive_bayes import MultinomialNB
    from sklearn.pipeline import make_pipeline

    words = CountVectorizer(ngram_range=(1, 2), token_pattern=r"\S+")
    if not pair:
        return make_pipeline(words, MultinomialNB())
    return make_pipeline(_pair_features(words), MultinomialNB())


def _pair_features(words):
    """Words of each text apart, words of both and of one alone, and how much they share."""
    from sklearn.feature_extraction import DictVectorizer
    from sklearn.pipeline import make_pipeline, make_union
    from sklearn.preprocessing import FunctionTransformer

    overlap = make_pipeline(FunctionTransformer(_overlaps), DictVectorizer())
    apart = make_pipeline(FunctionTransformer(_apart), words)
    return make_union(apart, overlap)


def _apart(pairs):
    """One text of a pair: words that both have, that the first has, that the second has."""
    texts = []
    for first, second in pairs:
        a, b = first.lower().split(), second.lower().split()
        texts.append(
            " ".join(
                [f"both_{word}" for word in a if word in b]
                + [f"first_{word}" for word in a if word not in b]
                + [f"second_{word}" for word in b if word not in a]
            )
        )
    return texts


def _overlaps(pairs):
    """Shares of common words and of common word pairs, in steps, and the difference of lengths."""
    features = []
    for first, second in pairs:
        found = {}
        for size in (1, 2, 3):
            a, b = (_grams(text.lower().split(), size) for text in (first, second))
            share = len(a & b) / max(1, len(a | b))
            found[f"share{size}"] = share
            found[f"step{size}={int(10 * share)}"] = 1.0
        a, b = len(first.split()), len(second.split())
        found["length"] = abs(a - b) / max(a, b, 1)
        features.append(found)
    return features


def _grams(words, size):
    return {tuple(words[i : i + size]) for i in range(len(words) - size + 1)}
