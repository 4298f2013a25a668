# SPDX-License-Identifier: Apache-2.0
"""The cases of `terse bench`: those that the claims of terse/benchmark/targets.py are about."""

import dataclasses

from golden_model.config import MODELS
from golden_model.hardware import HARDWARE
from sim.cycles.modelled import BY_MODEL
from sim.cycles.operations import SIMULATED
from sim.proof.every_shape import SHAPES
from terse import catalog
from terse.benchmark.cases import ORDERS, Deadlines, Emulated, Fitted, Passage, Stream, twin
from terse.errors import UserError

__all__ = [
    "FITTED",
    "MANY",
    "MEMORIES",
    "SPARSITIES",
    "deadline_streams",
    "fitted_streams",
    "full_cases",
    "quick_cases",
    "select",
    "stream_hardware",
    "streams",
    "with_settings",
    "with_source",
]

SPARSITIES = (0.0, 0.6, 0.8)
LENGTHS = (128, 64, 32, 16, 8, 4, 1)
MEMORIES = tuple(
    (speed, latency) for speed in (4, 8, 16) for latency in (20, 100, 400)
)  # bytes/cycle, cycles to the first
STREAM_SHAPES = ((16, 16), (64, 4))
PROFILE = (25, 16, 10, 6)  # live tokens of each layer, the last one's exit
LONG = (128, 82, 51, 31)  # the same shares of the longest sentence
ROWS = 256  # of a machine for streams: eight sentences of 25 tokens take 200
MANY = 256  # sentences of a stream
FITTED = 16  # of base, whose predictor drops about as the profile says


def shape(tokens, columns):
    return dataclasses.replace(HARDWARE["edgebert"], tokens=tokens, columns=columns)


def base_hardware(tokens, columns):
    """edgebert of this shape with rows for all slots."""
    return dataclasses.replace(shape(tokens, columns), rows=ROWS)


def stream_hardware(tokens, columns):
    """The same, as small as the trained model lets it be."""
    sizes = MODELS["tiny"]
    return dataclasses.replace(
        base_hardware(tokens, columns),
        positions=sizes.positions,
        hidden=sizes.hidden,
        feed_forward=sizes.feed_forward,
        embedding=sizes.embedding,
        heads=sizes.heads,
        weight_depth=1024,
    )


def streams(slots):
    """[(tiny, base)] of each shape; base with an emulated profile."""
    return [
        (
            Stream("tiny", stream_hardware(*lanes), slots=slots, sentences=MANY),
            Emulated(
                "base",
                base_hardware(*lanes),
                slots=slots,
                sparsity=0.6,
                sentences=MANY,
                profile=PROFILE,
            ),
        )
        for lanes in STREAM_SHAPES
    ]


def fitted_streams(slots):
    """base of each shape, live tokens about the profile's."""
    return [
        Fitted(
            "base",
            base_hardware(*lanes),
            slots=slots,
            sparsity=0.6,
            sentences=FITTED,
            profile=PROFILE,
        )
        for lanes in STREAM_SHAPES
    ]


def deadline_streams(sentences=MANY):
    """The same sentences and deadlines in each of ORDERS, on a machine that is simulated anyway."""
    return [Deadlines("tiny", slots=8, sentences=sentences, order=order) for order in ORDERS]


def full_cases():
    """All simulated but for emulated profiles; those that are, by the cycle model too."""
    return _twice([*_all(), *fitted_streams(1), *fitted_streams(8)])


def quick_cases():
    """All by the cycle model but for fitted streams, which take it a minute.

    A layer on 32 tokens is simulated too.
    """
    shortest = [Passage(tokens=32, sparsity=zeros) for zeros in SPARSITIES]
    return _twice([case if case in shortest else twin(case, BY_MODEL) for case in _all()])


def _twice(cases):
    """Each with its twin by the cycle model behind it."""
    return list(dict.fromkeys(each for case in cases for each in (case, twin(case, BY_MODEL))))


def _all():
    """Lengths, memories, shapes, streams, deadlines, whole sentences."""
    lengths = [
        Passage(tokens=tokens, sparsity=zeros) for tokens in (32, *LENGTHS) for zeros in SPARSITIES
    ]
    memories = [
        Passage(tokens=tokens, sparsity=zeros, bytes_per_cycle=speed, latency=latency)
        for zeros in SPARSITIES
        for speed, latency in MEMORIES
        for tokens in (128, 16)
    ]
    shapes = [
        Passage(hardware=shape(*lanes), tokens=tokens, sparsity=0.6)
        for lanes in SHAPES
        for tokens in (128, 25, 6)
    ]
    many = [case for slots in (1, 8) for pair in streams(slots) for case in pair]
    whole = [
        Passage(tokens=128, sparsity=zeros, layers=MODELS["base"].layers)
        for zeros in reversed(SPARSITIES)
    ]
    dropped = [Emulated(sparsity=zeros, profile=LONG) for zeros in reversed(SPARSITIES)]
    return list(
        dict.fromkeys(lengths + memories + shapes + many + deadline_streams() + whole + dropped)
    )


def with_source(cases, source):
    """All by one source, as far as that can take them."""
    if source not in (BY_MODEL, SIMULATED):
        raise UserError(f"--source must be {BY_MODEL} or {SIMULATED}, not {source!r}")
    return list(dict.fromkeys(twin(case, source) for case in cases))


def with_settings(cases, settings):
    """Each on its machine changed by settings such as T=8; those that become the same are one."""
    return list(
        dict.fromkeys(
            dataclasses.replace(case, hardware=catalog.changed_hardware(case.hardware, settings))
            for case in cases
        )
    )


def select(cases, only=()):
    """The cases whose label holds one of the texts; all without any."""
    chosen = [case for case in cases if not only or any(text in case.label for text in only)]
    if not chosen:
        name, texts = repr(cases[0].label), ", ".join(map(repr, only))
        raise UserError(f"--only must be part of a case's name, as {name}, not {texts}")
    return chosen
