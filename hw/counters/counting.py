# SPDX-License-Identifier: Apache-2.0
"""What the counters add up, and the counters; only with the unit `counters` is any of it there."""

from amaranth import Mux, ResetInserter, Signal
from amaranth.lib import data

from firmware.isa import ENGINES
from firmware.registers import COUNTERS
from hw.counters.tally import tally_layout
from hw.shapes import COUNTER, SATURATIONS

__all__ = ["accumulate", "drive_counters", "counters_layout"]


def _busy(engine):
    """The counter of the cycles in which an engine, a row of `ENGINES`, is at work."""
    return f"busy_{engine.opcode.name.lower()}"


def counters_layout(config):
    """What happened in this cycle, by the counters' names: a bit, or how many."""
    return data.StructLayout(
        {
            "array_busy": 1,
            "macs": range(config.tokens * config.columns + 1),
            "stall_weights": 1,
            "stall_load": 1,
            "stall_drain": 1,
            "saturations": SATURATIONS,
            "passes": 1,
            **{_busy(engine): 1 for engine in ENGINES},
            "busy_staging": 1,
            **tally_layout(config).members,
        }
    )


def drive_counters(m, core):
    """Gives `core.counters` its fields. Combinational; `accumulate` adds them up.

    An engine is at work from its operation's start to its end.
    """
    datapath = core.datapath
    issue = core.issue
    tally = core.tally
    array = datapath.array
    # Of two operations that overlap the older one counts: so the cycles of the engines add up to
    # those of the operations, and none is counted twice.
    working = issue.present & ~issue.skipped
    steps = {
        "array_busy": array.busy,
        # All lanes, dead rows and padding too: what the array does, useful or not.
        "macs": array.macs * core.config.tokens,
        "stall_weights": array.stall_weights,
        "stall_load": array.stall_load,
        "stall_drain": array.stall_drain,
        "saturations": datapath.saturated,
        "passes": core.passed,
        **{_busy(engine): working & issue.acting[engine.name] for engine in ENGINES},
        "busy_staging": ~core.staging.resting,
        **{name: tally.o[name] for name in tally.o.shape().members},
    }
    m.d.comb += [core.counters[name].eq(step) for name, step in steps.items()]
    _tally(m, core)


def _tally(m, core):
    """The tally, told of every sentence that begins or ends, and of every ATTEND."""
    tally = core.tally
    begin = core.admission.o_begin
    verdict = core.exit.verdict
    # What a program that ended early has left in it does not count for the next queue.
    m.submodules.tally = ResetInserter(core.start)(tally)
    m.d.comb += [
        tally.layers.eq(core.image.layers),
        tally.slots.eq(core.rows.slots),
        # When ATTEND begins, not when it ends: by then the mask may be the next operation's.
        tally.mask.eq(core.issue.younger.mask),
        tally.attend.eq(core.issue.start.attention),
        tally.begin_valid.eq(begin.valid & begin.ready),
        tally.begin.slot.eq(begin.payload.slot),
        tally.begin.count.eq(begin.payload.count),
        tally.verdict_valid.eq(core.exit.verdict_valid & verdict.exits),
        tally.verdict.slot.eq(verdict.slot),
        tally.verdict.layer.eq(verdict.layer),
    ]


def accumulate(m, accelerator):
    """The counters of the register table: they run while a queue runs, each start clears them.

    They stop with the run, so the host reads what belongs together.
    """
    core = accelerator.core
    events = core.counters
    beats = {
        "bytes_read": "m_axi_r",
        "bytes_embedding": "m_axi_emb_r",
        "bytes_written": "m_axi_w",
    }
    # A beat counts whole, whatever of it is wanted: it has used the bus.
    steps = {
        name: Mux(
            getattr(accelerator, f"{channel}valid") & getattr(accelerator, f"{channel}ready"),
            accelerator.config.bus_bytes,
            0,
        )
        for name, channel in beats.items()
    } | {
        "cycles": accelerator.running,
        "saturations": events.saturations + accelerator.embedder.saturated,
        "embedding_errors": accelerator.embedder.failed,
    }
    for name in (counter.lower() for counter in COUNTERS):
        counter = Signal(COUNTER, name=f"counter_{name}")
        m.d.comb += getattr(accelerator.registers, name).eq(counter)
        with m.If(core.start | accelerator.reset):
            m.d.sync += counter.eq(0)
        with m.Elif(accelerator.running):
            m.d.sync += counter.eq(counter + (steps[name] if name in steps else events[name]))
