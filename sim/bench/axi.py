# SPDX-License-Identifier: Apache-2.0
"""AXI for benches: a manager of AXI4-Lite, and the two halves of an AXI4 subordinate.

They obey the rules of IHI 0022 for what they drive, and stall at random where they are told to.
"""

import enum
import random
from collections import deque

import cocotb
from cocotb.triggers import FallingEdge, RisingEdge

__all__ = ["AxiLiteManager", "AxiResp", "ReadSubordinate", "WriteSubordinate", "stalls"]

INCR = 1  # the only kind of burst that the machine asks for


class AxiResp(enum.IntEnum):
    """RRESP and BRESP."""

    OKAY = 0
    EXOKAY = 1
    SLVERR = 2
    DECERR = 3


def stalls(seed):
    """Whether to stall, cycle after cycle: runs of both; None never stalls."""
    generator = random.Random(seed)
    while True:
        if seed is None:
            yield False
        else:
            yield from [True] * generator.choice([0, 1, 2, 7])
            yield from [False] * generator.choice([1, 2, 5, 30])


class _Signals:
    """The signals of a port by their AXI names; a name that the port lacks is None."""

    def __init__(self, dut, prefix):
        self._dut = dut
        self._prefix = prefix

    def __getattr__(self, name):
        return getattr(self._dut, f"{self._prefix}_{name}", None)


class AxiLiteManager:
    """Reads and writes registers, one transaction after another.

    pause : seeds stalls of each channel; None: there are none
    """

    def __init__(self, dut, prefix, pause=None):
        self._clk = dut.clk
        self._bus = _Signals(dut, prefix)
        self._stalls = {
            channel: stalls(None if pause is None else pause + number)
            for number, channel in enumerate(("aw", "w", "b", "ar", "r"))
        }
        for name in ("awvalid", "wvalid", "bready", "arvalid", "rready"):
            getattr(self._bus, name).value = 0

    async def read(self, address):
        """(word, AxiResp) of a register."""
        await self._send("ar", {"addr": address})
        return await self._receive("r", "data", "resp")

    async def write(self, address, value, size=4):
        """The AxiResp to a write of the lowest `size` bytes of `value`, from byte `address` on."""
        lane = address % 4
        data = {"data": value << 8 * lane, "strb": (1 << size) - 1 << lane}
        sent = cocotb.start_soon(self._send("w", data))
        await self._send("aw", {"addr": address})
        await sent
        (response,) = await self._receive("b", "resp")
        return AxiResp(response)

    async def _send(self, channel, payload):
        """Offer a payload until it is taken."""
        bus = self._bus
        while next(self._stalls[channel]):
            await RisingEdge(self._clk)
        for name, value in payload.items():
            getattr(bus, f"{channel}{name}").value = value
        getattr(bus, f"{channel}valid").value = 1
        answer = getattr(bus, "rvalid" if channel == "ar" else "bvalid")
        while True:
            await RisingEdge(self._clk)
            assert answer.value == 0, f"{channel}: answered before it was taken"
            if getattr(bus, f"{channel}ready").value == 1:
                break
        getattr(bus, f"{channel}valid").value = 0

    async def _receive(self, channel, *names):
        """Take an answer; its values."""
        bus = self._bus
        while next(self._stalls[channel]):
            await RisingEdge(self._clk)
        getattr(bus, f"{channel}ready").value = 1
        await RisingEdge(self._clk)
        while getattr(bus, f"{channel}valid").value != 1:
            await RisingEdge(self._clk)
        found = [getattr(bus, f"{channel}{name}").value.to_unsigned() for name in names]
        getattr(bus, f"{channel}ready").value = 0
        return found


