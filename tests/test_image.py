# SPDX-License-Identifier: Apache-2.0
import dataclasses
import struct
import zlib

import numpy as np
import pytest

from firmware import isa
from firmware.columns import pack_columns
from firmware.constants import constant_count
from firmware.embedding_image import build_embedding, parse_embedding, row_check
from firmware.error_codes import Error
from firmware.image import ImageError, Layout, build_image, parse_image, seal
from firmware.image_match import check_image
from firmware.show import show
from golden_model.hardware import HARDWARE, UNITS

CI = HARDWARE["ci"]
RANDOM = np.random.default_rng(0)
CODES = RANDOM.integers(0, 3, (10, 32)).astype(np.uint8)
TABLES = [RANDOM.integers(0, 3, (rows, 16)).astype(np.uint8) for rows in (50, 8, 2)]


def make(hardware=CI, units=0, embedding_hash=7, **sizes):
    """(image, packed columns) of one LINEAR in a circle; `sizes` replaces header fields."""
    packed = pack_columns(CODES, [0] * 10, range(10), hardware.columns, hardware.bus_bytes)
    constants = [n % 200 for n in range(constant_count(hardware))]
    layout = Layout(3, len(constants), (len(packed.data), 12))
    program = [
        isa.pack(opcode=isa.Opcode.ADMIT, target_buffer=isa.Target.STATE, reduction=16),
        isa.pack(
            opcode=isa.Opcode.LINEAR,
            reduction=32,
            groups=packed.groups,
            block=1,
            address=layout.streams[0],
            beats=len(packed.data) // hardware.bus_bytes,
            target_stride=10,
        ),
        isa.pack(opcode=isa.Opcode.LOOP),
    ]
    header = {
        "layers": 3,
        "classes": 3,
        "heads": 2,
        "positions": 8,
        "vocabulary": 50,
        "embedding_width": 16,
    } | sizes
    return build_image(
        layout,
        program,
        constants,
        [seal(packed.data[:-4], len(packed.data)), b"last stream."],
        config_hash=hardware.config_hash,
        embedding_hash=embedding_hash,
        exit_threshold=1,
        units=units,
        **header,
    ), packed


def resigned(data):
    return data[:-4] + struct.pack("<I", zlib.crc32(data[:-4]))


def refused(error, text, action):
    with pytest.raises(ImageError, match=text) as caught:
        action()
    assert caught.value.error == error


def test_parse_gives_back_what_was_built():
    data, packed = make()
    image = parse_image(data)
    assert len(data) % 32 == 0 and data[-4:] == struct.pack("<I", zlib.crc32(data[:-4]))
    assert image.constant_words == tuple(n % 200 for n in range(constant_count(CI)))
    assert image.stream(1, CI.bus_bytes)[:-4] == packed.data[:-4]
    assert (image.layers, image.classes, image.heads, image.positions, image.exit_threshold) == (
        3,
        3,
        2,
        8,
        1,
    )
    assert data.rstrip(b"\0")[:-4].find(b"last stream.") % 32 == 0
    check_image(image, CI)


@pytest.mark.parametrize("length", [0, 63, 64, -32, -1])
def test_wrong_length(length):
    data, _ = make()
    refused(Error.IMAGE_LENGTH, "Image must have", lambda: parse_image(data[:length]))


def test_every_flipped_byte_is_refused():
    data, _ = make()
    for at in range(len(data)):
        with pytest.raises(ImageError):
            parse_image(data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :])


def test_wrong_magic():
    data, _ = make()
    refused(
        Error.IMAGE_MAGIC,
        r"Image must start with 0x45535254 \(TRSE\), not 0x45535258",
        lambda: parse_image(b"X" + data[1:]),
    )


def test_wrong_version():
    data, _ = make()
    refused(
        Error.IMAGE_VERSION,
        "Image version must be 4, not 1",
        lambda: parse_image(data[:4] + b"\1" + data[5:]),
    )


@pytest.mark.parametrize("spare", [0, 1])
def test_longest_program(spare):
    """A program that fills the memory passes; one instruction more is refused."""
    count = isa.CAPACITY + spare
    data = build_image(
        Layout(count, constant_count(CI), ()),
        [isa.pack(opcode=isa.Opcode.LOOP)] * count,
        [0] * constant_count(CI),
        [],
        config_hash=CI.config_hash,
        embedding_hash=7,
        exit_threshold=1,
        units=0,
        layers=3,
        classes=3,
        heads=2,
        positions=8,
        vocabulary=50,
        embedding_width=16,
    )
    image = parse_image(data)
    if spare:
        refused(
            Error.IMAGE_MODEL,
            rf"instructions must be in 1\.\.{isa.CAPACITY} on this hardware, not {count}",
            lambda: check_image(image, CI),
        )
    else:
        check_image(image, CI)


def test_wrong_crc():
    data, _ = make()
    refused(
        Error.IMAGE_CRC, "it is damaged", lambda: parse_image(data[:200] + b"\xaa" + data[201:])
    )


