# SPDX-License-Identifier: Apache-2.0
"""Everything between the buses and the registers: program, engines, datapath, rows, sentences."""

from amaranth import Module, ResetInserter, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from firmware.isa import ENGINES
from firmware.registers import BY_NAME
from hw.bus.constants import write_constants
from hw.bus.core_reads import connect_check, connect_fetch, connect_port, section_layout
from hw.bus.fetch import Fetch
from hw.bus.headers import constant_layout, image_layout
from hw.bus.reads import Reads
from hw.bus.section_check import SectionCheck
from hw.bus.transfer import bus_word, transfer_layout
from hw.counters.counting import counters_layout, drive_counters
from hw.counters.tally import Tally
from hw.datapath import DATAPATH_ENGINES, Datapath
from hw.decide.drop import Drop
from hw.decide.exit import Exit
from hw.engine import connect_engine
from hw.program.issue import Issue
from hw.program.prefetch import Prefetch
from hw.program.sequencer import Sequencer
from hw.queue.admission import Admission
from hw.queue.dvfs import Dvfs, dvfs_ports
from hw.queue.embedding_sum import feature_layout
from hw.queue.results import Results
from hw.queue.sentences import connect_dvfs, connect_results, connect_staging
from hw.queue.staging import Staging
from hw.rows.rows import Rows
from hw.shapes import ADDRESS, ERROR, PC, SIZE, WORD
from hw.trace import observe, taps

__all__ = ["QUEUE", "Core", "queue_layout"]

# Registers that say what the queue is and where it lies.
QUEUE = (
    "INPUT_BASE",
    "INPUT_SIZE",
    "RESULT_BASE",
    "RESULT_SIZE",
    "QUEUE_BASE",
    "QUEUE_COUNT",
    "SLOT_LIMIT",
    "EXIT_THRESHOLD",
)


def queue_layout():
    """What the core knows of the queue: the registers of `QUEUE`, in lower case."""
    return data.StructLayout({name.lower(): BY_NAME[name].width for name in QUEUE})


