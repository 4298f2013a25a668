# SPDX-License-Identifier: Apache-2.0
"""A model of the machine's cycles, so that large sweeps need no simulation.

    work = schedule(program, [of_golden(words, run(network, *words)) for words in sentences], slots)
    for operation in predict(program, config, work, latency=100, bytes_per_cycle=16): ...

Control engines are formulas read from hw/'s state machines (the constants' comments say what they count); LINEAR (sim/cycles/linear.py), ATTEND
(sim/cycles/attention.py) and the stager (sim/cycles/staging.py, sim/cycles/embedding.py), which runs beside the operations, follow what arrives when.
sim/cycles/test_model.py compares with the co-simulation.
"""

from dataclasses import dataclass

from firmware.columns import PORTION
from firmware.image import stream_stride
from firmware.isa import BYTES, Opcode, Source, Target
from sim.cycles.array import Ending, Linears
from sim.cycles.attention import attend
from sim.cycles.embedding import Port, Rows
from sim.cycles.linear import BURST, LaneCode, Memory, Streams
from sim.cycles.staging import Stager
from sim.cycles.work import Work, of_golden, of_record, schedule

__all__ = ["Predicted", "Work", "of_golden", "of_record", "predict", "schedule"]

START = 3  # from the register write to the request for the program
DECODED = 1  # from an instruction's fetch to its decoding
AHEAD = 8  # operations that the sequencer may be ahead
EMBEDDING_BURST = WRITE_BURST = 16
CLASS, ENTROPY, MOVE = (
    10,
    32,
    2,
)  # cycles of EXIT for each class of a slot; for the rest; for a slot that only moves on
SUM = 2  # from a complete portion to its first word
VALUES, VERDICTS = (
    2,
    17,
)  # cycles of DROP for a word of values, besides the values; for a slot, besides its rows
RECORD = 16  # from a slot's end to the first address of its record: six fields, two of them long


@dataclass(frozen=True)
class Predicted:
    """One operation that is not skipped: its cycles since the one before, skipped instructions between them included."""

    pc: int
    cycles: int
    work: Work


def predict(program, config, work, latency, bytes_per_cycle, codes=None):
    """[Predicted] of a `schedule`, with both memories as in `sim.cycles.measure.run`.

    The sum is the run's cycles from the start of the queue. codes : a dictionary that keeps the program's `LaneCode`s from call to call
    """
    return _Model(program, config, latency, bytes_per_cycle, {} if codes is None else codes).run(
        work
    )


