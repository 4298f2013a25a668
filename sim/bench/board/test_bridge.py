# SPDX-License-Identifier: Apache-2.0
"""hw/board/bridge.py: requests, damaged and cut ones among them, against firmware/frames.py."""

import random

import cocotb
import numpy as np
from cocotb.triggers import ClockCycles, RisingEdge

from firmware.frames import FrameKind, Status, answer_bytes, check_byte, parse_answer, request_bytes
from hw.board.bridge import Bridge
from sim.bench import harness
from sim.bench.players import silence

PATIENCE = 200
BROKEN = 0x8000  # memory from here on answers with an error


class Board:
    """Registers and memory behind the bridge, and the host's end of the line."""

    def __init__(self, dut, pause):
        block = Bridge(PATIENCE)
        self.dut, (idle, stall) = dut, harness.pauses(pause)
        silence(dut, block)
        self.host = harness.Source(dut, "i", block.i.payload.shape(), idle)
        self.answers = harness.Sink(dut, "o", block.o.payload.shape(), stall)
        self.accesses = harness.Sink(dut, "o_access", block.o_access.payload.shape(), stall)
        self.done = harness.Source(dut, "i_done", block.i_done.payload.shape(), idle)
        self.words, self.seen = {}, []
        cocotb.start_soon(self._serve())

    async def _serve(self):
        while True:
            (access,) = await self.accesses.receive(1)
            self.seen.append(access)
            place = access["memory"], access["address"]
            if access["write"]:
                self.words[place] = access["data"]
            error = access["memory"] and access["address"] >= BROKEN
            self.done.send([{"data": self.words.get(place, 0), "error": int(error)}])

    async def ask(self, operation, address, words):
        """The words of the answer."""
        count = len(words) if operation.is_write else words
        self.host.send(list(request_bytes(operation, address, words)))
        answer = await self.answers.receive(answer_bytes(operation, count))
        return parse_answer(operation, count, bytes(answer)).tolist()

    async def answered(self, frame, status):
        """A bad request is answered with `status` alone."""
        self.host.send(list(frame))
        answer = bytes(await self.answers.receive(2))
        assert answer == bytes([status, check_byte(bytes([status]))])


@cocotb.test()
@cocotb.parametrize(pause=harness.PAUSES)
async def requests(dut, pause):
    test, generator = Board(dut, pause), random.Random(5)
    await harness.start(dut)
    kinds = (
        (FrameKind.WRITE_REGISTER, FrameKind.READ_REGISTER),
        (FrameKind.WRITE_MEMORY, FrameKind.READ_MEMORY),
    )
    for count in (1, 2, 5, 17):
        for write, read in kinds:
            words = np.array([generator.getrandbits(32) for _ in range(count)], "<u4")
            address = 4 * generator.randrange(64)
            await test.ask(write, address, words)
            assert await test.ask(read, address, count) == words.tolist()
    assert {access["memory"] for access in test.seen} == {0, 1}


@cocotb.test()
async def damaged(dut):
    """Nothing is done, and the next request is right; a register's word waits for its check."""
    test = Board(dut, "none")
    await harness.start(dut)
    word = np.array([77], "<u4")
    good = request_bytes(FrameKind.WRITE_REGISTER, 0x20, word)
    for place in (0, 3, 6, 7):
        await test.answered(
            good[:place] + bytes([good[place] ^ 4]) + good[place + 1 : 8], Status.FRAME
        )
    await test.answered(
        request_bytes(FrameKind.READ_MEMORY, 0, 1)[:5] + _sealed(b"r\0\0\0\0", 0), Status.FRAME
    )
    await test.answered(good[:-1] + bytes([good[-1] ^ 1]), Status.FRAME)
    assert test.seen == []
    await test.ask(FrameKind.WRITE_REGISTER, 0x20, word)
    assert await test.ask(FrameKind.READ_REGISTER, 0x20, 1) == [77]


def _sealed(head, count):
    """The rest of a header whose count is `count`."""
    rest = count.to_bytes(2, "little")
    return rest + bytes([check_byte(head + rest)])


@cocotb.test()
async def errors(dut):
    """A bus error among the words is told; the others are there."""
    test = Board(dut, "none")
    await harness.start(dut)
    frame = request_bytes(FrameKind.READ_MEMORY, BROKEN - 4, 2)
    test.host.send(list(frame))
    answer = bytes(await test.answers.receive(10))
    assert answer[8] == Status.BUS and check_byte(answer[:-1]) == answer[-1]
    await test.answered(
        request_bytes(FrameKind.WRITE_MEMORY, BROKEN, np.array([1], "<u4")), Status.BUS
    )


@cocotb.test()
async def forgotten(dut):
    """A request that ends in its middle, anywhere, does not stand in the way of the next."""
    test = Board(dut, "none")
    await harness.start(dut)
    whole = request_bytes(FrameKind.WRITE_MEMORY, 0x40, np.array([1, 2], "<u4"))
    for end in range(1, len(whole)):
        test.host.send(list(whole[:end]))
        await ClockCycles(dut.clk, PATIENCE + 2 * end + 20)
        await RisingEdge(dut.clk)
        word = np.array([end], "<u4")
        await test.ask(FrameKind.WRITE_REGISTER, 0, word)
        assert await test.ask(FrameKind.READ_REGISTER, 0, 1) == [end]


def test_bridge():
    harness.run_bench(Bridge(PATIENCE), "sim.bench.board.test_bridge", "bridge")
