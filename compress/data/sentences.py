# SPDX-License-Identifier: Apache-2.0
"""Sentences out of running texts, for a teacher to label."""

import re
from collections.abc import Iterable

__all__ = ["sentences"]

FEWEST, MOST = 5, 28  # words of a sentence that is taken
# After . ? or ! and a closing quote, before a capital, a number or a quote.
END = re.compile(r"(?<=[.!?])[\"')\]]*\s+(?=[\"'(\[]?[A-Z0-9])")


def sentences(texts: Iterable[str]) -> list[str]:
    """The sentences of FEWEST..MOST words, each once, in the order in which they first stand."""
    found = {}
    for text in texts:
        for sentence in END.split(text):
            sentence = sentence.strip()
            if FEWEST <= len(sentence.split()) <= MOST:
                found.setdefault(sentence)
    return list(found)
