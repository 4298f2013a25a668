# SPDX-License-Identifier: Apache-2.0
"""AXI4 masters: `Reader` and `Writer` move one contiguous run of bus words per request, inside a window that the request names.

Every burst is aligned to its greatest length, so none crosses 4 KiB. A failure is kept in `error` (codes of `firmware.registers.Error`)
until `abort`; neither block ever leaves a burst unfinished.
"""

from amaranth import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import SyncFIFO, SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from firmware.error_codes import Error
from hw.bus import axi
from hw.bus.transfer import BURST, ERROR, Run, bus_word, check_burst, request, word

__all__ = ["Reader", "Words", "Writer", "bus_word", "request", "word"]

BUFFERED = (
    3  # cycles from the bus to a reader's output: a queue in block RAM, and the register behind it
)


class Reader(wiring.Component):
    """Reads runs of bus words.

    Latency: `ADDRESS` cycles from request to address, `BUFFERED` from the bus to `o`; a burst every `NEXT`
    cycles. Throughput: one bus word per cycle, up to `outstanding` full bursts in flight, also of successive requests. Stalled: a burst is only asked for when there is room for all of it, so `rready` never
    falls and a stalled `o` holds up nobody else on the bus.
    A request outside its window or of no words starts nothing: error WINDOW. On SLVERR or DECERR the words received before it are
    still delivered, all later ones are dropped (READ_SLVERR, READ_DECERR). After an error no request is taken until `abort`.

    Parameters
    ----------
    config : HardwareConfig
    burst : greatest burst length, 16, 32 or 64 beats
    outstanding : full bursts in flight and buffered

    Members
    -------
    i_request : stream of `request()`
    o : stream of `bus_word(config)`, from registers; withdrawn after a cycle with `abort`
    abort : forget the request, drop what is buffered or still arrives, forget the error; pulse or level
    error : code of the first failure since `abort`
    idle : nothing requested, in flight or buffered, and no abort is going on; not affected by `error`
    bus : AXI4 read manager
    """

    def __init__(self, config, *, burst=BURST, outstanding=4):
        check_burst(config, burst)
        self._config = config
        self._burst = burst
        self._outstanding = outstanding
        self._depth = burst * outstanding
        super().__init__(
            {
                "i_request": In(stream.Signature(request())),
                "o": Out(stream.Signature(bus_word(config))),
                "abort": In(1),
                "error": Out(ERROR),
                "idle": Out(1),
                "bus": Out(axi.read(config.bus_bits)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        run = Run(self._config.bus_bytes, self._burst)
        free = Signal(range(self._depth + 1), init=self._depth)
        aborting = Signal()
        asked = Signal()
        freed = Signal(2)
        quiet = (free == self._depth) & ~self.o.valid
        m.d.sync += free.eq(free + freed - Mux(asked, run.length, 0))
        finals = self._receive(m, aborting, freed)
        m.d.comb += [
            self.bus.araddr.eq(run.address),
            self.bus.arlen.eq(run.length - 1),
            asked.eq(self.bus.arvalid & self.bus.arready),
            finals.w_data.eq(run.final),
            finals.w_en.eq(asked),
        ]
        with m.FSM():
            with m.State("Idle"):
                m.d.comb += self.i_request.ready.eq((self.error == 0) & ~aborting & ~self.abort)
                m.d.comb += self.idle.eq(quiet & ~aborting)
                m.d.sync += run.take(self.i_request.payload, self._config.bus_bytes)
                with m.If(self.i_request.valid & self.i_request.ready):
                    m.next = "Check"
                with m.Elif(aborting & quiet):
                    m.d.sync += [
                        aborting.eq(0),
                        self.error.eq(0),
                    ]
            with m.State("Check"):
                m.next = "Plan"
                with m.If(run.outside):
                    m.d.sync += self.error.eq(Mux(self.error == 0, Error.WINDOW, self.error))
                    m.next = "Idle"
            with m.State("Plan"):
                m.d.sync += run.plan()
                m.next = "Ask"
            with m.State("Ask"):
                stop = aborting | (self.error != 0)
                with m.If(asked):
                    m.d.sync += run.step()
                    m.next = "Plan"
                    with m.If(stop | run.final):
                        m.next = "Idle"
                with m.Elif(stop & ~self.bus.arvalid):
                    m.next = "Idle"
                self._offer(m, asked, stop, (free >= run.length) & finals.w_rdy)
        with m.If(self.abort):
            m.d.sync += aborting.eq(1)
        return m

    def _offer(self, m, asked, stop, room):
        """Raise `arvalid` when there is room; then it stays, whatever happens, until the address is taken."""
        offering = Signal()
        m.d.comb += self.bus.arvalid.eq(offering | (room & ~stop))
        m.d.sync += offering.eq(self.bus.arvalid & ~asked)

    def _receive(self, m, aborting, freed):
        """Beats into the buffer or nowhere; returns the queue that says of each burst asked for whether it ends its request."""
        bus = self.bus
        m.submodules.finals = finals = SyncFIFO(width=1, depth=2 * self._outstanding)
        m.submodules.buffer = buffer = SyncFIFOBuffered(
            width=self._config.bus_bits + 1, depth=self._depth
        )
        beat = Signal()
        bad = Signal()
        discard = aborting | self.abort
        drop = discard | (self.error != 0)
        m.d.comb += [
            bus.rready.eq(1),
            beat.eq(bus.rvalid),
            bad.eq(beat & bus.rresp[1]),
            finals.r_en.eq(beat & bus.rlast),
            buffer.w_data.eq(Cat(bus.rdata, bus.rlast & finals.r_data)),
            buffer.w_en.eq(beat & ~bad & ~drop),
            buffer.r_en.eq(self.o.ready | ~self.o.valid | discard),
            freed.eq((buffer.r_rdy & buffer.r_en) + (beat & ~buffer.w_en)),
        ]
        with m.If(buffer.r_en):  # a block RAM needs a register behind it
            m.d.sync += [
                self.o.payload.eq(buffer.r_data),
                self.o.valid.eq(buffer.r_rdy & ~discard),
            ]
        with m.If(bad & ~drop):
            m.d.sync += self.error.eq(Mux(bus.rresp[0], Error.READ_DECERR, Error.READ_SLVERR))
        return finals


class Words(wiring.Component):
    """Splits bus words into 32-bit words, the lowest first.

    Latency 0 (combinational), one 32-bit word per cycle; holds its input until the last part of it is taken.

    Parameters
    ----------
    config : HardwareConfig

    Members
    -------
    i : stream of `bus_word(config)`
    o : stream of `word()`; `last` on the highest part of the last bus word
    clear : start the next bus word at its lowest part (after an abort)
    """

    def __init__(self, config):
        self._parts = config.bus_bits // 32
        super().__init__(
            {
                "i": In(stream.Signature(bus_word(config))),
                "o": Out(stream.Signature(word())),
                "clear": In(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        part = Signal(range(self._parts))
        highest = part == self._parts - 1
        m.d.comb += [
            self.o.valid.eq(self.i.valid),
            self.o.payload.data.eq(self.i.payload.data.word_select(part, 32)),
            self.o.payload.last.eq(self.i.payload.last & highest),
            self.i.ready.eq(self.o.ready & highest),
        ]
        with m.If(self.clear):
            m.d.sync += part.eq(0)
        with m.Elif(self.o.valid & self.o.ready):
            m.d.sync += part.eq(part + 1)  # a power of two of parts: wraps
        return m


class Writer(wiring.Component):
    """Writes runs of 32-bit words, whole bus words at a time.

    Latency: `ADDRESS` cycles from request to address; one burst in flight; one 32-bit word per cycle within a burst. Stalled by `i_data` the
    write channel waits. A request outside its window, of no words or of parts of bus words starts nothing: error WINDOW. SLVERR and
    DECERR give WRITE_ERROR, and nothing more is written. After an error no request and no data is taken until `abort`.

    Parameters
    ----------
    config : HardwareConfig
    burst : greatest burst length, 16, 32 or 64 beats

    Members
    -------
    i_request : stream of `request()`, counted in 32-bit words
    i_data : stream of 32-bit words; exactly those of the request are taken
    abort : finish the burst that was begun with its strobes off, then forget request and error; pulse or level
    done : pulse: all of a request is written and acknowledged
    error : code of the failure, until `abort`
    idle : no request, and no abort is going on
    bus : AXI4 write manager
    """

    def __init__(self, config, *, burst=BURST):
        check_burst(config, burst)
        self._config = config
        self._burst = burst
        super().__init__(
            {
                "i_request": In(stream.Signature(request())),
                "i_data": In(stream.Signature(unsigned(32))),
                "abort": In(1),
                "done": Out(1),
                "error": Out(ERROR),
                "idle": Out(1),
                "bus": Out(axi.write(config.bus_bits)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        run = Run(self._config.bus_bytes, self._burst)
        bus = self.bus
        aborting = Signal()
        sending = Signal()
        beats = Signal(range(self._burst + 1))
        self._gather(m, aborting, sending)
        m.d.comb += [
            bus.awaddr.eq(run.address),
            bus.awlen.eq(run.length - 1),
            bus.wlast.eq(beats == 1),
        ]
        with m.FSM():
            with m.State("Idle"):
                m.d.comb += [
                    self.idle.eq(~aborting),
                    self.i_request.ready.eq((self.error == 0) & ~aborting & ~self.abort),
                ]
                m.d.sync += run.take(self.i_request.payload, 4)
                with m.If(self.i_request.valid & self.i_request.ready):
                    m.next = "Check"
                with m.Elif(aborting):
                    m.d.sync += [
                        aborting.eq(0),
                        self.error.eq(0),
                    ]
            with m.State("Check"):
                m.next = "Plan"
                with m.If(run.outside):
                    m.d.sync += self.error.eq(Error.WINDOW)
                    m.next = "Idle"
            with m.State("Plan"):
                m.d.sync += run.plan()
                m.next = "Address"
                with m.If(aborting):
                    m.next = "Idle"
            with m.State("Address"):
                m.d.comb += bus.awvalid.eq(1)
                m.d.sync += beats.eq(run.length)
                with m.If(bus.awready):
                    m.next = "Data"
            with m.State("Data"):
                m.d.comb += sending.eq(1)
                with m.If(bus.wvalid & bus.wready):
                    m.d.sync += beats.eq(beats - 1)
                    with m.If(bus.wlast):
                        m.next = "Response"
            with m.State("Response"):
                m.d.comb += bus.bready.eq(1)
                with m.If(bus.bvalid):
                    self._respond(m, run, aborting)
        with m.If(self.abort):
            m.d.sync += aborting.eq(1)
        return m

    def _gather(self, m, aborting, sending):
        """32-bit words into a bus word, and that to the bus; an abort sends words without strobes instead."""
        bus = self.bus
        parts = self._config.bus_bits // 32
        part = Signal(range(parts))
        full = Signal()
        taken = Signal()
        m.d.comb += [
            bus.wvalid.eq(sending & (full | aborting)),
            bus.wstrb.eq(full.replicate(len(bus.wstrb))),
            taken.eq(bus.wvalid & bus.wready),
            self.i_data.ready.eq(
                sending & ~aborting & ~self.abort & (~full | (taken & ~bus.wlast))
            ),
        ]
        with m.If(taken):
            m.d.sync += full.eq(0)
        with m.If(aborting):
            m.d.sync += part.eq(0)
        with m.Elif(self.i_data.valid & self.i_data.ready):
            m.d.sync += [
                bus.wdata.word_select(part, 32).eq(self.i_data.payload),
                part.eq(part + 1),
                full.eq(part == parts - 1),
            ]

    def _respond(self, m, run, aborting):
        """What a write response leads to; called in the state that waits for it."""
        m.d.sync += run.step()
        m.next = "Plan"
        with m.If(self.bus.bresp[1]):
            m.d.sync += self.error.eq(Error.WRITE_ERROR)
            m.next = "Idle"
        with m.Elif(run.final):
            m.d.comb += self.done.eq(~aborting)
            m.next = "Idle"
