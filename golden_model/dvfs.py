# SPDX-License-Identifier: Apache-2.0
"""Voltage and frequency: the lowest operating point that meets every deadline, without division.

After a slot's first layer its entropy indexes a table of predicted exit layers; layers left times
the cycles of a pass at the present number of tiles is the work left. Time is counted in cycles of
the highest point, PERIOD_FRAC fraction bits; a cycle at point i lasts periods(...)[i] of it.
"""

from golden_model.formats import THRESHOLD_FRAC

__all__ = [
    "BINS",
    "BIN_SHIFT",
    "FREQUENCIES",
    "PERIOD_FRAC",
    "cycles_left",
    "entropy_bin",
    "entropy_bin_float",
    "operating_point",
    "periods",
    "predicted_exit",
    "request",
]

BINS = 64
BIN_SHIFT = 11  # bins of 1/32 nat; the last one is 1.97 nat and more
FREQUENCIES = (30, 40, 50, 60, 70, 80, 90, 100)  # the operating points, ascending, MHz
PERIOD_FRAC = 8


def entropy_bin(entropy):
    """Index into the DVFS table of a reported entropy (unsigned Q2.16)."""
    return min(int(entropy) >> BIN_SHIFT, BINS - 1)


def entropy_bin_float(entropy):
    return min(int(entropy * 2 ** (THRESHOLD_FRAC - BIN_SHIFT)), BINS - 1)


def predicted_exit(entropy, table):
    """Layer, counted from 1, after which the sentence will leave; `table` has BINS entries."""
    return table[entropy_bin(entropy)]


def periods(frequencies=FREQUENCIES):
    """How long a cycle is at each point, in cycles of the highest; rounded up, never optimistic."""
    return [-(-(frequencies[-1] << PERIOD_FRAC) // frequency) for frequency in frequencies]


def cycles_left(predicted, done, cycles_per_pass):
    """Work left after `done` layers; who is still here needs at least one more."""
    return max(predicted - done, 1) * cycles_per_pass


def operating_point(work, budget, lengths):
    """Index of the first of the descending `lengths` with work * length <= budget, else the last.

    work: cycles; budget: time left, PERIOD_FRAC fraction bits; both times a common factor.
    """
    for index, length in enumerate(lengths):
        if work * length <= budget:
            return index
    return len(lengths) - 1


def request(slots, layers, tiles, pass_cycles, pass_tiles, frequencies=FREQUENCIES):
    """The operating point for the resident slots: the tightest deadline decides.

    slots: (time left with PERIOD_FRAC fraction bits, or None without a deadline; layers done;
    predicted exit layer, 0 while unknown: then the model's `layers`) for each. pass_cycles: of the
    last pass, which had pass_tiles tiles; a pass at `tiles` takes pass_cycles * tiles / pass_tiles.
    The highest point while no pass was measured, and when no slot has a deadline.
    """
    points = [
        operating_point(
            cycles_left(predicted or layers, done, pass_cycles) * tiles,
            max(time_left, 0) * pass_tiles,
            periods(frequencies),
        )
        for time_left, done, predicted in slots
        if time_left is not None
    ]
    return max(points) if points and pass_cycles else len(frequencies) - 1
