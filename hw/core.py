# SPDX-License-Identifier: Apache-2.0
"""Everything between the buses and the registers: row table, sequencer, engines, datapath, results."""

from amaranth import Module, Mux, ResetInserter, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from firmware.isa import ENGINES, Opcode
from hw.bus.constants import write_constants
from hw.bus.dma import request
from hw.bus.fetch import Fetch
from hw.bus.loader import constant_layout, image_layout
from hw.bus.transfer import bus_word
from hw.counters.counting import count, counters_layout
from hw.counters.tally import Tally
from hw.datapath import Datapath
from hw.decide.drop import Drop
from hw.decide.exit import Exit
from hw.engine import connect_engine
from hw.program.issue import Issue
from hw.program.prefetch import Prefetch
from hw.program.sequencer import Sequencer
from hw.queue.admission import Admission
from hw.queue.dvfs import Dvfs, dvfs_ports
from hw.queue.embedding import feature_layout
from hw.queue.results import Results
from hw.queue.staging import Staging
from hw.rows.rows import Rows
from hw.stream import Fifo
from hw.trace import observe, taps

__all__ = ["Core", "queue_layout"]

RUNS = 8  # runs of words that are on their way


def queue_layout():
    """What the core knows of the queue: see the registers of the same names."""
    return data.StructLayout(
        {
            "image_base": 32,
            "image_size": 32,
            "input_base": 32,
            "input_size": 32,
            "result_base": 32,
            "result_size": 32,
            "embedding_base": 32,
            "embedding_size": 32,
            "queue_base": 32,
            "queue_count": 16,
            "slot_limit": 8,
            "exit_threshold": 18,
        }
    )


