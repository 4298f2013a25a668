# SPDX-License-Identifier: Apache-2.0
"""A model of the machine's cycles, so that large sweeps need no simulation.

    work = schedule(program, [of_golden(words, run(network, *words)) for words in sentences], slots)
    for operation in predict(program, config, work, latency=100, bytes_per_cycle=16): ...

Control engines are formulas read from hw/'s state machines (the constants' comments say what they count); LINEAR (sim/cycle_linear.py) and the stager
(sim/cycle_staging.py, sim/cycle_embedding.py), which runs beside the operations, follow what arrives when. sim/test_cycle_model.py compares
with the co-simulation.
"""
from dataclasses import dataclass

from firmware.isa import BYTES, Opcode, Source, Target
from golden_model.hardware import ceil_div
from sim.cycle_embedding import Port, Rows
from sim.cycle_linear import BURST, Array, LaneCode, Memory, linear
from sim.cycle_staging import Stager
from sim.cycle_work import Work, of_golden, of_record, schedule

__all__ = ["Predicted", "Work", "of_golden", "of_record", "predict", "schedule"]

START = 1           # the register write
EMBEDDING_BURST = WRITE_BURST = 16
SCORE = 14          # from a key's last code to its score at the softmax: ring 3, pipeline 6, drain 2, requantise 3
SOFTMAX, SPAN = 12, 5       # from the last score to the first numerator; the span mask's stages
RING = 3            # from a value's code to the lane
RECIPROCAL = 4      # from the denominators to the first column of the context, and T
CONTEXT = 17        # from the last drained column to the next query tile: normalise, encode, write
CLASS, ENTROPY = 28, 87     # cycles of EXIT for each class of a slot; for the rest
RECORD = 16         # from a slot's end to the first address of its record: six fields, two of them long


@dataclass(frozen=True)
class Predicted:
    """One operation that is not skipped: its cycles since the one before, skipped instructions between them included."""

    pc: int
    cycles: int
    work: Work


def predict(program, config, work, latency, bytes_per_cycle):
    """[Predicted] of a `schedule`, with both memories as in `sim.measure.run`.

    The sum is the run's cycles from the start of the queue.
    """
    return _Model(program, config, latency, bytes_per_cycle).run(work)


