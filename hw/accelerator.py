# SPDX-License-Identifier: Apache-2.0
"""The accelerator: registers, image loader, bus masters and the core, and who works when."""

from amaranth import Cat, Module, Mux, ResetInserter, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import Out

from firmware.error_codes import Error
from firmware.registers import ADDRESS_BITS
from hw.bus import axi
from hw.bus.dma import Reader, Writer
from hw.bus.loader import Loader
from hw.bus.registers import Registers
from hw.core import Core, queue_layout
from hw.counters.counting import accumulate
from hw.queue.dvfs import dvfs_ports
from hw.queue.embedding import Embedder
from hw.shapes import CYCLES, ERROR, PC, WORD
from hw.trace import taps

__all__ = ["Accelerator"]

# Registers that say where the images lie; a run works on those that were loaded.
PLACES = ("image_base", "image_size", "embedding_base", "embedding_size")
# Of the memory port, which weights come through: enough on their way for a latency of 400 cycles.
BURST = 64
OUTSTANDING = 8


class Accelerator(wiring.Component):
    """The top: what docs/machine.md shows from the outside (ports) and as blocks.

    CONTROL.LOAD checks and loads the image, CONTROL.START runs the queue. The first error stops
    everything: bursts under way are drained, code and instruction number are kept, `irq` rises.
    CONTROL.RESET then forgets all but the written registers.

    A load takes about one cycle for each bus word of the image; how long a queue takes is told by
    sim/cycles/model.py. Stalled by either bus, it waits where it is, until WATCHDOG cycles have
    passed without progress.

    Parameters
    ----------
    config : HardwareConfig
    trace : bool, with the observation taps of hw/trace.py

    Members
    -------
    s_axil_* : AXI4-Lite subordinate, the registers of firmware/registers.py
    m_axi_* : AXI4 manager, `bus_bits` wide: image, queue, tokens, results
    m_axi_emb_* : AXI4 manager that only reads, as wide: the embedding image
    dvfs_* : request of an operating point, see `Dvfs`; with the unit `dvfs`
    irq : Out(1), a cause is set that is enabled
    trace_* : Out(taps(config)) and their valid bits; with `trace`
    """

    def __init__(self, config, *, trace=False):
        self.config = config
        self.trace = trace
        self.core = Core(config)
        members = axi.flat("s_axil", axi.lite(ADDRESS_BITS).flip()) | axi.flat(
            "m_axi", axi.master(config.bus_bits)
        )
        members |= axi.flat("m_axi_emb", axi.read_signature(config.bus_bits)) | {"irq": Out(1)}
        if "dvfs" in config.units:
            members |= dvfs_ports()
        if trace:
            members |= {f"trace_{name}": Out(layout) for name, layout in taps(config).items()}
            members |= {f"trace_{name}_valid": Out(1) for name in taps(config)}
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        config = self.config
        m.submodules.registers = self.registers = Registers(config)
        m.submodules.loader = self.loader = Loader(config)
        m.submodules.reader = self.reader = Reader(config, burst=BURST, outstanding=OUTSTANDING)
        m.submodules.embedder = self.embedder = Embedder(config)
        m.submodules.writer = self.writer = Writer(config)
        self.reset = Signal()
        # A soft reset is the core's reset: no state of an abandoned run has to be undone by hand.
        # From a register, because it goes everywhere.
        self.core_reset = Signal()
        m.submodules.core = ResetInserter(self.core_reset)(self.core)
        self.loading = Signal()
        self.running = Signal()
        self.failed = Signal()
        self.done = Signal()
        self.error = Signal(ERROR)
        self.error_pc = Signal(PC)
        # What the host has written is looked at when it commands: it may write on meanwhile.
        self.queue = Signal(queue_layout())
        self.places = Signal(data.StructLayout(dict.fromkeys(PLACES, WORD)))
        axi.attach(m, self, "s_axil", self.registers.bus)
        axi.attach(m, self, "m_axi", self.reader.bus)
        axi.attach(m, self, "m_axi", self.writer.bus)
        axi.attach(m, self, "m_axi_emb", self.embedder.bus)
        m.d.comb += self.irq.eq(self.registers.irq)
        self._settings(m)
        self._control(m)
        self._ports(m)
        if "counters" in config.units:
            accumulate(m, self)
        self._observe(m)
        return m

    def _settings(self, m):
        """Registers to the loader and the core."""
        registers = self.registers
        queue = self.queue
        loader = self.loader
        with m.If(self.loader.start):
            m.d.sync += [self.places[name].eq(getattr(registers, name)) for name in PLACES]
        # A limit of nothing, or of more than there are, means all slots: the reset value works.
        limit = registers.slot_limit
        usable = (limit != 0) & (limit < self.config.slots)
        with m.If(self.core.start):
            m.d.sync += [
                *(queue[name].eq(getattr(registers, name)) for name in queue.shape().members),
                queue.slot_limit.eq(Mux(usable, limit, self.config.slots)),
            ]
        m.d.comb += [
            *(getattr(loader, name).eq(self.places[name]) for name in PLACES),
            self.core.queue.eq(queue),
            self.core.image_base.eq(self.places.image_base),
            self.core.image_size.eq(self.places.image_size),
            self.core.image.eq(loader.image),
            self.core.constant_valid.eq(loader.o_constant.valid),
            self.core.constant.eq(loader.o_constant.payload),
            loader.o_constant.ready.eq(1),
            registers.exit_threshold_load.eq(loader.done & (loader.error == 0)),
            registers.exit_threshold_value.eq(loader.image.exit_threshold),
            registers.sentences_done.eq(self.core.finished),
        ]

    def _control(self, m):
        """Loading, running, failing and being reset; one of them at a time."""
        registers = self.registers
        self.abort = Signal()
        # To the register a cycle late: loader and core end late in theirs.
        self.causes = Signal.like(registers.irq_cause_set)
        m.d.sync += registers.irq_cause_set.eq(self.causes)
        error, wrong = self._error(m)
        idle = self._masters(m)
        self._status(m)
        m.d.comb += self.loader.abort.eq(self.reset)
        with m.FSM():
            # The host may command.
            with m.State("IDLE"):
                self._accept(m)
                self._reset(m)
            # The loader reads and checks both images.
            with m.State("LOADING"):
                m.d.comb += self.loading.eq(1)
                with m.If(self.loader.done & ~wrong):
                    m.d.comb += self.causes.loaded.eq(1)
                    m.next = "IDLE"
                self._stop(m, wrong, error)
            # The core works through the queue.
            with m.State("RUNNING"):
                m.d.comb += self.running.eq(1)
                with m.If(self.core.done):
                    m.d.sync += self.done.eq(1)
                    m.d.comb += self.causes.done.eq(1)
                    m.next = "IDLE"
                self._stop(m, wrong, error)
            # Everything stands still, for the host to read what happened.
            with m.State("FAILED"):
                m.d.comb += [
                    self.abort.eq(1),
                    self.failed.eq(1),
                ]
                self._reset(m)
            # The masters ask for nothing more, what happened is forgotten.
            with m.State("RESET"):
                m.d.comb += [
                    self.abort.eq(1),
                    self.reset.eq(1),
                ]
                m.d.sync += [
                    self.core_reset.eq(1),
                    self.done.eq(0),
                    self.error.eq(0),
                    self.error_pc.eq(0),
                ]
                m.next = "DRAIN"
            # Bursts that the bus has accepted come to their end, as AXI demands.
            with m.State("DRAIN"):
                m.d.comb += self.reset.eq(1)
                m.d.sync += self.core_reset.eq(~idle)
                with m.If(idle):
                    m.next = "IDLE"

    def _status(self, m):
        """What the host reads of all this."""
        registers = self.registers
        # A command counts as busy from the cycle in which it is there: a driver that sees its write
        # answered and reads STATUS at once must not take it for done.
        commanded = registers.control.as_value().any()
        m.d.comb += [
            registers.status.busy.eq(self.loading | self.running | self.reset | commanded),
            registers.status.loaded.eq(self.loader.loaded),
            registers.status.error.eq(self.failed),
            registers.status.done.eq(self.done),
            registers.error.eq(self.error),
            registers.error_pc.eq(self.error_pc),
        ]

    def _accept(self, m):
        """Begin what CONTROL says; a start without an image ends at once with NOT_LOADED."""
        control = self.registers.control
        with m.If(control.load):
            m.d.comb += self.loader.start.eq(1)
            m.next = "LOADING"
        with m.Elif(control.start):
            m.d.comb += self.core.start.eq(self.loader.loaded)
            m.d.sync += self.done.eq(0)
            m.next = "RUNNING"

    def _stop(self, m, wrong, error):
        """Leave this state where something is `wrong`: the registers keep the error; or reset."""
        with m.If(wrong):
            # Weights are fetched for operations that have not begun: their number, not that of the
            # one at work, goes with a fault of the memory port.
            read = (self.reader.error != 0) | self.core.damaged
            pc = Mux(read, self.core.read_pc, self.core.pc)
            m.d.sync += [
                self.error.eq(error),
                self.error_pc.eq(Mux(self.running, pc, 0)),
            ]
            m.d.comb += self.causes.error.eq(1)
            m.next = "FAILED"
        self._reset(m)

    def _reset(self, m):
        """Leave this state for a soft reset."""
        with m.If(self.registers.control.reset):
            m.next = "RESET"

    def _masters(self, m):
        """Abort all bus masters when told so; returns whether nothing is in flight."""
        masters = self.reader, self.embedder, self.writer
        m.d.comb += [master.abort.eq(self.abort) for master in masters]
        return masters[0].idle & masters[1].idle & masters[2].idle

    def _error(self, m):
        """(code of the first cause below that holds in this cycle, whether any does)."""
        error = Signal(ERROR)
        waited = Signal(CYCLES)
        limit = self.registers.watchdog
        embedding = self.embedder.error
        # A row that points outside the embedding image is that sentence's fault and is told in its
        # record; a bus that answers with an error is everybody's.
        bus_error = (embedding != 0) & (embedding != Error.WINDOW) & self.running
        # A load waits for words of either port, a run for whatever moves in the core.
        words = self.reader.o, self.embedder.o_data
        progress = Mux(
            self.running,
            self.core.progress,
            (words[0].valid & words[0].ready) | (words[1].valid & words[1].ready),
        )
        m.d.sync += waited.eq(Mux((self.loading | self.running) & ~progress, waited + 1, 0))
        causes = (
            (self.core.fault != 0, self.core.fault),
            (self.core.damaged, Error.IMAGE_SECTION),
            (self.reader.error != 0, self.reader.error),
            (self.writer.error != 0, self.writer.error),
            (bus_error, Error.EMBEDDING_BUS),
            (self.loading & (self.loader.error != 0), self.loader.error),
            (self.running & ~self.loader.loaded, Error.NOT_LOADED),
            ((limit != 0) & (waited >= limit), Error.WATCHDOG),
        )
        for cause, code in reversed(causes):
            with m.If(cause):
                m.d.comb += error.eq(code)
        return error, Cat(cause for cause, _ in causes).any()

    def _ports(self, m):
        """Reader and embedder serve the loader while it loads, else the core."""
        loader = self.loader
        core = self.core
        reader = self.reader
        embedder = self.embedder
        m.d.comb += [
            reader.i_request.valid.eq(
                Mux(self.loading, loader.o_request.valid, core.o_request.valid & self.running)
            ),
            reader.i_request.payload.eq(
                Mux(
                    self.loading,
                    loader.o_request.payload.as_value(),
                    core.o_request.payload.as_value(),
                )
            ),
            loader.o_request.ready.eq(reader.i_request.ready & self.loading),
            core.o_request.ready.eq(reader.i_request.ready & self.running),
            loader.i_data.valid.eq(reader.o.valid & self.loading),
            loader.i_data.payload.eq(reader.o.payload),
            core.words.valid.eq(reader.o.valid & self.running),
            core.words.payload.eq(reader.o.payload),
            reader.o.ready.eq(Mux(self.loading, loader.i_data.ready, core.words.ready)),
            embedder.loading.eq(self.loading),
            embedder.base.eq(self.places.embedding_base),
            embedder.size.eq(self.places.embedding_size),
            embedder.table.eq(loader.embedding),
            embedder.word_shift.eq(core.shifts.word),
            embedder.position_shift.eq(core.shifts.position),
            embedder.segment_shift.eq(core.shifts.segment),
        ]
        wiring.connect(m, loader.o_embedding_request, embedder.i_request)
        wiring.connect(m, embedder.o_data, loader.i_embedding_data)
        wiring.connect(m, core.o_token, embedder.i)
        m.d.comb += [
            core.feature_valid.eq(embedder.feature_valid),
            core.feature.eq(embedder.feature),
        ]
        wiring.connect(m, embedder.o_done, core.token_done)
        m.d.comb += [
            loader.i_error.eq(self.reader.error),
            loader.i_embedding_error.eq(embedder.error),
            self.writer.i_request.valid.eq(core.o_result.valid & self.running),
            self.writer.i_request.payload.eq(core.o_result.payload),
            core.o_result.ready.eq(self.writer.i_request.ready & self.running),
            self.writer.i_data.valid.eq(core.result_data.valid),
            self.writer.i_data.payload.eq(core.result_data.payload),
            core.result_data.ready.eq(self.writer.i_data.ready),
        ]
        # A register, because much waits for it, and it comes straight from the bus.
        m.d.sync += core.result_done.eq(self.writer.done)

    def _observe(self, m):
        """Ports of the core that the outside sees: operating point requests, and the taps."""
        names = [*dvfs_ports()] if "dvfs" in self.config.units else []
        if self.trace:
            names += [f"trace_{name}{end}" for name in taps(self.config) for end in ("", "_valid")]
        for name in names:
            port = getattr(self, name)
            inner = getattr(self.core, name)
            outward = self.signature.members[name].flow == Out
            target, source = (port, inner) if outward else (inner, port)
            m.d.comb += target.eq(source)
