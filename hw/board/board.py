# SPDX-License-Identifier: Apache-2.0
"""The accelerator with all that a board puts around it: serial line, memory, flash."""

from amaranth import DomainRenamer, Module, Mux
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.accelerator import Accelerator
from hw.board.access import Access
from hw.board.bridge import Bridge
from hw.board.copier import ImageCopier
from hw.board.crossing import Crossing
from hw.board.flash import Flash
from hw.board.flash_port import FlashPort
from hw.board.memory_port import MemoryPort
from hw.board.sdram import Sdram, memory_run, memory_word, sdram_pins
from hw.board.uart import Uart
from hw.bus import axi
from hw.stream import Skid

__all__ = ["BAUD", "FASTER", "FLASH_ANSWERS", "MEMORY", "MEMORY_ANSWERS", "Board"]

BAUD = 1_000_000
FASTER = 2  # of the memory's clock: its 16 bits bring 32 in a cycle of the machine
MEMORY = "memory"  # its clock domain
RUNS = 4  # on their way to the memory
WORDS = 16  # on their way to it and back
PATIENCE = 0.1  # seconds after which half a request is forgotten
# How memory and flash answer the machine, in its cycles, for a simulation without them: cycles to a
# burst's first word, bytes a cycle from there on, and bursts at a time. The memory: both crossings
# and `Sdram`'s own cycles, rows' openings and refreshes spread over a burst of 64 words.
MEMORY_ANSWERS = {"latency": 13, "bytes_per_cycle": 3.7}
FLASH_ANSWERS = {"latency": 80 + 65 + 10, "bytes_per_cycle": 4 / 65, "bursts": 1}


