# SPDX-License-Identifier: Apache-2.0
"""hw/board/flash.py against a model of a flash: runs from anywhere, of any length."""

import random

import cocotb

from hw.board.flash import DESELECT, Flash
from sim.bench import harness
from sim.bench.board.flash_model import FlashModel

DATA = random.Random(1).randbytes(4096)
RUNS = [(0, 0), (4, 3), (1021, 1), (4092, 1), (8, 15), (12, 0), (0, 0)]


def words(address, length):
    whole = DATA + b"\xff" * 64
    parts = (whole[address + 4 * i : address + 4 * i + 4] for i in range(length + 1))
    return [int.from_bytes(part, "little") for part in parts]


@cocotb.test()
@cocotb.parametrize(pause=harness.PAUSES)
async def runs(dut, pause):
    """Words, addresses, and the cycles of a run and of the pause before the next one."""
    block, (idle, stall) = Flash(), harness.pauses(pause)
    source = harness.Source(dut, "i", block.i.payload.shape(), idle)
    sink = harness.Sink(dut, "o", block.o.payload.shape(), stall)
    model = FlashModel(dut, DATA, deselect=2 * DESELECT * harness.CLOCK_NS)
    await harness.start(dut)
    source.send([{"address": address, "length": length} for address, length in RUNS])
    for address, length in RUNS:
        got = await sink.receive(length + 1)
        assert [word["data"] for word in got] == words(address, length)
        assert [word["last"] for word in got] == [0] * length + [1]
    assert model.commands == [address for address, _ in RUNS]
    if pause == "none":
        assert sink.cycles[2] - sink.cycles[1] == 65  # of one run
        first = sum(length + 1 for _, length in RUNS[:1])
        # The end, a command of 40 bits and a word.
        assert sink.cycles[first] - sink.cycles[first - 1] == 2 * DESELECT + 2 * (40 + 32) + 3


def test_flash():
    harness.run_bench(Flash(), "sim.bench.board.test_flash", "flash")
