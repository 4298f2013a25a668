# SPDX-License-Identifier: Apache-2.0
from hypothesis import given
from hypothesis import strategies as st

from golden_model.dvfs import (
    BINS,
    cycles_left,
    entropy_bin,
    entropy_bin_float,
    operating_point,
    predicted_exit,
)


@given(st.integers(0, 2**18 - 1))
def test_bins(entropy):
    assert entropy_bin(entropy) == entropy_bin_float(entropy / 2**16) < BINS


def test_prediction():
    table = [1] * 8 + [6] * (BINS - 8)
    assert [predicted_exit(e, table) for e in (0, 16383, 16384, 2**18 - 1)] == [1, 1, 6, 6]


def test_cycles_left():
    assert cycles_left(5, 1, 1000) == 4000
    assert cycles_left(2, 2, 1000) == 1000, "mispredicted: at least one more layer"


@given(st.integers(1, 10**9), st.integers(0, 10**6))
def test_operating_point(cycles, time_left):
    frequencies = [25, 50, 100, 200]
    index = operating_point(cycles, time_left, frequencies)
    assert frequencies[index] * time_left >= cycles or index == 3
    assert index == 0 or frequencies[index - 1] * time_left < cycles
