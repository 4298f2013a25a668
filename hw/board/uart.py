# SPDX-License-Identifier: Apache-2.0
"""A serial line: eight data bits, no parity, one stop bit."""

from amaranth import Cat, Const, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

from hw.checks import check_count
from hw.shapes import BYTE

__all__ = ["Uart"]

LEAST = 4  # cycles of a bit, for its middle to be found
FRAME = 1 + BYTE.width + 1  # start bit, data, stop bit


class Uart(wiring.Component):
    """Bytes to and from a serial line, `divisor` cycles a bit.

    A byte takes ten bits. Stalled: `o` is held while a byte is sent; a byte that `i`'s user does
    not take before the next one is complete is lost, and so is one without a stop bit.

    Parameters
    ----------
    divisor : cycles of a bit, at least 4

    Members
    -------
    rx : In(1), the line in, not synchronised
    tx : Out(1), the line out
    i : Out(stream of BYTE), received
    o : In(stream of BYTE), to send
    """

    def __init__(self, divisor):
        check_count("Divisor", divisor, LEAST)
        self._divisor = divisor
        super().__init__(
            {
                "rx": In(1, init=1),
                "tx": Out(1, init=1),
                "i": Out(stream.Signature(BYTE)),
                "o": In(stream.Signature(BYTE)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        self._receive(m)
        self._send(m)
        return m

    def _receive(self, m):
        """From the falling edge of a start bit on, the middle of each bit."""
        line = Signal(init=1)
        m.submodules.rx = FFSynchronizer(self.rx, line, init=1)
        left = Signal(range(FRAME + 1))  # bits to come, the start bit among them
        wait = Signal(range(self._divisor))
        bits = Signal(FRAME - 1)
        with m.If(self.i.ready):
            m.d.sync += self.i.valid.eq(0)
        # Half a bit from the edge is the start bit's middle; whole bits lead from middle to middle.
        with m.If(left == 0):
            m.d.sync += wait.eq(self._divisor // 2 - 1)
            with m.If(~line):
                m.d.sync += left.eq(FRAME)
        with m.Elif(wait != 0):
            m.d.sync += wait.eq(wait - 1)
        with m.Else():
            m.d.sync += [
                wait.eq(self._divisor - 1),
                left.eq(left - 1),
                bits.eq(Cat(bits[1:], line)),
            ]
            # A start bit that is gone in its middle was none.
            with m.If((left == FRAME) & line):
                m.d.sync += left.eq(0)
            # The stop bit: without it nothing was a byte.
            with m.If((left == 1) & line):
                m.d.sync += [
                    self.i.valid.eq(1),
                    self.i.payload.eq(bits[1:]),
                ]

    def _send(self, m):
        """Start bit, data from the lowest bit on, stop bit."""
        # The start bit goes out when the byte is taken, the others follow a bit's time apart.
        left = Signal(range(FRAME + 1))
        wait = Signal(range(self._divisor))
        bits = Signal(FRAME - 1, init=-1)
        m.d.comb += self.o.ready.eq(left == 0)
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += [
                left.eq(FRAME),
                wait.eq(self._divisor - 1),
                bits.eq(Cat(self.o.payload, Const(1, 1))),
                self.tx.eq(0),
            ]
        with m.Elif(wait != 0):
            m.d.sync += wait.eq(wait - 1)
        with m.Elif(left != 0):
            m.d.sync += [
                left.eq(left - 1),
                wait.eq(self._divisor - 1),
                bits.eq(Cat(bits[1:], Const(1, 1))),
                self.tx.eq(bits[0]),
            ]
