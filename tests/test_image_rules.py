# SPDX-License-Identifier: Apache-2.0
"""Images whose CRC is right and whose content is not: always an ImageError, never anything else."""

import random
import struct
import zlib

import pytest

from firmware import isa
from firmware.compiler import compile_network
from firmware.constants import Memory, memory_words
from firmware.embedding_image import EMBEDDING_OFFSET, parse_embedding
from firmware.image import HEADER_BYTES, HEADER_OFFSET, ImageError, parse_image, seal
from firmware.isa import Opcode, Target
from firmware.show import describe
from golden_model.config import MODELS
from golden_model.hardware import HARDWARE
from golden_model.quantize import quantize
from golden_model.random_model import random_checkpoint

CI = HARDWARE["ci"]
MUTANTS = 1000  # of each image
EXTREMES = (0, 1, 2, 0xF, 0x10, 0xFF, 0xFFFF, 0x10000, 1 << 31, (1 << 32) - 1, (1 << 32) - 4)


@pytest.fixture(scope="module")
def program():
    return compile_network(quantize(random_checkpoint(MODELS["nano"]), CI.format), CI)


def sealed(data):
    """The image with the CRC of its content."""
    return bytes(data[:-4]) + struct.pack("<I", zlib.crc32(data[:-4]))


def resealed(data):
    """The image with the check words of program and constants too."""
    image = bytearray(data)
    found = parse_image(sealed(image))
    for start, section in zip(
        (found.program_offset, found.constants_offset), found.sections, strict=True
    ):
        image[start : start + len(section)] = seal(section[:-4], len(section))
    return sealed(image)


def sealed_embedding(data):
    """The embedding image with the hash of its body and the CRC of its header."""
    data = bytearray(data)
    struct.pack_into("<I", data, 8, zlib.crc32(data[HEADER_BYTES:]))
    struct.pack_into("<I", data, 60, zlib.crc32(data[:60]))
    return bytes(data)


def with_word(data, at, value, seal=sealed):
    """The image with the 32-bit word at byte `at` changed."""
    data = bytearray(data)
    struct.pack_into("<I", data, at, value)
    return seal(data)


