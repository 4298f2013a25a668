# SPDX-License-Identifier: Apache-2.0
"""Long queues: thousands of sentences through one loaded machine, bad ones among them.

    python -m sim.proof.load --sentences 2000 --cycles 100000

`--sentences` are co-simulated while memories change how they stall at random: no result is lost, in
another's place or different from the golden model's, and each bad sentence has its own status.
`--cycles` are scheduled and timed by the cycle model. The first thing that is wrong ends the run;
one without is written to docs/evidence/load.json. QUEUE_COUNT has 16 bits, so a queue holds 65,535
sentences; more of them are consecutive queues of the same loaded machine.
"""

import argparse
import dataclasses
import hashlib
import json
import random
import time
from collections import Counter
from pathlib import Path

import torch

from firmware.compiler import compile_network
from firmware.driver import by_deadline
from firmware.driver.host import LONGEST_QUEUE
from firmware.embedding_image import parse_embedding
from firmware.error_codes import Error
from golden_model.model import run as run_golden
from golden_model.quantize import quantize
from golden_model.random_model import random_checkpoint, random_sentences
from sim.cosim.build import build
from sim.cosim.cosim import EMBEDDING, IRQ, LIMIT, MAIN
from sim.cosim.kept import read_entry, write_text
from sim.cosim.memory import READ_BURSTS
from sim.cosim.session import CAUSES, START, Session
from sim.cycles.model import of_golden, predict, schedule
from sim.proof.campaign.cases import BAD_SENTENCES, Queued, bad_sentence
from sim.proof.campaign.crosses import EVIDENCE
from sim.proof.check import Outcome, counter_differences, differences, untraced
from sim.proof.system import CONFIG, SMALL_MODEL, flipped, random_network

__all__ = ["LoadError", "cosim_load", "cycle_load"]

DISTINCT = 200  # sentences of which a load is made
BAD_SHARE = 0.2
DAMAGED = SMALL_MODEL.vocabulary - 1  # the word whose row is damaged
STEP = 20_000  # cycles, at most, after which the memories behave otherwise
TRACELESS = 400_000_000  # cycles that a queue may take
REPEATED = 5_000  # sentences that the cycle model predicts twice
# Of the cycle model, which takes milliseconds for each layer of a sentence.
SMALLEST_MODEL = dataclasses.replace(SMALL_MODEL, hidden=16, heads=1, feed_forward=16)
MEMORY = 100, 4  # latency and bytes a cycle of the cycle model's memories


class LoadError(AssertionError):
    """A result was lost, stands in another's place, or is wrong."""


def require_equal(what, found, wanted):
    """LoadError unless they are the same."""
    if found != wanted:
        raise LoadError(f"{what} must be {wanted}, not {found}")


# Co-simulation.


def cosim_load(count, seed=1, queue=LONGEST_QUEUE):
    """Run `count` sentences, `queue` in a queue at most -> what the evidence says of them."""
    torch.set_num_threads(1)
    rng = random.Random(f"load/{seed}")
    network = random_network()
    pool = _pool(rng)
    goldens = [None if one.error else run_golden(network, *one.words) for one in pool]
    chosen = [rng.randrange(len(pool)) for _ in range(count)]
    begin = time.perf_counter()
    machine = _Loaded(network, pool, goldens, rng, min(count, queue))
    sums = Counter()
    for first in range(0, count, queue):
        sums["cycles"] += machine.run(chosen[first : first + queue])
        sums["queues"] += 1
    statuses = Counter(pool[number].error.name for number in chosen)
    good = [goldens[number] for number in chosen if goldens[number]]
    return {
        "sentences": count,
        "statuses": dict(statuses),
        "distinct": len(set(chosen)),
        "queues": sums["queues"],
        "longest_queue": LONGEST_QUEUE,
        "cycles": sums["cycles"],
        "changes_of_the_memories": machine.changes,
        "exit_layers": dict(Counter(str(golden.exit_layer) for golden in good)),
        "seed": seed,
        "seconds": round(time.perf_counter() - begin),
    }


