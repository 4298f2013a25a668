# SPDX-License-Identifier: Apache-2.0
"""Monitors of streams of those who share a port: who goes first takes a waiting word's place."""

from amaranth import Cat, Const, Mux, Signal
from amaranth.hdl import Assume

from sim.prove.held import Stable, moves

__all__ = ["FlashRuns", "MemoryRuns", "Requests", "TakenWhenDone"]

ADDRESS_WORDS = ("addr", "len")
DATA_WORDS = ("data", "strb", "last")


class _Shared(Stable):
    """A port gives what waits on it away when somebody comes who goes first.

    Managers of its bus hold what they offer on `channels`.
    """

    port = ""
    channels: dict = {}

    def _first(self):
        """Who goes first, the very first one ahead: valid bits."""
        raise NotImplementedError

    def _yields(self, name):
        return self._came if name == self.port else Const(0)

    def _contract(self, m):
        self._came = Const(0)
        # Who comes behind one that is there already changes nothing.
        for at, valid in reversed(list(enumerate(self._first()))):
            before = Signal(name=f"first_{at}_before")
            m.d.sync += before.eq(valid)
            self._came = Mux(valid, ~before, self._came)
        for channel, words in self.channels.items():
            self._channel(m, channel, words)

    def _channel(self, m, channel, words):
        """A manager's address or data stays until it is taken."""
        bus = self.block.bus
        word = Cat(getattr(bus, f"{channel}{name}") for name in words)
        valid = getattr(bus, f"{channel}valid")
        waits = Signal(name=f"{channel}_waits")
        held = Signal(len(word), name=f"{channel}_held")
        m.d.sync += [
            waits.eq(valid & ~getattr(bus, f"{channel}ready")),
            held.eq(word),
        ]
        m.d.comb += Assume(~waits | (valid & (word == held)))


class Requests(_Shared):
    """`Reads`: a weight stream's request gives way to a short run's."""

    port = "o_request"

    def _first(self):
        return [self.block.i_short.valid]

    def _yields(self, name):
        return super()._yields(name) & self.block.o_request.valid


class FlashRuns(_Shared):
    """`FlashPort`: a burst gives way to a run of words."""

    port = "run"
    channels = {"ar": ADDRESS_WORDS}

    def _first(self):
        return [self.block.i.valid]

    def _yields(self, name):
        return super()._yields(name) & self.block.run.valid


class MemoryRuns(_Shared):
    """`MemoryPort`: a read gives way to a write, and both to a single word.

    An answer has a word if it is a read's, and no error.
    """

    port = "run"
    channels = {"aw": ADDRESS_WORDS, "w": DATA_WORDS, "ar": ADDRESS_WORDS}

    def _first(self):
        return [self.block.i.valid, self.block.bus.awvalid]

    def _word(self, name):
        word = super()._word(name)
        if name != "o":
            return word
        return Cat(word.error, Mux(word.error | self.block.i.payload.write, 0, word.data))


class TakenWhenDone(Stable):
    """`Access`: the memory takes a word in the cycle in which it answers it."""

    def _contract(self, m):
        m.d.comb += Assume(~moves(self.block.memory_done) | self.block.memory.ready)
