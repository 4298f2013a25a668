# SPDX-License-Identifier: Apache-2.0
"""Dropout, against learning the training rows by heart."""

import dataclasses
from dataclasses import dataclass

from compress.methods.base import Method
from compress.recipes.checks import check_settings

__all__ = ["Dropout"]


class Dropout(Method):
    """Features are zeroed where ALBERT has dropout, and whole words become [MASK]."""

    name = "dropout"
    kind = "training"
    source = "Srivastava et al., JMLR 2014; words: Iyyer et al., ACL 2015, section 3.3"
    stays = False

    @dataclass(frozen=True)
    class Settings:
        """features, words : probabilities"""

        features: float = 0.1
        words: float = 0.0

        def __post_init__(self):
            check_settings(self, features=(0, 0.9), words=(0, 0.9))

    def mode(self, mode, progress):
        if progress is None:
            return mode
        return dataclasses.replace(
            mode, dropout=self.settings.features, word_dropout=self.settings.words
        )
