# SPDX-License-Identifier: Apache-2.0
"""A memory of words for benches: it takes an access in the cycle in which it answers it."""

import random

import cocotb
from cocotb.triggers import RisingEdge

from sim.bench.values import pack, unpack

__all__ = ["WordMemory"]


class WordMemory:
    """Plays who is asked through the streams `memory` and `memory_done` of a block.

    An access must stay as it is until it is answered, and the answer be taken at once. Without an
    answer its payload is noise.

    answer : of an access -> {"data", "error"}
    seen : accesses in their order
    """

    def __init__(self, dut, block, answer, pause=None):
        self.seen = []
        self._dut = dut
        self._answer = answer
        self._pause = pause
        self._noise = random.Random(1)
        self._access = block.memory.payload.shape()
        self._done = block.memory_done.payload.shape()
        self._give(0, self._noise.getrandbits(self._done.size))
        cocotb.start_soon(self._run())

    def _give(self, valid, bits):
        self._dut.memory__ready.value = valid
        self._dut.memory_done__valid.value = valid
        self._dut.memory_done__payload.value = bits

    async def _run(self):
        """An access that is offered is answered one cycle later, or after pauses."""
        dut = self._dut
        held = None
        answered = False
        while True:
            await RisingEdge(dut.clk)
            if dut.rst.value != 0:
                held, answered = None, False
                self._give(0, 0)
                continue
            offered = dut.memory__payload.value if dut.memory__valid.value == 1 else None
            assert held is None or offered == held, f"memory: {held} became {offered}"
            held = offered
            if answered:
                assert dut.memory_done__ready.value == 1, "memory_done: an answer was not taken"
                answered, held = False, None
                self._give(0, self._noise.getrandbits(self._done.size))
            elif offered is not None and not (self._pause and next(self._pause)):
                access = unpack(self._access, offered.to_unsigned())
                self.seen.append(access)
                self._give(1, pack(self._done, self._answer(access)))
                answered = True
