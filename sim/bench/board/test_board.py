# SPDX-License-Identifier: Apache-2.0
"""hw/board/board.py with the chips around it: what a host at the serial line finds."""

import dataclasses
import functools

import cocotb
import numpy as np
import pytest
from cocotb.task import bridge
from cocotb.triggers import FallingEdge

from firmware.compiler import compile_network
from firmware.driver import DriverError, SerialLink, Terse
from firmware.driver.board import board_windows, read_store, send_image
from firmware.error_codes import Error
from firmware.frames import FrameError
from firmware.record import DESCRIPTOR, descriptor_bytes, token_bytes
from firmware.store import STORE_AT, STORE_BYTES, store_parts
from golden_model.model import run as run_golden
from golden_model.random_model import random_sentences
from sim.bench import harness
from sim.bench.board.chips import Chips
from sim.bench.board.serial_line import power_on
from sim.proof.check import differences
from sim.proof.script import answers
from sim.proof.system import CONFIG, SMALL_MODEL, random_network, sentence

CLOCK = 50e6
BAUD = 12.5e6
FLASH = 1 << 31  # of the host's addresses: the flash's


@functools.cache
def compiled():
    network = random_network()
    return network, compile_network(network, CONFIG)


async def started(dut):
    """Clocks, reset, and a link once the image is copied."""
    line = await power_on(dut, CLOCK, BAUD)
    assert dut.copying.value == 1
    await FallingEdge(dut.copying)
    return line, SerialLink(line)


def right(records, sentences):
    network, program = compiled()
    for i, (one, record) in enumerate(zip(sentences, records, strict=True)):
        assert differences(i, run_golden(network, *one), record, program.early_exit) == []


@cocotb.test()
async def sentences(dut):
    """The script of every host: golden results; then what is wrong with a sentence is told."""
    line, link = await started(dut)
    asked = random_sentences(SMALL_MODEL, 3, seed=3, low=3, high=9)

    def program():
        terse = Terse(link)
        windows = board_windows(terse, read_store(link))
        right(answers(terse, windows, asked), asked)
        # A token that there is not, and a sentence that is too long; the next one is right.
        (record,) = terse.classify([sentence(1, 1 << 20)])
        assert (record.status, record.detail) == (Error.SENTENCE_TOKEN, 1)
        (record,) = raw(terse, windows, [1] * (CONFIG.positions + 1))
        assert record.status == Error.SENTENCE_LENGTH
        with pytest.raises(DriverError, match="must have 1..16 tokens"):
            terse.classify([sentence(*[1] * (CONFIG.positions + 1))])
        right(terse.classify(asked[:1]), asked[:1])
        # A spoilt byte is asked for again.
        line.spoil = {5}
        right(terse.classify(asked[1:2]), asked[1:2])

    await bridge(program)()
    assert dut.wrong.value == 0


def raw(terse, windows, ids):
    """The record of a queue that the driver would refuse."""
    base = windows.input[0]
    tokens = base + 4 * DESCRIPTOR.words()
    terse.link.put(tokens, token_bytes(ids, [0] * len(ids)))
    terse.link.put(base, descriptor_bytes(tokens, len(ids), 0, 0))
    terse.run(base, 1)
    return [terse._record(windows.result[0])]


@cocotb.test()
async def damaged_flash(dut):
    """Loading tells; the image over the line mends it."""
    link = SerialLink(await power_on(dut, CLOCK, BAUD))
    _, program = compiled()
    asked = random_sentences(SMALL_MODEL, 1, seed=4, low=3, high=9)

    def host():
        assert dut.copying.value == 1
        store = read_store(link)  # waits until the image is copied
        terse = Terse(link)
        windows = board_windows(terse, store)
        at = windows.image[0] + 400
        (word,) = np.frombuffer(link.get(at, 4), "<u4")
        link.put(at, np.array([word ^ 16], "<u4").tobytes())
        with pytest.raises(DriverError) as caught:
            terse.load(windows)
        assert caught.value.error == Error.IMAGE_CRC
        send_image(link, store, program.image)
        right(answers(terse, windows, asked), asked)

    await bridge(host)()
    assert dut.wrong.value == 0


@cocotb.test()
async def beyond(dut):
    """What is not there is answered with an error, to the host and to the machine."""
    link = SerialLink(await power_on(dut, CLOCK, BAUD))
    asked = random_sentences(SMALL_MODEL, 1, seed=4, low=3, high=9)

    def host():
        """A host's accesses, then the machine's."""
        assert dut.copying.value == 1
        header = link.get(FLASH + STORE_AT, STORE_BYTES)  # waits until the image is copied
        assert dut.copying.value == 0
        terse = Terse(link)
        windows = board_windows(terse, read_store(link))
        for address in (1 << 25, (1 << 31) - 4):
            with pytest.raises(FrameError, match="the bus answered with an error"):
                link.get(address, 4)
        with pytest.raises(FrameError, match="the bus answered with an error"):
            link.put(FLASH, bytes(4))
        assert link.get(0, STORE_BYTES) == header
        far = dataclasses.replace(windows, image=(1 << 25, windows.image[1]))
        fails(terse, lambda: terse.load(far), Error.READ_DECERR)
        far = dataclasses.replace(windows, embedding=(1 << 24, windows.embedding[1]))
        fails(terse, lambda: terse.load(far), Error.EMBEDDING_BUS)
        terse.load(dataclasses.replace(windows, result=(1 << 25, windows.result[1])))
        fails(terse, lambda: terse.classify(asked), Error.WRITE_ERROR)
        right(answers(terse, windows, asked), asked)

    await bridge(host)()
    assert dut.wrong.value == 0


def fails(terse, call, error):
    with pytest.raises(DriverError) as caught:
        call()
    assert caught.value.error == error
    terse.reset()


def chips():
    _, program = compiled()
    return Chips(CONFIG, CLOCK, BAUD, 1 << 16, store_parts(program.image, program.embedding))


def test_board():
    harness.run_bench(chips(), "sim.bench.board.test_board", "board", large=True)
