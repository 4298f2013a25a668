# SPDX-License-Identifier: Apache-2.0
"""Bad images, programs and windows through the whole machine.

Error code, registers, soft reset, good sentences again.
"""

import struct

import numpy as np
import pytest

from firmware import isa
from firmware.error_codes import Error
from firmware.image import HEADER_BYTES, parse_image
from firmware.isa import Opcode
from firmware.registers import VERSION
from golden_model.hardware import UNITS
from golden_model.random_model import random_sentences
from sim.cosim import session as host
from sim.cosim.cosim import DECERR
from sim.cosim.session import PAGE
from sim.proof.system import (
    CONFIG,
    SMALL_MODEL,
    embedding_header,
    find,
    flipped,
    free_offsets,
    sentence,
    with_header,
    with_instruction,
)


def test_good(machine):
    machine.exact(machine.sentences)


# Images -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 32, HEADER_BYTES, -32])
def test_truncated_image(machine, size):
    machine.session.write("IMAGE_SIZE", size % len(machine.program.image))
    machine.refuses(machine.session.load, Error.IMAGE_LENGTH)


def test_truncated_image_in_a_whole_window(machine):
    image = machine.program.image
    machine.image(image[: len(image) // 2].ljust(len(image), b"\0"))
    machine.refuses(machine.session.load, Error.IMAGE_CRC)


BITS = {
    "magic": (5, Error.IMAGE_MAGIC),
    "version": (32, Error.IMAGE_VERSION),
    "config": (64, Error.IMAGE_CRC),
    "length": (128, Error.IMAGE_LENGTH),
    "program": (8 * HEADER_BYTES + 3, Error.IMAGE_CRC),
    "weights": (-8 * 100, Error.IMAGE_CRC),
    "CRC": (-1, Error.IMAGE_CRC),
}


@pytest.mark.parametrize("place", BITS)
def test_flipped_bit(machine, place):
    bit, error = BITS[place]
    machine.image(flipped(machine.program.image, bit % (8 * len(machine.program.image))))
    machine.refuses(machine.session.load, error)


HEADERS = {
    "another config": ({"config_hash": CONFIG.config_hash ^ 1}, Error.IMAGE_CONFIG),
    "another embedding image": ({"embedding_hash": 0x12345678}, Error.EMBEDDING_HASH),
    "an absent unit": ({"units": CONFIG.unit_bits | 1 << UNITS.index("dvfs")}, Error.IMAGE_UNITS),
    "an unknown unit": ({"units": 1 << 31}, Error.IMAGE_UNITS),
    "too many layers": ({"model": CONFIG.layers + 1 | 3 << 8 | 2 << 16}, Error.IMAGE_MODEL),
    "too many positions": ({"positions": CONFIG.positions + 1}, Error.IMAGE_MODEL),
    "another vocabulary": ({"vocabulary": SMALL_MODEL.vocabulary + 1}, Error.EMBEDDING_HEADER),
    "program outside": ({"program_offset": 0x10000}, Error.IMAGE_LENGTH),
    "too many instructions": ({"instructions": 0x8000}, Error.IMAGE_LENGTH),
    "constants outside": ({"constants_offset": 0x10000}, Error.IMAGE_LENGTH),
    "too many constants": ({"constants": 0x100000}, Error.IMAGE_LENGTH),
}


@pytest.mark.parametrize("case", HEADERS)
def test_header(machine, case):
    words, error = HEADERS[case]
    machine.image(with_header(machine.program.image, **words))
    machine.refuses(machine.session.load, error)


EMBEDDING_HEADERS = {
    "hash": ({"hash": 1}, Error.EMBEDDING_HASH),
    "magic": ({"magic": 0}, Error.EMBEDDING_HEADER),
    "version": ({"version": VERSION - 1}, Error.EMBEDDING_HEADER),
    "length": ({"length": 64}, Error.EMBEDDING_HEADER),
    "width": ({"width": SMALL_MODEL.embedding + 16}, Error.EMBEDDING_HEADER),
}


@pytest.mark.parametrize("case", EMBEDDING_HEADERS)
def test_embedding_header(machine, case):
    words, error = EMBEDDING_HEADERS[case]
    machine.embedding(embedding_header(machine.program.embedding, **words))
    machine.refuses(machine.session.load, error)


@pytest.mark.parametrize("word", [0, 4, 8, 15])
def test_damaged_embedding_header(machine, word):
    machine.embedding(flipped(machine.program.embedding, 32 * word + 9))
    machine.refuses(machine.session.load, Error.EMBEDDING_HEADER)


def test_embedding_window_too_small(machine):
    machine.session.write("EMBEDDING_SIZE", 32)
    machine.refuses(machine.session.load, Error.EMBEDDING_HEADER)


# Programs -----------------------------------------------------------------------------------------


def run_patched(machine, image, error, pc):
    machine.image(image)
    machine.refuses(machine.start, error, pc)


@pytest.mark.parametrize("opcode", [9, 255])
@pytest.mark.parametrize("where", [Opcode.ADMIT, Opcode.LINEAR, Opcode.EXIT, Opcode.LOOP])
def test_illegal_opcode(machine, where, opcode):
    pc = find(machine.program.image, where)
    run_patched(
        machine,
        with_instruction(machine.program.image, pc, opcode=opcode),
        Error.ILLEGAL_OPCODE,
        pc,
    )


def test_program_without_an_end(machine):
    image = machine.program.image
    loop = find(image, Opcode.LOOP)
    run_patched(machine, with_header(image, instructions=loop), Error.ILLEGAL_OPCODE, loop)


@pytest.mark.parametrize("sentences", [2, 6])
def test_program_that_ends_early(machine, sentences):
    """HALT in place of LOOP leaves sentences resident, staged, and under way.

    The next run knows nothing of them.
    """
    image = machine.program.image
    machine.image(with_instruction(image, find(image, Opcode.LOOP), opcode=Opcode.HALT))
    machine.session.load()
    machine.session.queue(random_sentences(SMALL_MODEL, sentences, seed=4))
    machine.session.run()
    assert machine.session.read("STATUS") == 0b1010  # loaded, done
    machine.image(image)
    machine.exact(machine.sentences)


def test_jump_beyond_the_program(machine):
    image = machine.program.image
    beyond = parse_image(image).instructions + 3
    run_patched(
        machine,
        with_instruction(image, find(image, Opcode.LOOP), target=beyond),
        Error.ILLEGAL_OPCODE,
        beyond,
    )


@pytest.mark.parametrize("opcode", [Opcode.LOOP, Opcode.GROUP])
def test_program_in_a_circle(machine, opcode):
    """A jump to itself; and one back to ADMIT before anybody works on the rows."""
    pc = find(machine.program.image, opcode)
    target = pc if opcode == Opcode.LOOP else 0
    run_patched(
        machine,
        with_instruction(machine.program.image, pc, opcode=Opcode.LOOP, target=target),
        Error.WATCHDOG,
        None,
    )


WEIGHTS = {
    "behind the image": (lambda size, beats: {"address": size}, Error.WINDOW),
    "over its end": (lambda size, beats: {"address": size - 32}, Error.WINDOW),
    "before it": (lambda size, beats: {"address": -32}, Error.WINDOW),
    "not aligned": (lambda size, beats: {"address": 1}, Error.WINDOW),
    "nothing": (lambda size, beats: {"beats": 0}, Error.WINDOW),
    "everything": (lambda size, beats: {"beats": 0xFFFFFFFF}, Error.WINDOW),
    "too few": (lambda size, beats: {"beats": beats // 2}, Error.WATCHDOG),
}


@pytest.mark.parametrize("case", WEIGHTS)
def test_weights(machine, case):
    change, error = WEIGHTS[case]
    image = machine.program.image
    pc = find(image, Opcode.LINEAR)
    beats = isa.unpack(parse_image(image).program[pc], "beats")
    run_patched(machine, with_instruction(image, pc, **change(len(image), beats)), error, pc)


@pytest.mark.parametrize("surplus", [1, 64, 1000])
def test_surplus_weights(machine, surplus):
    """Words after the last column of a stream do no harm."""
    image = machine.program.image
    pc = find(image, Opcode.LINEAR)
    beats = isa.unpack(parse_image(image).program[pc], "beats")
    machine.image(with_instruction(image, pc, beats=beats + surplus))
    machine.exact(machine.sentences)


# Windows ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["before", "behind", "top", "image"])
def test_queue_outside(machine, address):
    session = machine.session
    addresses = {
        "before": session.input_base - 32,
        "behind": session.result_base,
        "top": 0xFFFFFFE0,
        "image": PAGE,
    }
    session.write("QUEUE_BASE", addresses[address])
    machine.refuses(machine.start, Error.WINDOW, find(machine.program.image, Opcode.ADMIT))


@pytest.mark.parametrize("address", ["before", "behind", "top", "over the end"])
def test_tokens_outside(machine, address):
    session = machine.session
    addresses = {
        "before": 0,
        "behind": session.result_base,
        "top": 0xFFFFFFE0,
        "over the end": session.result_base - 32,
    }
    session.load()
    session.queue([sentence(*range(12))])
    session.sim.memory[session.input_base : session.input_base + 4] = np.frombuffer(
        struct.pack("<I", addresses[address]), np.uint8
    )
    machine.refuses(session.run, Error.WINDOW, find(machine.program.image, Opcode.ADMIT))


@pytest.mark.parametrize("records", [0, 1])
def test_results_outside(machine, records):
    """The window ends before the last word of the record after `records` whole ones."""
    session = machine.session
    size = (records + 1) * session.record_bytes - 4
    session.sim.writable((session.result_base, session.result_base + size))
    session.write("RESULT_SIZE", size)
    with pytest.raises(host.SessionError):
        machine.start()
    machine.stopped(Error.WINDOW)
    assert session.read("SENTENCES_DONE") == records
    assert (
        session.sim.memory[session.result_base + records * session.record_bytes :] != 0xEE
    ).sum() == host.PAGE  # behind the window: 0
    session.sim.writable((session.result_base, session.result_base + session.result_size))
    machine.recovers()


def test_start_without_load(machine):
    machine.session.queue(machine.sentences)
    machine.refuses(machine.session.run, Error.NOT_LOADED)


def test_start_after_a_refused_image(machine):
    machine.image(flipped(machine.program.image, 8 * 200))
    with pytest.raises(host.SessionError):
        machine.session.load()
    machine.session.reset()
    machine.refuses(machine.session.run, Error.NOT_LOADED)


def test_empty_queue(machine):
    machine.session.load()
    machine.session.queue([])
    machine.session.run()
    assert machine.session.read("STATUS") == 0b1010  # loaded, done


@pytest.mark.parametrize("offset", free_offsets()[:3])
def test_unknown_register(machine, offset):
    assert machine.sim.read_response(offset)[1] == DECERR
    assert machine.sim.write(offset, 1) == DECERR
    machine.exact(machine.sentences)
