# SPDX-License-Identifier: Apache-2.0
"""ULX3S with an LFE5U-85F: clocks, pins, and the registers in them (github.com/emard/ulx3s)."""

from amaranth import Cat, ClockDomain, ClockSignal, Const, Elaboratable, Instance, Module, Signal
from amaranth.lib import io
from amaranth.lib.cdc import ResetSynchronizer
from amaranth_boards.ulx3s import ULX3S_85F_Platform

from hw.board.board import BAUD, FASTER, MEMORY, Board
from hw.board.kinds import Kind
from hw.board.pins import connect_pins, take_pin

__all__ = ["KIND", "Ulx3s", "dividers"]

CRYSTAL = 25e6
OSCILLATOR = 400e6, 800e6  # that the PLL allows
DETECTOR = 3.125e6  # Hz of its phase detector, at least


def dividers(clock):
    """(of the crystal, of the feedback, of the memory's clock, of the machine's, Hz reached).

    The memory's clock is fed back, so it is crystal * feedback / input. The fastest machine's clock
    that is not above `clock`; ValueError where there is none.
    """
    found = []
    for before in range(1, int(CRYSTAL / DETECTOR) + 1):
        for feedback in range(1, 81):
            memory = CRYSTAL * feedback / before
            after = int(OSCILLATOR[1] / memory)
            if memory / FASTER <= clock and 1 <= after <= 64 and memory * after >= OSCILLATOR[0]:
                found.append((memory / FASTER, -before, feedback, after))
    if not found:
        raise ValueError(f"The PLL cannot make {clock / 1e6:g} MHz from {CRYSTAL / 1e6:g} MHz")
    reached, before, feedback, after = max(found)
    return -before, feedback, after, FASTER * after, reached


class Ulx3s(Elaboratable):
    """`Board` on the pins of a ULX3S; only this knows them.

    Host: the USB connector US1 (FT231X). Lights: see `connect_pins`. Button F1 starts anew, from
    the flash.

    config : HardwareConfig; clock : Hz at most, and as an attribute what it is
    """

    def __init__(self, config, clock, baud=BAUD):
        self._dividers = dividers(clock)
        self.clock = self._dividers[-1]
        self.board = Board(config, self.clock, baud)

    def elaborate(self, platform):
        m = Module()
        m.submodules.board = board = self.board
        self._clocks(m, platform)
        connect_pins(m, platform, board)
        # The flash's clock has no pin of its own: it is that of the configuration.
        m.submodules.flash_clock = Instance(
            "USRMCLK", i_USRMCLKI=board.flash_clock, i_USRMCLKTS=Const(0)
        )
        self._sdram(m, platform)
        return m

    def _clocks(self, m, platform):
        """The machine's clock and the memory's, and a reset until both are steady."""
        before, feedback, after, slower, _ = self._dividers
        clocks = Signal(2)
        locked = Signal()
        m.domains.sync = ClockDomain()
        m.domains += ClockDomain(MEMORY)
        m.submodules.pll = Instance(
            "EHXPLLL",
            p_FEEDBK_PATH="CLKOP",
            p_CLKI_DIV=before,
            p_CLKFB_DIV=feedback,
            p_CLKOP_ENABLE="ENABLED",
            p_CLKOP_DIV=after,
            p_CLKOP_CPHASE=after - 1,
            p_CLKOS_ENABLE="ENABLED",
            p_CLKOS_DIV=slower,
            p_CLKOS_CPHASE=slower - 1,
            a_FREQUENCY_PIN_CLKI=f"{CRYSTAL / 1e6:g}",
            i_CLKI=take_pin(m, platform.request("clk25", 0, dir="-")),
            i_CLKFB=clocks[0],
            i_RST=Const(0),
            i_STDBY=Const(0),
            o_CLKOP=clocks[0],
            o_CLKOS=clocks[1],
            o_LOCK=locked,
        )
        again = take_pin(m, platform.request("button_fire", 0, dir="-"))
        for domain, clock in ((MEMORY, clocks[0]), ("sync", clocks[1])):
            m.d.comb += ClockSignal(domain).eq(clock)
            m.submodules[f"reset_{domain}"] = ResetSynchronizer(~locked | again, domain=domain)

    def _sdram(self, m, platform):
        """A register in every pin; the chip's clock turned by half a period."""
        board = self.board
        pins = platform.request("sdram", 0, dir="-")
        m.submodules.clock = clock = io.DDRBuffer("o", pins.clk, o_domain=MEMORY)
        m.d.comb += [
            clock.o[0].eq(0),
            clock.o[1].eq(1),
        ]
        # Chip select and clock enable are high for good.
        given = {
            "clk_en": 1,
            "cs": 1,
            "we": ~board.sdram_command[0],
            "cas": ~board.sdram_command[1],
            "ras": ~board.sdram_command[2],
            "ba": board.sdram_bank,
            "a": board.sdram_address,
            "dqm": board.sdram_mask,
        }
        for name, value in given.items():
            m.submodules[f"pin_{name}"] = buffer = io.FFBuffer(
                "o", getattr(pins, name), o_domain=MEMORY
            )
            m.d.comb += buffer.o.eq(value)
        m.submodules.pin_dq = data = io.FFBuffer("io", pins.dq, i_domain=MEMORY, o_domain=MEMORY)
        m.d.comb += [
            data.o.eq(board.sdram_given),
            data.oe.eq(Cat(board.sdram_drive)),
            board.sdram_taken.eq(data.i),
        ]


KIND = Kind(
    hw="ci",
    clock=50e6,
    platform=lambda: ULX3S_85F_Platform(toolchain="Trellis"),
    top=Ulx3s,
    device="85k",
    flash="ulx3s",
)