def test_wrong_program_size():
    data, _ = make()
    refused(
        Error.IMAGE_LENGTH,
        "Image instructions must lie inside it",
        lambda: parse_image(resigned(data[:24] + struct.pack("<I", 1000) + data[28:])),
    )


def test_other_config():
    data, _ = make(HARDWARE["ecp5"])
    refused(
        Error.IMAGE_CONFIG,
        rf"hardware {CI.config_hash:#010x}, not for .*\(ecp5\)",
        lambda: check_image(parse_image(data), CI),
    )


def test_absent_unit():
    bare = dataclasses.replace(CI, units={"span"})
    data, _ = make(bare, units=1 << UNITS.index("span") | 1 << UNITS.index("exit"))
    refused(
        Error.IMAGE_UNITS,
        r"those of the hardware \(span\), it needs exit too",
        lambda: check_image(parse_image(data), bare),
    )


@pytest.mark.parametrize("bit", [len(UNITS), 31])
def test_unknown_unit(bit):
    data, _ = make(units=1 | 1 << bit)
    refused(
        Error.IMAGE_UNITS,
        rf"\({', '.join(UNITS)}\), it needs bit {bit} too",
        lambda: check_image(parse_image(data), CI),
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [("layers", 13), ("classes", 17), ("heads", 5), ("positions", 65), ("embedding_width", 65)],
)
def test_model_too_large(name, value):
    data, _ = make(**{name: value})
    refused(
        Error.IMAGE_MODEL,
        rf"{name.replace('_', ' ')} must be in \d\.\.{value - 1} on this hardware, not {value}",
        lambda: check_image(parse_image(data), CI),
    )


def test_embedding_gives_back_every_row():
    embedding = parse_embedding(build_embedding(*TABLES))
    assert (embedding.rows, embedding.vocabulary, embedding.positions, embedding.width) == (
        60,
        50,
        8,
        16,
    )
    assert [embedding.row(i) for i in range(60)] == np.concatenate(TABLES).tolist()
    assert all(offset % 4 == 0 for offset in embedding.offsets)


def test_row_check_is_the_catalogued_one_with_the_row_s_number():
    """The check value of CRC-16/IBM-3740."""
    assert row_check(0, b"123456789") == 0x29B1
    assert row_check(0x12345, b"123456789") == 0x29B1 ^ 0x2345


def test_no_row_passes_for_another_one():
    """All rows are alike, but for one; zeros alone are no row."""
    rows = np.zeros((50, 16), np.uint8)
    embedding = parse_embedding(build_embedding(rows, TABLES[1], TABLES[2]))
    checks = {embedding.data[at + 2 : at + 4] for at in embedding.offsets[:50]}
    assert len(checks) == 50 and b"\0\0" not in checks
    offsets = list(embedding.offsets)
    offsets[3] = offsets[7]
    moved = dataclasses.replace(embedding, offsets=tuple(offsets))
    refused(Error.SENTENCE_CHECK, "Embedding row 3 must have the check", lambda: moved.row(3))


def test_every_flipped_embedding_byte_is_refused():
    data = build_embedding(*TABLES)
    for at in range(0, len(data), 3):
        with pytest.raises(ImageError):
            parse_embedding(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])


def test_damaged_embedding_row():
    embedding = parse_embedding(build_embedding(*TABLES))
    start = embedding.offsets[3]
    damaged = dataclasses.replace(
        embedding, data=embedding.data[: start + 2] + b"\x55" + embedding.data[start + 3 :]
    )
    refused(Error.SENTENCE_CHECK, "Embedding row 3 must have the check", lambda: damaged.row(3))


def test_other_embedding_image():
    embedding = parse_embedding(build_embedding(*TABLES))
    image, _ = make(embedding_hash=embedding.hash)
    check_image(parse_image(image), CI, embedding)
    refused(
        Error.EMBEDDING_HASH,
        "Embedding image must be 0x00000007, which the image names",
        lambda: check_image(parse_image(make()[0]), CI, embedding),
    )
    refused(
        Error.EMBEDDING_HEADER,
        "Embedding image vocabulary must be 40, not 50",
        lambda: check_image(parse_image(make(vocabulary=40)[0]), CI, embedding),
    )


def test_show(tmp_path):
    data, packed = make()
    (tmp_path / "image").write_bytes(data)
    text = show(tmp_path / "image")
    assert (
        "(ci)" in text
        and "LINEAR select=ALL source=STATE" in text
        and "384 NORM, 256 SPAN, 12 ETA, 64 DVFS, 8 WORK" in text
    )
    assert f"{packed.nonzeros.sum()}" in text and f" {packed.cycles} " in text
    odd = dataclasses.replace(CI, slots=1)
    (tmp_path / "image").write_bytes(make(odd)[0])
    assert "give the hardware configuration" in show(tmp_path / "image")
    assert f" {packed.cycles} " in show(tmp_path / "image", odd)
