# SPDX-License-Identifier: Apache-2.0
"""AXI4 masters: `Reader` and `Writer` move one contiguous run of bus words for each request.

Every burst is aligned to its greatest length, so none crosses 4 KiB. A failure is kept in `error`
until `abort`; neither block ever leaves a burst unfinished, because an interconnect that waits for
the rest of one hangs for everybody.
"""

from amaranth import Cat, Module, Mux, ResetInserter, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import SyncFIFO, SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from firmware.error_codes import Error
from hw.bus import axi
from hw.bus.transfer import BURST, Run, bus_word, check_burst, transfer_layout
from hw.checks import check_count
from hw.shapes import BYTE, ERROR, WORD
from hw.stream import Skid

__all__ = ["Reader", "Writer"]

# Cycles from the bus to a reader's output: a queue in block RAM, and the registers behind it.
BUFFERED = 3


class Reader(wiring.Component):
    """Reads runs of bus words.

    Latency: `ADDRESS_CYCLES` of hw/bus/transfer.py from request to address, `BUFFERED` from the bus
    to `o`; a burst every `NEXT` cycles. Throughput: one bus word per cycle, up to `outstanding`
    full bursts in flight, also of successive requests. Stalled: a burst is only asked for when
    there is room for all of it, so `rready` never falls and a stalled `o` holds up nobody else on
    the bus.

    A request outside its window or of no words starts nothing: error WINDOW. On SLVERR or DECERR
    the words received before it are still delivered, all later ones are dropped (READ_SLVERR,
    READ_DECERR). After an error no request is taken until `abort`.

    Parameters
    ----------
    config : HardwareConfig
    burst : greatest burst length, 16, 32 or 64 beats
    outstanding : full bursts in flight and buffered, at least 1

    Members
    -------
    i_request : In(stream of request()), counted in bus words
    o : Out(stream of bus_word(config)), from registers; withdrawn after a cycle with `abort`
    abort : In(1), pulse or level: forget request and error, drop what is buffered or still arrives
    error : Out(ERROR), code of the first failure since `abort`
    idle : Out(1), nothing is requested, in flight or buffered, and no abort is going on
    bus : Out(axi.read), AXI4 read manager

    Attributes
    ----------
    run, fsm, inside : the request, the states, and further registers by name, once it is elaborated
    """

    def __init__(self, config, *, burst=BURST, outstanding=4):
        check_burst(config, burst)
        check_count("Outstanding", outstanding)
        self.config = config
        self._burst = burst
        self._outstanding = outstanding
        self._depth = burst * outstanding
        super().__init__(
            {
                "i_request": In(stream.Signature(transfer_layout())),
                "o": Out(stream.Signature(bus_word(config))),
                "abort": In(1),
                "error": Out(ERROR),
                "idle": Out(1),
                "bus": Out(axi.read_signature(config.bus_bits)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        run = Run(self.config.bus_bytes, self._burst)
        free = Signal(range(self._depth + 1), init=self._depth)  # words of room, not yet asked for
        aborting = Signal()
        asked = Signal()
        freed = Signal(range(3))
        quiet = (free == self._depth) & ~self.o.valid
        m.d.sync += free.eq(free + freed - Mux(asked, run.length, 0))
        finals, buffer = self._receive(m, aborting, freed)
        self.run = run
        self.inside = {"aborting": aborting, "free": free, "buffer": buffer}
        m.d.comb += [
            self.bus.araddr.eq(run.address),
            self.bus.arlen.eq(run.length - 1),
            asked.eq(self.bus.arvalid & self.bus.arready),
            finals.w_data.eq(run.final),
            finals.w_en.eq(asked),
        ]
        with m.FSM() as self.fsm:
            # Takes a request. An abort ends here, when everything in flight has arrived.
            with m.State("IDLE"):
                m.d.comb += self.i_request.ready.eq((self.error == 0) & ~aborting & ~self.abort)
                m.d.comb += self.idle.eq(quiet & ~aborting)
                m.d.sync += run.take(self.i_request.payload, self.config.bus_bytes)
                with m.If(self.i_request.valid & self.i_request.ready):
                    m.next = "CHECK"
                with m.Elif(aborting & quiet):
                    m.d.sync += [
                        aborting.eq(0),
                        self.error.eq(0),
                    ]
            # Is it inside its window?
            with m.State("CHECK"):
                m.next = "PLAN"
                with m.If(run.outside):
                    m.d.sync += self.error.eq(Mux(self.error == 0, Error.WINDOW, self.error))
                    m.next = "IDLE"
            # How long is the next burst?
            with m.State("PLAN"):
                m.d.sync += run.plan()
                m.next = "ASK"
            # Waits for room, and until the address is taken.
            with m.State("ASK"):
                stop = aborting | (self.error != 0)
                with m.If(asked):
                    m.d.sync += run.step()
                    m.next = "PLAN"
                    with m.If(stop | run.final):
                        m.next = "IDLE"
                with m.Elif(stop & ~self.bus.arvalid):
                    m.next = "IDLE"
                self._offer(m, asked, stop, (free >= run.length) & finals.w_rdy)
        with m.If(self.abort):
            m.d.sync += aborting.eq(1)
        return m

    def _offer(self, m, asked, stop, room):
        """Raise `arvalid` when there is room; then it stays, whatever happens, until taken."""
        # AXI4 forbids to withdraw an address, so an abort must wait for it too.
        offering = Signal()
        self.inside["offering"] = offering
        m.d.comb += self.bus.arvalid.eq(offering | (room & ~stop))
        m.d.sync += offering.eq(self.bus.arvalid & ~asked)

    def _receive(self, m, aborting, freed):
        """Beats into the buffer or nowhere.

        Returns the queue that says of each burst asked for whether it is its request's last one,
        and the buffer.
        """
        bus = self.bus
        # A short request takes a whole entry: twice as many as full bursts keep the bus busy.
        m.submodules.finals = finals = SyncFIFO(width=1, depth=2 * self._outstanding)
        m.submodules.buffer = buffer = SyncFIFOBuffered(
            width=self.config.bus_bits + 1, depth=self._depth
        )
        beat = Signal()
        bad = Signal()
        discard = aborting | self.abort
        # The block RAM's own output is slow, and half of the machine decides when a word is taken.
        output = Skid(self.o.payload.shape())
        m.submodules.output = ResetInserter(discard)(output)
        drop = discard | (self.error != 0)
        m.d.comb += [
            bus.rready.eq(1),
            beat.eq(bus.rvalid),
            bad.eq(beat & bus.rresp[1]),
            finals.r_en.eq(beat & bus.rlast),
            buffer.w_data.eq(Cat(bus.rdata, bus.rlast & finals.r_data)),
            buffer.w_en.eq(beat & ~bad & ~drop),
            buffer.r_en.eq(output.i.ready | discard),
            freed.eq((buffer.r_rdy & buffer.r_en) + (beat & ~buffer.w_en)),
            output.i.payload.eq(buffer.r_data),
            output.i.valid.eq(buffer.r_rdy),
        ]
        wiring.connect(m, output.o, wiring.flipped(self.o))
        with m.If(bad & ~drop):
            m.d.sync += self.error.eq(Mux(bus.rresp[0], Error.READ_DECERR, Error.READ_SLVERR))
        return finals, buffer


class Writer(wiring.Component):
    """Writes runs of 32-bit words, whole bus words at a time.

    Latency: `ADDRESS_CYCLES` from request to address. Throughput: one burst in flight, one 32-bit
    word per cycle within it. Stalled by `i_data` the write channel waits.

    A request outside its window, of no words or of parts of bus words starts nothing: error WINDOW.
    SLVERR and DECERR give WRITE_ERROR, and nothing more is written. After an error no request and
    no data is taken until `abort`.

    Parameters
    ----------
    config : HardwareConfig
    burst : greatest burst length, 16, 32 or 64 beats

    Members
    -------
    i_request : In(stream of request()), counted in 32-bit words
    i_data : In(stream of WORD), exactly those of the request are taken
    abort : In(1), pulse or level: finish the burst that was begun with its strobes off, then forget
        request and error
    done : Out(1), pulse: all of a request is written and acknowledged
    error : Out(ERROR), code of the failure, until `abort`
    idle : Out(1), no request, and no abort is going on
    bus : Out(axi.write), AXI4 write manager

    Attributes
    ----------
    run, fsm, inside : as `Reader`'s
    """

    def __init__(self, config, *, burst=BURST):
        check_burst(config, burst)
        self.config = config
        self._burst = burst
        super().__init__(
            {
                "i_request": In(stream.Signature(transfer_layout())),
                "i_data": In(stream.Signature(WORD)),
                "abort": In(1),
                "done": Out(1),
                "error": Out(ERROR),
                "idle": Out(1),
                "bus": Out(axi.write(config.bus_bits)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        run = Run(self.config.bus_bytes, self._burst)
        bus = self.bus
        aborting = Signal()
        sending = Signal()
        self._gather(m, aborting, sending)
        self.run = run
        self.inside = {"aborting": aborting}
        m.d.comb += [
            bus.awaddr.eq(run.address),
            bus.awlen.eq(run.length - 1),
        ]
        with m.FSM() as self.fsm:
            # Takes a request. An abort ends here.
            with m.State("IDLE"):
                m.d.comb += [
                    self.idle.eq(~aborting),
                    self.i_request.ready.eq((self.error == 0) & ~aborting & ~self.abort),
                ]
                m.d.sync += run.take(self.i_request.payload, WORD.width // BYTE.width)
                with m.If(self.i_request.valid & self.i_request.ready):
                    m.next = "CHECK"
                with m.Elif(aborting):
                    m.d.sync += [
                        aborting.eq(0),
                        self.error.eq(0),
                    ]
            # Is it inside its window?
            with m.State("CHECK"):
                m.next = "PLAN"
                with m.If(run.outside):
                    m.d.sync += self.error.eq(Error.WINDOW)
                    m.next = "IDLE"
            # How long is the next burst? An abort ends between two.
            with m.State("PLAN"):
                m.d.sync += run.plan()
                m.next = "ADDRESS"
                with m.If(aborting):
                    m.next = "IDLE"
            self._burst_states(m, run, aborting, sending)
        with m.If(self.abort):
            m.d.sync += aborting.eq(1)
        return m

    def _burst_states(self, m, run, aborting, sending):
        """Three states: the burst's address, its beats, its response."""
        bus = self.bus
        beats = Signal(range(self._burst + 1))
        self.inside["beats"] = beats
        m.d.comb += bus.wlast.eq(beats == 1)
        # Waits until the address is taken.
        with m.State("ADDRESS"):
            m.d.comb += bus.awvalid.eq(1)
            m.d.sync += beats.eq(run.length)
            with m.If(bus.awready):
                m.next = "DATA"
        # The burst's beats.
        with m.State("DATA"):
            m.d.comb += sending.eq(1)
            with m.If(bus.wvalid & bus.wready):
                m.d.sync += beats.eq(beats - 1)
                with m.If(bus.wlast):
                    m.next = "RESPONSE"
        # Waits for the burst's response.
        with m.State("RESPONSE"):
            m.d.comb += bus.bready.eq(1)
            with m.If(bus.bvalid):
                self._respond(m, run, aborting)

    def _gather(self, m, aborting, sending):
        """32-bit words into a bus word, and that to the bus while `sending`."""
        bus = self.bus
        parts = self.config.bus_bits // WORD.width
        part = Signal(range(parts))
        full = Signal()
        taken = Signal()
        # An abort must still send the beats that the address has promised: they have no strobes, so
        # they write nothing.
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
                bus.wdata.word_select(part, WORD.width).eq(self.i_data.payload),
                part.eq(part + 1),
                full.eq(part == parts - 1),
            ]

    def _respond(self, m, run, aborting):
        """What a write response leads to: the next burst, the end, or an error."""
        m.d.sync += run.step()
        m.next = "PLAN"
        with m.If(self.bus.bresp[1]):
            m.d.sync += self.error.eq(Error.WRITE_ERROR)
            m.next = "IDLE"
        with m.Elif(run.final):
            m.d.comb += self.done.eq(~aborting)
            m.next = "IDLE"
