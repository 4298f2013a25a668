# SPDX-License-Identifier: Apache-2.0
"""A queue in block RAM whose words can be read again: a lane's weights, once for each tile."""

from amaranth import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.checks import check_count, check_shape

__all__ = ["NO_COLLISIONS", "Ring"]

LATENCY = 3  # cycles, also from a rewind to the next word

# No word is read in the cycle in which it is written: no bypass is needed around the memory.
NO_COLLISIONS = {"no_rw_check": 1}


class Ring(wiring.Component):
    """A queue that can go back to the first word that was not released.

    Latency `LATENCY` cycles, one word a cycle; as many from a rewind to the next word. Stalled: the
    word on `o` is held, with the next one behind it; `i` is taken until `depth` words are not
    released.

    Parameters
    ----------
    shape : of a word
    depth : words, a power of two

    Members
    -------
    i : In(stream of `shape`)
    o : Out(stream of `shape`)
    release : In(1), the word that is taken from `o` in this cycle, and all before it, are given up
    rewind : In(1), after the word that is taken in this cycle start again
    """

    def __init__(self, shape, depth):
        check_shape("Word", shape)
        check_count("Depth", depth)
        # Places are numbers of twice the depth: those of a full and of an empty ring differ in the
        # highest bit alone, and the others are the address.
        if depth & (depth - 1):
            raise ValueError(f"Depth must be a power of two, not {depth}")
        self._shape = shape
        self._depth = depth
        super().__init__(
            {
                "i": In(stream.Signature(shape)),
                "o": Out(stream.Signature(shape)),
                "release": In(1),
                "rewind": In(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = Memory(
            shape=self._shape, depth=self._depth, init=[], attrs=NO_COLLISIONS
        )
        written = Signal(range(2 * self._depth))  # the place behind the last word
        base = Signal.like(written)  # the place of the first word that was not released
        self._write(m, memory.write_port(), written, base)
        self._read(m, memory.read_port(), written, base)
        return m

    def _write(self, m, write, written, base):
        """Words in, until all places are full."""
        full = Signal()
        following = Signal.like(written)
        m.d.comb += [
            self.i.ready.eq(~full),
            following.eq(written + 1),
            write.en.eq(self.i.valid & self.i.ready),
            write.addr.eq(written),
            write.data.eq(self.i.payload),
        ]
        # A register, which sees a released word a cycle late: a comparison in front of `i.ready`
        # would lengthen the way back through the decoder to the weight stream.
        m.d.sync += full.eq((written ^ base) == self._depth)
        with m.If(write.en):
            m.d.sync += [
                written.eq(following),
                full.eq((following ^ base) == self._depth),
            ]

    def _read(self, m, read, written, base):
        """Words out, through the port's register and one behind it; releases and rewinds."""
        fetched = Signal.like(written)  # the place of the next word to be read
        fetch = Signal()  # it is read
        middle = Signal()  # the port's register holds a word
        move = Signal()  # that goes to `o`
        behind_middle = Signal.like(written)  # the place behind the word there
        behind_output = Signal.like(written)
        output = Signal(self._shape, reset_less=True)
        m.d.comb += [
            read.addr.eq(fetched),
            move.eq(~self.o.valid | self.o.ready),
            fetch.eq(~middle | move),
            read.en.eq(fetch),
            self.o.p.eq(output),
        ]
        with m.If(fetch):
            m.d.sync += middle.eq(fetched != written)
            m.d.sync += behind_middle.eq(fetched + 1)
            with m.If(fetched != written):
                m.d.sync += fetched.eq(fetched + 1)
        with m.If(move):
            m.d.sync += [
                self.o.valid.eq(middle),
                output.eq(read.data),
                behind_output.eq(behind_middle),
            ]
        # What was read ahead is thrown away by a rewind, and read again.
        with m.If(self.o.valid & self.o.ready):
            with m.If(self.release):
                m.d.sync += base.eq(behind_output)
            with m.If(self.rewind):
                m.d.sync += [
                    fetched.eq(base),
                    middle.eq(0),
                    self.o.valid.eq(0),
                ]
