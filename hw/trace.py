# SPDX-License-Identifier: Apache-2.0
"""Observation taps of the accelerator: what the co-simulation and the system bench compare with the golden model.

`Accelerator(config, trace=True)` has, for every tap NAME, the outputs `trace_NAME_valid` (1 bit) and `trace_NAME` (the layout below, packed).
They only observe: the design without them is otherwise the same.
"""

from amaranth.lib import data

from hw.shapes import ACT, denominator

__all__ = ["observe", "taps"]


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
        "denominator": data.StructLayout(
            {**where, "values": data.ArrayLayout(denominator(config), lanes)}
        ),
        "exit": data.StructLayout({"slot": 8, "entropy": 18, "exits": 1}),
    }


def observe(m, core):
    """The taps of a `Core`, from where the values are."""
    datapath = core.datapath
    rows = core.rows
    issue = core.issue
    stored = datapath.stored.meta
    exits = core.exit.verdict
    values = {
        "op": (issue.ended, {"pc": issue.pc, "skipped": issue.skipped}),
        "row": (
            rows.changed.valid,
            {name: rows.changed[name] for name in ("row", "slot", "position")},
        ),
        "slot": (
            rows.slot_changed.valid,
            {name: rows.slot_changed[name] for name in ("slot", "sentence", "layer")},
        ),
        "embed": (
            core.staging.embedded_valid,
            {
                name: core.staging.embedded[name]
                for name in ("sentence", "position", "feature", "value")
            },
        ),
        "store": (
            datapath.stored_valid,
            {
                "feature": stored.destination,
                "values": datapath.stored.values,
                **{name: stored.column[name] for name in ("slot", "head", "tile", "live")},
            },
        ),
        "norm": (
            datapath.result_valid,
            {name: datapath.result[name] for name in ("tile", "live", "feature", "values")},
        ),
        "exit": (
            core.exit.verdict_valid,
            {name: exits[name] for name in ("slot", "entropy", "exits")},
        ),
    }
    for name in ("score", "numerator", "denominator"):
        tap = getattr(datapath, name)
        values[name] = (
            getattr(datapath, f"{name}_valid"),
            {key: tap[key] for key in taps(core.config)[name].members},
        )
    if core.drop is not None:
        verdict = core.drop.verdict
        values["predict"] = (
            core.drop.verdict_valid,
            {name: verdict[name] for name in ("row", "exponential", "keep")},
        )
    for name, (valid, members) in values.items():
        tap = getattr(core, f"trace_{name}")
        m.d.comb += getattr(core, f"trace_{name}_valid").eq(valid)
        for key, value in members.items():
            if isinstance(tap[key], data.View):
                m.d.comb += [tap[key][lane].eq(value[lane]) for lane in range(core.config.tokens)]
            else:
                m.d.comb += tap[key].eq(value)