class Core(wiring.Component):
    """Runs a queue of sentences from a loaded image; stops for good at a fault, until it is reset.

    `busy` from the cycle after `start`; `done` when the program has ended and nothing is under way.
    Stalled: by the ports alone; who waits for what inside is told in docs/machine.md.

    Parameters
    ----------
    config : HardwareConfig

    Members
    -------
    start : In(1), pulse: run the queue
    busy : Out(1)
    done : Out(1), pulse
    image : In(image_layout()), stable while busy
    image_base, image_size : In(ADDRESS), In(SIZE), of the image, stable while busy
    queue : In(queue_layout()), from the cycle after `start` on, stable while busy
    constant_valid : In(1), before `start`
    constant : In(constant_layout()), a constant of the image
    o_request : Out(stream of request()), runs of bus words on the memory port
    words : In(stream of bus_word(config)), of these runs
    o_token : Out(stream), a token for the embedder, see `Staging`
    feature_valid : In(1)
    feature : In(feature_layout()), of a token's embedding
    token_done : In(stream), a token's embedding is complete, see `Staging`
    shifts : Out(struct), the embedder's, see `Staging`
    o_result : Out(stream of request()), a record for the writer
    result_data : Out(stream of WORD), its words
    result_done : In(1), pulse: it is written
    fault : Out(ERROR), code of an illegal instruction, 0 while there is none
    damaged : Out(1), a section of the image was not what it was when it was loaded
    pc : Out(PC), number of the instruction that ends next
    read_pc : Out(PC), of the one whose words are awaited on the memory port, or whose weights are
        `damaged`
    finished : Out(QUEUE_COUNT's width), results written since `start`
    progress : Out(1), something has moved, other than instructions
    counters : Out(counters_layout(config)), of this cycle, when the unit is present
    dvfs_code, dvfs_request, dvfs_acknowledge : see `Dvfs`, when the unit is present
    trace_NAME_valid, trace_NAME : Out, see hw/trace.py
    """

    def __init__(self, config):
        self.config = config
        self.rows = Rows(config)
        self.datapath = Datapath(config)
        self.sequencer = Sequencer(config)
        self.issue = Issue(config)
        self.prefetch = Prefetch(config)
        self.fetch = Fetch(config)
        self.reads = Reads(config)
        self.check = SectionCheck(config, section_layout())
        self.staging = Staging(config)
        # Engines by the names of firmware.isa.ENGINES, beside those of the datapath.
        self.admission = Admission(config)
        self.exit = Exit(config)
        self.drop = Drop(config) if "drop" in config.units else None
        self.results = Results(
            config,
            self.admission.o_begin.payload.shape(),
            self.admission.o_finish.payload.shape(),
            self.exit.o_finish.payload.shape(),
            self.exit.logit.shape(),
            self.exit.verdict.shape(),
        )
        self.dvfs = Dvfs(config) if "dvfs" in config.units else None
        self.tally = Tally(config) if "counters" in config.units else None
        self.working = Signal()  # the program has not ended
        self.passed = Signal()  # a pass begins
        trace = {f"trace_{name}": Out(layout) for name, layout in taps(config).items()}
        trace |= {f"{name}_valid": Out(1) for name in trace}
        super().__init__(
            {
                "start": In(1),
                "busy": Out(1),
                "done": Out(1),
                "image": In(image_layout()),
                "image_base": In(ADDRESS),
                "image_size": In(SIZE),
                "queue": In(queue_layout()),
                "constant_valid": In(1),
                "constant": In(constant_layout()),
                "o_request": Out(stream.Signature(transfer_layout())),
                "words": In(stream.Signature(bus_word(config))),
                "o_token": Out(self.staging.o_token.signature),
                "feature_valid": In(1),
                "feature": In(feature_layout()),
                "token_done": In(self.staging.token_done.signature.flip()),
                "shifts": Out(self.staging.shifts.shape()),
                "o_result": Out(stream.Signature(transfer_layout())),
                "result_data": Out(stream.Signature(WORD)),
                "result_done": In(1),
                "fault": Out(ERROR),
                "damaged": Out(1),
                "pc": Out(PC),
                "read_pc": Out(PC),
                "finished": Out(BY_NAME["SENTENCES_DONE"].width),
                "progress": Out(1),
                **({"counters": Out(counters_layout(config))} if self.tally is not None else {}),
                **trace,
                **(dvfs_ports() if self.dvfs is not None else {}),
            }
        )

    def elaborate(self, platform):
        m = Module()
        self._blocks(m)
        self._sequence(m)
        self._engines(m)
        self._datapath(m)
        self._scores(m)
        self._row_commands(m)
        self._row_reads(m)
        self._end(m)
        # What belongs to a room alone is connected there: this file would be twice as long.
        connect_port(m, self)
        program = connect_fetch(m, self)
        connect_check(m, self, program)
        connect_staging(m, self)
        connect_results(m, self)
        write_constants(m, self)
        if self.dvfs is not None:
            connect_dvfs(m, self)
        if self.tally is not None:
            drive_counters(m, self)
        observe(m, self)
        return m

    def _blocks(self, m):
        """The submodules, under the names of their attributes."""
        names = (
            "sequencer",
            "issue",
            "prefetch",
            "fetch",
            "reads",
            "check",
            "datapath",
            "admission",
            "exit",
        )
        for name in (*names, "results", "drop", "dvfs"):
            block = getattr(self, name)
            if block is not None:
                m.submodules[name] = block
        # What a program that ended early has left behind is forgotten at the next start. An empty
        # row table is left alone: making its list of free rows anew would take a cycle for each.
        left = self.start & (self.rows.free != self.config.physical_rows)
        m.submodules.rows = ResetInserter(left)(self.rows)
        m.submodules.staging = ResetInserter(self.start)(self.staging)

    def _sequence(self, m):
        """The program's two halves: the sequencer runs ahead, Issue starts what it has found."""
        sequencer = self.sequencer
        issue = self.issue
        wiring.connect(m, sequencer.o_operation, issue.i)
        wiring.connect(m, sequencer.o_stream, self.prefetch.i)
        m.d.comb += [
            sequencer.start.eq(self.start),
            self.busy.eq(sequencer.busy),
            self.working.eq(sequencer.busy & ~sequencer.done),
            sequencer.program.eq(self.image_base + self.image.program_offset),
            sequencer.instructions.eq(self.image.instructions),
            sequencer.layers.eq(self.image.layers),
            sequencer.classes.eq(self.image.classes),
            sequencer.heads.eq(self.image.heads),
            sequencer.embedding.eq(self.image.embedding_width),
            sequencer.slots.eq(self.rows.slots),
            sequencer.empty.eq(self.admission.empty),
            sequencer.told.eq(self.result_done),
            sequencer.ended.eq(issue.ended),
            sequencer.resting.eq(issue.resting),
            issue.restart.eq(self.start),
            issue.empty.eq(self.admission.empty),
            self.fault.eq(issue.fault),
            self.pc.eq(issue.pc),
        ]

    def _engines(self, m):
        """Every row of `ENGINES` has a block here or in the datapath, or is an illegal opcode."""
        issue = self.issue
        datapath = self.datapath
        # By name, from the one table: an engine more is a row there and a block here.
        for engine in ENGINES:
            name = engine.name
            present = self.sequencer.present[name]
            if name in DATAPATH_ENGINES:
                m.d.comb += [
                    present.eq(1),
                    datapath.start[name].eq(issue.start[name]),
                    issue.sent[name].eq(datapath.sent[name]),
                    issue.done[name].eq(datapath.done[name]),
                ]
            else:
                block = getattr(self, name)
                m.d.comb += present.eq(block is not None)
                if block is not None:
                    connect_engine(m, engine, block, issue, self.rows.slots)
        m.d.comb += [
            self.exit.threshold.eq(self.queue.exit_threshold),
            self.admission.restart.eq(self.start),
            self.admission.count.eq(self.queue.queue_count),
            self.admission.slot_limit.eq(self.queue.slot_limit),
            self.admission.total.eq(self.rows.total),
        ]
        if self.drop is not None:
            m.d.comb += self.drop.layer.eq(issue.younger.layer)

    def _datapath(self, m):
        """The operations at work, and the weights with what the array must know of them."""
        issue = self.issue
        datapath = self.datapath
        m.d.comb += [
            datapath.taken.eq(issue.taken),
            datapath.older.eq(issue.older),
            datapath.acting.eq(issue.acting),
            datapath.younger.eq(issue.younger),
            datapath.turn.eq(issue.turn),
            datapath.pending.eq(issue.pending),
            datapath.slots.eq(self.rows.slots),
            datapath.reduction.eq(self.prefetch.reduction),
            datapath.groups.eq(self.prefetch.groups),
        ]
        wiring.connect(m, self.prefetch.o, datapath.weights)

    def _scores(self, m):
        """The read side of SCORES serves EXIT and DROP: whose operation it is."""
        datapath = self.datapath
        acting = self.issue.acting
        users = [(self.exit, acting.exit)]
        if self.drop is not None:
            users.append((self.drop, acting.drop))
        for engine, chosen in users:
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

    def _row_commands(self, m):
        """The row table obeys the engines of ADMIT, EXIT and DROP."""
        rows = self.rows
        # Only one of them is at work, since none can be followed: so nothing is arbitrated.
        for engine in (self.admission, self.exit, self.drop):
            if engine is None:
                continue
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
        """The datapath reads the row table; DROP marks the rows that stay."""
        rows = self.rows
        datapath = self.datapath
        m.d.comb += [
            rows.read_row.eq(datapath.row_address),
            datapath.row_physical.eq(rows.read_data.physical),
            datapath.row_position.eq(rows.read_data.position),
        ]
        # Rows stay unless a verdict falls, so a machine without DROP has nothing to write here.
        if self.drop is not None:
            verdict = self.drop.verdict
            m.d.comb += [
                rows.keep_write.enable.eq(self.drop.verdict_valid),
                rows.keep_write.row.eq(verdict.row),
                rows.keep_write.keep.eq(verdict.keep),
            ]

    def _end(self, m):
        """When the run is over, and what counts as progress for the watchdog."""
        issue = self.issue
        datapath = self.datapath
        ended = Signal()
        counted = 1 if self.tally is None else self.tally.resting
        # After the program's end the run lasts until nothing is under way: words that arrive in the
        # next run would be taken for its own.
        m.d.comb += self.done.eq(
            (self.sequencer.done | ended)
            & self.staging.resting
            & self.fetch.i.ready
            & ~self.reads.reading
            & counted
        )
        m.d.sync += ended.eq((self.sequencer.done | ended) & ~self.done)
        # A program that only runs in a circle makes no progress: ADMITs that admit nothing and
        # operations that are skipped do not count.
        admits = issue.acting.admission
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
