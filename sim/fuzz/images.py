# SPDX-License-Identifier: Apache-2.0
"""Mutants of images: fields, words, sections and lengths changed, and the check words right again.

Whoever mended the CRCs of an image by hand comes as far as the rules of `firmware.image_rules`.
"""

import functools
import random
import zlib
from dataclasses import dataclass

from firmware import isa
from firmware.columns import unpack_columns
from firmware.compiler import CompileError, compile_network
from firmware.image import (
    ALIGNMENT,
    HEADER,
    HEADER_BYTES,
    HEADER_OFFSET,
    ImageError,
    parse_image,
    seal,
    section_bytes,
    stream_stride,
)
from firmware.image_match import check_image
from firmware.image_rules import check_content
from firmware.show import describe, disassemble
from golden_model.checkpoint import load
from golden_model.config import MODELS, ModelConfig
from golden_model.hardware import HARDWARE, HardwareConfig
from golden_model.quantize import quantize
from golden_model.random_model import random_checkpoint
from sim.cosim.build import ROOT
from sim.fuzz.mutate import (
    change_bytes,
    change_length,
    change_word,
    put_word,
    scatter_bytes,
    take_word,
)
from sim.fuzz.target import FuzzTarget
from sim.proof.campaign.random_parts import random_hardware, random_model

__all__ = ["IMAGE_TARGET", "Base", "bases"]

RANDOM_BASES = 6  # of random networks on random hardware, beside the named ones
LARGE = 0.02  # share of the shipped example's mutants, which take longer


@dataclass(frozen=True)
class Base:
    """A compiled network: both images, and the hardware that they are for."""

    hardware: HardwareConfig
    image: bytes
    embedding: bytes


def _compiled(checkpoint, hardware):
    program = compile_network(quantize(checkpoint, hardware.format), hardware)
    return Base(hardware, program.image, program.embedding)


def _random_bases():
    """Random networks, each on random hardware that takes it."""
    rng = random.Random(0)
    found = []
    while len(found) < RANDOM_BASES:
        hardware = random_hardware(rng, len(found))
        units = hardware.units
        checkpoint = random_checkpoint(
            random_model(rng, hardware),
            seed=rng.randrange(1 << 30),
            spans="span" in units,
            eta=0.7 * ("drop" in units),
            exit_threshold=0.5 * ("exit" in units),
        )
        try:
            found.append(_compiled(checkpoint, hardware))
        except CompileError:  # a unit or a size that this one needs
            continue
    return found


@functools.cache
def bases():
    """Bases of all kinds: small ones, and behind them the shipped example."""
    ci = HARDWARE["ci"]
    small = ModelConfig(2, 16, 32, 4, 48, 20, 9, 2, predictor=16, activation="gelu")
    return [
        _compiled(random_checkpoint(MODELS["nano"]), ci),
        _compiled(random_checkpoint(MODELS["nano"], eta=0.0, exit_threshold=0.0), ci),
        _compiled(random_checkpoint(small, seed=3, dead_heads=1), HARDWARE["ecp5"]),
        *_random_bases(),
        _compiled(load(ROOT / "examples" / "tiny"), ci),
    ]


# Changes of a bytearray with the image `base`, in place.


def _header(rng, data, base):
    at = 4 * rng.randrange(len(HEADER))
    put_word(data, at, change_word(rng, take_word(data, at)))


def _model(rng, data, base):
    """Layers, classes, live heads or the spare byte."""
    data[HEADER_OFFSET["model"] + rng.randrange(4)] = rng.choice((0, 1, 2, 3, 16, 17, 64, 65, 255))


def _instruction(rng, data):
    """Byte offset of some instruction of what the header calls the program."""
    start = take_word(data, HEADER_OFFSET["program_offset"])
    count = min(take_word(data, HEADER_OFFSET["instructions"]), isa.CAPACITY)
    at = start + isa.BYTES * rng.randrange(max(1, count))
    return at if at + isa.BYTES <= len(data) else HEADER_BYTES


def _field(rng, data, base):
    """A field of an instruction, in its own bits."""
    at, field = _instruction(rng, data), rng.choice(list(isa.FIELDS.values()))
    if at + isa.BYTES > len(data):
        return
    mask = (1 << field.width) - 1
    word = take_word(data, at + 4 * field.word)
    old = word >> field.low & mask
    new = rng.choice((0, 1, mask, mask >> 1, old + 1, old - 1, rng.randrange(16)))
    new = rng.choice((new, change_word(rng, old))) & mask
    put_word(data, at + 4 * field.word, word & ~(mask << field.low) | new << field.low)