def _pool(rng):
    """Distinct sentences: good ones without the damaged word, bad ones of each kind."""
    sentences = random_sentences(SMALL_MODEL, DISTINCT, rng.randrange(1 << 30))
    good = [Queued(0, ids.clamp(max=DAMAGED - 1), segments) for ids, segments in sentences]
    bad = []
    while len(bad) < BAD_SHARE / (1 - BAD_SHARE) * len(good):
        bad += [_spared(bad_sentence(rng, SMALL_MODEL, error)) for error in BAD_SENTENCES]
        ids = rng.choice(good).ids.clone()
        detail = rng.randrange(len(ids))
        ids[detail] = DAMAGED
        bad.append(Queued(0, ids, torch.zeros_like(ids), Error.SENTENCE_CHECK, detail))
    # More tokens than the 16 bits of a record's field.
    long = torch.ones(65536 + 3, dtype=torch.int64)
    bad.append(Queued(0, long, torch.zeros_like(long), Error.SENTENCE_LENGTH, 0))
    return good + bad


def _spared(bad):
    """A bad sentence that has no damaged word besides."""
    bad.ids[bad.ids == DAMAGED] = 0
    return bad


class _Loaded:
    """A machine with room for `room` sentences, whose memories stall as `rng` says."""

    def __init__(self, network, pool, goldens, rng, room):
        self.network, self.pool, self.goldens, self.rng = network, pool, goldens, rng
        self.program = compile_network(network, CONFIG)
        rows = parse_embedding(self.program.embedding)
        embedding = flipped(self.program.embedding, 8 * rows.offsets[DAMAGED] + 4)
        library = build(CONFIG, untraced)
        self.session = Session(library, CONFIG, {}, self.program.image, embedding, room)
        self.changes = 0
        self.session.load()

    def run(self, chosen):
        """One queue; its cycles. LoadError at the first thing that is not as it should be."""
        session, rng = self.session, self.rng
        # The host orders them by their deadlines, so that tags are no numbers of descriptors.
        deadlines = [rng.randrange(1, 1 << 20) for _ in chosen]
        words = [self.pool[number].words for number in chosen]
        session.queue(words, rng.randrange(1, CONFIG.slots + 1), deadlines, deadline_first=True)
        cycles = self._drive(len(chosen))
        order = list(by_deadline(deadlines))
        records = [session.record(i) for i in range(len(chosen))]
        require_equal("tags", [record.tag for record in records], order)
        for i, record in enumerate(records):
            self._check(i, record, chosen[order[i]], cycles)
        outcome = Outcome([self.goldens[number] for number in chosen])
        outcome.counters = session.counters()
        require_equal("counters", counter_differences(self.network, outcome), [])
        require_equal("violations", session.sim.violations, [])
        return cycles

    def _drive(self, count):
        """Start the queue and change the memories until its interrupt; the cycles."""
        session, sim = self.session, self.session.sim
        begin = sim.cycle
        session.write("CONTROL", START)
        done = counted = 0
        while True:
            reason = sim.run(IRQ, self.rng.randrange(1, STEP))
            before, done = done, session.read("SENTENCES_DONE")
            earlier, counted = counted, session.counters()["CYCLES"]
            if not before <= done <= count or counted <= earlier and reason & LIMIT:
                raise LoadError(f"SENTENCES_DONE {before}, {done}; CYCLES {earlier}, {counted}")
            if reason & IRQ:
                break
            if sim.cycle - begin > TRACELESS:
                raise LoadError(f"queue must end in {TRACELESS} cycles, {done} sentences are done")
            self._behave()
        session.write("IRQ_CAUSE", CAUSES)
        require_equal("ERROR", session.read("ERROR"), 0)
        require_equal("SENTENCES_DONE", done, count)
        return sim.cycle - begin

    def _behave(self):
        self.changes += 1
        for port in (MAIN, EMBEDDING):
            self.session.sim.behave(
                port,
                self.rng.choice((0, 3, 20, 100)),
                self.rng.choice((1.0, 4.0, 1e9)),
                self.rng.choice((0.0, 0.1, 0.4)),
                self.rng.randrange(1 << 30),
                self.rng.randrange(1, READ_BURSTS + 1),
            )

    def _check(self, i, record, number, cycles):
        """One record against the golden model, or the status that a bad sentence has."""
        one, golden = self.pool[number], self.goldens[number]
        if golden is None:
            found = record.status, record.detail
            require_equal(f"status, detail of descriptor {i}", found, (one.error, one.detail))
            return
        require_equal("result", differences(i, golden, record, self.program.early_exit), [])
        if not 0 < record.cycles <= cycles:
            raise LoadError(f"cycles of descriptor {i} must be in 1..{cycles}, not {record.cycles}")


