# SPDX-License-Identifier: Apache-2.0
"""What every engine of an operation has in common: how it is started, on which slots, and how it says that it is done."""

from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.instruction import instruction_layout
from hw.rows.layouts import slot_layout

__all__ = ["engine_signature"]


def engine_signature(config):
    """Ports of an engine, as its own: `super().__init__({**engine_signature(config).members, ...})`.

    Members
    -------
    start : pulse; the operation's `mask` and `instruction` are there, and stay until `done`
    instruction : In(instruction_layout())
    mask : In(slots), the slots that the operation works on, at least one of them
    slots : In(array of slot_layout), the slot table, stable while the engine works
    done : pulse, in which everything that the operation writes is written
    """
    return wiring.Signature(
        {
            "start": In(1),
            "instruction": In(instruction_layout()),
            "mask": In(config.slots),
            "slots": In(data.ArrayLayout(slot_layout(config), config.slots)),
            "done": Out(1),
        }
    )
