# SPDX-License-Identifier: Apache-2.0
"""A memory behind AXI4 ports of a bench: cocotbext-axi's subordinates, with faults and pauses.

It checks the manager's manners too.
"""

import random
import warnings

import cocotb
from cocotb.triggers import FallingEdge, RisingEdge

warnings.filterwarnings(
    "ignore", category=DeprecationWarning, module=r"cocotbext\..*|cocotb_bus\..*"
)
from cocotbext.axi import AxiReadBus, AxiResp, AxiSlaveRead, AxiSlaveWrite, AxiWriteBus  # noqa: E402

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
        self._answer = AxiResp.OKAY

    def load(self, address, content):
        self.data[address - self.base : address - self.base + len(content)] = content

    def dump(self, address, length):
        return bytes(self.data[address - self.base : address - self.base + length])

    def serve_read(self, dut, prefix, pause=None):
        """Answer the read port whose signals start with `prefix`, after reset.

        pause : seeds random stalls of both channels; None: there are none
        """
        _quiet(dut, prefix, ("arready", "rvalid"))
        cocotb.start_soon(self._serve_read(dut, prefix, pause))

    def serve_write(self, dut, prefix, pause=None):
        """The same for a write port."""
        _quiet(dut, prefix, ("awready", "wready", "bvalid"))
        cocotb.start_soon(self._serve_write(dut, prefix, pause))

    async def _serve_read(self, dut, prefix, pause):
        await FallingEdge(dut.rst)
        port = AxiSlaveRead(AxiReadBus.from_prefix(dut, prefix), dut.clk, dut.rst, target=self)
        self._prepare((port.ar_channel, port.r_channel), "rresp", pause)
        cocotb.start_soon(_steady(dut, f"{prefix}_ar", ("addr", "len", "size", "burst")))

    async def _serve_write(self, dut, prefix, pause):
        await FallingEdge(dut.rst)
        port = AxiSlaveWrite(AxiWriteBus.from_prefix(dut, prefix), dut.clk, dut.rst, target=self)
        self._prepare((port.aw_channel, port.w_channel, port.b_channel), "bresp", pause)
        cocotb.start_soon(_steady(dut, f"{prefix}_aw", ("addr", "len", "size", "burst")))
        cocotb.start_soon(_steady(dut, f"{prefix}_w", ("data", "strb", "last")))

    def _prepare(self, channels, field, pause):
        """Pauses, and the response code of the fault instead of SLVERR."""
        for i, channel in enumerate(channels):
            if pause is not None:
                channel.set_pause_generator(_pause(pause + i))
        answers = channels[-1]
        send = answers.send

        async def send_answer(transaction):
            if getattr(transaction, field) != AxiResp.OKAY:
                setattr(transaction, field, self._answer)
            await send(transaction)

        answers.send = send_answer

    def _check(self, address, length):
        self.touched.append(address)
        if not self.base <= address <= self.base + len(self.data) - length:
            self.strays.append(address)
            self._answer = AxiResp.DECERR
            raise ValueError("outside")
        if address in self.faults:
            self._answer = self.faults[address]
            raise ValueError("fault")

    async def read(self, address, length):
        self._check(address, length)
        return self.dump(address, length)

    async def write(self, address, content):
        self._check(address, len(content))
        self.load(address, content)


def _quiet(dut, prefix, names):
    for name in names:
        getattr(dut, f"{prefix}_{name}").value = 0


def _pause(seed):
    generator = random.Random(seed)
    while True:
        yield from [True] * generator.choice([0, 1, 2, 7]) + [False] * generator.choice(
            [1, 2, 5, 30]
        )


async def _steady(dut, prefix, names):
    """Fail when a channel's valid falls or its payload changes before it is taken."""
    valid, ready = getattr(dut, f"{prefix}valid"), getattr(dut, f"{prefix}ready")
    signals = [getattr(dut, f"{prefix}{name}") for name in names]
    held = None
    while True:
        await RisingEdge(dut.clk)
        offered = [str(signal.value) for signal in signals] if valid.value == 1 else None
        if held is not None and offered != held and dut.rst.value == 0:
            raise AssertionError(
                f"{prefix}: offered {held}, changed before it was taken to {offered}"
            )
        held = offered if offered is not None and ready.value != 1 else None
