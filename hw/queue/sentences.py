# SPDX-License-Identifier: Apache-2.0
"""Sentences on their way in and out: what a `Core` connects to stager, results and `Dvfs`."""

from amaranth.lib import wiring

__all__ = ["connect_dvfs", "connect_results", "connect_staging"]


def connect_staging(m, core):
    """The stager of a `Core` between queue, embedder, free rows and ADMIT."""
    staging = core.staging
    admission = core.admission
    # The stager runs beside the program. Once that has ended, no further token is given to the
    # embedder, so that the run ends when those under way have their rows.
    m.d.comb += [
        staging.start.eq(core.issue.start.admission),
        staging.instruction.eq(core.issue.older.instruction),
        staging.queue.eq(core.queue.queue_base),
        staging.count.eq(core.queue.queue_count),
        staging.positions.eq(core.image.positions),
        core.o_token.valid.eq(staging.o_token.valid & core.working),
        core.o_token.payload.eq(staging.o_token.payload),
        staging.o_token.ready.eq(core.o_token.ready & core.working),
        core.shifts.eq(staging.shifts),
        staging.feature_valid.eq(core.feature_valid),
        staging.feature.eq(core.feature),
    ]
    wiring.connect(m, staging.token_done, wiring.flipped(core.token_done))
    for source, target in (
        (core.rows.o_free, staging.i_free),
        (staging.o_word, core.datapath.staged),
        (staging.o_sentence, admission.i_sentence),
        (staging.o_row, admission.i_row),
        (staging.o_staged, admission.i_staged),
    ):
        wiring.connect(m, source, target)


def connect_results(m, core):
    """What the engines of a `Core` say of sentences, into their records; those to the writer."""
    results = core.results
    leave = core.exit
    for target, source in (
        (results.begin, core.admission.o_begin),
        (results.failure, core.admission.o_finish),
        (results.success, leave.o_finish),
    ):
        wiring.connect(m, source, target)
    m.d.comb += [
        results.logit_valid.eq(leave.logit_valid),
        results.logit.eq(leave.logit),
        results.verdict_valid.eq(leave.verdict_valid),
        results.verdict.eq(leave.verdict),
        results.passes.eq(core.issue.passes),
        results.clear.eq(core.start),
        results.base.eq(core.queue.result_base),
        results.size.eq(core.queue.result_size),
        results.written.eq(core.result_done),
        core.finished.eq(results.finished),
    ]
    wiring.connect(m, results.o_request, wiring.flipped(core.o_result))
    wiring.connect(m, results.o_data, wiring.flipped(core.result_data))
    if core.drop is not None:
        _connect_dropped(m, core)


def _connect_dropped(m, core):
    """DROP's verdicts: how many tokens of a slot stay, and which go."""
    results = core.results
    tally = core.drop.tally
    # The row table names the positions, because it is what still knows them when rows go.
    dropped = core.rows.dropped
    m.d.comb += [
        results.tokens_valid.eq(core.drop.tally_valid),
        results.tokens.slot.eq(tally.slot),
        results.tokens.layer.eq(core.issue.older.layer),
        results.tokens.entering.eq(tally.count),
        results.tokens.kept.eq(tally.kept),
    ]
    # A register, because the record has no time to lose; DROP works for long enough.
    m.d.sync += [
        results.dropped_valid.eq(dropped.valid),
        results.dropped.slot.eq(dropped.slot),
        results.dropped.layer.eq(core.issue.older.layer),
        results.dropped.position.eq(dropped.position),
    ]


def connect_dvfs(m, core):
    """The operating points of a `Core`, from deadlines, entropies and the time of its passes."""
    dvfs = core.dvfs
    issue = core.issue
    begin = core.admission.o_begin
    verdict = core.exit.verdict
    m.d.comb += [
        dvfs.admit_valid.eq(begin.valid & begin.ready),
        dvfs.admit.slot.eq(begin.payload.slot),
        dvfs.admit.deadline.eq(begin.payload.deadline),
        dvfs.verdict_valid.eq(core.exit.verdict_valid),
        dvfs.verdict.slot.eq(verdict.slot),
        dvfs.verdict.entropy.eq(verdict.entropy),
        dvfs.slots.eq(core.rows.slots),
        dvfs.total.eq(core.rows.total),
        dvfs.layers.eq(core.image.layers),
        core.results.predicted.eq(dvfs.predicted),
        core.dvfs_code.eq(dvfs.dvfs_code),
        core.dvfs_request.eq(dvfs.dvfs_request),
        dvfs.dvfs_acknowledge.eq(core.dvfs_acknowledge),
    ]
    # A pass begins when ADMIT is done, its rows have been worked on when EXIT starts, and it is
    # over when ADMIT starts again: the first ADMIT of a queue ends none.
    m.d.comb += [
        dvfs.begin.eq(core.passed),
        dvfs.through.eq(issue.start.exit),
        dvfs.end.eq(issue.start.admission & (issue.passes != 0)),
    ]
