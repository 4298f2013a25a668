# SPDX-License-Identifier: Apache-2.0
"""Arty A7-100T: its clock and pins; the image in block RAM (digilent.com/reference/arty-a7)."""

from amaranth import ClockDomain, ClockSignal, Const, Elaboratable, Instance, Module, Signal
from amaranth.lib.cdc import ResetSynchronizer
from amaranth_boards.arty_a7 import ArtyA7_100Platform

from hw.board.block_memory import BlockMemory
from hw.board.board import BAUD, MEMORY, Board
from hw.board.kinds import Kind
from hw.board.pins import connect_pins, give_pin, take_pin

__all__ = ["KIND", "ArtyA7"]

CRYSTAL = 100e6
OSCILLATOR = 800e6, 1600e6  # that the PLL allows
DIVIDERS = 128
# Its DDR3 would need a controller of Xilinx; the image of a small model fits on the chip.
WORDS = 1 << 16


def divider(clock):
    """(factor of the crystal, divider, Hz reached): the fastest that is not above `clock`."""
    found = [
        (CRYSTAL * factor / after, -factor, after)
        for factor in range(int(OSCILLATOR[0] / CRYSTAL), int(OSCILLATOR[1] / CRYSTAL) + 1)
        for after in range(1, DIVIDERS + 1)
        if CRYSTAL * factor / after <= clock
    ]
    if not found:
        raise ValueError(f"The PLL cannot make {clock / 1e6:g} MHz from {CRYSTAL / 1e6:g} MHz")
    reached, factor, after = max(found)
    return -factor, after, reached


class ArtyA7(Elaboratable):
    """`Board` on the pins of an Arty A7-100T; only this knows them.

    Host: the USB connector (FT2232H). Lights: see `connect_pins`. The reset button starts anew,
    from the flash.

    config : HardwareConfig; clock : Hz at most, and as an attribute what it is
    """

    def __init__(self, config, clock, baud=BAUD):
        self._factor, self._after, self.clock = divider(clock)
        self.board = Board(config, self.clock, baud, BlockMemory(WORDS))

    def elaborate(self, platform):
        m = Module()
        m.submodules.board = self.board
        self._clock(m, platform)
        flash = connect_pins(m, platform, self.board, "spi_flash_1x")
        give_pin(m, flash.clk, self.board.flash_clock)
        return m

    def _clock(self, m, platform):
        """One clock for machine and memory, and a reset until it is steady."""
        feedback, made, clock, locked = (Signal() for _ in range(4))
        m.domains.sync = ClockDomain()
        m.domains += ClockDomain(MEMORY)
        m.submodules.pll = Instance(
            "PLLE2_BASE",
            p_CLKIN1_PERIOD=1e9 / CRYSTAL,
            p_CLKFBOUT_MULT=self._factor,
            p_CLKOUT0_DIVIDE=self._after,
            i_CLKIN1=take_pin(m, platform.request("clk100", 0, dir="-")),
            i_CLKFBIN=feedback,
            i_PWRDWN=Const(0),
            i_RST=Const(0),
            o_CLKFBOUT=feedback,
            o_CLKOUT0=made,
            o_LOCKED=locked,
        )
        m.submodules.buffer = Instance("BUFG", i_I=made, o_O=clock)
        again = take_pin(m, platform.request("rst", 0, dir="-"))
        for domain in ("sync", MEMORY):
            m.d.comb += ClockSignal(domain).eq(clock)
            m.submodules[f"reset_{domain}"] = ResetSynchronizer(~locked | again, domain=domain)


KIND = Kind(
    hw="ci",
    clock=50e6,
    platform=ArtyA7_100Platform,
    top=ArtyA7,
    device=None,
    flash="arty_a7_100t",
)
