# SPDX-License-Identifier: Apache-2.0
from hypothesis import given
from hypothesis import strategies as st

from golden_model.dvfs import (
    BINS,
    FREQUENCIES,
    PERIOD_FRAC,
    cycles_left,
    entropy_bin,
    entropy_bin_float,
    operating_point,
    periods,
    predicted_exit,
    request,
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


@given(st.integers(1, 10**9), st.integers(0, 10**12))
def test_operating_point(work, budget):
    lengths = periods()
    index = operating_point(work, budget, lengths)
    assert work * lengths[index] <= budget or index == len(lengths) - 1
    assert index == 0 or work * lengths[index - 1] > budget


def test_periods_are_never_optimistic():
    lengths = periods()
    assert lengths[-1] == 1 << PERIOD_FRAC and lengths == sorted(lengths, reverse=True)
    assert all(
        0 <= length / 2**PERIOD_FRAC - FREQUENCIES[-1] / frequency < 2**-PERIOD_FRAC
        for length, frequency in zip(lengths, FREQUENCIES, strict=True)
    )


def test_request():
    """The slowest frequency that meets every deadline: one decision by hand for each rule."""

    def ask(*slots, tiles=4):
        return request(
            [(time if time is None else time << PERIOD_FRAC, *rest) for time, *rest in slots],
            6,
            tiles,
            1000,
            4,
            (25, 50, 100),
        )

    assert ask((None, 0, 0)) == 2, "no deadline: as fast as possible"
    assert [ask((time, 0, 0)) for time in (5999, 11999, 12000, 23999, 24000)] == [2, 2, 1, 1, 0]
    assert ask((12000, 1, 4)) == 0, "predicted to leave after layer 4"
    assert ask((12000, 1, 4), tiles=5) == 1, "an admission makes the passes longer"
    assert ask((3999, 4, 4)) == 1 and ask((4000, 4, 4)) == 0, "mispredicted: one more layer"
    assert ask((24000, 0, 0), (2000, 5, 0), (None, 1, 1)) == 1, "the tightest decides"
    assert ask((-1, 5, 0)) == 2, "too late: as fast as possible"
    assert request([(10**9, 0, 0)], 6, 4, 0, 0) == len(FREQUENCIES) - 1, "nothing measured yet"
