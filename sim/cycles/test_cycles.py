# SPDX-License-Identifier: Apache-2.0
"""What the machine's time is spent on, by its own counters.

Zero weights, dropped tokens and shared passes cost nothing.
"""

import numpy as np
import pytest

from firmware.isa import Opcode, Select
from golden_model.config import MODELS
from golden_model.hardware import HARDWARE, ceil_div
from golden_model.model import run as run_golden
from golden_model.quantize import quantize
from golden_model.random_model import random_checkpoint, random_sentences
from sim.bench.harness import small
from sim.cycles.measure import run_cycles

CI = HARDWARE["ci"]
# Exit threshold in nats that no sentence of a random model reaches: every layer has its off-ramp.
NEVER = 0.001


def random_network(model, density, eta=0.0, seed=1):
    return quantize(
        random_checkpoint(model, seed=seed, density=density, eta=eta, exit_threshold=NEVER),
        CI.format,
    )


def sentence(model, length, seed=1):
    return random_sentences(model, 1, seed, length, length)[0]


def tiles(instruction, golden, layer, tokens_per_tile):
    """Tiles of a weight operation on a single sentence."""
    if instruction.get("cls"):
        return 1
    entering = [len(golden.dropped_at_layer), *golden.tokens_per_layer][layer]
    rows = (
        entering
        if instruction["select"] in (Select.NEW, Select.GROUP)
        else golden.tokens_per_layer[layer]
    )
    return ceil_div(rows, tokens_per_tile)


def table(title, program, meter, limits):
    """Print operations of layer 1, with the limit of those that have one."""
    print(
        f"\n{title}\n{'operation':20}{'limit':>9}{'busy':>9}{'busy/limit':>11}{'cycles':>9}"
        f"{'weights':>9}{'load':>7}{'drain':>7}  (stalls)"
    )
    for ended, bound in zip(meter.ended, limits, strict=True):
        if ended.layer == min(1, meter.layer) and ended.counters["ARRAY_BUSY"]:
            name, count = program.symbols[ended.pc].tensor.removeprefix("layer{l}."), ended.counters
            busy = count["ARRAY_BUSY"]
            columns = (
                f"{'-':>9}{busy:9}{'-':>11}"
                if bound is None
                else f"{bound:9.0f}{busy:9}{busy / bound:11.3f}"
            )
            print(
                f"{name:20}{columns}{ended.cycles:9}{count['STALL_WEIGHTS']:9}{count['STALL_LOAD']:7}{count['STALL_DRAIN']:7}"
            )


GEOMETRIES = {
    "tiny on ci": (MODELS["tiny"], CI, 64),
    "nano on 4x2": (MODELS["nano"], small(columns=2), 16),
}


@pytest.mark.parametrize("sparsity", [0.6, 0.8])
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_zero_weights_cost_no_cycles(geometry, sparsity):
    """Busy cycles within 10 % of non-zeros x tiles / P; the entries x tiles x T are multiplied.

    Sums of the sentence: an operation that follows another begins in that one's time. ATTEND is
    followed by none and follows none.
    """
    model, config, length = GEOMETRIES[geometry]
    network = random_network(model, 1 - sparsity, eta=0.2)
    words = sentence(model, length)
    golden = run_golden(network, *words)
    program, meter, _, cycles = run_cycles(network, config, [words], metered=True)
    limits, multiplied = [], 0
    for ended in meter.ended:
        values = program.instructions[ended.pc]
        limits.append(None)
        if values["opcode"] == Opcode.LINEAR:
            columns = program.columns[ended.pc]
            nonzeros = columns[ended.layer if len(columns) > 1 else 0].nonzeros
            count = tiles(values, golden, ended.layer, config.tokens)
            entries = int(
                np.maximum(nonzeros, 1).sum()
            )  # a column without weights, padding too, takes one
            multiplied += entries * count * config.tokens
            limits[-1] = int(nonzeros.sum()) * count / config.columns
    table(f"{geometry}, {sparsity:.0%} zeros, {length} tokens, layer 1", program, meter, limits)
    weighty = [(ended, bound) for ended, bound in zip(meter.ended, limits, strict=True) if bound]
    counted = [
        ended.counters
        for ended in meter.ended
        if program.instructions[ended.pc]["opcode"] != Opcode.ATTEND
    ]
    busy, bound = (
        sum(counters["ARRAY_BUSY"] for counters in counted),
        sum(bound for _, bound in weighty),
    )
    whole = sum(ended.cycles for ended, _ in weighty)
    print(
        f"weight operations: limit {bound:.0f}, busy {busy} = {busy / bound:.3f} x, "
        f"whole operations {whole} = {whole / bound:.3f} x; "
        f"sentence {cycles} cycles"
    )
    assert len(weighty) >= 8 * model.layers
    assert sum(counters["MACS"] for counters in counted) == multiplied
    assert bound <= busy <= 1.1 * bound


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_cycles_fall_with_live_tokens(geometry):
    """The same sentence and weights: the more words are dropped, the fewer cycles."""
    model, config, length = GEOMETRIES[geometry]
    words = sentence(model, length)
    found = []
    for eta in (0.0, 0.8, 1.0):
        network = random_network(model, 0.4, eta)
        live = sum(run_golden(network, *words).tokens_per_layer)
        found.append((live, run_cycles(network, config, [words])[3]))
        print(f"{geometry}, eta {eta}: {live} live token-layers, {found[-1][1]} cycles")
    assert [live for live, _ in found] == sorted({live for live, _ in found}, reverse=True)
    assert [cycles for _, cycles in found] == sorted({cycles for _, cycles in found}, reverse=True)


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("eta", [0.0, 0.7])
def test_two_slots_share_weights(geometry, eta):
    """Bytes read for a sentence, program and tokens included: 0.6 of those of one slot at most."""
    model, config, length = GEOMETRIES[geometry]
    network = random_network(model, 0.4, eta)
    sentences = random_sentences(model, 4, 3, length // 2 - 2, length // 2)
    counts = {}
    for slots in (1, 2):
        _, _, session, cycles = run_cycles(network, config, sentences, slots)
        counts[slots] = session.read("BYTES_READ_LO"), cycles
        print(
            f"{geometry}, eta {eta}, {slots} slots: {counts[slots][0] / 4:.0f} bytes "
            f"and {cycles / 4:.0f} cycles a sentence"
        )
    print(
        f"ratio {counts[2][0] / counts[1][0]:.3f} of the bytes, "
        f"{counts[2][1] / counts[1][1]:.3f} of the cycles"
    )
    assert counts[2][0] <= 0.6 * counts[1][0]


def test_sentences_are_embedded_beside_the_passes():
    """With one slot and rows to spare only the first ADMIT waits for embeddings.

    The next sentences are there when theirs begins.
    """
    model, config = MODELS["nano"], small(rows=32)
    sentences = random_sentences(model, 4, 3, 16, 16)
    program, meter, _, _ = run_cycles(
        random_network(model, 0.4), config, sentences, 1, metered=True, latency=20
    )
    admits = [
        ended.cycles
        for ended in meter.ended
        if program.instructions[ended.pc]["opcode"] == Opcode.ADMIT
    ][: -1 : model.layers]
    print(f"ADMIT of 16 tokens: {admits} cycles")
    assert (
        len(admits) == 4 and max(admits[1:]) < 16 + 150 < admits[0] / 5
    )  # 16 rows, and two instructions from a memory of 20 cycles
