# SPDX-License-Identifier: Apache-2.0
"""A block's AXI port as streams, so that a bench plays it as it plays every other stream."""

from amaranth import Module
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["BusStreams"]

CHANNELS = ("ar", "r", "aw", "w", "b")
HANDSHAKE = ("valid", "ready")


class BusStreams(wiring.Component):
    """The block with a stream for each channel of its port `bus`: `ar`, `r`, `aw`, `w`, `b`.

    A payload has the channel's other signals, by the names that they have behind the channel's. All
    other members are the block's streams.
    """

    def __init__(self, block):
        self._block = block
        members = dict(block.signature.members)
        del members["bus"]
        for channel in CHANNELS:
            fields = self._fields(channel)
            if fields:
                inward = self._inward(f"{channel}valid")
                layout = data.StructLayout({name: one.shape for name, one in fields.items()})
                members[channel] = (In if inward else Out)(stream.Signature(layout))
        super().__init__(members)

    def _fields(self, channel):
        """{name behind the channel's: member} of a payload."""
        return {
            name.removeprefix(channel): member
            for name, member in self._block.bus.signature.members.items()
            if name.startswith(channel) and name.removeprefix(channel) not in HANDSHAKE
        }

    def _inward(self, name):
        return self._block.bus.signature.members[name].flow == In

    def elaborate(self, platform):
        m = Module()
        m.submodules.block = block = self._block
        for name in block.signature.members:
            if name != "bus":
                wiring.connect(m, wiring.flipped(getattr(self, name)), getattr(block, name))
        for channel in CHANNELS:
            for name in self._fields(channel):
                self._join(m, f"{channel}{name}", getattr(self, channel).payload[name])
            if self._fields(channel):
                for name in HANDSHAKE:
                    self._join(m, f"{channel}{name}", getattr(getattr(self, channel), name))
        return m

    def _join(self, m, name, outer):
        """A signal of the bus with one of a stream."""
        inner = getattr(self._block.bus, name)
        target, source = (inner, outer) if self._inward(name) else (outer, inner)
        m.d.comb += target.eq(source)
