# SPDX-License-Identifier: Apache-2.0
"""A model of the machine's cycles, so that large sweeps need no simulation.

    sentences = [of_golden(words, run(network, *words)) for words in sentences]
    work = schedule(program, sentences, slots)
    for operation in predict(program, config, work, latency=100, bytes_per_cycle=16): ...

Constants and formulas are those that the blocks of hw/ publish. LINEAR (linear.py, array.py,
weights.py), ATTEND (attention.py) and the stager (staging.py, embedding.py), which runs beside the
operations, follow what arrives when. sim/cycles/test_model.py compares with the co-simulation.
"""

from dataclasses import dataclass
from types import SimpleNamespace

from firmware.columns import PORTION
from firmware.image import section_bytes, stream_stride
from firmware.isa import BYTES, ENGINES, Opcode, Source, Target
from firmware.record import RECORD
from hw import accelerator, buffer
from hw.array import layernorm, norm
from hw.bus import transfer
from hw.decide import drop
from hw.decide import exit as exits
from hw.program import issue, prefetch, sequencer
from hw.queue import admission, results
from hw.rows.rows import compaction
from sim.cycles.attention import attend
from sim.cycles.embedding import RowImage
from sim.cycles.linear import Linears, Written
from sim.cycles.memory import WORD_BYTES, BusTimes, RunReader
from sim.cycles.staging import Stager
from sim.cycles.weights import LaneCode, Streams
from sim.cycles.work import CycleWork, of_golden, of_record, schedule

__all__ = ["CycleWork", "Predicted", "of_golden", "of_record", "predict", "schedule"]

# They change which slots are resident, and at which layer.
BARRIERS = {engine.opcode for engine in ENGINES if engine.barrier}


@dataclass(frozen=True)
class Predicted:
    """One operation that is not skipped.

    cycles : since the one before, skipped instructions between them included
    """

    pc: int
    cycles: int
    work: CycleWork


def predict(program, config, work, latency, bytes_per_cycle, codes=None):
    """[Predicted] of a `schedule`, with both memories as in `sim.cycles.measure.run`.

    The sum is the run's cycles from the start of the queue.

    codes : a dictionary that keeps the program's `LaneCode`s from call to call
    """
    model = _Model(program, config, latency, bytes_per_cycle, {} if codes is None else codes)
    return model.run(work)


