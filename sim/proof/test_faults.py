# SPDX-License-Identifier: Apache-2.0
"""Bad images, programs and windows through the whole machine.

Error code, registers, soft reset, good sentences again.
"""

import struct

import numpy as np
import pytest

from firmware import isa
from firmware.constants import constant_count
from firmware.error_codes import Error
from firmware.image import HEADER_BYTES, ImageError, parse_image
from firmware.image_rules import check_content
from firmware.isa import Opcode, Select
from firmware.registers import VERSION
from golden_model.hardware import UNITS
from sim.cosim import session as host
from sim.cosim.cosim import DECERR, IRQ, LIMIT
from sim.cosim.session import CAUSES, PAGE, START
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

BUSY, LOADED, DONE = 1, 2, 8  # bits of STATUS


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
    "no layers": ({"model": 0 | 3 << 8 | 2 << 16}, Error.IMAGE_MODEL),
    "a class": ({"model": 3 | 1 << 8 | 2 << 16}, Error.IMAGE_MODEL),
    "a word too large": ({"model": 3 | 3 << 8 | 2 << 16 | 1 << 24}, Error.IMAGE_MODEL),
    "no positions": ({"positions": 0}, Error.IMAGE_MODEL),
    "no instructions": ({"instructions": 0}, Error.IMAGE_MODEL),
    "a threshold too large": ({"exit_threshold": 1 << 18}, Error.IMAGE_MODEL),
    "a reserved word": ({"reserved": 1}, Error.IMAGE_MODEL),
    "no constants": ({"constants": 0}, Error.IMAGE_MODEL),
    "a constant less": ({"constants": constant_count(CONFIG) - 1}, Error.IMAGE_MODEL),
    "other constants": ({"constants_offset": HEADER_BYTES}, Error.IMAGE_SECTION),
    "too many positions": ({"positions": CONFIG.positions + 1}, Error.IMAGE_MODEL),
    "another vocabulary": ({"vocabulary": SMALL_MODEL.vocabulary + 1}, Error.EMBEDDING_HEADER),
    "program outside": ({"program_offset": 0x10000}, Error.IMAGE_LENGTH),
    "too many instructions": ({"instructions": 0x8000}, Error.IMAGE_LENGTH),
    "a constant more": ({"constants": constant_count(CONFIG) + 1}, Error.IMAGE_MODEL),
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


@pytest.mark.parametrize("opcode", [0, 9, 255])
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
    """Its last LOOP is missing."""
    image = machine.program.image
    last = parse_image(image).instructions - 1
    shorter = with_header(image, sections=True, instructions=last)
    run_patched(machine, shorter, Error.ILLEGAL_OPCODE, last)


def test_jump_beyond_the_program(machine):
    image = machine.program.image
    loop = find(image, Opcode.LOOP)
    beyond = parse_image(image).instructions + 3
    run_patched(machine, with_instruction(image, loop, target=beyond), Error.ILLEGAL_OPCODE, loop)


FIELDS = [
    (Opcode.ADMIT, "reduction", SMALL_MODEL.embedding + 1),
    (Opcode.LINEAR, "source", 4),
    (Opcode.NORM, "norm_set", 3),
    (Opcode.ATTEND, "groups", 0),
    (Opcode.EXIT, "reduction", SMALL_MODEL.classes + 1),
]


@pytest.mark.parametrize("opcode, name, value", FIELDS)
def test_illegal_field(machine, opcode, name, value):
    """As in the reader of images, by the same table."""
    image = machine.program.image
    pc = find(image, opcode)
    patched = with_instruction(image, pc, **{name: value})
    with pytest.raises(ImageError, match=f"Instruction {pc}: {name} of"):
        check_content(parse_image(patched), CONFIG)
    run_patched(machine, patched, Error.ILLEGAL_OPCODE, pc)


@pytest.mark.parametrize("opcode", [Opcode.LOOP, Opcode.GROUP])
def test_program_in_a_circle(machine, opcode):
    """A jump to itself; and one back to ADMIT before anybody works on the rows.

    Neither waits for WATCHDOG, which progress puts off.
    """
    pc = find(machine.program.image, opcode)
    target = pc if opcode == Opcode.LOOP else 0
    run_patched(
        machine,
        with_instruction(machine.program.image, pc, opcode=Opcode.LOOP, target=target),
        Error.ENDLESS,
        None,
    )


def test_program_of_a_circle_that_works(machine):
    """The last LOOP leads behind ADMIT: operation after operation, and never a result."""
    image = machine.program.image
    loop = parse_image(image).instructions - 1
    run_patched(machine, with_instruction(image, loop, target=1), Error.ENDLESS, None)


def test_memory_of_zeros(machine):
    """Where the program was loaded from there are zeros when it is read again."""
    session, image = machine.session, parse_image(machine.program.image)
    session.load()
    session.queue(machine.sentences)
    program, _ = image.sections
    at = PAGE + image.program_offset
    session.sim.memory[at : at + len(program)] = 0
    machine.refuses(session.run, Error.IMAGE_SECTION, 0)


