# SPDX-License-Identifier: Apache-2.0
"""The machine's counters after a queue, against what golden model and schedule tell.

Two slots, with drops, exits and a dead head.
"""

import pytest

from firmware.image import section_bytes
from firmware.isa import BYTES, Opcode
from golden_model.config import MODELS
from golden_model.counters import MACS, count_macs, layer_work
from golden_model.model import run as run_golden
from golden_model.quantize import quantize
from golden_model.random_model import random_checkpoint, random_sentences
from sim.bench.harness import small
from sim.cycles.measure import run_cycles
from sim.cycles.modelled import Modelled
from sim.cycles.work import executed, of_golden, schedule

CONFIG = small(rows=32)
NANO = MODELS["nano"]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_counters(seed):
    """Counters of MACs, traffic and saturations are those that golden model and program give."""
    checkpoint = random_checkpoint(
        NANO, seed=seed, density=0.4, eta=0.9, exit_threshold=1.0, dead_heads=1
    )
    checkpoint.ranges = {
        name: most / 2 for name, most in checkpoint.ranges.items()
    }  # so that values saturate
    network = quantize(checkpoint, CONFIG.format)
    sentences = random_sentences(NANO, 8, seed)
    goldens = [run_golden(network, *words) for words in sentences]
    program, meter, session, _ = run_cycles(network, CONFIG, sentences, metered=True)
    counters = session.counters()
    lengths = [(len(golden.dropped_at_layer), golden.tokens_per_layer) for golden in goldens]
    wanted = count_macs(layer_work(network), NANO.layers, lengths) | moved(
        program, sentences, goldens
    )
    wanted["SATURATIONS"] = sum(golden.saturations for golden in goldens)
    assert {name: counters[name] for name in wanted} == wanted and wanted["SATURATIONS"] > 0
    dense = layer_work(network)["dense"]
    assert sum(counters[name] for name in MACS) == NANO.layers * sum(
        dense.of(length) for length, _ in lengths
    )
    assert min(counters[name] for name in MACS) > 0
    busy(program, meter.ended, counters)


def moved(program, sentences, goldens):
    """{counter: bytes} of each port, by the schedule; the program comes once."""
    queue = [of_golden(*pair) for pair in zip(sentences, goldens, strict=True)]
    modelled, total = (
        Modelled(program),
        {
            "BYTES_READ": section_bytes(BYTES * len(program.instructions)),
            "BYTES_EMBEDDING": 0,
            "BYTES_WRITTEN": 0,
        },
    )
    for one in executed(program, schedule(program, queue)):
        total = {name: total[name] + count for name, count in modelled.moved(one).items()}
    return total


def busy(program, ended, counters):
    """An operation is at work from the end of the one before to its own.

    But not in the cycles in which none is there yet.
    """
    spans = dict.fromkeys(Opcode, 0)
    for one in ended:
        spans[program.instructions[one.pc]["opcode"]] += one.cycles
    found = {opcode: counters[f"BUSY_{opcode.name}"] for opcode, cycles in spans.items() if cycles}
    assert len(found) == 6 and all(0 < cycles <= spans[opcode] for opcode, cycles in found.items())
    assert all(
        found[opcode] == spans[opcode] for opcode in (Opcode.DROP, Opcode.ATTEND, Opcode.EXIT)
    ), "these follow an operation at once"
    assert 0.95 * sum(spans.values()) < sum(found.values()) < counters["CYCLES"]
    assert (
        counters["ARRAY_BUSY"] < found[Opcode.LINEAR] + found[Opcode.ATTEND]
        and 0 < counters["BUSY_STAGING"] < counters["CYCLES"]
    )
