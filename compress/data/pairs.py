# SPDX-License-Identifier: Apache-2.0
"""New pairs out of the texts of a task of pairs, for a teacher to label.

A few thousand pairs do not show a student what makes two texts the same. Their texts, each beside
those that share most of its words, give many more, which are as hard as the real ones.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable

__all__ = ["similar_pairs"]

BESIDE = 5  # texts that each one is paired with
COMMON = 500  # texts that a word may be in and still say something
WORD = re.compile(r"\w+")


def similar_pairs(texts: Iterable[str]) -> list[tuple[str, str]]:
    """Each text beside the BESIDE others that are most like it, every pair once.

    Likeness is the cosine of the words' inverse document frequencies; equal texts are one.
    """
    texts = list(dict.fromkeys(texts))
    words = [set(WORD.findall(text.lower())) for text in texts]
    places = defaultdict(list)
    for i, found in enumerate(words):
        for word in sorted(found):
            places[word].append(i)
    weights = {word: math.log(len(texts) / len(among)) for word, among in places.items()}
    norms = [math.sqrt(sum(weights[word] ** 2 for word in found)) or 1.0 for found in words]
    pairs = {}
    for i, found in enumerate(words):
        shared = Counter()
        for word in sorted(found):
            if len(places[word]) <= COMMON:
                for other in places[word]:
                    shared[other] += weights[word] ** 2 / norms[other]
        del shared[i]
        # The lowest number of equal ones: the same pairs on every machine.
        best = sorted(shared, key=lambda other: (-round(shared[other], 9), other))[:BESIDE]
        for other in best:
            pairs.setdefault((min(i, other), max(i, other)))
    return [(texts[one], texts[other]) for one, other in pairs]
