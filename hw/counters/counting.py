# SPDX-License-Identifier: Apache-2.0
"""What the counters add up, from the parts of the core. A core without the unit "counters" has none of this."""

from amaranth import ResetInserter
from amaranth.lib import data

from firmware.isa import ENGINES
from hw.counters.tally import tally_layout

__all__ = ["count", "counters_layout"]


def counters_layout(config):
    """What happened in this cycle, by the counters' names."""
    return data.StructLayout(
        {
            "array_busy": 1,
            "macs": range(config.tokens * config.columns + 1),
            "stall_weights": 1,
            "stall_load": 1,
            "stall_drain": 1,
            "saturations": 16,
            "passes": 1,
            **{f"busy_{engine.opcode.name.lower()}": 1 for engine in ENGINES},
            "busy_staging": 1,
            **tally_layout(config).members,
        }
    )


def count(m, core):
    """An engine is at work from its operation's start to its end; of two that overlap the older one counts."""
    datapath = core.datapath
    issue = core.issue
    tally = core.tally
    array = datapath.array
    opcode = issue.older.instruction.opcode
    working = (~issue.resting | issue.ended) & ~issue.skipped
    steps = {
        "array_busy": array.busy,
        "macs": array.macs * core.config.tokens,
        "stall_weights": array.stall_weights,
        "stall_load": array.stall_load,
        "stall_drain": array.stall_drain,
        "saturations": datapath.saturated,
        "passes": core.passed,
        **{
            f"busy_{engine.opcode.name.lower()}": working & (opcode == engine.opcode)
            for engine in ENGINES
        },
        "busy_staging": ~core.staging.resting,
        **{name: tally.o[name] for name in tally.o.shape().members},
    }
    m.d.comb += [core.counters[name].eq(step) for name, step in steps.items()]
    _tally(m, core)


def _tally(m, core):
    tally = core.tally
    begin = core.admission.o_begin
    verdict = core.exit.verdict
    m.submodules.tally = ResetInserter(core.start)(tally)
    m.d.comb += [
        tally.layers.eq(core.image.layers),
        tally.slots.eq(core.rows.slots),
        tally.mask.eq(core.issue.younger.mask),
        tally.attend.eq(core.issue.start.attention),
        tally.begin_valid.eq(begin.valid & begin.ready),
        tally.begin.slot.eq(begin.payload.slot),
        tally.begin.count.eq(begin.payload.count),
        tally.verdict_valid.eq(core.exit.verdict_valid & verdict.exits),
        tally.verdict.slot.eq(verdict.slot),
        tally.verdict.layer.eq(verdict.layer),
    ]