WEIGHTS = {
    "behind the image": (lambda size, beats: {"address": size}, Error.WINDOW),
    "over its end": (lambda size, beats: {"address": size - 32}, Error.WINDOW),
    "before it": (lambda size, beats: {"address": -32}, Error.WINDOW),
    "not aligned": (lambda size, beats: {"address": 1}, Error.WINDOW),
    "nothing": (lambda size, beats: {"beats": 0}, Error.WINDOW),
    "everything": (lambda size, beats: {"beats": 0xFFFFFFFF}, Error.WINDOW),
    "too few": (lambda size, beats: {"beats": beats // 2}, Error.IMAGE_SECTION),
    "too many": (lambda size, beats: {"beats": beats + 1}, Error.IMAGE_SECTION),
    "many too many": (lambda size, beats: {"beats": beats + 1000}, Error.IMAGE_SECTION),
}


@pytest.mark.parametrize("case", WEIGHTS)
def test_weights(machine, case):
    change, error = WEIGHTS[case]
    image = machine.program.image
    pc = find(image, Opcode.LINEAR)
    beats = isa.unpack(parse_image(image).program[pc], "beats")
    run_patched(machine, with_instruction(image, pc, **change(len(image), beats)), error, pc)


@pytest.mark.parametrize("place", ["program", "weights", "last weights"])
def test_bit_flipped_behind_a_load(machine, place):
    """Every bit is read once to be checked and once to be used."""
    session, image = machine.session, parse_image(machine.program.image)
    session.load()
    session.queue(machine.sentences)
    pcs = [
        pc
        for pc, words in enumerate(image.program)
        if isa.unpack(words, "opcode") == Opcode.LINEAR
        and isa.unpack(words, "select") == Select.ALL
    ]
    pc = {"program": 0, "weights": pcs[0], "last weights": pcs[-1]}[place]
    at = image.program_offset + 40 if pc == 0 else isa.unpack(image.program[pc], "address") + 30
    session.sim.memory[PAGE + at] ^= 4
    machine.refuses(session.run, Error.IMAGE_SECTION, pc)


# Registers ----------------------------------------------------------------------------------------


REWRITTEN = dict.fromkeys(("QUEUE_COUNT", "SLOT_LIMIT", "EXIT_THRESHOLD"), 0) | {
    f"{name}_{part}": 64
    for name in ("IMAGE", "EMBEDDING", "INPUT", "RESULT")
    for part in ("BASE", "SIZE")
}


@pytest.mark.parametrize("cycle", [40, 900, 2500])
def test_registers_rewritten_in_a_run(machine, cycle):
    """A run has what they were at its START, and the images what they were at their LOAD."""
    session = machine.session
    session.load()
    session.queue(machine.sentences)
    for name in ("IMAGE", "EMBEDDING"):
        session.write(f"{name}_BASE", 0x8000)
    session.write("CONTROL", START)
    machine.sim.run(IRQ, cycle)
    for name, value in REWRITTEN.items():
        session.write(name, value)
    machine.sim.run(IRQ)
    session.write("IRQ_CAUSE", CAUSES)
    assert session.read("STATUS") & 1 == 0 and session.read("SENTENCES_DONE") == 2
    for record, words in zip(session.results(2), machine.sentences, strict=True):
        golden = machine.golden(words)
        assert (record.status, record.exit_layer) == (0, golden.exit_layer)
    machine.restore()
    machine.exact(machine.sentences)


def test_threshold_of_the_host(machine):
    """What the host writes behind LOAD counts until the next LOAD, which brings the image's."""
    session = machine.session
    session.load()
    from_image = session.read("EXIT_THRESHOLD")
    layers = {}
    for threshold in (from_image, 0, (1 << 18) - 1):
        session.write("EXIT_THRESHOLD", threshold)
        session.queue(machine.sentences)
        session.run()
        assert session.read("EXIT_THRESHOLD") == threshold
        layers[threshold] = [record.exit_layer for record in session.results(2)]
    goldens = [machine.golden(words).exit_layer for words in machine.sentences]
    last = machine.network.model.layers
    assert [*layers.values()] == [goldens, [last, last], [1, 1]]
    session.load()
    assert session.read("EXIT_THRESHOLD") == from_image != 0


def test_done_until_the_next_start(machine):
    session = machine.session
    session.load()
    assert session.read("STATUS") == LOADED
    for _ in range(2):
        session.queue(machine.sentences)
        session.write("CONTROL", START)
        assert machine.sim.run(IRQ, 500) == LIMIT
        assert session.read("STATUS") == LOADED | BUSY
        machine.sim.run(IRQ)
        session.write("IRQ_CAUSE", CAUSES)
        assert session.read("STATUS") == LOADED | DONE


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
