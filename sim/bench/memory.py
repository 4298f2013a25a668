# SPDX-License-Identifier: Apache-2.0
"""A memory behind AXI4 ports of a bench, with faults and pauses.

It checks the manager's manners too.
"""

import cocotb
from cocotb.triggers import FallingEdge, RisingEdge

from sim.bench.axi import AxiResp, ReadSubordinate, WriteSubordinate

__all__ = ["AxiResp", "BenchMemory"]


class BenchMemory:
    """`size` bytes from address `base`.

    faults : {byte address of a bus word: AxiResp that it answers}
    strays : addresses outside, which answer DECERR
    touched : byte addresses of all words read or written, in order
    """

    def __init__(self, size, base=0):
        self.base, self.data = base, bytearray(size)
        self.faults = {}
        self.strays = []
        self.touched = []

    def load(self, address, content):
        self.data[address - self.base : address - self.base + len(content)] = content

    def dump(self, address, length):
        return bytes(self.data[address - self.base : address - self.base + length])

    def serve_read(self, dut, prefix, pause=None):
        """Answer the read port whose signals start with `prefix`, after reset.

        pause : seeds random stalls of both channels; None: there are none
        """
        ReadSubordinate(dut, prefix, self, pause)
        cocotb.start_soon(_steady(dut, f"{prefix}_ar", ("addr", "len", "size", "burst")))

    def serve_write(self, dut, prefix, pause=None):
        """The same for a write port."""
        WriteSubordinate(dut, prefix, self, pause)
        cocotb.start_soon(_steady(dut, f"{prefix}_aw", ("addr", "len", "size", "burst")))
        cocotb.start_soon(_steady(dut, f"{prefix}_w", ("data", "strb", "last")))

    def _answer(self, address, length):
        """What an access answers."""
        self.touched.append(address)
        if not self.base <= address <= self.base + len(self.data) - length:
            self.strays.append(address)
            return AxiResp.DECERR
        return self.faults.get(address, AxiResp.OKAY)

    def read(self, address, length):
        """(bytes, AxiResp); zeros where it is not OKAY."""
        response = self._answer(address, length)
        good = response == AxiResp.OKAY
        return self.dump(address, length) if good else bytes(length), response

    def write(self, address, content):
        """AxiResp; nothing is written where it is not OKAY."""
        response = self._answer(address, len(content))
        if response == AxiResp.OKAY:
            self.load(address, content)
        return response


async def _steady(dut, prefix, names):
    """Fail when a channel's valid falls or its payload changes before it is taken."""
    valid, ready = getattr(dut, f"{prefix}valid"), getattr(dut, f"{prefix}ready")
    signals = [getattr(dut, f"{prefix}{name}") for name in names]
    held = None
    await FallingEdge(dut.rst)
    while True:
        await RisingEdge(dut.clk)
        offered = [str(signal.value) for signal in signals] if valid.value == 1 else None
        if held is not None and offered != held and dut.rst.value == 0:
            raise AssertionError(
                f"{prefix}: offered {held}, changed before it was taken to {offered}"
            )
        held = offered if offered is not None and ready.value != 1 else None
