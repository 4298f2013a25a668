# SPDX-License-Identifier: Apache-2.0
"""What every engine of an operation has in common.

How it is started, on which slots, and how it says that it is done. The engines themselves are rows
of `ENGINES` in firmware/isa.py; docs/recipes.md tells how to add one.
"""

from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from firmware.isa import ENGINES
from hw.instruction import instruction_layout
from hw.rows.layouts import slot_layout

__all__ = ["connect_engine", "engine_bits", "engine_signature"]


def engine_bits():
    """A bit for each engine, by its name."""
    return data.StructLayout({engine.name: 1 for engine in ENGINES})


def engine_signature(config, *, followed=False):
    """Ports of an engine, as its own, for its `super().__init__({**..., })`.

    Parameters
    ----------
    config : HardwareConfig
    followed : as in the engine's row of firmware/isa.py: with `sent` and `taken`

    Members
    -------
    start : pulse; `mask` and `instruction` are there, and stay until `taken`, or else until `done`
    instruction : In(instruction_layout())
    mask : In(slots), the slots that the operation works on, at least one of them unless it is ADMIT
    slots : In(array of slot_layout), the slot table, stable while the engine works
    done : pulse, in which everything that the operation writes is written; behind the first cycle
        of `sent`, and behind the end of an operation that it followed
    sent : all of its work but the end is under way, high until `taken`
    taken : pulse: the engine is free for the next operation, while this one ends
    """
    members = {
        "start": In(1),
        "instruction": In(instruction_layout()),
        "mask": In(config.slots),
        "slots": In(data.ArrayLayout(slot_layout(config), config.slots)),
        "done": Out(1),
    }
    return wiring.Signature(members | ({"sent": Out(1), "taken": In(1)} if followed else {}))


def connect_engine(m, engine, block, issue, slots):
    """`block` does the work of `engine`, a row of `ENGINES`, when `issue` starts it.

    `issue` is `Issue`, or who passes on what it says: `start`, `done` and `sent` with a bit for
    each engine, `taken`, and `younger`, the operation that starts.
    """
    # Every engine has the younger operation's fields, although most are never followed: so the
    # contract is one, stable from `start` until it is taken or done.
    m.d.comb += [
        block.start.eq(issue.start[engine.name]),
        block.instruction.eq(issue.younger.instruction),
        block.mask.eq(issue.younger.mask),
        block.slots.eq(slots),
        issue.done[engine.name].eq(block.done),
    ]
    if engine.followed:
        m.d.comb += [
            issue.sent[engine.name].eq(block.sent),
            block.taken.eq(issue.taken & block.sent),
        ]