class _Model:
    """The clock, the ports' memories, and what is kept of a weight stream from pass to pass."""

    def __init__(self, program, config, latency, bytes_per_cycle, codes):
        self.program = program
        self.config = config
        memory, self.embedding, self.writes = (
            BusTimes(latency, bytes_per_cycle, config.bus_bytes) for _ in range(3)
        )
        self.port = RunReader(memory, accelerator.BURST)  # of the program and the stager
        self.codes = codes
        self.streams = Streams(config, memory)
        self.linears = Linears(config)
        self.now = 0  # the last operation's end
        self.fetched = 0  # the next instruction's fetch
        self.decoded = 0  # the last one's decoding
        self.left = []  # when operations left the queue
        self.before = Written()  # by the last LINEAR or NORM
        self.edited = 0  # when the row table was compacted

    def run(self, work):
        """[Predicted] of the whole `schedule`."""
        queue = [sentence for one in work for sentence in one.admitted]
        self.stager = Stager(
            self.config,
            RowImage(self.program.embedding),
            self.port,
            RunReader(self.embedding, transfer.BURST),
            queue,
        )
        size = section_bytes(len(self.program.instructions) * BYTES)
        _, beats = self.port.request(sequencer.START, 0, size)
        self.fetched = self.port.words(beats)[-1] + sequencer.LOADED
        predicted = []
        before = 0
        for one, following in zip(work, [*work[1:], work[-1]], strict=True):
            if self._step(one):
                predicted.append(Predicted(one.pc, self.now - before, one))
                before = self.now
            if self._opcode(one) in (Opcode.DROP, Opcode.EXIT):
                self.stager.freed += [self.edited] * (one.total - following.total)
        return predicted

    def _opcode(self, one):
        return Opcode(self.program.instructions[one.pc]["opcode"])

    def _step(self, one):
        """Fetch, decode and run an instruction; whether it is an operation that is not skipped."""
        values = self.program.instructions[one.pc]
        opcode = self._opcode(one)
        works = bool(one.rows) or opcode == Opcode.ADMIT
        self.decoded = self.fetched + sequencer.DECODE
        if opcode in (Opcode.GROUP, Opcode.LOOP):
            works = False
        else:
            # An operation waits with its instruction for a place in the queue.
            full = self.left[-issue.AHEAD] + 1 if len(self.left) >= issue.AHEAD else 0
            self.decoded = max(self.decoded, full)
            self._issue(one, values, opcode, works)
        self.fetched = self.decoded + 1
        if works and opcode in BARRIERS:
            self.fetched = self.now + 1
        return works

    def _issue(self, one, values, opcode, works):
        """An operation: to its engine, when those before have left or ended."""
        ready = self.before.taken if works and values.get("follow") else self.now
        start = max(ready, self.decoded + issue.REACHED - 1) + issue.START
        self.now = max(self.now, start)
        left = self.now
        if works:
            ended = getattr(self, f"_{opcode.name.lower()}")(one, values, start)
            self.now = ended + issue.NOTICED
            left = self.before.taken if opcode in (Opcode.LINEAR, Opcode.NORM) else self.now
        self.left.append(left)

    def _admit(self, one, values, start):
        """See `hw.queue.admission.cycles`, which a sentence takes when nothing is missing."""
        stager = self.stager
        now = start + admission.START
        stager.start(start)
        for sentence in one.admitted:
            number = len(stager.begun)
            now = max(now, stager.describe(number))
            stager.begun.append(now + 1)
            placed = admission.cycles(len(sentence.ids)) - admission.BEGIN
            now = max(now + admission.BEGIN, stager.stage(number)) + placed
        # It looks at one more, for which there are too few rows.
        return max(now, stager.describe(len(stager.begun))) if one.refused else now

    def _linear(self, one, values, start):
        """hw/array/linear.py, with its weight stream."""
        code = self._code(one, values)
        stride = stream_stride(values["beats"] * self.config.bus_bytes)
        address = values["address"] + one.layer * values.get("stacked", 0) * stride
        # What the stager asks for before the reader is free goes first.
        self.stager.until(max(self.decoded, self.streams.asked) + prefetch.LATENCY + transfer.NEXT)
        self.streams.taken = max(self.streams.taken, self.port.taken)
        ask = max(self.decoded, self.port.free - 1)
        self.streams.begin(code, ask, address, values["beats"])
        lanes = self.config.tokens
        heights = {
            tile: 0 if values.get("cls") else one.height(tile, lanes)
            for tile in one.tiles(values, lanes)
        }
        self.before = self.linears.run(values, code, self.streams, start, heights, self.before)
        self.stager.idle = self.streams.asked
        self.port.behind = self.streams.taken
        return self.before.ended

    def _code(self, one, values):
        """The `LaneCode` of a LINEAR's stream."""
        columns = self.program.columns[one.pc]
        index = one.layer if len(columns) > 1 else 0
        if (one.pc, index) not in self.codes:
            config = self.config
            sizes = config.columns, config.bus_bytes, config.weight_depth
            self.codes[one.pc, index] = LaneCode(columns[index], values["beats"], *sizes)
        return self.codes[one.pc, index]

    def _norm(self, one, values, start):
        """hw/array/norm.py: a tile's words enter while the results of the one before leave."""
        lanes = self.config.tokens
        features = values["reduction"]
        tiles = one.tiles(values, lanes)
        gathered = values.get("residual") and values["source"] == Source.STATE
        times = SimpleNamespace(
            tile=start + norm.START + tiles[0],  # when the tile is known
            free=0,  # when its first word may enter the LayerNorm
            given=0,  # when the last result of the one before left
            written=0,  # when that was written
        )
        words = norm.first_word(self.config, gathered)
        written = Written(values)
        for number, behind in zip(tiles, [*tiles[1:], None], strict=True):
            entered = max(times.tile + words, times.free - norm.JOINED) + features - 1
            if values.get("follow"):
                entered = max(entered, self._summed(behind, features))
            written.taken = times.tile = max(entered, times.written) + norm.NEXT
            self._layernorm(times, entered + norm.JOINED, features)
            times.written = times.given
            if values["target_buffer"] == Target.STATE:
                # The turn gives a row a cycle, and fills up its last block.
                times.written += one.height(number, lanes) + -features % lanes
            written.written[number] = times.written
        written.taken += issue.NOTICED
        written.ended = times.written
        self.before = written
        return written.ended

    def _layernorm(self, times, entered, features):
        """hw/array/layernorm.py: a block whose last word has `entered`."""
        lanes = self.config.tokens
        roots = max(entered + layernorm.SUMS, times.given + layernorm.REST)
        times.free = roots + lanes + layernorm.ROOTS
        times.given = roots + lanes + layernorm.RESULTS + features - 1

    def _summed(self, behind, features):
        """When a NORM that follows a LINEAR can have a tile's last word.

        The last portion of its columns is complete when the LINEAR begins with the tile `behind`.
        """
        before = self.before
        complete = before.ended if behind is None else min(before.begun[behind], before.ended)
        after = (features - 1) % (PORTION * self.config.columns)  # words behind the portion's first
        return complete + 1 + buffer.LATENCY + after

    def _drop(self, one, values, start):
        """hw/decide/drop.py."""
        self.edited = start + drop.cycles(self.config, one.rows, one.total)
        return self.edited

    def _attend(self, one, values, start):
        """hw/attention/attention.py."""
        return attend(self.config, values, one.rows, start)

    def _exit(self, one, values, start):
        """hw/decide/exit.py: the decision of each slot, results of those that end.

        If somebody ends the row table is compacted, beside a last result.
        """
        now = start + exits.START
        ended = iter(one.ended)
        if not values["groups"]:
            return now + exits.cycles(0) * len(one.slots)
        for slot in one.slots:
            now += exits.cycles(values["reduction"])
            edit = now
            if slot in one.leaving:
                edit = now - 1
                now = self._result(now, next(ended))
        if not one.ended:
            return now
        self.edited = edit + compaction(one.total)
        return max(now, self.edited)

    def _result(self, start, number):
        """hw/queue/results.py and the writer: fields, then bursts, each acknowledged.

        number : of the sentence in the queue
        """
        config = self.config
        memory = self.writes
        parts = config.bus_bytes // WORD_BYTES
        left = RECORD.words(config) // parts  # bus words
        place = number * left
        address = start + results.REQUEST + transfer.ADDRESS_CYCLES
        while left:
            size = min(left, transfer.BURST - place % transfer.BURST)
            beat = address + 1
            for index in range(size):
                gathered = address + 1 + parts * (index + 1)
                beat = memory.beat(max(gathered, beat + parts))
            place += size
            left -= size
            acknowledged = beat + memory.latency
            address = acknowledged + transfer.NEXT
        return acknowledged + results.TOLD
