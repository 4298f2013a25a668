# SPDX-License-Identifier: Apache-2.0
"""Voltage and frequency: the lowest operating point that meets the deadline, without division.

After a slot's first layer its entropy indexes a table of predicted exit layers; layers left times
the cycles of a pass is the work left; frequency * time left must reach it.
"""

from golden_model.formats import THRESHOLD_FRAC

__all__ = ["BINS", "BIN_SHIFT", "cycles_left", "entropy_bin", "entropy_bin_float",
           "operating_point", "predicted_exit"]

BINS = 64
BIN_SHIFT = 11           # bins of 1/32 nat; the last one is 1.97 nat and more


def entropy_bin(entropy):
    """Index into the DVFS table of a reported entropy (unsigned Q2.16)."""
    return min(int(entropy) >> BIN_SHIFT, BINS - 1)


def entropy_bin_float(entropy):
    return min(int(entropy * 2**(THRESHOLD_FRAC - BIN_SHIFT)), BINS - 1)


def predicted_exit(entropy, table):
    """Layer, counted from 1, after which the sentence will leave; `table` has BINS entries."""
    return table[entropy_bin(entropy)]


def cycles_left(predicted, done, cycles_per_pass):
    """Work left after `done` layers; who is still here needs at least one more."""
    return max(predicted - done, 1) * cycles_per_pass


def operating_point(cycles, time_left, frequencies):
    """Index of the lowest of ascending `frequencies` (MHz) with frequency * time_left (us) >=
    cycles; the highest when none is enough. For several slots: the largest index of any of them.
    """
    for index, frequency in enumerate(frequencies):
        if frequency * time_left >= cycles:
            return index
    return len(frequencies) - 1
