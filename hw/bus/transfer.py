# SPDX-License-Identifier: Apache-2.0
"""One contiguous run of words on the bus, inside a window: what `Reader` and `Writer` share."""

from amaranth import Mux, Signal, unsigned
from amaranth.lib import data
from amaranth.utils import ceil_log2

from hw.shapes import ADDRESS, SIZE, WIDE_COUNT, WORD

__all__ = ["Run", "bus_word", "check_burst", "transfer_layout", "word"]

BURST = 16  # beats of a burst, unless a port is given another length
BURSTS = (16, 32, 64)  # lengths that a port may be given
BOUNDARY = 4096  # bytes: AXI4 forbids bursts across a multiple of it
ADDRESS_CYCLES = 3  # from a request to its first address
NEXT = 2  # cycles from a burst's address to the next one's, at least


def transfer_layout():
    """A transfer inside a window.

    address : in bytes, a multiple of the bus word
    words : bus words for `Reader`, 32-bit words for `Writer`; at least 1
    base, size : the window [base, base + size) in bytes
    """
    return data.StructLayout(
        {"address": ADDRESS, "words": WIDE_COUNT, "base": ADDRESS, "size": SIZE}
    )


def bus_word(config):
    """One word of the bus; `last` of its request."""
    return data.StructLayout({"data": config.bus_bits, "last": 1})


def word():
    """One 32-bit word; `last` of its request."""
    return data.StructLayout({"data": WORD, "last": 1})


class Run:
    """Where a transfer stands: the registers that `Reader` and `Writer` share.

    A block takes a request, looks at `outside`, and then plans and steps over a burst at a time.
    `take`, `plan` and `step` return statements, so that the block chooses domain and state.

    address, left : of the next burst, in bytes; bus words from there on
    length : bus words of the burst that was planned last
    """

    def __init__(self, bus_bytes, burst):
        self._shift = ceil_log2(bus_bytes)
        self._burst = burst
        self.address = Signal(ADDRESS)
        self.left = Signal(WIDE_COUNT)
        # The ends need more bits than an address: a request may be 2^32 words, a window end at
        # 2^32.
        self._end = Signal(unsigned(ADDRESS.width + 6))
        self._limit = Signal(unsigned(ADDRESS.width + 1))
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
        """Whether the transfer just taken must be refused."""
        # Addresses do not wrap: a window may end exactly where the address space does, nothing may
        # go beyond. `take` has registered the sums, so that a cycle has one carry chain.
        bits = ADDRESS.width
        wraps = self._end[bits + 1 :].any() | (self._end[bits] & self._end[:bits].any())
        return self._refused | wraps | (self._end > self._limit)

    def plan(self):
        """Statement that sets the length of the next burst."""
        # Up to the next multiple of the greatest length: so no burst crosses BOUNDARY.
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
    """Raises ValueError when a port of `config` cannot have bursts of at most `burst` beats."""
    if burst not in BURSTS:
        raise ValueError(f"Burst must be 16, 32 or 64 beats, not {burst!r}")
    size = burst * config.bus_bytes
    if size > BOUNDARY:
        raise ValueError(f"Burst must be at most {BOUNDARY} bytes, not {size}")
