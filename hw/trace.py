# SPDX-License-Identifier: Apache-2.0
"""Observation taps of the accelerator: what the co-simulation and the system bench compare with the golden model.

`Accelerator(config, trace=True)` has, for every tap NAME, the outputs `trace_NAME_valid` (1 bit) and `trace_NAME` (the layout below, packed).
They only observe: the design without them is otherwise the same.
"""
from amaranth.lib import data

from hw.shapes import ACT, denominator


def taps(config):
    """Layouts by tap name, T = token lanes. Row numbers are positions in the row table (logical rows).

    op : an operation ends; `pc` its instruction number; `skipped` when nothing was selected
    row : the row table gets this entry
    slot : a slot now holds queue entry `sentence`, at `layer`
    embed : one feature of embed_sum, of queue entry `sentence`; it may come during any operation before that entry is admitted
    store : one drained column of LINEAR, or of the context of (`slot`, `head`); `live` marks the lanes that count; values before encoding
    norm : one feature of a NORM result
    predict : numerator and verdict of one row
    score, numerator : one key (row number) of one query tile
    denominator : after the last numerator of a query tile
    exit : entropy and verdict of a slot
    """
    lanes = config.tokens
    act = data.ArrayLayout(ACT, lanes)
    where = {"slot": 8, "head": 8, "tile": 16, "live": lanes}
    return {
        "op": data.StructLayout({"pc": 16, "skipped": 1}),
        "row": data.StructLayout({"row": 16, "slot": 8, "position": 16}),
        "slot": data.StructLayout({"slot": 8, "sentence": 32, "layer": 8}),
        "embed": data.StructLayout({"sentence": 32, "position": 16, "feature": 16, "value": ACT}),
        "store": data.StructLayout({**where, "feature": 16, "values": act}),
        "norm": data.StructLayout({"tile": 16, "live": lanes, "feature": 16, "values": act}),
        "predict": data.StructLayout({"row": 16, "exponential": 17, "keep": 1}),
        "score": data.StructLayout({**where, "key": 16, "values": act}),
        "numerator": data.StructLayout({**where, "key": 16, "codes": data.ArrayLayout(8, lanes)}),
        "denominator": data.StructLayout({**where, "values": data.ArrayLayout(denominator(config), lanes)}),
        "exit": data.StructLayout({"slot": 8, "entropy": 18, "exits": 1}),
    }