class Board(wiring.Component):
    """A host at the serial line uses registers, memory and flash of the machine.

    The domain `memory` runs `FASTER` times as fast as `sync`. At the start the image is copied from
    the flash into the memory; requests that come before wait.

    Parameters
    ----------
    config : HardwareConfig with `bus_bits` 32
    clock : Hz of the domain `sync`
    baud : bits in a second of the serial line
    memory : Sdram, by default, or BlockMemory; it works in the domain `memory`

    Members
    -------
    rx, tx : the serial line
    flash_select_n, flash_clock, flash_given, flash_taken : the flash's pins, see `Flash`
    sdram_* : the pins of an Sdram, see `sdram_pins`; in the domain `memory`
    copying : Out(1), the image is not in the memory yet
    irq : Out(1), the machine's
    """

    def __init__(self, config, clock, baud=BAUD, memory=None):
        if config.bus_bits != 32:
            raise ValueError(f"A board's bus_bits must be 32, not {config.bus_bits}")
        self.config = config
        self._clock = clock
        self._baud = baud
        self._controller = memory or Sdram(clock * FASTER)
        pins = sdram_pins() if isinstance(self._controller, Sdram) else {}
        self._pins = {f"sdram_{name}": name for name in pins}
        super().__init__(
            {
                "rx": In(1, init=1),
                "tx": Out(1, init=1),
                "flash_select_n": Out(1, init=1),
                "flash_clock": Out(1),
                "flash_given": Out(1),
                "flash_taken": In(1),
                "copying": Out(1),
                "irq": Out(1),
                **{f"sdram_{name}": member for name, member in pins.items()},
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.accelerator = self._accelerator = Accelerator(self.config)
        m.submodules.access = self._access = Access()
        m.submodules.copier = self._copier = ImageCopier()
        self._line(m)
        self._memory(m)
        self._flash(m)
        for name in axi.lite(1).members:
            _join(m, self._accelerator, f"s_axil_{name}", getattr(self._access.bus, name))
        m.d.comb += [
            self.copying.eq(self._copier.busy),
            self.irq.eq(self._accelerator.irq),
        ]
        return m

    def _line(self, m):
        """The host's requests."""
        m.submodules.uart = uart = Uart(round(self._clock / self._baud))
        m.submodules.bridge = bridge = Bridge(round(self._clock * PATIENCE))
        m.d.comb += [
            uart.rx.eq(self.rx),
            self.tx.eq(uart.tx),
        ]
        wiring.connect(m, uart.i, bridge.i)
        wiring.connect(m, bridge.o, uart.o)
        wiring.connect(m, bridge.o_access, self._access.i)
        wiring.connect(m, self._access.o, bridge.i_done)

    def _memory(self, m):
        """The machine, the copier and the host share it."""
        m.submodules.memory_port = port = MemoryPort()
        memory = self._controller
        m.submodules.memory = DomainRenamer(MEMORY)(memory)
        answers = memory.o.payload.shape()
        m.submodules.runs = runs = Crossing(memory_run(), RUNS, target=MEMORY)
        m.submodules.given = given = Crossing(memory_word(), WORDS, target=MEMORY)
        m.submodules.taken = taken = Crossing(answers, WORDS, source=MEMORY)
        wiring.connect(m, port.run, runs.i)
        wiring.connect(m, port.data, given.i)
        wiring.connect(m, runs.o, memory.i)
        # The memory takes a word late in its cycle, and the crossing's way to the next one is long.
        m.submodules.words = words = DomainRenamer(MEMORY)(Skid(memory_word()))
        wiring.connect(m, given.o, words.i)
        wiring.connect(m, words.o, memory.i_data)
        wiring.connect(m, taken.o, port.words)
        # Who asks for words has room for them, so the crossing never fills.
        m.d.comb += [
            taken.i.valid.eq(memory.o.valid),
            taken.i.payload.eq(memory.o.payload),
        ]
        for name in axi.master(1).members:
            _join(m, self._accelerator, f"m_axi_{name}", getattr(port.bus, name))
        for outer, name in self._pins.items():
            _join(m, memory, name, getattr(self, outer))
        self._share(m, self._copier.memory, self._access.memory, port.i)
        self._share(m, self._copier.memory_done, self._access.memory_done, port.o, back=True)

    def _flash(self, m):
        """The embeddings' place; what the memory is filled from."""
        m.submodules.flash = flash = Flash()
        m.submodules.flash_port = port = FlashPort()
        wiring.connect(m, port.run, flash.i)
        wiring.connect(m, flash.o, port.words)
        m.d.comb += [
            self.flash_select_n.eq(flash.select_n),
            self.flash_clock.eq(flash.clock),
            self.flash_given.eq(flash.given),
            flash.taken.eq(self.flash_taken),
        ]
        for name in axi.read_signature(1).members:
            _join(m, self._accelerator, f"m_axi_emb_{name}", getattr(port.bus, name))
        self._share(m, self._copier.flash, self._access.flash, port.i)
        self._share(m, self._copier.words, self._access.flash_word, port.o, back=True)

    def _share(self, m, first, second, one, back=False):
        """A stream of the copier's while it works, then the host's; `back` for one to them."""
        # The host's turn begins when the copier's has ended, for good: nothing is under way then.
        busy = self._copier.busy
        if back:
            m.d.comb += [
                first.payload.eq(one.payload),
                second.payload.eq(one.payload),
                first.valid.eq(one.valid & busy),
                second.valid.eq(one.valid & ~busy),
                one.ready.eq(Mux(busy, first.ready, second.ready)),
            ]
        else:
            m.d.comb += [
                one.payload.eq(Mux(busy, first.payload.as_value(), second.payload.as_value())),
                one.valid.eq(Mux(busy, first.valid, second.valid)),
                first.ready.eq(one.ready & busy),
                second.ready.eq(one.ready & ~busy),
            ]


def _join(m, submodule, name, outside):
    """Join the port `name` of a submodule with a signal outside of it."""
    port = getattr(submodule, name)
    outward = submodule.signature.members[name].flow == Out
    target, source = (outside, port) if outward else (port, outside)
    m.d.comb += target.eq(source)
