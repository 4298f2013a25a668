# SPDX-License-Identifier: Apache-2.0
"""The AXI rules that the masters and the registers promise (docs/machine.md), under any bus."""

from functools import partial

from amaranth import Cat, Module, Mux, Signal
from amaranth.hdl import Assert, Assume, Fragment
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In

from golden_model.hardware import HardwareConfig
from hw.bus.transfer import BOUNDARY, transfer_layout
from hw.shapes import ADDRESS, SIZE, WORD
from sim.prove.prover import Mutant, Property
from sim.prove.transfers import aborts, ongoing, within

__all__ = ["BUS"]

CONFIG = HardwareConfig(tokens=2, columns=2)
BURST = 16  # beats of a burst
OUTSTANDING = 2  # bursts that the reader has room for


class _Master(wiring.Component):
    """What both halves promise of their address channel, whatever host and bus do.

    The window does not change; an address, once offered, stays until it is taken.
    """

    channel = ""
    planned: tuple = ()  # states with a burst
    inputs: dict = {}

    def __init__(self, block):
        self.block = block(CONFIG, burst=BURST)
        super().__init__(
            {
                "request": In(stream.Signature(transfer_layout())),
                "abort": In(1),
                "base": In(ADDRESS),
                "size": In(SIZE),
                **self.inputs,
            }
        )

    def elaborate(self, platform):
        m = Module()
        block = self.block
        # Its states and registers, which are part of the induction, are known when it is made.
        m.submodules.block = Fragment.get(block, platform)
        window = Signal(ADDRESS.width + SIZE.width)
        begun = Signal()
        request = block.i_request
        m.d.comb += [
            request.valid.eq(self.request.valid),
            request.payload.address.eq(self.request.payload.address),
            request.payload.words.eq(self.request.payload.words),
            request.payload.base.eq(self.base),
            request.payload.size.eq(self.size),
            self.request.ready.eq(request.ready),
            block.abort.eq(self.abort),
            Assume(~begun | (window == Cat(self.base, self.size))),
        ]
        m.d.sync += [
            begun.eq(1),
            window.eq(Cat(self.base, self.size)),
        ]
        self._stopped = Signal()  # there was an abort, and the block has not come to rest since
        with m.If(self.abort):
            m.d.sync += self._stopped.eq(1)
        with m.Elif(block.idle):
            m.d.sync += self._stopped.eq(0)
        self._waits = Signal()  # an address was offered, and not taken
        self._error(m)
        self._drive(m)
        within(m, block, (self.base, self.size), BURST, self.planned)
        self._address(m)
        return m

    def _error(self, m):
        """The first error stays until an abort."""
        error = Signal.like(self.block.error)
        m.d.sync += error.eq(self.block.error)
        with m.If((error != 0) & ~self._stopped):
            m.d.comb += Assert(self.block.error == error)

    def _drive(self, m):
        """The bus's side of the port."""
        raise NotImplementedError

    def _address(self, m):
        """What is offered on the address channel."""
        bus = self.block.bus
        valid, ready, address, length = (
            getattr(bus, f"{self.channel}{name}") for name in ("valid", "ready", "addr", "len")
        )
        size = CONFIG.bus_bytes
        end = Signal(ADDRESS.width + 1)  # behind the burst's last byte
        held = Signal(len(address) + len(length))
        waits = self._waits
        m.d.comb += end.eq(address + (length + 1) * size)
        # Two cycles behind an abort, or one behind an error, no burst begins.
        late = Signal()
        m.d.sync += [
            waits.eq(valid & ~ready),
            held.eq(Cat(address, length)),
            late.eq(self._stopped),
        ]
        with m.If(waits):
            m.d.comb += Assert(valid & (held == Cat(address, length)))
        with m.Elif(valid):
            m.d.comb += Assert(~(self._stopped & late) & (self.block.error == 0))
        with m.If(valid):
            m.d.comb += [
                Assert(address % size == 0),
                Assert(length < BURST),
                Assert((address >= self.base) & (end <= self.base + self.size)),
                Assert(address // BOUNDARY == (end - 1) // BOUNDARY),
            ]


class ReadRules(_Master):
    """`Reader`, on a bus that answers what was asked for; `rready` never falls.

    There is room for each word that comes.
    """

    channel = "ar"
    planned = ("ASK",)
    inputs = {
        "arready": In(1),
        "rvalid": In(1),
        "rdata": In(WORD),
        "rresp": In(2),
        "rlast": In(1),
        "taken": In(1),
    }

    def _drive(self, m):
        """Answers with any words, codes and ends, but with no more beats than were asked for."""
        bus = self.block.bus
        left = Signal(16)  # beats that were asked for and have not come
        asked = bus.arvalid & bus.arready
        m.d.comb += [
            bus.arready.eq(self.arready),
            bus.rvalid.eq(self.rvalid & (left != 0)),
            bus.rdata.eq(self.rdata),
            bus.rresp.eq(self.rresp),
            bus.rlast.eq(self.rlast),
            self.block.o.ready.eq(self.taken),
            Assume(self.rresp != 1),
            Assert(bus.rready),
            Assert(~bus.rvalid | self.block.inside["buffer"].w_rdy),
        ]
        m.d.sync += left.eq(left + Mux(asked, bus.arlen + 1, 0) - bus.rvalid)
        self._states(m, left)

    def _states(self, m, left):
        """What waits, what is buffered, and what an abort waits for."""
        block = self.block
        buffer, free = (block.inside[name] for name in ("buffer", "free"))
        depth = buffer.depth
        in_ask = ongoing(block, "ASK")
        quiet = (free == depth) & ~block.o.valid
        m.d.comb += [
            Assert(ongoing(block, "IDLE", "CHECK", "PLAN", *self.planned)),
            # Of the buffer's words each is free, or awaited, or there.
            Assert((left <= depth) & (free <= depth) & (buffer.level <= depth)),
            Assert(free + left + buffer.level == depth),
            Assert(buffer.r_rdy | (buffer.level <= 1)),
            # Once offered, an address stays: in its state alone.
            Assert(block.inside["offering"] == self._waits),
            Assert(~self._waits | (in_ask & (free >= block.run.length))),
            Assert(~(block.inside["aborting"] & block.o.valid)),
        ]
        aborts(m, block, self._stopped, ongoing(block, "IDLE") & quiet)


class WriteRules(_Master):
    """`Writer`, on a bus that takes address, data and answers when it likes."""

    channel = "aw"
    planned = ("ADDRESS", "DATA", "RESPONSE")
    inputs = {
        "awready": In(1),
        "wready": In(1),
        "bvalid": In(1),
        "bresp": In(2),
        "data": In(stream.Signature(WORD)),
    }

    def _drive(self, m):
        """Takes what it likes when it likes; the rules of data and answers."""
        bus = self.block.bus
        data = self.block.i_data
        left = Signal(8)  # beats of the burst whose address was taken
        owed = Signal()  # its answer
        beats = Signal(8)
        held = Signal(len(bus.wdata) + len(bus.wstrb) + 1)
        waits = Signal()
        now = Cat(bus.wdata, bus.wstrb, bus.wlast)
        m.d.comb += [
            bus.awready.eq(self.awready),
            bus.wready.eq(self.wready),
            bus.bvalid.eq(self.bvalid & owed),
            bus.bresp.eq(self.bresp),
            Assume(self.bresp != 1),
            data.valid.eq(self.data.valid),
            data.payload.eq(self.data.payload),
            self.data.ready.eq(data.ready),
            beats.eq(bus.awlen + 1),
            # No data before its address, none too much, and WLAST with the last.
            Assert(~bus.wvalid | (left != 0)),
            Assert(~bus.wvalid | (bus.wlast == (left == 1))),
            # One burst at a time.
            Assert(~bus.awvalid | ((left == 0) & ~owed)),
            # From an abort on no word is taken, and nothing is done.
            Assert(~data.ready | ~(self._stopped | self.abort)),
            Assert(~self.block.done | ~self._stopped),
        ]
        m.d.sync += [
            waits.eq(bus.wvalid & ~bus.wready),
            held.eq(now),
        ]
        with m.If(waits):
            m.d.comb += Assert(bus.wvalid & (held == now))
        with m.If(bus.awvalid & bus.awready):
            m.d.sync += [
                left.eq(beats),
                owed.eq(0),
            ]
        with m.Elif(bus.wvalid & bus.wready):
            m.d.sync += [
                left.eq(left - 1),
                owed.eq(left == 1),
            ]
        with m.If(bus.bvalid & bus.bready):
            m.d.sync += owed.eq(0)
        self._states(m, left, owed)

    def _states(self, m, left, owed):
        """What each state says of the burst, and of error and abort."""
        block = self.block
        in_data = ongoing(block, "DATA")
        m.d.comb += [
            Assert(ongoing(block, "IDLE", "CHECK", "PLAN", *self.planned)),
            Assert((left != 0) == in_data),
            Assert(~in_data | ((left == block.inside["beats"]) & (left <= block.run.length))),
            Assert(owed == ongoing(block, "RESPONSE")),
            Assert((block.error == 0) | ongoing(block, "IDLE")),
        ]
        aborts(m, block, self._stopped, ongoing(block, "IDLE"))


DMA = "hw.bus.dma"
BUS = (
    Property(
        "Reader: bursts inside the window and 4 KiB, none behind abort or error, room for words",
        f"{DMA}:Reader",
        lambda block: ReadRules(partial(block, outstanding=OUTSTANDING)),
        1,
        True,
        (
            Mutant(
                "self.bus.arvalid.eq(offering | (room & ~stop))",
                "self.bus.arvalid.eq(room & ~stop)",
            ),
            Mutant(
                "self.bus.arvalid.eq(offering | (room & ~stop))",
                "self.bus.arvalid.eq(offering | room)",
            ),
            Mutant(
                "self.error.eq(Mux(self.error == 0, Error.WINDOW, self.error))",
                "self.error.eq(Error.WINDOW)",
            ),
            Mutant("bus.rready.eq(1)", "bus.rready.eq(~drop)"),
            Mutant("(free >= run.length) & finals", "(free != 0) & finals"),
        ),
        mutant_depth=14,
        quick_mutants=False,
    ),
    Property(
        "Writer: bursts inside the window and 4 KiB, WLAST, nothing withdrawn, none behind abort",
        f"{DMA}:Writer",
        WriteRules,
        1,
        True,
        (
            Mutant("bus.wlast.eq(beats == 1)", "bus.wlast.eq(beats == 2)"),
            Mutant("self.done.eq(~aborting)", "self.done.eq(1)"),
            Mutant("sending & ~aborting & ~self.abort & (~full", "sending & ~aborting & (~full"),
            Mutant(
                'm.next = "ADDRESS"\n                with m.If(aborting):',
                'm.next = "ADDRESS"\n                with m.If(0):',
            ),
            Mutant(
                "run.outside):\n                    m.d.sync += self.error.eq(Error.WINDOW)",
                "0):\n                    m.d.sync += self.error.eq(Error.WINDOW)",
            ),
        ),
    ),
)