class _Model:
    """The clock, the ports' memories, and what is kept of a weight stream from pass to pass."""

    def __init__(self, program, config, latency, bytes_per_cycle, codes):
        self.program, self.config = program, config
        self.memory, self.embedding, self.writes = (
            Memory(latency, bytes_per_cycle, config.bus_bytes) for _ in range(3)
        )
        self.port = Port(self.memory, BURST)  # of the program and the stager
        self.codes = codes
        self.streams = Streams(config, self.memory)
        self.linears = Linears(config)
        self.now, self.front, self.gone = (
            0,
            0,
            [],
        )  # the last operation's end; the next instruction's fetch; when operations left the queue
        self.before = Ending()  # the last LINEAR or NORM
        self.edited = 0  # when the row table was compacted

    def run(self, work):
        predicted = []
        before = 0
        queue = [sentence for one in work for sentence in one.admitted]
        self.stager = Stager(
            self.config,
            Rows(self.program.embedding),
            self.port,
            Port(self.embedding, EMBEDDING_BURST),
            queue,
        )
        _, beats = self.port.request(START, 0, len(self.program.instructions) * BYTES)
        self.front = self.port.words(beats)[-1] + 2
        for one, following in zip(work, [*work[1:], work[-1]], strict=True):
            values = self.program.instructions[one.pc]
            opcode, decoded = Opcode(values["opcode"]), self.front + DECODED
            if opcode not in (Opcode.GROUP, Opcode.LOOP):
                decoded = max([decoded, *(gone + 1 for gone in self.gone[-AHEAD : -AHEAD + 1])])
                worked = one.rows or opcode == Opcode.ADMIT
                start = (
                    max(self.before.taken if worked and values.get("follow") else self.now, decoded)
                    + 1
                )
                gone = self.now = max(self.now, start)
                if worked:
                    self.decoded = decoded
                    self.now = getattr(self, f"_{opcode.name.lower()}")(one, values, start)
                    gone = self.before.taken if opcode in (Opcode.LINEAR, Opcode.NORM) else self.now
                    predicted.append(Predicted(one.pc, self.now - before, one))
                    before = self.now
                self.gone.append(gone)
            self.front = decoded + 1
            if opcode in (Opcode.ADMIT, Opcode.EXIT) and (one.rows or opcode == Opcode.ADMIT):
                self.front = self.now + 1
            if opcode in (Opcode.DROP, Opcode.EXIT):
                self.stager.freed += [self.edited] * (one.total - following.total)
        return predicted

    def _admit(self, one, values, start):
        """hw/queue/admission.py: three states before a sentence's rows are waited for, two more and its rows after."""
        stager, now = self.stager, start + 1
        stager.start(start)
        for sentence in one.admitted:
            number = len(stager.begun)
            now = max(now, stager.describe(number))
            stager.begun.append(now + 1)
            now = max(now + 2, stager.stage(number)) + 3 + len(sentence.ids)
        return max(now, stager.describe(len(stager.begun))) if one.refused else now

    def _linear(self, one, values, start):
        columns = self.program.columns[one.pc]
        index = one.layer if len(columns) > 1 else 0
        if (one.pc, index) not in self.codes:
            config = self.config
            self.codes[one.pc, index] = LaneCode(
                columns[index],
                values["beats"],
                config.columns,
                config.bus_bytes,
                config.weight_depth,
            )
        address = values["address"] + one.layer * values.get("stacked", 0) * stream_stride(
            values["beats"] * self.config.bus_bytes
        )
        self.stager.until(
            max(self.decoded, self.streams.asked) + 3
        )  # what it has asked for when the reader is free goes first
        self.streams.taken = max(self.streams.taken, self.port.taken)
        self.streams.begin(
            self.codes[one.pc, index],
            max(self.decoded, self.port.free - 1),
            address,
            values["beats"],
        )
        tiles = {
            tile: 0 if values.get("cls") else one.height(tile, self.config.tokens)
            for tile in self._tiles(one, values)
        }
        self.before = self.linears.run(
            values, self.codes[one.pc, index], self.streams, start, tiles, self.before
        )
        self.stager.idle, self.port.behind = self.streams.asked, self.streams.taken
        return self.before.ended

    def _tiles(self, one, values):
        return one.tiles(values, self.config.tokens)

    def _norm(self, one, values, start):
        """hw/array/norm.py: a tile's words enter the LayerNorm while the results of the one before leave."""
        t, features = self.config.tokens, values["reduction"]
        words = t + 6  # from the tile to its first word: pointers, request
        if values.get("residual") and values["source"] == Source.STATE:
            words += t - 1  # the gather's first word comes later than SUM's
        tiles = self._tiles(one, values)
        last = (features - 1) % (
            PORTION * self.config.columns
        )  # words behind the first one of the last portion
        tile = start + 2 + tiles[0]
        free = 0
        given = 0
        written = 0
        ending = Ending(values)
        for number, behind in zip(tiles, [*tiles[1:], None], strict=True):
            summed = self._summed(behind) if values.get("follow") else 0
            entered = max(max(tile + words, free) + features - 1, summed + last)
            ending.taken = tile = max(entered, written) + 2  # the next one
            roots = max(entered + 3, given + 2)
            free = roots + t + 8  # the next tile's first word
            given = roots + t + 15 + features
            turn = (
                one.height(number, t) + -features % t
                if values["target_buffer"] == Target.STATE
                else 0
            )  # from the last result until it is written
            ending.written[number] = ending.ended = written = given + turn
        self.before = ending
        return written

    def _summed(self, behind):
        """When a NORM that follows a LINEAR has the first word of the last portion of the tile before `behind`, complete when that one comes."""
        before = self.before
        return (
            before.ended + 1 if behind is None else min(before.begun[behind] + 1, before.ended + 1)
        ) + SUM

    def _drop(self, one, values, start):
        """hw/decide/drop.py: a slot's values, exponentials and verdicts; beside those of the last slot the row table is compacted."""
        t, now = self.config.tokens, start + 1
        for first, count in one.rows:
            begin, end = first // t, (first + count - 1) // t
            now += begin + VALUES * (end - begin + 1) + 3 * count + VERDICTS
        self.edited = now = now - count + one.total + 3
        return now

    def _attend(self, one, values, start):
        return attend(self.config, values, one.rows, start)

    def _exit(self, one, values, start):
        """hw/decide/exit.py: entropy of each slot, results of those that end; if somebody does, the row table is compacted, beside a last result."""
        now, ended = start + 1, iter(one.ended)
        if not values["groups"]:
            return now + MOVE * len(one.slots)
        for slot in one.slots:
            edit = now = now + CLASS * values["reduction"] + ENTROPY
            if slot in one.leaving:
                edit, now = now - 1, self._result(now, next(ended))
        if not one.ended:
            return now
        self.edited = edit + one.total + 2
        return max(now, self.edited)

    def _result(self, start, number):
        """hw/queue/results.py and the writer: fields, then bursts of up to 16 bus words, each acknowledged before the next."""
        config, memory = self.config, self.writes
        parts, left = config.bus_bytes // 4, config.result_words * 4 // config.bus_bytes
        at, address = number * left, start + RECORD
        while left:
            size = min(left, WRITE_BURST - at % WRITE_BURST)
            beat = address + 1
            for index in range(size):
                beat = memory.beat(max(address + 1 + parts * (index + 1), beat + parts))
            at, left = at + size, left - size
            acknowledged = beat + memory.latency
            address = acknowledged + 2
        return acknowledged
