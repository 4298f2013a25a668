# SPDX-License-Identifier: Apache-2.0
"""The weight stream of one LINEAR (docs/design.md): packing, and the reader for tests and `show`.

Columns are sorted by non-zeros so that the P lanes of a group end together; in each group the
longest column goes to the lane with the least so far, so that no lane gets ahead. Padding is in the
highest lanes. Those of SUM are sorted in portions, so that NORM can read a portion of the features
while the columns of the next one are made.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from firmware.image import CHECK_BYTES
from golden_model.bitmask import WORD_ROWS, decode_column
from golden_model.hardware import ceil_div

__all__ = [
    "BIAS_BITS",
    "COLUMN_HEADER_BYTES",
    "PADDING",
    "PORTION",
    "Column",
    "Columns",
    "UnevenColumns",
    "arrange_columns",
    "count_nonzeros",
    "encode_columns",
    "lane_strings",
    "order_columns",
    "pack_columns",
    "sort_runs",
    "unpack_columns",
]

BIAS_BITS = 40
COLUMN_HEADER_BYTES = BIAS_BITS // 8 + 2
PADDING = 0xFFFF  # destination of a column that is not stored
# Groups of columns of SUM that are sorted together. With one the lanes end less evenly, with more
# NORM waits longer.
PORTION = 2
# Column headers that a lane of the array holds; a block has at most 32 columns in a lane.
HEADERS = 128
LOAD_LATENCY = 64  # cycles between the loads of two tiles, about


class UnevenColumns(ValueError):
    """A matrix whose columns no block size lets through the lanes' buffers."""


@dataclass(frozen=True)
class Column:
    """One column as the hardware reads it."""

    bias: int
    destination: int
    codes: tuple


@dataclass(frozen=True)
class Columns:
    """A packed weight stream.

    data : the bytes, with room for a check word at the end; lane_bytes : of one lane's string;
        rows : K
    slots : (groups, P) column numbers by group and lane, -1 padding
    nonzeros : (groups, P), what each lane multiplies in each group
    """

    data: bytes
    lane_bytes: int
    rows: int
    slots: np.ndarray
    nonzeros: np.ndarray

    @property
    def groups(self):
        return len(self.slots)

    @property
    def cycles(self):
        """Cycles of the array for one tile: each group takes as long as its longest column."""
        return int(self.nonzeros.max(axis=1).sum())

    def block(self, bus_bytes, depth, tiles, most=32):
        """Groups to run on a tile before the next is loaded: the fastest of what the buffers hold.

        From a block's first entry to the word of the stream that completes it in the last lane, no
        lane may get more than its buffer of `depth` entries and `HEADERS` columns, its share of the
        next block included: else the stream would wait for ever. Raises UnevenColumns when no size
        does. See `_cost` for what is fast.
        """
        sizes = [
            size
            for size in range(1, min(most, self.groups) + 1)
            if all(self._is_safe(bus_bytes, depth, *block) for block in self._blocks(size))
        ]
        if not sizes:
            raise UnevenColumns(
                f"Weight buffer must have more than {depth} entries in each lane: "
                "the lanes' columns are too uneven"
            )
        return min(sizes, key=lambda size: self._cost(size, bus_bytes, tiles))

    def _blocks(self, size):
        return [(start, min(start + size, self.groups)) for start in range(0, self.groups, size)]

    @cached_property
    def _entries(self):
        """(groups + 1, P) entries of each lane's buffer before each group.

        A column without weights takes one.
        """
        return np.cumsum(
            np.vstack([np.zeros_like(self.nonzeros[:1]), np.maximum(self.nonzeros, 1)]), axis=0
        )

    @cached_property
    def _bytes(self):
        """(groups + 1, P) bytes of each lane's string before each group."""
        size = self.nonzeros + COLUMN_HEADER_BYTES + 2 * ceil_div(self.rows, WORD_ROWS)
        return np.cumsum(np.vstack([np.zeros_like(self.nonzeros[:1]), size]), axis=0)

    def _cost(self, size, bus_bytes, tiles):
        """Estimated cycles on `tiles` tiles.

        A tile is loaded, K words, behind the work on the one before: a small block waits for that.
        The first tile waits for the first block's weights: a large block waits for that. The other
        blocks' weights arrive behind the work on the block before.
        """
        longest = self.nonzeros.max(axis=1)
        total = 0
        for start, stop in self._blocks(size):
            work = int(longest[start:stop].sum())
            each = max(work, self.rows + LOAD_LATENCY) if tiles > 1 else work
            arrival = int((self._bytes[stop] - self._bytes[start]).sum()) / bus_bytes
            total += (
                max(arrival, work) + (tiles - 1) * each
                if start == 0
                else max(arrival, tiles * each)
            )
        return total

    def _is_safe(self, bus_bytes, depth, start, stop):
        """Whether each lane can hold what it gets until block start..stop is complete in all."""
        ends, sizes = self._entries, self._bytes
        received = ceil_div(int(sizes[stop].max()), bus_bytes) * bus_bytes
        for lane in range(sizes.shape[1]):
            whole = (
                int(np.searchsorted(sizes[:, lane], received, side="right")) - 1
            )  # groups that are complete
            rest = max(0, received - int(sizes[whole, lane]) - COLUMN_HEADER_BYTES - 2)
            rest = (
                min(rest, int(ends[whole + 1, lane] - ends[whole, lane]))
                if whole < self.groups
                else 0
            )
            if ends[whole, lane] + rest - ends[start, lane] > depth or whole + 1 - start > HEADERS:
                return False
        return True


