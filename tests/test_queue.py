# SPDX-License-Identifier: Apache-2.0
"""The queue's order: nobody starves, whatever the others' lengths and exits; deadline first."""

import dataclasses
import functools

from hypothesis import given, settings
from hypothesis import strategies as st

from firmware.compiler import compile_network
from firmware.driver import by_deadline
from firmware.isa import Opcode
from golden_model.config import MODELS
from golden_model.hardware import HardwareConfig
from golden_model.quantize import quantize
from golden_model.queue import Queue
from golden_model.random_model import random_checkpoint
from sim.cycles.work import SentenceWork, schedule

MODEL = MODELS["nano"]
HARDWARE = HardwareConfig(
    tokens=4,
    columns=4,
    hidden=32,
    feed_forward=64,
    embedding=16,
    heads=2,
    positions=16,
    layers=3,
    weight_depth=128,
    rows=16,
)


@functools.cache
def program(slots, rows):
    network = quantize(random_checkpoint(MODEL, eta=0.5, exit_threshold=0.5), HARDWARE.format)
    return compile_network(network, dataclasses.replace(HARDWARE, slots=slots, rows=rows))


@st.composite
def sentences(draw):
    """One that drops tokens and exits at any layer."""
    live = draw(
        st.lists(st.integers(1, MODEL.positions), min_size=2, max_size=MODEL.layers + 1).map(
            lambda found: sorted(found, reverse=True)
        )
    )
    return SentenceWork((0,) * live[0], (0,) * live[0], tuple(live[:-1]), tuple(live[1:]))


@settings(max_examples=60)
@given(
    st.lists(sentences(), min_size=1, max_size=12),
    st.sampled_from([1, 2, 3]),
    st.sampled_from([16, 32]),
)
def test_nobody_starves(queue, slots, rows):
    """Sentences begin in their order; the k-th waits for at most k times the layers.

    A resident one moves on in each pass.
    """
    begun = []
    ended = {}
    passes = -1
    for work in schedule(program(slots, rows), queue):
        opcode = program(slots, rows).instructions[work.pc]["opcode"]
        if opcode == Opcode.ADMIT:
            passes += 1
            begun += [passes] * len(work.admitted)
        ended |= dict.fromkeys(work.ended, passes)
    assert len(begun) == len(ended) == len(queue)
    for number, sentence in enumerate(queue):
        assert begun[number] <= number * MODEL.layers
        assert ended[number] == begun[number] + len(sentence.live) - 1
    assert begun == sorted(begun)


def test_more_slots_begin_sooner():
    """With room for all, sentence k waits for at most k // slots times the layers."""
    queue = [SentenceWork((0,) * 8, (0,) * 8, (8,) * MODEL.layers, (8,) * MODEL.layers)] * 7
    waits = []
    for slots in (1, 2, 3):
        passes, begun = -1, []
        for work in schedule(program(slots, 32), queue):
            passes += program(slots, 32).instructions[work.pc]["opcode"] == Opcode.ADMIT
            begun += [passes] * len(work.admitted)
        assert begun == [number // slots * MODEL.layers for number in range(len(queue))]
        waits.append(sum(begun))
    assert waits == sorted(waits, reverse=True)


def test_deadline_first():
    assert by_deadline([500, 0, 7, 500, 0xFFFFFFFF, 1, 0]) == [5, 2, 0, 3, 4, 1, 6]


def test_rule():
    """Two slots, eight rows, three layers: who is admitted, grouped and last."""
    queue = Queue([5, 4, 2], slots=2, rows=8, layers=3)

    def names(who):
        return [(one.slot, one.number) for one in queue.selected(who)]

    assert [one.number for one in queue.admit()] == [0]
    assert queue.refuses and queue.rows == 5
    (first,) = queue.residents
    first.rows = 4  # a drop: now the next one fits
    queue.advance([first], [])
    assert [one.number for one in queue.admit()] == [1]
    assert not queue.refuses and queue.starts() == {0: 0, 1: 4}
    assert names("NEW") == [(1, 1)] and names("LAST") == [] and len(names("NOT_LAST")) == 2
    assert queue.next_group() and (queue.group_layer, names("GROUP")) == (1, [(0, 0)])
    assert queue.next_group() and (queue.group_layer, names("GROUP")) == (0, [(1, 1)])
    assert not queue.next_group()
    queue.advance(queue.selected("ALL"), [])
    queue.admit()
    assert names("LAST") == [(0, 0)] and names("NEW") == []
    queue.advance(queue.selected("ALL"), queue.selected("LAST"))
    assert [one.number for one in queue.admit()] == [2]
    assert names("ALL") == [(0, 2), (1, 1)]  # the lowest free slot, but
    assert queue.starts() == {1: 0, 0: 4}  # the last rows
