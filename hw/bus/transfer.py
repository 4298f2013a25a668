# SPDX-License-Identifier: Apache-2.0
"""One contiguous run of words on the bus, inside a window: what `Reader` and `Writer` share."""

from amaranth import Mux, Signal, unsigned
from amaranth.lib import data
from amaranth.utils import ceil_log2

__all__ = ["ERROR", "Run", "bus_word", "check_burst", "request", "word"]

BURST = 16  # beats of a burst, unless a port is given another length
ADDRESS = 3  # cycles from a request to its first address
NEXT = 2  # from a burst's address to the next one's, at least

ERROR = unsigned(8)  # a code of firmware.registers.Error


def request():
    """A transfer: byte address (a multiple of the bus word), count, and the window [base, base + size) in bytes that it must lie in.

    `words` are bus words for `Reader`, 32-bit words for `Writer`; at least 1.
    """
    return data.StructLayout({"address": 32, "words": 32, "base": 32, "size": 32})


def bus_word(config):
    """One word of the bus; `last` of its request."""
    return data.StructLayout({"data": config.bus_bits, "last": 1})


def word():
    """One 32-bit word; `last` of its request."""
    return data.StructLayout({"data": 32, "last": 1})


class Run:
    """Where a transfer stands: the registers that `Reader` and `Writer` share. `left` counts bus words."""

    def __init__(self, bus_bytes, burst):
        self._shift = ceil_log2(bus_bytes)
        self._burst = burst
        self.address = Signal(32)
        self.left = Signal(32)
        self._end = Signal(38)
        self._limit = Signal(33)
        self._refused = Signal()
        self.length = Signal(range(burst + 1))

    def take(self, payload, unit):
        """Statements that start the transfer `payload`, whose words have `unit` bytes."""
        per_bus = self._shift - ceil_log2(unit)  # log2 of words in a bus word
        refused = (
            (payload.address < payload.base)
            | (payload.address[: self._shift] != 0)
            | (payload.words == 0)
            | (payload.words[:per_bus] != 0)
        )
        return [
            self.address.eq(payload.address),
            self.left.eq(payload.words[per_bus:]),
            self._refused.eq(refused),
            self._end.eq(payload.address + payload.words.shift_left(ceil_log2(unit))),
            self._limit.eq(payload.base + payload.size),
        ]

    @property
    def outside(self):
        """Whether the transfer just taken must be refused; a window that passes the end of the address space does not wrap."""
        wraps = self._end[33:].any() | (self._end[32] & self._end[:32].any())
        return self._refused | wraps | (self._end > self._limit)

    def plan(self):
        """Statement that sets the length of the next burst: up to the next multiple of the greatest length."""
        index = self.address[self._shift :][: ceil_log2(self._burst)]
        room = self._burst - index
        return self.length.eq(Mux(self.left < room, self.left, room))

    def step(self):
        """Statements that pass over the planned burst."""
        return [
            self.address.eq(self.address + self.length.shift_left(self._shift)),
            self.left.eq(self.left - self.length),
        ]

    @property
    def final(self):
        """Whether the planned burst is the last one."""
        return self.left == self.length


def check_burst(config, burst):
    if burst not in (16, 32, 64):
        raise ValueError(f"Burst must be 16, 32 or 64 beats, not {burst!r}")
    if burst * config.bus_bytes > 4096:
        raise ValueError(f"Burst must be at most 4096 bytes, not {burst * config.bus_bytes}")