def encode_columns(codes):
    """`golden_model.bitmask.encode_column` of each row of (columns, K) codes, at once."""
    codes = np.asarray(codes, dtype=np.uint8)
    count, rows = codes.shape
    padded = np.zeros((count, ceil_div(rows, WORD_ROWS), WORD_ROWS), np.uint8)
    padded.reshape(count, -1)[:, :rows] = codes
    kept = padded != 0
    mask = np.packbits(kept, axis=-1, bitorder="little")
    both = np.concatenate([mask, padded], axis=-1)
    valid = np.concatenate([np.ones_like(mask, dtype=bool), kept], axis=-1)
    return [column[where].tobytes() for column, where in zip(both, valid, strict=True)]


def order_columns(codes):
    """Columns by number of non-zeros, descending, equal ones in their order."""
    return np.argsort(-np.count_nonzero(codes, axis=1), kind="stable")


def sort_runs(codes, size):
    """`orders` of `pack_columns`: runs of `size` columns, each sorted by `order_columns`."""
    return [
        start + order_columns(codes[start : start + size]) for start in range(0, len(codes), size)
    ]


def _count_all(codes):
    """Non-zeros of each column, and of padding, number -1."""
    return np.append(np.count_nonzero(codes, axis=1), 0)


def arrange_columns(codes, columns, orders=None):
    """(groups, P) column numbers: each order cut into groups of P.

    A group's longest column is in the lane with the least entries so far.
    Parameters as in `pack_columns`. -1 fills the highest lanes of a group of fewer columns.
    """
    nonzeros = _count_all(codes)
    groups, entries = [], np.zeros(columns, int)
    for order in [order_columns(codes)] if orders is None else orders:
        for at in range(0, len(order), columns):
            group = np.asarray(order[at : at + columns])
            group = group[np.argsort(-nonzeros[group], kind="stable")]
            slots = np.full(columns, -1)
            slots[np.argsort(entries[: len(group)], kind="stable")] = group
            entries += np.maximum(nonzeros[slots], 1)
            groups.append(slots)
    return np.array(groups)


