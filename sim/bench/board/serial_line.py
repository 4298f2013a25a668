# SPDX-License-Identifier: Apache-2.0
"""The host's end of a serial line in a simulation, for programs that know nothing of simulations.

async def test(dut):
    line = await power_on(dut, clock=50e6, baud=12.5e6)
    await bridge(program)(SerialLink(line))
"""

import cocotb
from cocotb.clock import Clock
from cocotb.queue import Queue
from cocotb.task import resume
from cocotb.triggers import ClockCycles, FallingEdge, SimTimeoutError, Timer, with_timeout

from hw.board.board import FASTER

__all__ = ["SerialLine", "power_on"]

SILENCE = 20_000_000  # ns of simulated time after which a read ends


async def power_on(dut, clock, baud):
    """Both clocks of a `Chips`, its reset, and the host's end of its line.

    clock : Hz of the machine; the memory's is `FASTER` times that
    """
    line = SerialLine(dut, round(1e9 / baud))
    period = round(1e9 / clock)
    Clock(dut.memory_clk, period // FASTER, unit="ns").start()
    Clock(dut.clk, period, unit="ns").start()
    for level in (1, 0):
        dut.rst.value = level
        dut.memory_rst.value = level
        await ClockCycles(dut.clk, 4)
    return line


class SerialLine:
    """`read` and `write` of pyserial, to be called from a thread of cocotb's `bridge`.

    bit : ns of a bit
    spoil : numbers of the bytes to the board, from the next one on, of which a bit is changed
    """

    def __init__(self, dut, bit):
        self._dut, self._bit = dut, bit
        self.spoil = set()
        self._received = Queue()
        dut.rx.value = 1
        cocotb.start_soon(self._listen())

    async def _listen(self):
        while True:
            await FallingEdge(self._dut.tx)
            await Timer(self._bit // 2, "ns")
            byte = 0
            for place in range(8):
                await Timer(self._bit, "ns")
                byte |= int(self._dut.tx.value) << place
            await Timer(self._bit, "ns")
            assert self._dut.tx.value == 1, "no stop bit"
            self._received.put_nowait(byte)

    async def until(self, end, patience):
        """The bytes up to `end`; for tests, which are no threads. `patience` in ns."""
        got = bytearray()

        async def receive():
            while not got.endswith(end):
                got.append(await self._received.get())

        try:
            await with_timeout(cocotb.start_soon(receive()), patience, "ns")
        except SimTimeoutError as error:
            raise AssertionError(f"after {patience} ns only {bytes(got)!r}") from error
        return bytes(got)

    @resume
    async def read(self, size):
        got = bytearray()
        try:
            while len(got) < size:
                got.append(await with_timeout(self._received.get(), SILENCE, "ns"))
        except SimTimeoutError:
            pass
        return bytes(got)

    @resume
    async def write(self, data):
        for number, byte in enumerate(data):
            sent = byte ^ 8 if number in self.spoil else byte
            for level in (0, *(sent >> place & 1 for place in range(8)), 1):
                self._dut.rx.value = level
                await Timer(self._bit, "ns")
        self.spoil = set()
        return len(data)
