# SPDX-License-Identifier: Apache-2.0
"""Observation taps of the accelerator: what simulations compare with the golden model.

`Accelerator(config, trace=True)` has, for every tap NAME, the outputs `trace_NAME_valid` (1 bit)
and `trace_NAME` (the layout below, packed). They only observe: nothing reads them, so the design
without them is otherwise the same.
"""

from amaranth.lib import data

from hw.shapes import (
    ACT,
    BYTE,
    EXPONENTIAL,
    FEATURE,
    HEAD,
    LAYER,
    PC,
    POSITION,
    ROW,
    SENTENCE,
    SLOT,
    THRESHOLD,
    TILE,
    denominator,
    tile_mask,
    tile_values,
)

__all__ = ["observe", "taps"]


def taps(config):
    """Layouts by tap name. Rows are logical: numbers in the row table.

    op : an operation ends: its instruction number; whether nothing was selected
    row : the row table gets this entry
    slot : a slot now holds queue entry `sentence`, at `layer`
    embed : a feature of embed_sum, of queue entry `sentence`; it may come during any operation
        before that entry is admitted
    store : a drained column of LINEAR, or of the context of (`slot`, `head`), before it is encoded;
        `live` marks the lanes that count
    norm : a feature of a NORM result
    predict : numerator and verdict of a row
    score, numerator : a key, by its row, of a query tile
    denominator : after the last numerator of a query tile
    exit : entropy and verdict of a slot
    """
    act = tile_values(config)
    live = tile_mask(config)
    sums = data.ArrayLayout(denominator(config), config.tokens)
    where = {"slot": SLOT, "head": HEAD, "tile": TILE, "live": live}
    layouts = {
        "op": {"pc": PC, "skipped": 1},
        "row": {"row": ROW, "slot": SLOT, "position": POSITION},
        "slot": {"slot": SLOT, "sentence": SENTENCE, "layer": LAYER},
        "embed": {"sentence": SENTENCE, "position": POSITION, "feature": FEATURE, "value": ACT},
        "store": {**where, "feature": FEATURE, "values": act},
        "norm": {"tile": TILE, "live": live, "feature": FEATURE, "values": act},
        "predict": {"row": ROW, "exponential": EXPONENTIAL, "keep": 1},
        "score": {**where, "key": ROW, "values": act},
        "numerator": {**where, "key": ROW, "codes": data.ArrayLayout(BYTE, config.tokens)},
        "denominator": {**where, "values": sums},
        "exit": {"slot": SLOT, "entropy": THRESHOLD, "exits": 1},
    }
    return {name: data.StructLayout(members) for name, members in layouts.items()}


def observe(m, core):
    """Connect the taps of a `Core` to where their values are."""
    for name, (valid, source) in _sources(core).items():
        tap = getattr(core, f"trace_{name}")
        m.d.comb += getattr(core, f"trace_{name}_valid").eq(valid)
        for key in tap.shape().members:
            value = source[key]
            if isinstance(tap[key], data.View):
                # Lane by lane: a source may be narrower than the tap that all configs share.
                m.d.comb += [tap[key][lane].eq(value[lane]) for lane in range(core.config.tokens)]
            else:
                m.d.comb += tap[key].eq(value)


def _sources(core):
    """{tap: (valid, values by name)}; a tap whose unit is absent has none and stays 0."""
    datapath = core.datapath
    rows = core.rows
    stored = datapath.stored.meta
    column = {name: stored.column[name] for name in ("slot", "head", "tile", "live")}
    # A source may have more fields than its tap: those of the tap are taken, by name.
    sources = {
        "op": (core.issue.ended, {"pc": core.issue.pc, "skipped": core.issue.skipped}),
        "row": (rows.changed.valid, rows.changed),
        "slot": (rows.slot_changed.valid, rows.slot_changed),
        "embed": (core.staging.embedded_valid, core.staging.embedded),
        "store": (
            datapath.stored_valid,
            {**column, "feature": stored.destination, "values": datapath.stored.values},
        ),
        "norm": (datapath.result_valid, datapath.result),
        "score": (datapath.score_valid, datapath.score),
        "numerator": (datapath.numerator_valid, datapath.numerator),
        "denominator": (datapath.denominator_valid, datapath.denominator),
        "exit": (core.exit.verdict_valid, core.exit.verdict),
    }
    # The only tap of a unit that may be absent whose values lie inside the unit.
    if core.drop is not None:
        sources["predict"] = (core.drop.verdict_valid, core.drop.verdict)
    return sources