def pack_columns(codes, bias, destinations, columns, bus_bytes, orders=None, slots=None):
    """Pack one tensor into its weight stream.

    Parameters
    ----------
    codes : (N, K) codes, one row for each output column
    bias : N integers at the accumulator's scale
    destinations : N feature indices where the results are stored, below 0xFFFF
    columns : P
    bus_bytes : bytes of a bus word
    orders : lists of column numbers; each starts a group. Default: all, by `order_columns`
    slots : an arrangement made by `arrange_columns`. Default: that of these codes
    """
    codes = np.asarray(codes, dtype=np.uint8)
    counts = _count_all(codes)
    slots = arrange_columns(codes, columns, orders) if slots is None else slots
    encoded = [
        _header(int(b), int(d)) + column
        for b, d, column in zip(bias, destinations, encode_columns(codes), strict=True)
    ]
    encoded.append(_header(0, PADDING) + bytes(2 * ceil_div(codes.shape[1], WORD_ROWS)))
    strings = [b"".join(encoded[column] for column in lane) for lane in slots.T]
    strings[-1] += bytes(CHECK_BYTES)
    lane_bytes = ceil_div(max(map(len, strings)), bus_bytes) * bus_bytes
    lanes = np.frombuffer(b"".join(s.ljust(lane_bytes, b"\0") for s in strings), np.uint8)
    words = lanes.reshape(columns, -1, bus_bytes).transpose(1, 0, 2)
    return Columns(words.tobytes(), lane_bytes, codes.shape[1], slots, counts[slots])


def _header(bias, destination):
    if not -(1 << (BIAS_BITS - 1)) <= bias < 1 << (BIAS_BITS - 1):
        raise ValueError(
            f"Bias must fit {BIAS_BITS} bits signed at the accumulator's scale, not {bias}"
        )
    if not 0 <= destination <= PADDING:
        raise ValueError(f"Destination must be in 0..{PADDING}, not {destination}")
    return bias.to_bytes(BIAS_BITS // 8, "little", signed=True) + destination.to_bytes(2, "little")


def lane_strings(data, columns, bus_bytes):
    """The P byte strings of a weight stream, without its check word."""
    data = data[:-CHECK_BYTES] + bytes(CHECK_BYTES)
    words = np.frombuffer(data, np.uint8).reshape(-1, columns, bus_bytes)
    return [lane.tobytes() for lane in words.transpose(1, 0, 2)]


def unpack_columns(data, columns, bus_bytes, groups, rows):
    """[[Column of each lane] of each group]: what the hardware reads from a weight stream.

    Raises ValueError when a string ends early or has anything but zeros after its last column.
    """
    result = [[None] * columns for _ in range(groups)]
    for lane, string in enumerate(lane_strings(data, columns, bus_bytes)):
        at = 0
        for group in range(groups):
            header = string[at : at + COLUMN_HEADER_BYTES]
            try:
                codes, used = decode_column(string[at + COLUMN_HEADER_BYTES :], rows)
            except IndexError:
                used = len(string)
            if at + COLUMN_HEADER_BYTES + used > len(string):
                raise ValueError(
                    f"Weight stream must have {groups} groups, lane {lane} ends in group {group}"
                )
            bias = int.from_bytes(header[: BIAS_BITS // 8], "little", signed=True)
            result[group][lane] = Column(
                bias, int.from_bytes(header[BIAS_BITS // 8 :], "little"), tuple(codes)
            )
            at += COLUMN_HEADER_BYTES + used
        if any(string[at:]):
            raise ValueError(f"Weight stream must have {groups} groups, lane {lane} has more")
    return result


def count_nonzeros(data, columns, bus_bytes, groups, rows):
    """(groups, P) non-zeros of a weight stream, from its masks alone.

    Raises ValueError when a lane's string ends early.
    """
    counts = np.zeros((groups, columns), int)
    words = ceil_div(rows, WORD_ROWS)
    for lane, string in enumerate(lane_strings(data, columns, bus_bytes)):
        at = 0
        for group in range(groups):
            at += COLUMN_HEADER_BYTES
            for _ in range(words):
                if at + 2 > len(string):
                    raise ValueError(
                        f"Weight stream must have {groups} groups, "
                        f"lane {lane} ends in group {group}"
                    )
                count = (string[at] | string[at + 1] << 8).bit_count()
                counts[group, lane] += count
                at += 2 + count
    return counts
