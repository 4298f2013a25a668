# SPDX-License-Identifier: Apache-2.0
"""The selected slots one after another, for the engines that work on each alone."""

from amaranth import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.rows.layouts import slot_layout
from hw.shapes import index, slot_mask

__all__ = ["SlotWalk", "walk_layout"]


def walk_layout(config):
    """One slot of a walk.

    number, selected : the slot, as a number and as its bit of a mask
    layer, start, count : what the slot table has of it
    last : no slot of the mask comes behind it
    """
    entry = slot_layout(config).members
    return data.StructLayout(
        {
            "number": index(config.slots),
            "selected": slot_mask(config),
            # An engine asks for no more, and each bit is held in every walk.
            **{name: entry[name] for name in ("layer", "start", "count")},
            "last": 1,
        }
    )


class SlotWalk(wiring.Component):
    """The slots of a mask, the lowest number first, each with its layer and rows.

    The first one is on `o` in the cycle after `start`, then one a cycle. Stalled: it waits on `o`.
    A mask without slots gives nothing.

    Parameters
    ----------
    config : HardwareConfig

    Members
    -------
    start : In(1), pulse: begin with `mask`, in place of what is left of the mask before
    mask : In(slot_mask)
    slots : In(array of slot_layout), stable for the slots that are still to come
    o : Out(stream of walk_layout), combinational from `slots`
    held : Out(walk_layout), register: the slot that was taken last, as it was then

    Attributes
    ----------
    pending : the slots that are still to come, once it is elaborated
    """

    def __init__(self, config):
        self.config = config
        super().__init__(
            {
                "start": In(1),
                "mask": In(slot_mask(config)),
                "slots": In(data.ArrayLayout(slot_layout(config), config.slots)),
                "o": Out(stream.Signature(walk_layout(config))),
                "held": Out(walk_layout(config)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        pending = self.pending = Signal(slot_mask(self.config))
        # The bits that stay when the lowest one is taken away; a carry finds it, so there is no
        # priority encoder.
        rest = pending & (pending - 1)
        walk = self.o.payload
        m.d.comb += [
            self.o.valid.eq(pending != 0),
            walk.selected.eq(pending & ~rest),
            walk.last.eq(rest == 0),
        ]
        for number, slot in enumerate(self.slots):
            with m.If(walk.selected[number]):
                m.d.comb += [
                    walk.number.eq(number),
                    walk.layer.eq(slot.layer),
                    walk.start.eq(slot.start),
                    walk.count.eq(slot.count),
                ]
        # Held, because the table moves on while an engine works on the slot: a compaction counts
        # its rows anew.
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += [
                pending.eq(rest),
                self.held.eq(walk),
            ]
        with m.If(self.start):
            m.d.sync += pending.eq(self.mask)
        return m