class _Subordinate:
    """What both halves have: bursts are taken, whole bus words, in their order.

    read, write : of the memory behind: (address, length) -> (bytes, AxiResp);
        (address, bytes) -> AxiResp
    pause : seeds stalls of each channel; None: there are none
    """

    channels: tuple = ()  # those whose ready or valid it drives

    def __init__(self, dut, prefix, memory, pause=None):
        self._dut = dut
        self._bus = _Signals(dut, prefix)
        self._memory = memory
        self._bursts = deque()  # addresses of their words
        self._stalls = [
            stalls(None if pause is None else pause + number)
            for number in range(len(self.channels))
        ]
        for name in self.channels:
            getattr(self._bus, name).value = 0
        for name in ("rid", "bid"):
            if getattr(self._bus, name) is not None:
                getattr(self._bus, name).value = 0
        cocotb.start_soon(self._run())

    async def _run(self):
        await FallingEdge(self._dut.rst)
        while True:
            await RisingEdge(self._dut.clk)
            if self._dut.rst.value == 0:
                self._cycle()

    def _cycle(self):
        """What happens at a rising edge, from the values before it."""
        raise NotImplementedError

    def _take_address(self, channel, words):
        """The burst that is offered, as the addresses of its `words` bytes each."""
        address, length, size, burst = (
            getattr(self._bus, f"{channel}{name}").value.to_unsigned()
            for name in ("addr", "len", "size", "burst")
        )
        assert burst == INCR and 1 << size == words, f"{channel}: burst {burst} of size {size}"
        end = address + words * (length + 1)
        assert address >> 12 == end - 1 >> 12, f"{channel}: {address:#x} crosses 4 KiB"
        self._bursts.append(deque(range(address, end, words)))

    def _moved(self, channel):
        """Whether a channel's valid and ready were both high in the cycle that ends."""
        ends = (getattr(self._bus, f"{channel}{name}").value for name in ("valid", "ready"))
        return all(end == 1 for end in ends)


class ReadSubordinate(_Subordinate):
    """Answers the read bursts of a manager, a beat a cycle."""

    channels = ("arready", "rvalid")

    def _cycle(self):
        """Addresses, then beats."""
        bus = self._bus
        size = len(bus.rdata) // 8
        offered = bus.rvalid.value == 1
        if self._moved("r"):
            offered = False
            self._bursts[0].popleft()
            if not self._bursts[0]:
                self._bursts.popleft()
        if self._moved("ar"):
            self._take_address("ar", size)
        bus.arready.value = int(not next(self._stalls[0]))
        stall = next(self._stalls[1])
        if self._bursts and not offered and not stall:
            data, response = self._memory.read(self._bursts[0][0], size)
            bus.rdata.value = int.from_bytes(data, "little")
            bus.rresp.value = int(response)
            bus.rlast.value = int(len(self._bursts[0]) == 1)
            offered = True
        bus.rvalid.value = int(offered)


class WriteSubordinate(_Subordinate):
    """Takes the write bursts of a manager, a beat a cycle, and answers each."""

    channels = ("awready", "wready", "bvalid")

    def __init__(self, dut, prefix, memory, pause=None):
        self._answers = deque()
        self._response = AxiResp.OKAY  # of the burst that is being written
        super().__init__(dut, prefix, memory, pause)

    def _cycle(self):
        """Answers, data, addresses: so that none overtakes the other."""
        bus = self._bus
        size = len(bus.wdata) // 8
        offered = bus.bvalid.value == 1
        if self._moved("b"):
            offered = False
        if self._moved("w"):
            self._take_data(size)
        if self._moved("aw"):
            self._take_address("aw", size)
        bus.awready.value = int(not next(self._stalls[0]))
        # Data waits for its address.
        stall = next(self._stalls[1])
        bus.wready.value = int(bool(self._bursts) and not stall)
        stall = next(self._stalls[2])
        if self._answers and not offered and not stall:
            bus.bresp.value = int(self._answers.popleft())
            offered = True
        bus.bvalid.value = int(offered)

    def _take_data(self, size):
        """A beat: each run of bytes whose strobes are on."""
        bus = self._bus
        burst = self._bursts[0]
        address = burst.popleft()
        data = bus.wdata.value.to_unsigned().to_bytes(size, "little")
        strobes = bus.wstrb.value.to_unsigned()
        begin = 0
        for at in range(size + 1):
            on = at < size and strobes >> at & 1
            if not on:
                if at > begin:
                    response = self._memory.write(address + begin, data[begin:at])
                    self._response = max(self._response, response)
                begin = at + 1
        last = bus.wlast.value == 1
        assert last == (not burst), f"WLAST must come with the burst's last beat, at {address:#x}"
        if last:
            self._bursts.popleft()
            self._answers.append(self._response)
            self._response = AxiResp.OKAY
