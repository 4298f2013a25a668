# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware.columns import (
    PADDING,
    encode_columns,
    lane_strings,
    order_columns,
    pack_columns,
    sort_runs,
    unpack_columns,
)
from golden_model.bitmask import encode_column


def sparse(seed, columns, rows, density=0.4):
    random = np.random.default_rng(seed)
    keep = random.random((columns, rows)) < random.random((columns, 1)) * 2 * density
    return np.where(keep, random.integers(1, 256, (columns, rows)), 0).astype(np.uint8)


def test_encode_columns_is_the_golden_bitmask():
    codes = sparse(0, 9, 37)
    assert encode_columns(codes) == [encode_column(column) for column in codes]


@settings(max_examples=30)
@given(
    st.integers(0, 1000),
    st.integers(1, 30),
    st.integers(1, 50),
    st.sampled_from([2, 4, 8]),
    st.sampled_from([4, 16]),
)
def test_unpack_gives_back_every_column_once(seed, count, rows, columns, bus_bytes):
    """Every column comes back with its bias and destination; padding is all zeros."""
    codes = sparse(seed, count, rows)
    bias = np.random.default_rng(seed).integers(-(2**39), 2**39, count)
    packed = pack_columns(codes, bias, range(100, 100 + count), columns, bus_bytes)
    found = {}
    for group, lanes in enumerate(
        unpack_columns(packed.data, columns, bus_bytes, packed.groups, rows)
    ):
        for lane, column in enumerate(lanes):
            index = packed.slots[group, lane]
            assert sum(c != 0 for c in column.codes) == packed.nonzeros[group, lane]
            if index < 0:
                assert (column.bias, column.destination, any(column.codes)) == (0, PADDING, False)
            else:
                found[index] = column
                assert column.destination == 100 + index
    assert sorted(found) == list(range(count))
    assert all(found[i].codes == tuple(codes[i]) and found[i].bias == bias[i] for i in found)


def test_longest_column_goes_to_the_shortest_lane():
    codes = np.tril(np.ones((12, 12), np.uint8))[::-1]  # column i has 12 - i non-zeros
    packed = pack_columns(codes, [0] * 12, range(12), 4, 4)
    assert packed.slots.tolist() == [[0, 1, 2, 3], [7, 6, 5, 4], [8, 9, 10, 11]]
    assert packed.cycles == 12 + 8 + 4


def test_equal_columns_keep_their_order():
    assert order_columns(np.ones((5, 3))).tolist() == [0, 1, 2, 3, 4]


def test_orders_start_groups():
    codes = np.tril(np.ones((6, 16), np.uint8), 4)  # column i has 5 + i non-zeros
    packed = pack_columns(codes, [0] * 6, range(6), 4, 4, orders=[[2, 0, 1], [5, 4, 3]])
    assert packed.slots.tolist() == [[2, 1, 0, -1], [3, 4, 5, -1]]


def test_runs_are_sorted_each():
    codes = np.tril(np.ones((7, 16), np.uint8), 4)  # column i has 5 + i non-zeros
    assert [run.tolist() for run in sort_runs(codes, 3)] == [[2, 1, 0], [5, 4, 3], [6]]


def test_words_are_interleaved():
    packed = pack_columns(sparse(2, 5, 20), [1] * 5, range(5), 4, 8)
    assert len(packed.data) == 4 * packed.lane_bytes and packed.lane_bytes % 8 == 0
    strings = lane_strings(packed.data, 4, 8)
    for word in range(len(packed.data) // 8):
        start = word // 4 * 8
        assert packed.data[8 * word : 8 * word + 8] == strings[word % 4][start : start + 8]


def test_block_hides_the_load():
    """A tile of 64 rows takes 64 cycles to load: a block has that much work where it can."""
    packed = pack_columns(sparse(3, 256, 64, 0.2), [0] * 256, range(256), 4, 4)
    assert packed.nonzeros.max() < 40
    block = packed.block(4, 1024, 16)
    assert packed.nonzeros[:block].max(axis=1).sum() > 64
    assert packed.block(4, 10_000, 16) <= 32
    assert packed.block(4, 128, 16) < block


def most_entries(packed, bus_bytes, block):
    """Entries that a lane has got of blocks that are not complete everywhere, word by word."""
    walks = []
    for lane in range(packed.slots.shape[1]):
        arrivals, at = [], 0  # (word in which it arrives, group) of every entry
        for group, count in enumerate(packed.nonzeros[:, lane]):
            end = at + 7 + 2 * -(-packed.rows // 16) + count
            arrivals += [
                ((end - 1 - i) // bus_bytes, group) for i in range(max(count, 1))
            ]  # as late as can be
            at = end
        walks.append(arrivals)
    worst = 0
    for start in range(0, packed.groups, block):
        complete = max(word for walk in walks for word, group in walk if group < start + block)
        worst = max(
            worst,
            *(sum(word <= complete and group >= start for word, group in walk) for walk in walks),
        )
    return worst


@pytest.mark.parametrize("tiles", [1, 16])
@pytest.mark.parametrize("seed", range(5))
def test_block_never_overfills_a_lane(seed, tiles):
    codes = sparse(seed, 60, 40, 0.9)
    packed = pack_columns(codes, [0] * 60, range(60), 4, 8, sort_runs(codes, 15))
    for depth in (128, 256):
        assert most_entries(packed, 8, packed.block(8, depth, tiles)) <= depth


def test_block_too_uneven():
    packed = pack_columns(np.ones((8, 64), np.uint8), [0] * 8, range(8), 4, 4)
    with pytest.raises(
        ValueError, match="Weight buffer must have more than 8 entries in each lane"
    ):
        packed.block(4, 8, 1)


def test_wrong_bias():
    with pytest.raises(
        ValueError,
        match="Bias must fit 40 bits signed at the accumulator's scale, not 549755813888",
    ):
        pack_columns(np.ones((1, 4)), [2**39], [0], 2, 4)


def test_wrong_destination():
    with pytest.raises(ValueError, match=r"Destination must be in 0\.\.65535, not 65536"):
        pack_columns(np.ones((1, 4)), [0], [65536], 2, 4)


def test_wrong_length():
    packed = pack_columns(sparse(4, 8, 16), [3] * 8, range(8), 4, 4)
    with pytest.raises(
        ValueError, match=r"Weight stream must have 3 groups, lane \d ends in group 2"
    ):
        unpack_columns(packed.data, 4, 4, 3, 16)
    with pytest.raises(ValueError, match="Weight stream must have 1 groups, lane 0 has more"):
        unpack_columns(packed.data, 4, 4, 1, 16)
