# SPDX-License-Identifier: Apache-2.0
"""Bad images and programs through the whole machine.

Error code, registers, soft reset, good sentences again.
"""

import pytest

from firmware import isa
from firmware.constants import constant_count
from firmware.error_codes import Error
from firmware.image import HEADER_BYTES, ImageError, parse_image
from firmware.image_rules import check_content
from firmware.isa import Opcode, Select
from firmware.registers import VERSION
from golden_model.hardware import UNITS
from sim.cosim.session import PAGE
from sim.proof.system import (
    CONFIG,
    SMALL_MODEL,
    embedding_header,
    find,
    flipped,
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
