# SPDX-License-Identifier: Apache-2.0
"""A monitor of a block's streams: what is offered stays until it is taken."""

from amaranth import Const, Module, Signal, Value
from amaranth.hdl import Assert, Assume, Fragment
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import Out

__all__ = ["Stable", "moves"]


def moves(port):
    """A word of the stream is taken in this cycle."""
    return port.valid & port.ready


class Stable(wiring.Component):
    """A block whose ports are all free: what an output stream offers stays until it is taken.

    Assumed is what the block's docstring asks of its users: a word offered to it stays as well, and
    the ports `steady` do not change and those of `once` are high in one cycle at most.
    """

    def __init__(self, block, steady=(), once=()):
        self.block = block
        self._steady = steady
        self._once = once
        super().__init__(dict(block.signature.members))

    def elaborate(self, platform):
        m = Module()
        block = self.block
        # Its states are known when it is made.
        m.submodules.block = Fragment.get(block, platform)
        self._connect(m)
        begun = Signal()
        m.d.sync += begun.eq(1)
        for name in self._steady:
            now = Value.cast(getattr(block, name))
            before = Signal.like(now, name=f"{name}_before")
            m.d.sync += before.eq(now)
            m.d.comb += Assume(~begun | (now == before))
        for name in self._once:
            pulse = getattr(block, name)
            came = Signal(name=f"{name}_came")
            m.d.sync += came.eq(came | pulse)
            m.d.comb += Assume(~(came & pulse))
        self._contract(m)
        for name, member in block.signature.members.items():
            single = member.is_signature and not member.dimensions
            if single and isinstance(member.signature, stream.Signature):
                self._hold(m, name, Assert if member.flow == Out else Assume)
        return m

    def _connect(self, m):
        """The block's ports are this component's."""
        wiring.connect(m, wiring.flipped(self), self.block)

    def _hold(self, m, name, check):
        """The stream's word stays while it is not taken, and nothing may withdraw it."""
        port = getattr(self.block, name)
        word = Value.cast(self._word(name))
        waits = Signal(name=f"{name}_waits")
        held = Signal.like(word, name=f"{name}_held")
        m.d.sync += [
            waits.eq(port.valid & ~port.ready & ~self._withdraws(name)),
            held.eq(word),
        ]
        m.d.comb += check(~waits | self._yields(name) | (port.valid & (word == held)))

    def _word(self, name):
        """Of what a stream offers, what must stay."""
        return getattr(self.block, name).payload

    def _withdraws(self, name):
        """Whether a cycle may be the last one of a word that is not taken."""
        return Const(0)

    def _yields(self, name):
        """Whether a word that waited may be gone in this cycle."""
        return Const(0)

    def _contract(self, m):
        """What the block's docstring asks of its users besides."""
