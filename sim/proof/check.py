# SPDX-License-Identifier: Apache-2.0
"""Sentences through golden model and RTL, compared at the end of every operation.

What `terse run` and the campaign call.
"""

import time
from dataclasses import dataclass, field

from firmware.compiler import compile_network
from golden_model.counters import count_macs, layer_work
from golden_model.model import run as run_golden
from hw.accelerator import Accelerator
from hw.trace import taps
from sim.cosim.build import build
from sim.cosim.session import Session, SessionError
from sim.proof.compare import Comparison
from sim.proof.difference import DifferenceError, traced_tensors

__all__ = [
    "Outcome",
    "check",
    "counter_differences",
    "differences",
    "judge",
    "traced",
    "untraced",
]


def traced(config):
    """The accelerator with observation taps."""
    return Accelerator(config, trace=True)


def untraced(config):
    return Accelerator(config)


@dataclass
class Outcome:
    """What became of the sentences.

    failures: one line for each thing that is not as golden says; the first is where the run stopped
    records : result records, none when it stopped early
    goldens : golden `Result`s, None where a sentence is expected to fail
    counters : by name, none without the unit or when it stopped early
    """

    goldens: list
    records: list = field(default_factory=list)
    counters: dict = field(default_factory=dict)
    failures: list = field(default_factory=list)
    failed: set = field(default_factory=set)  # sentences that a failure names
    tensors: int = 0
    elements: int = 0
    names: tuple = ()
    cycles: int = 0
    seconds: float = 0.0
    mixed_tiles: int = 0  # tiles of passes with sentences at different layers

    @property
    def bit_exact(self):
        return not self.failures

    def fail(self, sentence, text):
        self.failed.add(sentence)
        self.failures.append(text)


def check(
    network,
    config,
    sentences,
    slots=None,
    expect=None,
    embedding=None,
    behave=None,
    trace=None,
    watch=None,
):
    """Run (ids, segments) pairs as one queue -> Outcome.

    Parameters
    ----------
    network : golden_model.Network
    slots : at most so many; default all
    expect : by sentence number, the error that its result must report
    embedding : embedding image in place of the compiler's
    behave : keyword arguments of `Cosim.behave` for both memories
    trace : path of a VCD waveform (.vcd or .vcd.gz) to write, from the load of the images on
    watch : called after every operation with layers done and layers of all sentences, and the cycle
    """
    expect = expect or {}
    program = compile_network(network, config)
    goldens = [
        None if i in expect else run_golden(network, *sentence)
        for i, sentence in enumerate(sentences)
    ]
    session = Session(
        build(config, traced, "run" if trace is None else "waveform"),
        config,
        taps(config),
        program.image,
        embedding or program.embedding,
        len(sentences),
    )
    for port in (0, 1):
        session.sim.behave(port, **(behave or {}))
    if trace:
        session.sim.trace(trace)
    outcome = judge(session, program, goldens, sentences, slots, expect, watch)
    for text in counter_differences(network, outcome):
        outcome.fail(-1, text)
    if trace:
        session.sim.trace(None)
    return outcome


def judge(session, program, goldens, sentences, slots=None, expect=None, watch=None):
    """Load and run one queue on a `Session` with taps -> Outcome.

    `goldens` as in there, the others as in `check`.
    """
    outcome = Outcome(goldens)
    comparison = Comparison(
        session.config,
        program,
        [None if golden is None else traced_tensors(golden, program) for golden in goldens],
    )
    _run(
        session,
        sentences,
        slots,
        outcome,
        _watched(comparison, goldens, session.sim, watch) if watch else comparison.operation,
    )
    outcome.tensors, outcome.elements = comparison.tensors, comparison.elements
    outcome.names = comparison.names
    outcome.mixed_tiles = comparison.mirror.mixed_tiles
    if not outcome.failures:
        _finish(session, comparison, outcome, expect or {}, program.early_exit)
    return outcome


def _watched(comparison, goldens, sim, watch):
    """The comparison of an operation, which then tells how far the sentences are."""
    total, done = sum(golden.exit_layer for golden in goldens if golden is not None), 0

    def operation(records):
        nonlocal done
        comparison.operation(records)
        done += int((records["slot"]["layer"] > 0).sum() + records["exit"]["exits"].sum())
        watch(done, total, sim.cycle)

    return operation


def _run(session, sentences, slots, outcome, operation):
    begin = time.perf_counter()
    try:
        session.load()
        session.sim.take()
        session.queue(sentences, slots)
        outcome.cycles = session.run(operation)
    except DifferenceError as error:
        outcome.fail(error.difference.sentence, str(error))
    except SessionError as error:
        outcome.fail(-1, f"The accelerator stopped: {error}")
    outcome.seconds = time.perf_counter() - begin


def _finish(session, comparison, outcome, expect, early_exit):
    """What can only be said at the end: missing tensors, result records, rules of the bus."""
    for sentence, name, count in comparison.finish():
        outcome.fail(sentence, f"{name} of sentence {sentence}: {count} values were never produced")
    outcome.records = session.results(len(outcome.goldens))
    outcome.counters = session.counters() if "counters" in session.config.units else {}
    for i, (golden, record) in enumerate(zip(outcome.goldens, outcome.records, strict=True)):
        if golden is None:
            if record.status != expect[i]:
                outcome.fail(
                    i, f"status of sentence {i} must be {expect[i].name}, not {record.status.name}"
                )
            continue
        for text in differences(i, golden, record, early_exit):
            outcome.fail(i, text)
    for text in session.sim.violations:
        outcome.fail(-1, text)


def counter_differences(network, outcome):
    """A line for each of an outcome's counters that is not as golden says."""
    lengths = [
        (len(golden.dropped_at_layer), golden.tokens_per_layer)
        for golden in outcome.goldens
        if golden is not None
    ]
    wanted = count_macs(layer_work(network), network.model.layers, lengths)
    return [
        f"counter {name} must be {wanted[name]}, not {found}"
        for name, found in outcome.counters.items()
        if name in wanted and found != wanted[name]
    ]


def differences(sentence, golden, record, early_exit):
    """A line for everything in a sentence's result record that is not as golden says."""
    return [
        f"{name} in the result of sentence {sentence} must be {wanted}, not {found}"
        for name, wanted, found in _fields(golden, record, early_exit)
        if wanted != found
    ]


def _fields(golden, record, early_exit):
    """(name, golden, found) of everything in a result record that golden knows."""
    live = tuple(golden.tokens_per_layer)
    dropped = tuple(golden.dropped_at_layer)
    yield "status", "NONE", record.status.name
    yield "class", golden.predicted_class, record.predicted_class
    yield "exit layer", golden.exit_layer, record.exit_layer
    yield "tokens", len(dropped), record.tokens
    yield "logits", tuple(golden.logits), record.logits[: len(golden.logits)]
    first = 0 if early_exit else len(live) - 1  # without early exit only the last layer has one
    yield "entropies", tuple(golden.entropies[first:]), record.entropies[first:]
    yield "live tokens", live, record.live
    yield "tokens entering", (len(dropped), *live[:-1]), record.entering
    yield "dropped_at_layer", dropped, record.dropped_at_layer
