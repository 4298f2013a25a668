# SPDX-License-Identifier: Apache-2.0
"""Bad sentences in a queue.

Each fails alone, with its own status, and the good ones beside it stay exact.
"""

import struct

import numpy as np
import pytest
import torch

from firmware.embedding_image import parse_embedding
from firmware.error_codes import Error
from firmware.image import HEADER_BYTES
from sim.proof.system import SMALL_MODEL, flipped, sentence

BAD, BEFORE = (
    SMALL_MODEL.vocabulary - 1,
    SMALL_MODEL.vocabulary - 2,
)  # words that good sentences do not use


def good(*lengths):
    generator = torch.Generator().manual_seed(sum(lengths))
    return [
        sentence(*torch.randint(0, BEFORE, (length,), generator=generator)) for length in lengths
    ]


def with_bad(bad, at):
    """Good sentences with a bad one among them."""
    sentences = good(3, 7, 2, 9)
    return [*sentences[:at], bad, *sentences[at:]]


def fails_alone(machine, bad, error, detail, at=1, embedding=None):
    records = machine.exact(with_bad(bad, at), {at: error}, embedding)
    assert (records[at].status, records[at].detail, records[at].tag) == (error, detail, at)
    assert machine.session.read("ERROR") == 0
    machine.restore()
    machine.exact(machine.sentences)


@pytest.mark.parametrize("at", [0, 1, 4])
def test_empty_sentence(machine, at):
    fails_alone(machine, sentence(), Error.SENTENCE_EMPTY, 0, at)


@pytest.mark.parametrize("at", [0, 4])
@pytest.mark.parametrize("length", [SMALL_MODEL.positions + 1, 65535])
def test_long_sentence(machine, length, at):
    fails_alone(machine, sentence(*[1] * length), Error.SENTENCE_LENGTH, 0, at)


def test_length_of_more_than_16_bits(machine):
    machine.session.load()
    machine.session.queue(good(3))
    count = machine.session.input_base + 4
    machine.sim.memory[count : count + 4] = np.frombuffer(struct.pack("<I", 65536 + 3), np.uint8)
    machine.session.run()
    assert machine.session.results(1)[0].status == Error.SENTENCE_LENGTH


@pytest.mark.parametrize("token", [SMALL_MODEL.vocabulary, 0x7FFFFFFF])
@pytest.mark.parametrize("place", [0, 3, 6])
def test_token(machine, token, place):
    tokens = [1, 2, 3, 4, 5, 6, 7]
    tokens[place] = token
    fails_alone(machine, sentence(*tokens), Error.SENTENCE_TOKEN, place, at=2)


@pytest.mark.parametrize("place", [0, 2, 4])
@pytest.mark.parametrize("byte", ["mask", "code", "check"])
def test_damaged_row(machine, byte, place):
    image = parse_embedding(machine.program.embedding)
    masks = bytearray(machine.program.embedding)[image.offsets[BAD] :][: 2 * (image.width // 16)]
    codes = sum(mask.bit_count() for mask in masks)
    at = image.offsets[BAD] + {"mask": 0, "code": len(masks), "check": len(masks) + codes}[byte]
    tokens = [1, 2, 3, 4, 5]
    tokens[place] = BAD
    fails_alone(
        machine,
        sentence(*tokens),
        Error.SENTENCE_CHECK,
        place,
        embedding=flipped(image.data, 8 * at + 4),
    )
    assert machine.session.read("EMBEDDING_ERRORS_LO") == 0  # of the good run that followed


@pytest.mark.parametrize("offset", ["behind", "top", "odd", "backwards", "row table"])
def test_row_outside(machine, offset):
    image = parse_embedding(machine.program.embedding)
    start = {
        "behind": len(image.data),
        "top": 0xFFFFFFF0,
        "odd": image.offsets[BAD] + 1,
        "backwards": image.offsets[BAD + 1] + 4,
        "row table": HEADER_BYTES,
    }[offset]
    damaged = bytearray(image.data)
    struct.pack_into("<I", damaged, HEADER_BYTES + 4 * BAD, start)
    fails_alone(machine, sentence(1, 2, BAD), Error.SENTENCE_CHECK, 2, embedding=bytes(damaged))


def test_nothing_but_bad_sentences(machine):
    """A queue of bad sentences alone gives each its status; a good queue then runs exactly."""
    bad = [sentence(), sentence(99), sentence(), sentence(1, 2, 99), sentence(*[1] * 40)]
    status = dict(
        enumerate(
            [
                Error.SENTENCE_EMPTY,
                Error.SENTENCE_TOKEN,
                Error.SENTENCE_EMPTY,
                Error.SENTENCE_TOKEN,
                Error.SENTENCE_LENGTH,
            ]
        )
    )
    records = machine.exact(bad, status)
    assert [record.detail for record in records] == [0, 0, 0, 2, 0]
    machine.exact(machine.sentences)