# Cycle model.


def cycle_load(count, seed=1, queue=LONGEST_QUEUE):
    """Schedule and time `count` sentences, `queue` at a time -> what the evidence says of them."""
    torch.set_num_threads(1)
    rng = random.Random(f"cycles/{seed}")
    checkpoint = random_checkpoint(SMALLEST_MODEL, seed, exit_threshold=0.9)
    network = quantize(checkpoint, CONFIG.format)
    program = compile_network(network, CONFIG)
    pool = [
        of_golden(words, run_golden(network, *words))
        for words in random_sentences(SMALLEST_MODEL, DISTINCT, seed)
    ]
    chosen = rng.choices(pool, k=count)
    begin = time.perf_counter()
    first_queue = chosen[: min(queue, REPEATED)]
    require_equal("a second prediction", *(_timed(program, first_queue) for _ in range(2)))
    total = 0
    digest = hashlib.sha256()
    for first in range(0, count, queue):
        part = chosen[first : first + queue]
        cycles, text = _timed(program, part)
        total += cycles
        digest.update(text.encode())
    return {
        "sentences": count,
        "queues": -(-count // queue),
        "cycles": total,
        "predicted_twice": len(first_queue),
        "exit_layers": dict(Counter(str(len(one.live)) for one in chosen)),
        "digest": digest.hexdigest()[:16],
        "seed": seed,
        "seconds": round(time.perf_counter() - begin),
    }


def _timed(program, part):
    """(cycles, digest) of a queue in the cycle model; every sentence ends once, where it should."""
    work = schedule(program, part, CONFIG.slots)
    admitted = [sentence for one in work for sentence in one.admitted]
    require_equal("sentences admitted", len(admitted), len(part))
    if any(found is not wanted for found, wanted in zip(admitted, part, strict=True)):
        raise LoadError("sentences must be admitted in their order, they are not")
    begun, ended = _passes(program, work)
    require_equal("sentences with a result", sorted(ended), list(range(len(part))))
    for number, sentence in enumerate(part):
        taken = ended[number] - begun[number] + 1
        require_equal(f"passes of sentence {number}", taken, len(sentence.live))
    predicted = predict(program, CONFIG, work, *MEMORY)
    now = 0
    ends = []
    for one in predicted:
        if one.cycles <= 0:
            raise LoadError(f"cycles of an operation must be positive, not {one.cycles}")
        now += one.cycles
        ends += [(number, now) for number in one.work.ended]
    require_equal("the last result's sentence count", len(ends), len(part))
    cycles = sum(one.cycles for one in predicted)
    if not ends[-1][1] <= cycles == now:
        raise LoadError(f"sum of the operations, {cycles}, must be the end, {now}")
    return cycles, hashlib.sha256(repr(ends).encode()).hexdigest()


def _passes(program, work):
    """{number: pass} of each sentence's admission and of its end; LoadError when it ends twice."""
    begun = {}
    ended = {}
    number = -1
    first = work[0].pc
    for one in work:
        number += one.pc == first
        begun |= {len(begun) + i: number for i in range(len(one.admitted))}
        for sentence in one.ended:
            if sentence in ended:
                raise LoadError(f"sentence {sentence} has two results")
            ended[sentence] = number
    return begun, ended


def _write(path, **found):
    """Put what was found into the evidence, beside what is there."""
    kept = read_entry(Path(path)) or {}
    write_text(Path(path), json.dumps(kept | found, indent=1, sort_keys=True) + "\n")


def main(arguments=None):
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m sim.proof.load", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--sentences", type=int, default=0, help="to co-simulate")
    parser.add_argument("--cycles", type=int, default=0, help="for the cycle model")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", default=EVIDENCE / "load.json")
    chosen = parser.parse_args(arguments)
    for name, count, run in (
        ("co-simulation", chosen.sentences, cosim_load),
        ("cycle model", chosen.cycles, cycle_load),
    ):
        if count:
            found = run(count, chosen.seed)
            _write(chosen.out, **{name: found})
            print(f"{name}: {json.dumps(found)}", flush=True)


if __name__ == "__main__":
    main()
