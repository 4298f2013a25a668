# SPDX-License-Identifier: Apache-2.0
"""A `Board` at the pins that every board of amaranth-boards has under the same names."""

from amaranth.lib import io

__all__ = ["connect_pins", "give_pin", "take_pin"]


def take_pin(m, port):
    """What comes in at a port of `platform.request(..., dir="-")`."""
    buffer = io.Buffer("i", port)
    m.submodules += buffer
    return buffer.i


def give_pin(m, port, value):
    """What goes out at one."""
    buffer = io.Buffer("o", port)
    m.submodules += buffer
    m.d.comb += buffer.o.eq(value)


def connect_pins(m, platform, board, flash="spi_flash"):
    """Serial line, the resource `flash` but for its clock, two lights; returns the flash's pins.

    Light 0: the image is not copied yet; light 1: the machine has something to tell (irq).
    """
    uart = platform.request("uart", 0, dir="-")
    flash = platform.request(flash, 0, dir="-")
    m.d.comb += [
        board.rx.eq(take_pin(m, uart.rx)),
        board.flash_taken.eq(take_pin(m, flash.cipo)),
    ]
    # The platform inverts what the schematic does: hold and write protection are off.
    for port, value in (
        (uart.tx, board.tx),
        (platform.request("led", 0, dir="-"), board.copying),
        (platform.request("led", 1, dir="-"), board.irq),
        (flash.cs, ~board.flash_select_n),
        (flash.copi, board.flash_given),
        (flash.hold, 0),
        (flash.wp, 0),
    ):
        give_pin(m, port, value)
    return flash
