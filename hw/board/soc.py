# SPDX-License-Identifier: Apache-2.0
"""A system on a chip: the board with a CPU in the place of the host at the serial line."""

from amaranth.lib import wiring

from hw.board.board import BAUD, Board
from hw.board.cpu import Cpu
from hw.board.uart import Uart

__all__ = ["Soc"]


class Soc(Board):
    """`Board`, but the requests are a program's; the serial line shows what it writes.

    Parameters and members are those of `Board`, and:

    program : bytes, see `Cpu`
    """

    def __init__(self, config, clock, program, baud=BAUD, memory=None):
        self._cpu = Cpu(program)
        super().__init__(config, clock, baud, memory)

    def _line(self, m):
        """The program's accesses, and its bytes to the line."""
        m.submodules.cpu = cpu = self._cpu
        m.submodules.uart = uart = Uart(round(self._clock / self._baud))
        m.d.comb += [
            uart.rx.eq(self.rx),
            self.tx.eq(uart.tx),
            # Nobody listens to the line.
            uart.i.ready.eq(1),
        ]
        wiring.connect(m, cpu.o, uart.o)
        wiring.connect(m, cpu.o_access, self._access.i)
        wiring.connect(m, self._access.o, cpu.i_done)
