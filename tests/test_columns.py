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


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 30), st.integers(1, 50), st.sampled_from([2, 4, 8]), st.sampled_from([4, 16]))
def test_unpack_gives_back_every_column_once(seed, count, rows, columns, bus_bytes):
    codes = sparse(seed, count, rows)
    bias = np.random.default_rng(seed).integers(-2**39, 2**39, count)
    packed = pack_columns(codes, bias, range(100, 100 + count), columns, bus_bytes)
    found = {}
    for group, lanes in enumerate(unpack_columns(packed.data, columns, bus_bytes, packed.groups, rows)):
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


def test_order_is_serpentine():
    codes = np.tril(np.ones((8, 8), np.uint8))[::-1]    # column i has 8 - i non-zeros
    packed = pack_columns(codes, [0] * 8, range(8), 4, 4)
    assert packed.slots.tolist() == [[0, 1, 2, 3], [7, 6, 5, 4]]
    assert packed.cycles == 8 + 4


def test_equal_columns_keep_their_order():
    assert order_columns(np.ones((5, 3))).tolist() == [0, 1, 2, 3, 4]


def test_orders_start_groups():
    codes = sparse(1, 6, 16)
    packed = pack_columns(codes, [0] * 6, range(6), 4, 4, orders=[[2, 0, 1], [5, 4, 3]])
    assert packed.slots.tolist() == [[2, 0, 1, -1], [-1, 3, 4, 5]]


def test_words_are_interleaved():
    packed = pack_columns(sparse(2, 5, 20), [1] * 5, range(5), 4, 8)
    assert len(packed.data) == 4 * packed.lane_bytes and packed.lane_bytes % 8 == 0
    strings = lane_strings(packed.data, 4, 8)
    for word in range(len(packed.data) // 8):
        start = word // 4 * 8
        assert packed.data[8 * word:8 * word + 8] == strings[word % 4][start:start + 8]


@pytest.mark.parametrize("depth", [20, 32, 64, 10_000])
def test_block_is_the_most_that_fits(depth):
    packed = pack_columns(sparse(3, 160, 20), [0] * 160, range(160), 4, 4)
    block = packed.block(depth)

    def longest(size):
        return max(packed.nonzeros[g:g + size].clip(1).sum(axis=0).max() for g in range(packed.groups - size + 1))

    assert block <= 32 and longest(block) <= depth
    assert block == 32 or longest(block + 1) > depth


def test_wrong_bias():
    with pytest.raises(ValueError, match="Bias must fit 40 bits signed at the accumulator's scale, not 549755813888"):
        pack_columns(np.ones((1, 4)), [2**39], [0], 2, 4)


def test_wrong_destination():
    with pytest.raises(ValueError, match=r"Destination must be in 0\.\.65535, not 65536"):
        pack_columns(np.ones((1, 4)), [0], [65536], 2, 4)


def test_wrong_length():
    packed = pack_columns(sparse(4, 8, 16), [3] * 8, range(8), 4, 4)
    with pytest.raises(ValueError, match="Weight stream must have 3 groups, lane 0 ends in group 2"):
        unpack_columns(packed.data, 4, 4, 3, 16)
    with pytest.raises(ValueError, match="Weight stream must have 1 groups, lane 0 has more"):
        unpack_columns(packed.data, 4, 4, 1, 16)
