# SPDX-License-Identifier: Apache-2.0
"""What can go wrong in the machine, as register ERROR and the records' STATUS tell it."""

import enum

__all__ = ["Error"]


class Error(enum.IntEnum):
    """ERROR register and status word of a result record.

    Below SENTENCE_EMPTY the machine stops; from there on one sentence fails and the queue goes on.
    """

    NONE = 0
    IMAGE_MAGIC = 1
    IMAGE_VERSION = 2
    IMAGE_UNITS = 3
    IMAGE_CONFIG = 4
    IMAGE_MODEL = 5
    IMAGE_LENGTH = 6
    IMAGE_CRC = 7
    EMBEDDING_HEADER = 8
    EMBEDDING_HASH = 9
    ILLEGAL_OPCODE = 10
    WINDOW = 11
    READ_SLVERR = 12
    READ_DECERR = 13
    WRITE_ERROR = 14
    EMBEDDING_BUS = 15
    WATCHDOG = 16
    NOT_LOADED = 17
    IMAGE_SECTION = 18
    ENDLESS = 19
    SENTENCE_EMPTY = 32
    SENTENCE_LENGTH = 33
    SENTENCE_TOKEN = 34
    SENTENCE_CHECK = 35

    @property
    def is_sentence(self):
        """Whether only one sentence failed, so that the queue went on."""
        return self >= Error.SENTENCE_EMPTY

    @property
    def text(self):
        return _ERROR_TEXT[self]


_ERROR_TEXT = {
    Error.NONE: "no error",
    Error.IMAGE_MAGIC: "image: magic is not TRSE",
    Error.IMAGE_VERSION: "image: version is not that of this hardware",
    Error.IMAGE_UNITS: "image: needs an optional unit that this hardware lacks",
    Error.IMAGE_CONFIG: "image: compiled for another hardware configuration",
    Error.IMAGE_MODEL: "image: model is larger than this hardware",
    Error.IMAGE_LENGTH: "image: truncated, or its length differs from IMAGE_SIZE",
    Error.IMAGE_CRC: "image: CRC-32 differs",
    Error.EMBEDDING_HEADER: "embedding image: magic, version, sizes or CRC of the header is wrong",
    Error.EMBEDDING_HASH: "embedding image: hash is not the one that the image names",
    Error.ILLEGAL_OPCODE: "program: illegal opcode or program counter beyond the program",
    Error.WINDOW: "address outside the window that the host gave",
    Error.READ_SLVERR: "memory port: read answered SLVERR",
    Error.READ_DECERR: "memory port: read answered DECERR",
    Error.WRITE_ERROR: "memory port: write answered SLVERR or DECERR",
    Error.EMBEDDING_BUS: "embedding port: read answered SLVERR or DECERR",
    Error.WATCHDOG: "no progress for WATCHDOG cycles",
    Error.NOT_LOADED: "queue started without a loaded image",
    Error.IMAGE_SECTION: "image: CRC-32 of the program, of the constants or of weights differs",
    Error.ENDLESS: "program: a pass has more instructions, or a sentence more passes, than any can",
    Error.SENTENCE_EMPTY: "sentence: no tokens",
    Error.SENTENCE_LENGTH: "sentence: more tokens than the model or the hardware takes",
    Error.SENTENCE_TOKEN: "sentence: token id beyond the vocabulary",
    Error.SENTENCE_CHECK: "sentence: check of an embedding row is wrong",
}
