# SPDX-License-Identifier: Apache-2.0
"""What an induction must know of a master's state: its request, its burst, an abort."""

from amaranth import Cat, Mux, Signal
from amaranth.hdl import Assert

from hw.shapes import ADDRESS

__all__ = ["aborts", "within"]

WIDE = ADDRESS.width + 8  # bits of any end of a request


def ongoing(block, *states):
    """The block is in one of these states."""
    return Cat(block.fsm.ongoing(state) for state in states).any()


def within(m, block, window, burst, planned):
    """The request lies in its `window` (base, size); its next burst, in the states `planned`, too.

    A burst ends where the request ends, or at a multiple of its greatest length.
    """
    base, size = window
    run = block.run
    bus_bytes = block.config.bus_bytes
    behind = Signal(WIDE)  # the request's last byte
    room = Signal(range(burst + 1))
    whole = (run.address % bus_bytes == 0) & (run.address >= base) & (run.left != 0)
    m.d.comb += [
        behind.eq(run.address + run.left * bus_bytes),
        room.eq(burst - (run.address // bus_bytes) % burst),
    ]
    with m.If(ongoing(block, "CHECK")):
        m.d.comb += [
            Assert(run._limit == base + size),
            Assert(run._refused | ((run._end == behind) & whole)),
        ]
    with m.If(ongoing(block, "PLAN", *planned)):
        m.d.comb += Assert(whole & (behind <= base + size) & (behind <= 1 << ADDRESS.width))
    with m.If(ongoing(block, *planned)):
        m.d.comb += Assert(run.length == Mux(run.left < room, run.left, room))


def aborts(m, block, stopped, rests):
    """An abort lasts until the block has come to rest: `stopped` says so a cycle longer."""
    aborting = block.inside["aborting"]
    m.d.comb += [
        Assert(~aborting | stopped),
        Assert(~stopped | aborting | (rests & (block.error == 0))),
    ]