class _Model:
    """The clock, the ports' memories, and what is kept of a weight stream from pass to pass."""

    def __init__(self, program, config, latency, bytes_per_cycle):
        self.program, self.config = program, config
        self.memory, self.embedding, self.writes = (Memory(latency, bytes_per_cycle, config.bus_bytes) for _ in range(3))
        self.port = Port(self.memory, BURST)    # of instructions and the stager
        self.codes, self.now = {}, START
        self.free = 0       # the end of the last weight stream: no instruction is fetched before

    def run(self, work):
        predicted, before, queue = [], 0, [sentence for one in work for sentence in one.admitted]
        self.stager = Stager(self.config, Rows(self.program.embedding), self.port, Port(self.embedding, EMBEDDING_BURST), queue)
        for one, following in zip(work, [*work[1:], work[-1]], strict=True):
            opcode = Opcode(self.program.instructions[one.pc]["opcode"])
            decoded = self._fetch(one.pc)
            self.now = decoded
            if one.rows or opcode == Opcode.ADMIT:
                self.now = getattr(self, f"_{opcode.name.lower()}")(one, self.program.instructions[one.pc], decoded)
                predicted.append(Predicted(one.pc, self.now - before, one))
                before = self.now
            if opcode in (Opcode.DROP, Opcode.EXIT):
                self.stager.freed += [self.now] * (one.total - following.total)
        return predicted

    def _fetch(self, pc):
        """When the instruction is decoded; what the stager has asked for before comes before."""
        ask, self.stager.idle = max(self.now, self.free) + 2, self.free
        self.stager.until(ask)
        _, beats = self.port.request(max(ask, self.port.taken + 2), pc * BYTES, BYTES)
        return self.port.words(beats)[-1] + 1

    def _admit(self, one, values, start):
        """hw/admission.py: three states before a sentence's rows are waited for, two more and its rows after."""
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
            self.codes[one.pc, index] = LaneCode(columns[index], self.config.columns, self.config.bus_bytes, self.config.weight_depth)
        address = values["address"] + one.layer * values.get("stride", 0) * self.config.bus_bytes
        self.stager.until(start + 2)
        wait = max(0, self.port.taken - start)      # for the end of what the stager has asked for
        ended, self.free = linear(self.config, values, self.codes[one.pc, index], self.memory, start, address, self._tiles(one, values), wait)
        return ended

    def _tiles(self, one, values):
        t = self.config.tokens
        if values.get("cls"):
            return sorted({slot // t for slot in one.slots})
        return sorted({row // t for start, count in one.rows for row in range(start, start + count)})

    def _norm(self, one, values, start):
        """hw/norm.py: each tile is over before the next begins. Pointers T + 2, words, LayerNorm's T + 19, words again, states between them."""
        t, features = self.config.tokens, values["reduction"]
        tile = 2 * features + 2 * t + 24
        if values.get("residual") and values["source"] == Source.STATE:
            tile += t - 1                       # the gather's first word comes later than SUM's
        if values["target_buffer"] == Target.STATE:
            tile += t + -features % t           # the turn
        tiles = self._tiles(one, values)
        return start + 2 + tiles[0] + tile * len(tiles)

    def _drop(self, one, values, start):
        """hw/dropping.py: a slot's values lane by lane, T + 3 cycles a word; exponentials and verdicts; then the row table is compacted."""
        t, now = self.config.tokens, start
        for first, count in one.rows:
            begin, end = first // t, (first + count - 1) // t
            last = (first + count - 1) % t      # lane of the last value
            now += begin + (end - begin + 1) * (t + 3) + last - (t - 1) + 3 * count + 17
        return now + one.total + 4

    def _attend(self, one, values, start):
        """hw/attention.py: slot after slot, its query tiles one after another: pointers T + 4, then every head."""
        t, slot = self.config.tokens, start + 2
        for first, count in one.rows:
            now = slot + 3 + first // t
            for _ in range((first + count - 1) // t - first // t + 1):
                now += t + 4
                for _ in range(values["groups"]):
                    now = self._head(now, first, count, values["reduction"])
            slot = now
        return slot

    def _head(self, query, first, count, head):
        """From the request of a query tile to that of the next one: its phases depend on each other and do not overlap."""
        scored, fed = self._scores(query, first, count, head)
        softmax = SOFTMAX + (SPAN if "span" in self.config.units else 0)
        start = max(scored + softmax + count, fed + 1)      # the denominators are taken
        array, request, lanes = Array(self.config.columns), start + 1, self.config.columns
        array.last = start + self.config.tokens + RECIPROCAL
        for _ in range(ceil_div(head, lanes)):
            fed = max(request + 2, array.enter(request + 2)) + count - 1
            array.group([count] * lanes, [fed + RING] * lanes)
            request = fed + 1
        return array.last + CONTEXT

    def _scores(self, query, first, count, head):
        """(when the softmax has the last score, when the last key is fed): P keys a group, or where P < T a part of a tile."""
        t, p = self.config.tokens, self.config.columns
        members, parts = max(1, p // t), ceil_div(t, p)
        tiles, lane = (first + count - 1) // t - first // t + 1, (first + count - 1) % t
        place, loaded, scored = query + 3 + first // t, query + head + 3, 0
        for tile in range(tiles):
            for part in range(parts):
                word = place + 3
                if parts > 1 or tile % members == members - 1 or tile == tiles - 1:     # the group's command waits for the query tile
                    word = max(place + 2, loaded) + 1
                fed = word + head - 1
                if part == lane // p or parts == 1:
                    scored = fed + SCORE + lane % p
                place = fed + 2
            place += 1
        return scored, fed

    def _exit(self, one, values, start):
        """hw/exiting.py: entropy of each slot, results of those that end, then both edits of the row table."""
        now = start + 1
        if values["groups"]:
            now += len(one.rows) * (CLASS * values["reduction"] + ENTROPY)
            for number in one.ended:
                now = self._result(now, number)
        return now + one.total + self.config.slots + 6

    def _result(self, start, number):
        """hw/results.py and the writer: fields, then bursts of up to 16 bus words, each acknowledged before the next."""
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