def mutants(data, seal, interesting, count, seed):
    """Sealed images with one to three words changed, most of them at `interesting` bytes."""
    generator = random.Random(seed)
    for _ in range(count):
        mutant = bytearray(data)
        for _ in range(generator.choice((1, 1, 1, 2, 3))):
            near = generator.random() < 0.8
            at = generator.choice(interesting) if near else 4 * generator.randrange(len(data) // 4)
            (old,) = struct.unpack_from("<I", mutant, at)
            flipped, moved = old ^ 1 << generator.randrange(32), old + generator.randint(-64, 64)
            new = generator.choice((*EXTREMES, flipped, flipped, moved, generator.getrandbits(32)))
            struct.pack_into("<I", mutant, at, new & 0xFFFFFFFF)
        yield seal(mutant)


def places(program):
    """Bytes of the header, the instructions and the constants of a compiled image."""
    image = parse_image(program.image)
    return range(0, image.constants_offset + 4 * image.constants, 4)


def refused(candidates):
    """How many are refused; whatever else one of them raises goes on."""
    count = 0
    for data in candidates:
        try:
            describe(data)
        except ImageError as error:
            assert "\n" not in str(error) and " must " in str(error)
            count += 1
    return count


def test_mutants_of_an_image(program):
    found = refused(mutants(program.image, sealed, places(program), MUTANTS, seed=1))
    assert MUTANTS // 4 < found < MUTANTS


def test_mutants_of_an_embedding_image(program):
    where = range(0, parse_embedding(program.embedding).offsets[0], 4)
    found = refused(mutants(program.embedding, sealed_embedding, where, MUTANTS, seed=2))
    assert MUTANTS // 2 < found < MUTANTS


def first(program, opcode):
    """(number, byte offset) of the first instruction with that opcode."""
    image = parse_image(program.image)
    pc = next(pc for pc, words in enumerate(image.program) if isa.unpack(words, "opcode") == opcode)
    return pc, image.program_offset + isa.BYTES * pc


FIELDS = [
    (Opcode.ADMIT, "opcode", 9, r"opcode must be in 1\.\.8, not 9"),
    (Opcode.ADMIT, "opcode", 0, r"opcode must be in 1\.\.8, not 0"),
    (Opcode.ADMIT, "reduction", 15, "reduction of ADMIT must be 16, not 15"),
    (Opcode.ADMIT, "target_buffer", Target.CODES, r"must be STATE \(6\), not 1"),
    (Opcode.LINEAR, "target_buffer", 12, r"must be SUM \(0\), .*SCORES \(4\), not 12"),
    (Opcode.LINEAR, "target_buffer", Target.STATE, "target_buffer of LINEAR must be .*, not 6"),
    (Opcode.LINEAR, "source", 4, r"source of LINEAR must be STATE \(0\), .*, not 4"),
    (Opcode.LINEAR, "select", 5, "select of LINEAR must be .*, not 5"),
    (Opcode.LINEAR, "function", 4, "function of LINEAR must be .*, not 4"),
    (Opcode.LINEAR, "reduction", 0, r"reduction of LINEAR must be in 1\.\.512, not 0"),
    (Opcode.LINEAR, "groups", 0, r"groups of LINEAR must be in 1\.\.16384, not 0"),
    (
        Opcode.LINEAR,
        "groups",
        16384,
        r"must have at least 589824 bytes for 16384 groups of 16 rows",
    ),
    (Opcode.LINEAR, "block", 0, r"block of LINEAR must be in 1\.\.128, not 0"),
    (Opcode.LINEAR, "address", 1 << 31, "weight stream must end at .*, not at"),
    (Opcode.LINEAR, "address", 100, "must start at a multiple of 32 behind the header, not at 100"),
    (Opcode.LINEAR, "beats", 5, "must have a multiple of 4 bus words, not 5"),
    (Opcode.LINEAR, "target_base", 9000, r"end of its area of SUM must be in 0\.\.2048, not 9"),
    (Opcode.LINEAR, "target_stride", 1000, r"end of its area of SUM must be in 0\.\.2048, not 16"),
    (Opcode.ATTEND, "target_base", 8193, r"end of its area of CODES must be in 0\.\.8320, not 8"),
    (Opcode.LINEAR, "target_stride", 31, r"must have destinations in 0\.\.30 or 65535, not 31"),
    (Opcode.NORM, "norm_set", 3, r"norm_set of NORM must be in 0\.\.2, not 3"),
    (Opcode.NORM, "reduction", 129, r"reduction of NORM must be in 1\.\.128, not 129"),
    (Opcode.ATTEND, "groups", 3, r"groups of ATTEND must be in 1\.\.2, not 3"),
    (Opcode.EXIT, "reduction", 4, "reduction of EXIT must be 3, not 4"),
    (Opcode.LOOP, "target", 99, r"target of LOOP must be in 0\.\.\d+, not 99"),
]


@pytest.mark.parametrize("opcode, name, value, text", FIELDS)
def test_instruction(program, opcode, name, value, text):
    pc, at = first(program, opcode)
    field = isa.FIELDS[name]
    words = list(struct.unpack_from("<8I", program.image, at))
    mask = ((1 << field.width) - 1) << field.low
    word = words[field.word] & ~mask | value << field.low
    with pytest.raises(ImageError, match=f"^Instruction {pc}: .*{text}"):
        describe(with_word(program.image, at + 4 * field.word, word, resealed))


def test_stream_that_ends_early(program):
    """Masks that promise more codes than the stream has."""
    _, at = first(program, Opcode.LINEAR)
    address = struct.unpack_from("<I", program.image, at + 4)[0]
    data = bytearray(program.image)
    size = 4 * struct.unpack_from("<I", program.image, at + 8)[0]
    data[address : address + size] = seal(b"\xff" * (size - 4), size)
    with pytest.raises(ImageError, match=r"must have 8 groups, lane 0 ends in group \d"):
        describe(sealed(data))


def stream_of(program):
    """(first byte, bytes, bytes of a lane's bus word) of the first weight stream."""
    _, at = first(program, Opcode.LINEAR)
    address, beats = struct.unpack_from("<2I", program.image, at + 4)
    return address, beats * CI.bus_bytes, CI.bus_bytes


def with_stream(program, change):
    """The image with its first weight stream changed and sealed; `change` gets its bytes."""
    address, size, _ = stream_of(program)
    data = bytearray(program.image)
    content = bytearray(data[address : address + size - 4])
    change(content)
    data[address : address + size] = seal(bytes(content), size)
    return sealed(data)


def test_stream_that_goes_on(program):
    """Bytes behind a lane's last column."""
    _, size, bus_bytes = stream_of(program)

    def behind(content):
        content[size - bus_bytes * CI.columns + bus_bytes - 1] = 1

    with pytest.raises(ImageError, match="must have 8 groups, lane 0 has more"):
        describe(with_stream(program, behind))


def test_stream_with_codes_behind_its_rows(program):
    pc, at = first(program, Opcode.LINEAR)
    word = struct.unpack_from("<I", program.image, at + 12)[0]
    assert word & 0xFFFF == 16  # rows: a whole word of the mask
    with pytest.raises(ImageError, match="must have no code beyond its 1 rows"):
        describe(with_word(program.image, at + 12, word - 15, resealed))


@pytest.mark.parametrize(
    "name, value, text",
    [
        ("model", 0, r"layers must be in 1\.\.48, not 0"),
        ("model", 3 | 1 << 8, r"classes must be in 2\.\.16, not 1"),
        ("model", 3 | 3 << 8 | 65 << 16, r"live heads must be in 0\.\.64, not 65"),
        ("positions", 0, r"positions must be in 1\.\.512, not 0"),
        ("vocabulary", 0, r"vocabulary must be in 1\.\.65536, not 0"),
        ("embedding_width", 0, r"embedding width must be in 1\.\.1024, not 0"),
        ("instructions", 0, r"instructions must be in 1\.\.64, not 0"),
        ("reserved", 1, "reserved word must be 0, not 1"),
        ("exit_threshold", 1 << 18, r"exit threshold must be in 0\.\.262143, not 262144"),
    ],
)
def test_header(program, name, value, text):
    with pytest.raises(ImageError, match=f"^Image {text}$"):
        describe(with_word(program.image, HEADER_OFFSET[name], value))


@pytest.mark.parametrize(
    "memory, index, word, text",
    [
        (Memory.SPAN, 3, 257, r"constant 3 of SPAN must be in 0\.\.256, not 257"),
        (Memory.ETA, 0, 65537, r"constant 0 of ETA must be in 0\.\.65536, not 65537"),
        (Memory.DVFS, 63, 256, r"constant 63 of DVFS must be in 0\.\.255, not 256"),
    ],
)
def test_constant(program, memory, index, word, text):
    image = parse_image(program.image)
    words = memory_words(CI)
    before = sum(count for other, count in words.items() if other < memory)
    at = image.constants_offset + 4 * (before + index)
    with pytest.raises(ImageError, match=f"^Image {text}$"):
        describe(with_word(program.image, at, word, resealed))


def test_check_words(program):
    """Program, constants and weights that are right by the image's CRC alone."""
    image = parse_image(program.image)
    stream = isa.unpack(image.program[first(program, Opcode.LINEAR)[0]], "address")
    for at, text in (
        (image.program_offset + 4 * 7, "Image section program must end with its CRC-32"),
        (image.constants_offset, "Image section constants must end with its CRC-32"),
        (stream, r"Instruction \d+: weight stream must end with its CRC-32"),
    ):
        with pytest.raises(ImageError, match=text):
            describe(with_word(program.image, at, 0x5A))


def test_control_flow(program):
    """Circles that nothing ends, and a program that begins in its middle."""
    image = parse_image(program.image)
    pc, at = first(program, Opcode.LOOP)
    target = at + 4 * isa.FIELDS["target"].word
    for value in (pc, pc - 1):
        with pytest.raises(ImageError, match=r"Instruction \d+ must lead to an ADMIT or a GROUP"):
            describe(with_word(program.image, target, value, resealed))
    swapped = bytearray(program.image)
    start = image.program_offset
    swapped[start : start + isa.BYTES] = program.image[at : at + isa.BYTES]
    with pytest.raises(ImageError, match="Instruction 0 must be ADMIT, not LOOP"):
        describe(resealed(swapped))


@pytest.mark.parametrize(
    "name, value, text",
    [
        ("rows", 0, "82 in all, not 0"),
        ("vocabulary", 63, "81 in all, not 82"),
        ("width", (1 << 32) - 1, r"width must be in 1\.\.4096, not 4294967295"),
        ("width", 0, r"width must be in 1\.\.4096, not 0"),
        ("width", 64, "row table must rise by 10 bytes a row or more"),
        ("table_offset", (1 << 32) - 4, "row table must lie inside its"),
        ("table_offset", 60, "row table must lie inside its"),
    ],
)
def test_embedding_header(program, name, value, text):
    at = EMBEDDING_OFFSET[name]
    with pytest.raises(ImageError, match=f"^Embedding image .*{text}"):
        describe(with_word(program.embedding, at, value, sealed_embedding))


def test_embedding_rows(program):
    """An offset behind the end, one that falls, a mask with a code too many, a wrong check."""
    image = parse_embedding(program.embedding)
    cases = [
        (64 + 4 * 5, len(program.embedding) + 4, "entry 5 is"),
        (64 + 4 * 5, image.offsets[4], "entry 5 is"),
        (image.offsets[7], 0xFFFFFFFF, "Embedding row 7 must "),
        (image.offsets[-2], 1, "Embedding row 81 must have the check of its codes"),
    ]
    for at, value, text in cases:
        with pytest.raises(ImageError, match=text):
            describe(with_word(program.embedding, at, value, sealed_embedding))


@pytest.mark.parametrize("data", [b"", b"TR", b"\x7fELF" + bytes(100), b"PK\3\4", b"TRSE", b"TRSM"])
def test_no_image(data):
    with pytest.raises(ImageError, match="mage must (start with|have at least 64 bytes)"):
        describe(data)