class Core(wiring.Component):
    """Runs a queue of sentences from a loaded image; stops for good at a fault, until it is reset.

    Members
    -------
    start : pulse: run the queue; busy; done : pulse
    image, queue : stable while busy
    constant_valid, constant : {"address", "data"}: constants of the image, written before `start`
    o_request, words : runs of bus words on the memory port
    o_token, feature (with _valid), token_done, shifts : the embedder
    o_result, result_data, result_done : the writer
    fault, pc : code of an internal fault (0: none); number of the instruction that is at work
    read_pc : of the one whose words are awaited on the memory port
    dvfs_* : see `Dvfs`, when the unit is present
    counters : what happened in this cycle, see `counters_layout`, when the unit is present
    finished : results written since `start`
    progress : something has moved, other than instructions
    trace_NAME_valid, trace_NAME : see hw/trace.py
    """

    def __init__(self, config):
        self.config = config
        self.rows = Rows(config)
        self.datapath = Datapath(config)
        self.sequencer = Sequencer(config)
        self.issue = Issue(config)
        self.prefetch = Prefetch(config)
        self.staging = Staging(config)
        self.admission = Admission(config)
        self.exit = Exit(config)
        self.drop = Drop(config) if "drop" in config.units else None
        self.fetch = Fetch(config)
        begin, failure, success = (
            stream_.payload.shape()
            for stream_ in (self.admission.o_begin, self.admission.o_finish, self.exit.o_finish)
        )
        self.results = Results(
            config,
            begin,
            failure,
            success,
            self.exit.logit.shape(),
            self.exit.verdict.shape(),
        )
        self.engines = {
            "admission": self.admission,
            "drop": self.drop,
            "exit": self.exit,
            **dict.fromkeys(self.datapath.start.shape().members, self.datapath),
        }
        self.dvfs = Dvfs(config) if "dvfs" in config.units else None
        self.tally = Tally(config) if "counters" in config.units else None
        trace = {f"trace_{name}": Out(layout) for name, layout in taps(config).items()}
        trace |= {f"{name}_valid": Out(1) for name in trace}
        super().__init__(
            {
                "start": In(1),
                "busy": Out(1),
                "done": Out(1),
                "image": In(image_layout()),
                "queue": In(queue_layout()),
                "constant_valid": In(1),
                "constant": In(constant_layout()),
                "o_request": Out(stream.Signature(request())),
                "words": In(stream.Signature(bus_word(config))),
                "o_token": Out(self.staging.o_token.signature),
                "feature_valid": In(1),
                "feature": In(feature_layout()),
                "token_done": In(self.staging.token_done.signature.flip()),
                "shifts": Out(self.staging.shifts.shape()),
                "o_result": Out(stream.Signature(request())),
                "result_data": Out(stream.Signature(32)),
                "result_done": In(1),
                "fault": Out(8),
                "pc": Out(16),
                "read_pc": Out(16),
                "finished": Out(16),
                "progress": Out(1),
                **({"counters": Out(counters_layout(config))} if self.tally is not None else {}),
                **trace,
                **(dvfs_ports() if self.dvfs is not None else {}),
            }
        )

    def elaborate(self, platform):
        m = Module()
        self.working, self.reading = (
            Signal(),
            Signal(),
        )  # the program has not ended; words are on their way
        self.passed = Signal()  # a pass begins
        for name in (
            "sequencer",
            "issue",
            "prefetch",
            "datapath",
            "admission",
            "exit",
            "results",
            "fetch",
        ):
            m.submodules[name] = getattr(self, name)
        # What a program that ended early has left behind is forgotten; an empty row table needs no new free list.
        m.submodules.rows = ResetInserter(
            self.start & (self.rows.free != self.config.physical_rows)
        )(self.rows)
        m.submodules.staging = ResetInserter(self.start)(self.staging)
        if self.drop is not None:
            m.submodules.drop = self.drop
        if self.dvfs is not None:
            m.submodules.dvfs = self.dvfs
            self._voltage(m)
        self._sequence(m)
        self._engines(m)
        self._stage(m)
        self._row_commands(m)
        self._row_reads(m)
        self._reads(m)
        self._results(m)
        write_constants(m, self)
        self._progress(m)
        if self.tally is not None:
            count(m, self)
        observe(m, self)
        return m

    def _sequence(self, m):
        """The sequencer, and the engines of the operations."""
        sequencer = self.sequencer
        issue = self.issue
        datapath = self.datapath
        wiring.connect(m, sequencer.o_operation, issue.i)
        wiring.connect(m, sequencer.o_stream, self.prefetch.i)
        m.d.comb += [
            sequencer.start.eq(self.start),
            self.busy.eq(sequencer.busy),
            self.working.eq(sequencer.busy & ~sequencer.done),
            sequencer.program.eq(self.queue.image_base + self.image.program_offset),
            sequencer.instructions.eq(self.image.instructions),
            sequencer.layers.eq(self.image.layers),
            sequencer.slots.eq(self.rows.slots),
            sequencer.empty.eq(self.admission.empty),
            sequencer.ended.eq(issue.ended),
            sequencer.resting.eq(issue.resting),
            datapath.taken.eq(issue.taken),
            issue.restart.eq(self.start),
            issue.empty.eq(self.admission.empty),
            self.fault.eq(issue.fault),
            self.pc.eq(issue.pc),
        ]
        for engine in ENGINES:
            name = engine.name
            block = self.engines[name]
            m.d.comb += sequencer.present[name].eq(block is not None)
            if block is datapath:
                m.d.comb += [
                    datapath.start[name].eq(issue.start[name]),
                    issue.sent[name].eq(datapath.sent[name]),
                    issue.done[name].eq(datapath.done[name]),
                ]
            elif block is not None:
                connect_engine(m, engine, block, issue, self.rows.slots)

    def _engines(self, m):
        """What the engines work on."""
        issue = self.issue
        datapath = self.datapath
        admission = self.admission
        m.d.comb += [
            datapath.older.eq(issue.older),
            datapath.younger.eq(issue.younger),
            datapath.turn.eq(issue.turn),
            datapath.pending.eq(issue.pending),
            datapath.slots.eq(self.rows.slots),
            self.exit.threshold.eq(self.queue.exit_threshold),
            admission.restart.eq(self.start),
            admission.count.eq(self.queue.queue_count),
            admission.slot_limit.eq(self.queue.slot_limit),
            admission.total.eq(self.rows.total),
        ]
        users = [(self.exit, issue.older.instruction.opcode == Opcode.EXIT)]
        if self.drop is not None:
            m.d.comb += self.drop.layer.eq(issue.younger.layer)
            users.append((self.drop, issue.older.instruction.opcode == Opcode.DROP))
        for engine, chosen in users:  # SCORES serves DROP and EXIT
            m.d.comb += [
                engine.scores_request.ready.eq(datapath.scores_request.ready & chosen),
                engine.scores_words.valid.eq(datapath.scores_words.valid & chosen),
                engine.scores_words.payload.eq(datapath.scores_words.payload),
            ]
            with m.If(chosen):
                m.d.comb += [
                    datapath.scores_request.valid.eq(engine.scores_request.valid),
                    datapath.scores_request.payload.eq(engine.scores_request.payload),
                    datapath.scores_words.ready.eq(engine.scores_words.ready),
                ]

    def _stage(self, m):
        """The stager between queue, embedder, free rows and ADMIT. After the program's end it begins
        nothing; the run ends when nothing is under way."""
        staging = self.staging
        rows = self.rows
        admission = self.admission
        m.d.comb += [
            staging.start.eq(self.issue.start.admission),
            staging.instruction.eq(self.issue.older.instruction),
            staging.queue.eq(self.queue.queue_base),
            staging.count.eq(self.queue.queue_count),
            staging.positions.eq(self.image.positions),
            self.o_token.valid.eq(staging.o_token.valid & self.working),
            self.o_token.payload.eq(staging.o_token.payload),
            staging.o_token.ready.eq(self.o_token.ready & self.working),
            self.shifts.eq(staging.shifts),
            staging.feature_valid.eq(self.feature_valid),
            staging.feature.eq(self.feature),
        ]
        wiring.connect(m, staging.token_done, wiring.flipped(self.token_done))
        for source, target in (
            (rows.o_free, staging.i_free),
            (staging.o_word, self.datapath.staged),
            (staging.o_sentence, admission.i_sentence),
            (staging.o_row, admission.i_row),
            (staging.o_staged, admission.i_staged),
        ):
            wiring.connect(m, source, target)
        ended = Signal()
        counted = 1 if self.tally is None else self.tally.resting
        m.d.comb += self.done.eq(
            (self.sequencer.done | ended)
            & staging.resting
            & self.fetch.i.ready
            & ~self.reading
            & counted
        )
        m.d.sync += ended.eq((self.sequencer.done | ended) & ~self.done)

    def _row_commands(self, m):
        """The row table obeys the engines of ADMIT, DROP and EXIT, of which only one is at work."""
        rows = self.rows
        for engine in (
            self.admission,
            self.exit,
            *([] if self.drop is None else [self.drop]),
        ):
            m.d.comb += [
                engine.o_rows.ready.eq(rows.i_command.ready),
                engine.rows_done.eq(rows.done),
            ]
            with m.If(engine.o_rows.valid):
                m.d.comb += [
                    rows.i_command.valid.eq(1),
                    rows.i_command.payload.eq(engine.o_rows.payload),
                ]

    def _row_reads(self, m):
        rows = self.rows
        datapath = self.datapath
        m.d.comb += [
            rows.read_row.eq(datapath.row_address),
            datapath.row_physical.eq(rows.read_data.physical),
            datapath.row_position.eq(rows.read_data.position),
        ]
        if self.drop is None:
            return
        verdict = self.drop.verdict
        m.d.comb += [
            rows.keep_write.enable.eq(self.drop.verdict_valid),
            rows.keep_write.row.eq(verdict.row),
            rows.keep_write.keep.eq(verdict.keep),
        ]

    def _reads(self, m):
        """Words come in the order of the requests: weights as bus words, program and tokens as 32-bit words."""
        fetch = self.fetch
        prefetch = self.prefetch
        queue = self.queue
        m.submodules.runs = runs = Fifo(1, RUNS)  # 1: a run of weights
        weights = ~fetch.o_request.valid  # short runs go first
        m.d.comb += [
            self.o_request.valid.eq(
                (fetch.o_request.valid | prefetch.o_request.valid) & runs.i.ready
            ),
            self.o_request.payload.eq(
                Mux(
                    weights,
                    prefetch.o_request.payload.as_value(),
                    fetch.o_request.payload.as_value(),
                )
            ),
            fetch.o_request.ready.eq(self.o_request.ready & runs.i.ready),
            prefetch.o_request.ready.eq(self.o_request.ready & runs.i.ready & weights),
            runs.i.payload.eq(weights),
            runs.i.valid.eq(self.o_request.valid & self.o_request.ready),
            fetch.data.payload.eq(self.words.payload),
            prefetch.words.payload.eq(self.words.payload),
            fetch.data.valid.eq(self.words.valid & runs.o.valid & ~runs.o.payload),
            prefetch.words.valid.eq(self.words.valid & runs.o.valid & runs.o.payload),
            self.words.ready.eq(
                runs.o.valid & Mux(runs.o.payload, prefetch.words.ready, fetch.data.ready)
            ),
            runs.o.ready.eq(self.words.valid & self.words.ready & self.words.payload.last),
            self.read_pc.eq(Mux(runs.o.valid & runs.o.payload, prefetch.pc, self.issue.pc)),
            self.reading.eq(runs.level != 0),
            prefetch.base.eq(queue.image_base),
            prefetch.size.eq(queue.image_size),
            self.datapath.reduction.eq(prefetch.reduction),
            self.datapath.groups.eq(prefetch.groups),
        ]
        wiring.connect(m, prefetch.o, self.datapath.weights)
        self._fetch(m)

    def _fetch(self, m):
        """Runs of 32-bit words: the program, then descriptors and tokens."""
        sequencer = self.sequencer
        fetch = self.fetch
        staging = self.staging
        queue = self.queue
        run = fetch.i.payload
        filling = sequencer.o_fetch.valid
        reading = staging.o_read.valid & self.working
        program = Signal()  # the run is the program
        with m.If(fetch.i.valid & fetch.i.ready):
            m.d.sync += program.eq(filling)
        m.d.comb += [
            fetch.i.valid.eq(filling | reading),
            run.address.eq(
                Mux(filling, sequencer.o_fetch.payload.address, staging.o_read.payload.address)
            ),
            run.words.eq(
                Mux(filling, sequencer.o_fetch.payload.words, staging.o_read.payload.words)
            ),
            run.base.eq(Mux(filling, queue.image_base, queue.input_base)),
            run.size.eq(Mux(filling, queue.image_size, queue.input_size)),
            sequencer.o_fetch.ready.eq(fetch.i.ready),
            staging.o_read.ready.eq(fetch.i.ready & ~filling & self.working),
            sequencer.words.valid.eq(fetch.o.valid & program),
            sequencer.words.payload.eq(fetch.o.payload),
            staging.words.valid.eq(fetch.o.valid & ~program),
            staging.words.payload.eq(fetch.o.payload),
            fetch.o.ready.eq(Mux(program, sequencer.words.ready, staging.words.ready)),
        ]

    def _results(self, m):
        results = self.results
        admission = self.admission
        for target, source in (
            (results.begin, admission.o_begin),
            (results.failure, admission.o_finish),
            (results.success, self.exit.o_finish),
        ):
            wiring.connect(m, source, target)
        m.d.comb += [
            results.logit_valid.eq(self.exit.logit_valid),
            results.logit.eq(self.exit.logit),
            results.verdict_valid.eq(self.exit.verdict_valid),
            results.verdict.eq(self.exit.verdict),
            results.passes.eq(self.issue.passes),
            results.clear.eq(self.start),
            results.base.eq(self.queue.result_base),
            results.size.eq(self.queue.result_size),
            results.written.eq(self.result_done),
            self.finished.eq(results.finished),
        ]
        for target, source in (
            (self.o_result, results.o_request),
            (self.result_data, results.o_data),
        ):
            m.d.comb += [
                target.valid.eq(source.valid),
                target.payload.eq(source.payload),
                source.ready.eq(target.ready),
            ]
        if self.drop is None:
            return
        tally = self.drop.tally
        dropped = self.rows.dropped
        m.d.comb += [
            results.tokens_valid.eq(self.drop.tally_valid),
            results.tokens.slot.eq(tally.slot),
            results.tokens.layer.eq(self.issue.older.layer),
            results.tokens.entering.eq(tally.count),
            results.tokens.kept.eq(tally.kept),
            results.dropped_valid.eq(dropped.valid),
            results.dropped.slot.eq(dropped.slot),
            results.dropped.layer.eq(self.issue.older.layer),
            results.dropped.position.eq(dropped.position),
        ]

    def _voltage(self, m):
        """A pass begins when ADMIT is done, its rows are worked on when EXIT starts, it is over when ADMIT starts again."""
        dvfs = self.dvfs
        issue = self.issue
        begin = self.admission.o_begin
        verdict = self.exit.verdict
        m.d.comb += [
            dvfs.admit_valid.eq(begin.valid & begin.ready),
            dvfs.admit.slot.eq(begin.payload.slot),
            dvfs.admit.deadline.eq(begin.payload.deadline),
            dvfs.verdict_valid.eq(self.exit.verdict_valid),
            dvfs.verdict.slot.eq(verdict.slot),
            dvfs.verdict.entropy.eq(verdict.entropy),
            dvfs.slots.eq(self.rows.slots),
            dvfs.total.eq(self.rows.total),
            dvfs.layers.eq(self.image.layers),
            dvfs.begin.eq(self.passed),
            dvfs.through.eq(issue.start.exit),
            dvfs.end.eq(issue.start.admission & (issue.passes != 0)),
            self.results.predicted.eq(dvfs.predicted),
            self.dvfs_code.eq(dvfs.dvfs_code),
            self.dvfs_request.eq(dvfs.dvfs_request),
            dvfs.dvfs_acknowledge.eq(self.dvfs_acknowledge),
        ]

    def _progress(self, m):
        """A program that only runs in a circle makes no progress: what it skips does not count."""
        datapath = self.datapath
        issue = self.issue
        admits = issue.older.instruction.opcode == Opcode.ADMIT
        moved = self.words.valid & self.words.ready | self.token_done.valid & self.token_done.ready
        m.d.comb += [
            self.passed.eq(issue.ended & admits & ~self.admission.empty),
            self.progress.eq(
                moved
                | issue.ended & ~issue.skipped & ~admits
                | datapath.stored_valid
                | datapath.score_valid
            ),
        ]
