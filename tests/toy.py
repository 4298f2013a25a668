# SPDX-License-Identifier: Apache-2.0
"""A measurement of a toy on 4 x 4 lanes, counted by hand: what tests of `terse bench` share."""

from golden_model.hardware import HARDWARE
from sim.cycles.measure import METERED
from sim.cycles.operations import Measurement, Operation
from terse.benchmark.cases import Passage


def operation(name, opcode="LINEAR", embeds=False, **values):
    zero = dict(
        layer=0,
        rows=6,
        tokens=6,
        cycles=100,
        counters=dict.fromkeys(METERED, 0),
        bytes=0,
        macs=0,
        lanes=0,
        compute=0,
        weight_bytes=0,
    )
    return Operation(name=name, opcode=opcode, embeds=embeds, **zero | values)


def toy():
    """Two tiles of 6 rows.

    q with 40 non-zeros takes at least 40 x 2 / 4 cycles, its 48 bytes 48 / 16; ffn, 8 non-zeros,
    waits for 800 bytes.
    """
    return Measurement(
        [
            operation("embed_sum", "ADMIT", True, cycles=50, bytes=90),
            operation("q", cycles=25, macs=240, lanes=320, compute=20, weight_bytes=48, bytes=80),
            operation(
                "ffn",
                cycles=75,
                macs=48,
                lanes=64,
                compute=4,
                weight_bytes=800,
                bytes=832,
                counters=dict.fromkeys(METERED, 0) | {"STALL_WEIGHTS": 11},
            ),
            operation("entropy", "EXIT", cycles=10, bytes=32),
        ],
        160,
        [6],
        [[6]],
        [150],
        [155],
        simulated=5000,
        seconds=0.5,
        peak_memory_mb=12.3,
    )


CASE = Passage("nano", HARDWARE["ci"], tokens=6, sparsity=0.6)