def _move(rng, data, base):
    """An instruction over another one, changed with it, or as zeros."""
    one, other = _instruction(rng, data), _instruction(rng, data)
    first, second = data[one : one + isa.BYTES], data[other : other + isa.BYTES]
    if len(first) == len(second) == isa.BYTES:
        data[other : other + isa.BYTES] = rng.choice((first, bytes(isa.BYTES)))
        if rng.random() < 0.5:
            data[one : one + isa.BYTES] = second


def _constant(rng, data, base):
    start = take_word(data, HEADER_OFFSET["constants_offset"])
    at = start + 4 * rng.randrange(max(1, take_word(data, HEADER_OFFSET["constants"])))
    if at + 4 <= len(data):
        put_word(data, at, change_word(rng, take_word(data, at)))


def _stream(rng, data, base):
    """Bytes of the weight streams: masks, codes, headers of columns."""
    start = take_word(base.image, HEADER_OFFSET["constants_offset"])
    start += section_bytes(4 * take_word(base.image, HEADER_OFFSET["constants"]))
    scatter_bytes(rng, data, start)


def _length(rng, data, base):
    change_length(rng, data, HEADER_OFFSET["length"])


def _shift(rng, data, base):
    """A section's offset, by multiples of the alignment or into another one."""
    at = HEADER_OFFSET[rng.choice(("program_offset", "constants_offset"))]
    other = HEADER_OFFSET[rng.choice(("program_offset", "constants_offset", "length"))]
    put_word(data, at, take_word(data, other) + ALIGNMENT * rng.randint(-2, 2))


def _bytes(rng, data, base):
    change_bytes(rng, data, base.image)


CHANGES = (_header, _model, _field, _field, _field, _move, _constant, _stream, _stream)
CHANGES += (_length, _shift, _bytes)


# Check words.


def _seal_at(data, start, size):
    """A section's check word made right, where all of it is there."""
    if size > 4 and start + size <= len(data) - 4:
        data[start : start + size] = seal(bytes(data[start : start + size - 4]), size)


def _reseal(data, hardware):
    """The check words of program, constants and weight streams, of what the mutant says they are.

    The streams come first: a wild address may lie over the other sections.
    """
    start = take_word(data, HEADER_OFFSET["program_offset"])
    count = take_word(data, HEADER_OFFSET["instructions"])
    layers = data[HEADER_OFFSET["model"]]
    for pc in range(min(count, isa.CAPACITY)):
        at = start + isa.BYTES * pc
        words = [take_word(data, at + 4 * i) for i in range(8)] if at + 32 <= len(data) else [0] * 8
        if isa.unpack(words, "opcode") == isa.Opcode.LINEAR:
            size = isa.unpack(words, "beats") * hardware.bus_bytes
            for layer in range(layers if isa.unpack(words, "stacked") else 1):
                _seal_at(data, isa.unpack(words, "address") + layer * stream_stride(size), size)
    _seal_at(data, start, section_bytes(isa.BYTES * count))
    constants = take_word(data, HEADER_OFFSET["constants"])
    start = take_word(data, HEADER_OFFSET["constants_offset"])
    _seal_at(data, start, section_bytes(4 * constants))


def _mutate(rng, prepared):
    """(bytes, the hardware that the image was made for)."""
    *small, large = prepared
    base = large if rng.random() < LARGE else rng.choice(small)
    data = bytearray(base.image)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        if len(data) >= 2 * HEADER_BYTES:
            rng.choice(CHANGES)(rng, data, base)
        else:
            _bytes(rng, data, base)
    way = rng.random()
    if len(data) >= HEADER_BYTES:
        if way < 0.9:
            _reseal(data, base.hardware)
        if way < 0.97:
            put_word(data, len(data) - 4, zlib.crc32(data[:-4]))
    return bytes(data), base.hardware


def _read(mutant):
    """Refused, or good for everything that is done with an image."""
    data, hardware = mutant
    text = describe(data)
    image = parse_image(data)
    assert parse_image(image.data) == image and describe(image.data) == text
    for words in image.program:
        assert not disassemble(words).startswith("ILLEGAL")
    if image.config_hash == hardware.config_hash:
        check_content(image, hardware)
        describe(data, hardware)
        check_image(image, hardware)
        _unpack(image, hardware)


def _unpack(image, hardware):
    """Every weight stream, as the machine reads it."""
    for pc, words in enumerate(image.program):
        if isa.unpack(words, "opcode") == isa.Opcode.LINEAR:
            sizes = isa.unpack(words, "groups"), isa.unpack(words, "reduction")
            for layer in range(image.layers if isa.unpack(words, "stacked") else 1):
                data = image.stream(pc, hardware.bus_bytes, layer)
                unpack_columns(data, hardware.columns, hardware.bus_bytes, *sizes)


IMAGE_TARGET = FuzzTarget("image", bases, _mutate, _read, (ImageError,))
