# SPDX-License-Identifier: Apache-2.0
"""The accelerator: registers, image loader, bus masters and the core; loading, running, failing and being reset."""

from amaranth import Module, Mux, ResetInserter, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import Out

from firmware.error_codes import Error
from firmware.registers import ADDRESS_BITS, COUNTERS
from hw.bus import axi
from hw.bus.dma import Reader, Writer
from hw.bus.loader import Loader
from hw.bus.registers import Registers
from hw.core import Core
from hw.queue.dvfs import dvfs_ports
from hw.queue.embedding import Embedder
from hw.trace import taps

__all__ = ["Accelerator"]

# Of the memory port, which weights come through: enough on their way for a latency of 400 cycles.
BURST = 64
OUTSTANDING = 8


class Accelerator(wiring.Component):
    """docs/design.md, section 2, as hardware.

    CONTROL.LOAD checks and loads the image, CONTROL.START runs the queue. The first error stops everything: bursts under way are drained, code and
    instruction number are kept, `irq` rises; CONTROL.RESET forgets it all but the written registers. A load takes about one cycle
    for each bus word of the image.

    Parameters
    ----------
    config : HardwareConfig
    trace : with the observation taps of hw/trace.py

    Members
    -------
    s_axil_* : AXI4-Lite registers (firmware/registers.py)
    m_axi_* : AXI4 memory port; m_axi_emb_* : AXI4 read-only embedding port
    dvfs_* : operating point request, see `Dvfs`
    irq : a cause is set that is enabled
    """

    def __init__(self, config, *, trace=False):
        self.config = config
        self.trace = trace
        self.core = Core(config)
        members = axi.flat("s_axil", axi.lite(ADDRESS_BITS).flip()) | axi.flat(
            "m_axi", axi.master(config.bus_bits)
        )
        members |= axi.flat("m_axi_emb", axi.read(config.bus_bits)) | {"irq": Out(1)}
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
        m.submodules.core = ResetInserter(self.reset)(self.core)
        self.loading = Signal()
        self.running = Signal()
        self.failed = Signal()
        self.done = Signal()
        self.error = Signal(8)
        self.error_pc = Signal(16)
        axi.attach(m, self, "s_axil", self.registers.bus)
        axi.attach(m, self, "m_axi", self.reader.bus)
        axi.attach(m, self, "m_axi", self.writer.bus)
        axi.attach(m, self, "m_axi_emb", self.embedder.bus)
        m.d.comb += self.irq.eq(self.registers.irq)
        self._settings(m)
        self._control(m)
        self._ports(m)
        self._count(m)
        self._observe(m)
        return m

    def _settings(self, m):
        """Registers to the loader and the core; a slot limit of nothing or too much is what the hardware has."""
        registers = self.registers
        queue = self.core.queue
        loader = self.loader
        for name in (
            "image_base",
            "image_size",
            "input_base",
            "input_size",
            "result_base",
            "result_size",
            "embedding_base",
            "embedding_size",
            "queue_base",
            "queue_count",
            "exit_threshold",
        ):
            m.d.comb += queue[name].eq(getattr(registers, name))
        for name in ("image_base", "image_size", "embedding_base", "embedding_size"):
            m.d.comb += getattr(loader, name).eq(getattr(registers, name))
        limit = registers.slot_limit
        usable = (limit != 0) & (limit < self.config.slots)
        m.d.comb += [
            queue.slot_limit.eq(Mux(usable, limit, self.config.slots)),
            self.core.image.eq(loader.image),
            self.core.constant_valid.eq(loader.o_constant.valid),
            self.core.constant.eq(loader.o_constant.payload),
            loader.o_constant.ready.eq(1),
            registers.exit_threshold_load.eq(loader.done & (loader.error == 0)),
            registers.exit_threshold_value.eq(loader.image.exit_threshold),
            registers.sentences_done.eq(self.core.finished),
        ]

    def _control(self, m):
        registers = self.registers
        loader = self.loader
        core = self.core
        self.abort = Signal()
        error = self._error(m)
        idle = self._masters(m)
        m.d.comb += [
            registers.status.busy.eq(self.loading | self.running | self.reset),
            registers.status.loaded.eq(loader.loaded),
            registers.status.error.eq(self.failed),
            loader.abort.eq(self.reset),
        ]
        with m.FSM():
            with m.State("IDLE"):
                with m.If(registers.control.load):
                    m.d.comb += loader.start.eq(1)
                    m.next = "LOADING"
                with m.Elif(registers.control.start):
                    m.d.comb += core.start.eq(loader.loaded)
                    m.d.sync += self.done.eq(0)
                    m.next = "RUNNING"
                self._reset_or(m, registers, None)
            with m.State("LOADING"):
                m.d.comb += self.loading.eq(1)
                with m.If(loader.done & (error == 0)):
                    m.d.comb += registers.irq_cause_set.loaded.eq(1)
                    m.next = "IDLE"
                self._reset_or(m, registers, error)
            with m.State("RUNNING"):
                m.d.comb += self.running.eq(1)
                with m.If(core.done):
                    m.d.sync += self.done.eq(1)
                    m.d.comb += registers.irq_cause_set.done.eq(1)
                    m.next = "IDLE"
                self._reset_or(m, registers, error)
            with m.State("FAILED"):
                m.d.comb += [
                    self.abort.eq(1),
                    self.failed.eq(1),
                ]
                self._reset_or(m, registers, None)
            with m.State("RESET"):
                m.d.comb += [
                    self.abort.eq(1),
                    self.reset.eq(1),
                ]
                m.d.sync += [
                    self.done.eq(0),
                    self.error.eq(0),
                    self.error_pc.eq(0),
                ]
                m.next = "DRAIN"
            with m.State("DRAIN"):
                m.d.comb += self.reset.eq(1)
                with m.If(idle):
                    m.next = "IDLE"
        m.d.comb += [
            registers.status.done.eq(self.done),
            registers.error.eq(self.error),
            registers.error_pc.eq(self.error_pc),
        ]

    def _reset_or(self, m, registers, error):
        """Leave this state for a soft reset, or for an error, which the registers keep."""
        if error is not None:
            with m.If(error != 0):
                pc = Mux(self.reader.error != 0, self.core.read_pc, self.core.pc)
                m.d.sync += [
                    self.error.eq(error),
                    self.error_pc.eq(Mux(self.running, pc, 0)),
                ]
                m.d.comb += registers.irq_cause_set.error.eq(1)
                m.next = "FAILED"
        with m.If(registers.control.reset):
            m.next = "RESET"

    def _masters(self, m):
        """Abort all bus masters; whether nothing is in flight."""
        masters = self.reader, self.embedder, self.writer
        m.d.comb += [master.abort.eq(self.abort) for master in masters]
        return masters[0].idle & masters[1].idle & masters[2].idle

    def _error(self, m):
        """The first of: an illegal instruction, a bus or window fault, a refused image, nothing loaded, no progress."""
        error = Signal(8)
        waited = Signal(32)
        limit = self.registers.watchdog
        embedding = self.embedder.error
        # A row that points outside the embedding image is that sentence's fault, a bus that answers with an error everybody's.
        bus_error = (embedding != 0) & (embedding != Error.WINDOW) & self.running
        words = self.reader.o, self.embedder.o_data  # that a load waits for
        progress = Mux(
            self.running,
            self.core.progress,
            (words[0].valid & words[0].ready) | (words[1].valid & words[1].ready),
        )
        m.d.sync += waited.eq(Mux((self.loading | self.running) & ~progress, waited + 1, 0))
        causes = (
            (self.core.fault != 0, self.core.fault),
            (self.reader.error != 0, self.reader.error),
            (self.writer.error != 0, self.writer.error),
            (bus_error, Error.EMBEDDING_BUS),
            (self.loading & self.loader.done, self.loader.error),
            (self.running & ~self.loader.loaded, Error.NOT_LOADED),
            ((limit != 0) & (waited >= limit), Error.WATCHDOG),
        )
        for cause, code in reversed(causes):
            with m.If(cause):
                m.d.comb += error.eq(code)
        return error

    def _ports(self, m):
        """The memory reader and the embedder serve the loader while it loads, else the core; the writer serves the core."""
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
            embedder.base.eq(self.registers.embedding_base),
            embedder.size.eq(self.registers.embedding_size),
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
            core.result_done.eq(self.writer.done),
        ]

    def _count(self, m):
        """Counters run while a queue runs and start again with each; without the unit they do not exist."""
        if "counters" not in self.config.units:
            return
        core = self.core.counters
        bus = self.config.bus_bytes
        steps = {
            name: Mux(getattr(self, f"{port}valid") & getattr(self, f"{port}ready"), bus, 0)
            for name, port in (
                ("bytes_read", "m_axi_r"),
                ("bytes_embedding", "m_axi_emb_r"),
                ("bytes_written", "m_axi_w"),
            )
        }
        steps |= {
            "cycles": self.running,
            "saturations": core.saturations + self.embedder.saturated,
            "embedding_errors": self.embedder.failed,
        }
        for name in (counter.lower() for counter in COUNTERS):
            step = steps[name] if name in steps else core[name]
            counter = Signal(64, name=f"counter_{name}")
            m.d.comb += getattr(self.registers, name).eq(counter)
            with m.If(self.core.start | self.reset):
                m.d.sync += counter.eq(0)
            with m.Elif(self.running):
                m.d.sync += counter.eq(counter + step)

    def _observe(self, m):
        """Ports of the core that the outside sees: operating point requests, and the taps."""
        names = [*dvfs_ports()] if "dvfs" in self.config.units else []
        if self.trace:
            names += [f"trace_{name}{end}" for name in taps(self.config) for end in ("", "_valid")]
        for name in names:
            port = getattr(self, name)
            inner = getattr(self.core, name)
            outward = self.signature.members[name].flow == Out
            m.d.comb += port.eq(inner) if outward else inner.eq(port)
