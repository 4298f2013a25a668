# SPDX-License-Identifier: Apache-2.0
"""What a board's flash holds, what its host is told, and its commands; no simulator."""

import pytest

from firmware.driver.board import board_windows, check_store, read_store, send_image
from firmware.error_codes import Error
from firmware.registers import BY_NAME
from firmware.store import (
    EMBEDDING_AT,
    MAGIC,
    STORE_AT,
    STORE_BYTES,
    Store,
    StoreError,
    store_parts,
)
from golden_model.hardware import HARDWARE
from hw.board.kinds import board_kinds
from hw.board.kinds.ulx3s import CRYSTAL, OSCILLATOR, dividers
from terse import board as boards
from terse.artefacts import compile_images
from terse.errors import UserError
from tests.test_host import Fake

IMAGE, EMBEDDING = bytes(range(96)), bytes(64)


def test_store_comes_back():
    parts = store_parts(IMAGE, EMBEDDING)
    assert sorted(parts) == [STORE_AT, EMBEDDING_AT]
    assert int.from_bytes(parts[STORE_AT][:4], "little") == MAGIC
    assert Store.parse(parts[STORE_AT]) == Store.of(IMAGE, EMBEDDING)
    assert parts[STORE_AT][STORE_BYTES:] == IMAGE and parts[EMBEDDING_AT] == EMBEDDING


@pytest.mark.parametrize(
    ("place", "text"), [(0, "holds no model"), (5, "damaged"), (20, "damaged"), (31, "damaged")]
)
def test_damaged_store(place, text):
    header = bytearray(store_parts(IMAGE, EMBEDDING)[STORE_AT])
    header[place] ^= 1
    with pytest.raises(StoreError, match=text):
        Store.parse(bytes(header))


@pytest.mark.parametrize(
    ("image", "embedding", "text"),
    [
        (b"", EMBEDDING, "image must have 32.."),
        (IMAGE + b"x", EMBEDDING, "a multiple of 32"),
        (bytes(EMBEDDING_AT - STORE_AT), EMBEDDING, "to go into the flash, not 2097152"),
        (IMAGE, bytes(1 << 24), "embedding image must have"),
    ],
)
def test_images_that_do_not_fit(image, embedding, text):
    with pytest.raises(StoreError, match=text):
        Store.of(image, embedding)


def test_what_a_host_is_told():
    link = Fake()
    with pytest.raises(StoreError, match="holds no model"):
        read_store(link)
    link.put(0, store_parts(IMAGE, EMBEDDING)[STORE_AT])
    store = read_store(link)
    check_store(store, IMAGE, EMBEDDING)
    with pytest.raises(StoreError, match="another model"):
        check_store(store, IMAGE, EMBEDDING + bytes(32))
    link.put(STORE_BYTES, bytes(len(IMAGE)))
    send_image(link, store, IMAGE)
    assert link.get(STORE_BYTES, len(IMAGE)) == IMAGE
    with pytest.raises(StoreError, match="not the image"):
        send_image(link, store, IMAGE[::-1])


def test_windows_of_a_board():
    from firmware.driver import Terse

    windows = board_windows(Terse(Fake()), Store.of(IMAGE, EMBEDDING), sentences=2)
    assert windows.problem() is None
    assert windows.image == (STORE_BYTES, len(IMAGE))
    assert windows.embedding == (EMBEDDING_AT, len(EMBEDDING))


@pytest.fixture(scope="module")
def images():
    return compile_images("tiny", board_kinds()["ulx3s"].hw)[:2]


@pytest.fixture
def link(monkeypatch, images):
    """A board with the model in its flash, in Python."""
    link = Fake()
    link.memory = bytearray(1 << 18)
    link.put(0, store_parts(*images)[STORE_AT])
    monkeypatch.setattr(boards, "SerialLink", lambda line: link)
    return link


def ask(**options):
    return boards.run_on_board(None, "ulx3s", ["a gripping film"], **options)


def test_a_damaged_image_is_told(link, images):
    """And what to do; --upload mends it: the next fault is that this board writes no records."""
    link.memory[STORE_BYTES + 100] ^= 1
    link.after = {1: 4}
    link.words[BY_NAME["ERROR"].offset] = Error.IMAGE_CRC
    with pytest.raises(UserError, match=r"IMAGE_CRC .*damaged: write it again, or send it"):
        ask()
    link.after = {}
    with pytest.raises(UserError, match="No record of this machine"):
        ask(upload=True)
    assert link.get(STORE_BYTES, len(images[0])) == images[0]


def test_another_model_in_the_flash(link, images):
    link.put(0, store_parts(images[0][:-32], images[1])[STORE_AT][:STORE_BYTES])
    with pytest.raises(UserError, match="another model"):
        ask()


def test_a_text_that_is_too_long(link):
    with pytest.raises(UserError, match="has 202 tokens, the longest sentence has 64"):
        boards.run_on_board(None, "ulx3s", ["word " * 200])
    assert link.commands == []


def test_flash_commands(tmp_path):
    paths, _ = boards.write_parts(tmp_path, "ulx3s", "tiny")
    assert [path.stat().st_size for path in paths.values()] == [
        STORE_BYTES + len(compile_images("tiny", board_kinds()["ulx3s"].hw)[0]),
        len(compile_images("tiny", board_kinds()["ulx3s"].hw)[1]),
    ]
    commands = boards.flash_commands("ulx3s", tmp_path / "a.bit", paths)
    assert [command[:3] for command in commands] == [["openFPGALoader", "--board", "ulx3s"]] * 3
    assert [command[-2] for command in commands[1:]] == [f"0x{STORE_AT:x}", f"0x{EMBEDDING_AT:x}"]


@pytest.mark.parametrize("megahertz", [12.5, 20, 33.3, 48, 50, 55.5, 62.5, 66, 75, 100])
def test_clocks_of_the_ulx3s(megahertz):
    before, feedback, after, slower, reached = dividers(megahertz * 1e6)
    memory = CRYSTAL / before * feedback
    assert OSCILLATOR[0] <= memory * after <= OSCILLATOR[1] and slower == 2 * after
    assert memory == 2 * reached and 0.97 * megahertz * 1e6 <= reached <= megahertz * 1e6


def test_every_board_has_what_is_asked_of_it():
    for name, kind in board_kinds().items():
        assert kind.hw in HARDWARE, name
        assert kind.top(HARDWARE[kind.hw], kind.clock).clock <= kind.clock


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
@pytest.mark.parametrize(
    ("options", "text"),
    [
        (dict(board="nexys"), "No board 'nexys'; there is arty_a7, ulx3s"),
        (dict(megahertz=3), "--clock must be in 5..200 MHz, not 3"),
        (dict(seeds=0), "--seeds must be in 1..100, not 0"),
        (dict(settings=["bus=64"]), "32 bits, not 64"),
    ],
)
def test_what_cannot_be_built(options, text):
    with pytest.raises(UserError, match=text):
        boards.build_board(**{"board": "ulx3s", **options})


def test_a_port_that_is_not_there():
    with pytest.raises(UserError, match="/dev/none cannot be opened"):
        boards.serial_port("/dev/none")
