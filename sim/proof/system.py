# SPDX-License-Identifier: Apache-2.0
"""The whole machine for tests.

A small configuration and model, images with one thing changed, and what must follow a fault.
"""

import struct
import zlib

import numpy as np
import pytest
import torch

from firmware import isa
from firmware.compiler import compile_network
from firmware.embedding_image import EMBEDDING_OFFSET
from firmware.image import HEADER_OFFSET, parse_image, seal
from firmware.registers import BY_NAME, REGISTERS, SPAN
from golden_model.config import MODELS
from golden_model.hardware import UNITS
from golden_model.model import run as run_golden
from golden_model.quantize import quantize
from golden_model.random_model import random_checkpoint, random_sentences
from hw.trace import taps
from sim.bench import harness
from sim.cosim.session import BUSY, FAILED, PAGE, Session, SessionError
from sim.proof.check import judge

__all__ = [
    "CONFIG",
    "SMALL_MODEL",
    "WATCHDOG",
    "Machine",
    "embedding_header",
    "find",
    "flipped",
    "free_offsets",
    "with_header",
    "with_instruction",
    "random_network",
    "reseal",
    "sentence",
]

CONFIG = harness.small(
    units=frozenset(UNITS) - {"dvfs"}
)  # so that an image can need a unit that is absent
SMALL_MODEL = MODELS["nano"]
QUEUE = 8  # sentences there is room for
WATCHDOG = 3000  # cycles: enough for every pause of a good run


def random_network(seed=5):
    """A random nano that drops tokens and leaves early."""
    return quantize(random_checkpoint(SMALL_MODEL, seed=seed, exit_threshold=0.9), CONFIG.format)


def reseal(image, sections=True):
    """The image with the CRC-32 that its bytes have now; those of program and constants too."""
    image = bytes(image[:-4]) + struct.pack("<I", zlib.crc32(image[:-4]))
    if not sections:
        return image
    found = parse_image(image)
    for start, section in zip(
        (found.program_offset, found.constants_offset), found.sections, strict=True
    ):
        image = image[:start] + seal(section[:-4], len(section)) + image[start + len(section) :]
    return reseal(image, sections=False)


def with_header(image, sections=False, **words):
    """The image with other header words, sealed; so are sections whose sizes have changed."""
    words = {HEADER_OFFSET[name]: value for name, value in words.items()}
    return reseal(_words(image, words), sections)


def embedding_header(embedding, **words):
    """The embedding image with other header words, sealed."""
    changed = _words(embedding, {EMBEDDING_OFFSET[name]: value for name, value in words.items()})
    return _words(changed, {60: zlib.crc32(changed[:60])})


def with_instruction(image, pc, **fields):
    """The image with other fields in one instruction, sealed."""
    start = struct.unpack_from("<I", image, HEADER_OFFSET["program_offset"])[0] + isa.BYTES * pc
    words = list(struct.unpack_from("<8I", image, start))
    for name, value in fields.items():
        field = isa.FIELDS[name]
        mask = ((1 << field.width) - 1) << field.low
        words[field.word] = words[field.word] & ~mask | (value << field.low) & mask
    return reseal(image[:start] + struct.pack("<8I", *words) + image[start + isa.BYTES :])


def find(image, opcode):
    """The number of the first instruction with an opcode."""
    return next(
        pc
        for pc, words in enumerate(parse_image(image).program)
        if isa.unpack(words, "opcode") == opcode
    )


def flipped(data, bit):
    """The bytes with one bit changed."""
    return _words(data, {bit // 8: data[bit // 8] ^ 1 << bit % 8}, "B")


def sentence(*tokens):
    """(token ids, segment ids), all of the first segment."""
    return torch.tensor(tokens, dtype=torch.int64), torch.zeros(len(tokens), dtype=torch.int64)


def _words(data, changes, form="<I"):
    data = bytearray(data)
    for offset, value in changes.items():
        struct.pack_into(form, data, offset, value)
    return bytes(data)


class Machine:
    """A simulated accelerator with good images; memory windows other than the results' are watched.

    Parameters
    ----------
    library : path of the co-simulation of `CONFIG` with taps
    program : compiled network
    """

    def __init__(self, library, network):
        self.network, self.program = network, compile_network(network, CONFIG)
        self.session = Session(
            library, CONFIG, taps(CONFIG), self.program.image, self.program.embedding, QUEUE
        )
        self.sim = self.session.sim
        self.sentences = random_sentences(SMALL_MODEL, 2, seed=3, low=3, high=9)
        self.restore()

    def golden(self, sentence):
        return run_golden(self.network, *sentence)

    def restore(self):
        """Good images, windows and memories."""
        self.sim.clear_faults()
        for port in (0, 1):
            self.sim.behave(port)
        self.image(self.program.image)
        self.embedding(self.program.embedding)
        self.session.configure()
        self.session.write("WATCHDOG", WATCHDOG)
        self.session.write("SLOT_LIMIT", CONFIG.slots)

    def image(self, data):
        self.sim.memory[PAGE : PAGE + len(data)] = np.frombuffer(data, np.uint8)

    def embedding(self, data):
        self.sim.embedding[: len(data)] = np.frombuffer(data, np.uint8)

    def start(self):
        """Load, then run the good sentences."""
        self.session.load()
        self.session.queue(self.sentences)
        self.session.run()

    def refuses(self, action, error, pc=None):
        """`action` ends with `error`; then registers can be read, and nothing happens.

        After soft reset all is well again.
        """
        with pytest.raises(SessionError):
            action()
        self.stopped(error, pc)
        self.recovers()

    def stopped(self, error, pc=None):
        """The registers after an error; a host that goes on without soft reset is ignored."""
        read = self.session.read
        assert read("ERROR") == error and read("STATUS") & (FAILED | BUSY) == FAILED
        if pc is not None:
            assert read("ERROR_PC") == pc
        for register in REGISTERS:
            assert self.sim.read_response(register.offset)[1] == 0, register.name
        self.sim.take()
        for command in (1, 2):
            self.session.write("CONTROL", command)
            self.sim.run(limit=100)
            assert read("ERROR") == error and read("STATUS") & (FAILED | BUSY) == FAILED

    def recovers(self):
        """Soft reset forgets the error.

        The good sentences run bit-exact and nothing was written that should not be.
        """
        self.session.reset()
        read = self.session.read
        assert (read("STATUS"), read("ERROR"), read("ERROR_PC"), self.sim.port("irq")) == (
            0,
            0,
            0,
            0,
        )
        self.restore()
        self.exact(self.sentences)

    def exact(self, sentences, expect=None, embedding=None):
        """Load and run; every tensor and result equals golden, `expect` fails alone.

        Returns the records.
        """
        if embedding is not None:
            self.embedding(embedding)
        goldens = [
            None if i in (expect or {}) else self.golden(sentence)
            for i, sentence in enumerate(sentences)
        ]
        outcome = judge(self.session, self.program, goldens, sentences, expect=expect)
        assert outcome.failures == []
        assert self.session.read("SENTENCES_DONE") == len(sentences)
        return outcome.records


def free_offsets():
    """Offsets of the register window that no register has."""
    return sorted(set(range(0, SPAN, 4)) - {register.offset for register in BY_NAME.values()})
