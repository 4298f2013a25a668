# SPDX-License-Identifier: Apache-2.0
"""A serial flash that knows FAST READ, as a data sheet draws it: mode 0, the highest bit first."""

import cocotb
from cocotb.triggers import First, ValueChange
from cocotb.utils import get_sim_time

__all__ = ["FlashModel"]

FAST_READ = 0x0B


class FlashModel:
    """Plays the flash behind `select_n`, `clock`, `given` and `taken` of a design.

    data : what it holds, from address 0 on; it reads as 0xFF behind
    commands : addresses that were read from
    deselect : nanoseconds that it wants between two commands
    """

    def __init__(self, dut, data, prefix="", deselect=0):
        self._deselect = deselect
        self.data, self.commands = data, []
        names = ("select_n", "clock", "given", "taken")
        self._pins = [getattr(dut, f"{prefix}{name}") for name in names]
        self._pins[3].value = 0
        cocotb.start_soon(self._run())

    async def _run(self):
        """Every edge of the clock, and the command's end."""
        select, clock, given, taken = self._pins
        seen, bits = 0, 0
        ended = None  # when the last command did
        while True:
            await First(ValueChange(select), ValueChange(clock))
            now = get_sim_time("ns")
            if select.value == 1:
                # Before the reset there may be a select without a command.
                seen, bits, ended = 0, 0, now if seen else ended
            elif clock.value == 0 and not seen and ended is not None:
                assert now - ended >= self._deselect, "selected too soon"
            elif clock.value == 1 and seen < 40:
                seen, bits = seen + 1, bits << 1 | int(given.value)
                if seen == 40:
                    assert bits >> 32 == FAST_READ, f"unknown command {bits >> 32:#x}"
                    self.commands.append(bits >> 8 & 0xFFFFFF)
            elif clock.value == 0 and seen >= 40:
                place = seen - 40
                at = self.commands[-1] + place // 8
                byte = self.data[at] if at < len(self.data) else 0xFF
                taken.value = byte >> (7 - place % 8) & 1
                seen += 1
