# SPDX-License-Identifier: Apache-2.0
"""A stream from one clock to another."""

from amaranth import Module, Shape
from amaranth.lib import fifo, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.checks import check_count, check_shape

__all__ = ["Crossing"]


class Crossing(wiring.Component):
    """A queue of `depth` words whose ends have clocks of their own.

    Latency: one cycle of the writer's clock and three of the reader's. From a depth of 8 on a
    word passes in each cycle of the slower clock. Stalled: `o` is held, `i` is taken until the
    queue is full.

    Parameters
    ----------
    shape : of the payload
    depth : words held, a power of two
    source, target : clock domains of `i` and `o`

    Members
    -------
    i : In(stream of `shape`)
    o : Out(stream of `shape`)
    """

    def __init__(self, shape, depth, source="sync", target="sync"):
        check_shape("Payload", shape)
        check_count("Depth", depth, 2)
        if depth & (depth - 1):
            raise ValueError(f"Depth must be a power of two, not {depth}")
        self._shape = shape
        self._depth = depth
        self._domains = {"w_domain": source, "r_domain": target}
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.fifo = queue = fifo.AsyncFIFO(
            width=Shape.cast(self._shape).width,
            depth=self._depth,
            exact_depth=True,
            **self._domains,
        )
        m.d.comb += [
            queue.w_data.eq(self.i.payload),
            queue.w_en.eq(self.i.valid),
            self.i.ready.eq(queue.w_rdy),
            self.o.p.eq(queue.r_data),
            self.o.valid.eq(queue.r_rdy),
            queue.r_en.eq(self.o.ready),
        ]
        return m
