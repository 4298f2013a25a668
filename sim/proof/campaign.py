# SPDX-License-Identifier: Apache-2.0
"""Random hardware configurations times random models, every tensor compared.

    python -m sim.proof.campaign --seed N

Everything follows from the seed: `--only I` runs configuration I of the same campaign again. Each
model has a scenario that makes a rare corner likely; what really happened is counted from the
results, and a corner that never occurred is a failure too.
"""

import argparse
import math
import multiprocessing
import random
import sys
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field

import torch

from firmware.embedding_image import parse_embedding
from firmware.error_codes import Error
from golden_model.config import AF8, INT8, ModelConfig, NumberFormat
from golden_model.hardware import UNITS, HardwareConfig
from golden_model.quantize import quantize
from golden_model.random_model import random_checkpoint, random_sentences
from sim.cosim.processes import follow_parent

__all__ = ["CORNERS", "campaign", "random_hardware", "random_model"]

FORMATS = [
    NumberFormat(bits, exponent)
    for bits in range(4, 9)
    for exponent in range(2, 5)
    if bits - 1 - exponent >= 0
]
LANES = (2, 3, 4, 5, 6, 7, 8, 12, 16)
SCENARIOS = ("plain", "only [CLS]", "leave at once", "stay", "dead heads", "damaged row")
SENTENCES = 9
CORNERS = (
    "sentence of one token",
    "longest sentence",
    "pair with segment 1",
    "everything dropped but [CLS]",
    "exit at layer 1",
    "exit between",
    "no exit",
    "dead heads",
    "damaged embedding row",
    "tile with sentences at different layers",
    "int8",
    "AdaptivFloat other than <8,3>",
    "sizes that do not divide T or P",
    "stalls on the buses",
    *(f"without {unit}" for unit in UNITS),
)


def random_hardware(rng, number):
    """The hardware configuration `number` of a campaign.

    Small sizes, any lanes, buses, formats and units.
    """
    tokens, columns = rng.choice(LANES), rng.choice(LANES)
    positions = rng.randrange(9, 25)
    rows = -(-max(positions, rng.randrange(positions, 3 * positions)) // tokens) * tokens
    sizes = {
        "hidden": 16 * rng.randrange(2, 5),
        "feed_forward": 16 * rng.randrange(2, 7),
        "embedding": 16 * rng.randrange(1, 4),
    }
    reduction = max(*sizes.values(), positions)
    number_format = {0: AF8, 1: INT8}.get(number % 5) or rng.choice(FORMATS)
    absent = set(rng.sample(UNITS, rng.choice((0, 0, 1, 2)))) | (
        {UNITS[number % 10]} if number % 10 < len(UNITS) else set()
    )
    return HardwareConfig(
        tokens=tokens,
        columns=columns,
        bus_bits=rng.choice((32, 64, 128, 256)),
        slots=rng.choice((1, 2, 2, 3, 4, 5)),
        rows=rows,
        positions=positions,
        heads=rng.randrange(2, 7),
        layers=rng.randrange(3, 6),
        classes=rng.randrange(3, 7),
        weight_depth=1 << (2 * reduction - 1).bit_length() + rng.randrange(2),
        format=number_format,
        multiplier=rng.choice(("dsp", "fabric")),
        units=frozenset(set(UNITS) - absent),
        **sizes,
    )


def random_model(rng, hardware, smallest_layers=1):
    """Sizes of a model that fits the hardware."""

    def size(most):
        return 16 * rng.randrange(1, most // 16 + 1)

    hidden = size(hardware.hidden)
    heads = rng.choice([heads for heads in range(1, hardware.heads + 1) if hidden % heads == 0])
    return ModelConfig(
        layers=rng.randrange(smallest_layers, hardware.layers + 1),
        embedding=size(hardware.embedding),
        hidden=hidden,
        heads=heads,
        feed_forward=size(hardware.feed_forward),
        vocabulary=rng.randrange(20, 100),
        positions=rng.randrange(4, hardware.positions + 1),
        classes=rng.randrange(2, hardware.classes + 1),
        predictor=rng.choice([16, 32] if hardware.reduction >= 32 else [16]),
        activation=rng.choice(("gelu", "gelu_new")),
    )


def _checkpoint(rng, hardware, scenario):
    """A random checkpoint that needs no unit which the hardware lacks."""
    model = random_model(
        rng, hardware, 2 if scenario in ("leave at once", "stay", "only [CLS]") else 1
    )
    if scenario == "dead heads" and model.heads == 1:
        model = ModelConfig(**(model.to_json() | {"heads": 2}))
    dead = (
        rng.randrange(1, model.heads)
        if scenario == "dead heads"
        else rng.choice((0, 0, model.heads // 2))
    )
    threshold = math.log(model.classes) * rng.choice((0.5, 0.8, 0.9, 0.97))
    threshold = {"leave at once": 3.9, "stay": rng.choice((0.0, 1e-4))}.get(scenario, threshold)
    eta = 1.0 if scenario == "only [CLS]" else rng.choice((0.0, 0.5, 0.8, 1.0))
    checkpoint = random_checkpoint(
        model,
        seed=rng.randrange(1 << 30),
        density=rng.choice((0.1, 0.4, 0.6, 1.0)),
        dead_heads=dead,
        spans="span" in hardware.units,
        eta=eta if "drop" in hardware.units else 0.0,
        exit_threshold=threshold if "exit" in hardware.units else 0.0,
    )
    if scenario == "only [CLS]":  # one token takes all the probability
        for name in ("predictor.score.weight", "predictor.score.bias"):
            checkpoint.tensors[name] = checkpoint.tensors[name] * 8
        checkpoint.ranges["predict"] *= 8
    return checkpoint


def _sentences(rng, model):
    """Lengths from one token to the longest; most of them pairs."""
    seed = rng.randrange(1 << 30)
    sentences = random_sentences(model, SENTENCES - 2, seed) + random_sentences(
        model, 1, seed, 1, 1
    )
    sentences += random_sentences(model, 1, seed, model.positions)
    rng.shuffle(sentences)
    return sentences


def _damage(rng, embedding, sentences):
    """(embedding image with a word's row damaged, {sentence with that word: error})."""
    row = int(rng.choice(rng.choice(sentences)[0].tolist()))
    image = parse_embedding(embedding)
    damaged = bytearray(embedding)
    damaged[image.offsets[row] + 2 * (image.width // 16) - 1] ^= 1 << rng.randrange(
        8
    )  # in its last mask byte
    return bytes(damaged), {
        i: Error.SENTENCE_CHECK for i, (tokens, _) in enumerate(sentences) if row in tokens.tolist()
    }


@dataclass
class Tally:
    """What one configuration's runs came to."""

    number: int
    hardware: str
    runs: int = 0
    sentences: int = 0
    elements: int = 0
    cycles: int = 0
    seconds: float = 0.0
    corners: Counter = field(default_factory=Counter)
    failures: list = field(default_factory=list)


def _configuration(seed, number, models):
    """Run the models of one configuration -> Tally."""
    torch.set_num_threads(1)
    begin = time.perf_counter()
    rng = random.Random(f"{seed}/{number}")
    hardware = random_hardware(rng, number)
    tally = Tally(number, str(hardware))
    try:
        for index in range(models):
            scenario = SCENARIOS[(number + index) % len(SCENARIOS)]
            _model(random.Random(f"{seed}/{number}/{index}"), hardware, scenario, tally)
    except Exception:  # a crash is a failure like any other: the rest of the campaign goes on
        tally.failures.append(traceback.format_exc())
    tally.seconds = time.perf_counter() - begin
    return tally


def _model(rng, hardware, scenario, tally):
    """Check one random model with sentences and a bus of its own; adds the outcome to `tally`."""
    from firmware.compiler import compile_network
    from sim.proof.check import check

    checkpoint = _checkpoint(rng, hardware, scenario)
    network = quantize(checkpoint, hardware.format)
    sentences = _sentences(rng, checkpoint.model)
    embedding, expect = None, {}
    if scenario == "damaged row" and "embedding_check" in hardware.units:
        embedding, expect = _damage(rng, compile_network(network, hardware).embedding, sentences)
    stall = rng.choice((0.0, 0.1, 0.4))
    behave = {
        "latency": rng.choice((0, 3, 20)),
        "stall": stall,
        "bytes_per_cycle": rng.choice((1.0, 4.0, 1e9)),
        "seed": rng.randrange(1 << 30),
    }
    outcome = check(
        network,
        hardware,
        sentences,
        rng.randrange(1, hardware.slots + 1),
        expect,
        embedding,
        behave,
    )
    tally.runs += 1
    tally.sentences += len(sentences)
    tally.elements += outcome.elements
    tally.cycles += outcome.cycles
    tally.failures += [f"{scenario}, {checkpoint.model}: {text}" for text in outcome.failures[:3]]
    tally.corners.update(_corners(hardware, network, sentences, outcome, stall))


def _corners(hardware, network, sentences, outcome, stall):
    """How often each of CORNERS occurred in one run."""
    model, fmt = network.model, hardware.format
    goldens = [golden for golden in outcome.goldens if golden]
    many = [golden for golden in goldens if len(golden.dropped_at_layer) > 1]
    counts = Counter(
        {
            "sentence of one token": sum(len(tokens) == 1 for tokens, _ in sentences),
            "longest sentence": sum(len(tokens) == model.positions for tokens, _ in sentences),
            "pair with segment 1": sum(
                bool(segments.any()) and not bool(segments.all()) for _, segments in sentences
            ),
            "everything dropped but [CLS]": sum(1 in golden.tokens_per_layer for golden in many),
            "damaged embedding row": outcome.goldens.count(None),
            "dead heads": len(network.live_heads) < model.heads,
            "tile with sentences at different layers": outcome.mixed_tiles,
            "int8": not fmt.is_adaptivfloat,
            "AdaptivFloat other than <8,3>": fmt.is_adaptivfloat
            and str(fmt) != "AdaptivFloat<8,3>",
            "sizes that do not divide T or P": bool(
                model.hidden % hardware.tokens or model.head % hardware.columns
            ),
            "stalls on the buses": stall > 0,
        }
    )
    if network.exit_threshold and model.layers > 1:
        layers = [golden.exit_layer for golden in goldens]
        counts["exit at layer 1"] = layers.count(1)
        counts["exit between"] = sum(1 < layer < model.layers for layer in layers)
        counts["no exit"] = layers.count(model.layers)
    return counts + Counter({f"without {unit}": unit not in hardware.units for unit in UNITS})


def _print(text):
    print(text, flush=True)


def campaign(seed, configs=20, models=5, only=None, workers=2, log=_print):
    """Run it; returns whether nothing differed and every corner occurred."""
    numbers = range(configs) if only is None else [only]
    corners = Counter()
    failures = []
    totals = Counter()
    processes = min(workers, len(numbers))
    with multiprocessing.get_context("spawn").Pool(processes, follow_parent) as pool:
        jobs = [pool.apply_async(_configuration, (seed, number, models)) for number in numbers]
        for job in jobs:
            tally = job.get()
            log(
                f"{tally.number:3} {tally.seconds:6.1f} s  {tally.runs} models, "
                f"{tally.sentences} sentences, {tally.elements:,} values, "
                f"{tally.cycles:,} cycles: {'DIFFERS' if tally.failures else 'equal'}\n"
                f"    {tally.hardware}"
            )
            for failure in tally.failures:
                log(f"    {failure}")
            corners += tally.corners
            failures += tally.failures
            totals.update(
                configurations=1,
                models=tally.runs,
                sentences=tally.sentences,
                values=tally.elements,
                cycles=tally.cycles,
            )
    log("\n".join(["", *(f"{corners[corner]:6}  {corner}" for corner in CORNERS), ""]))
    missing = [corner for corner in CORNERS if not corners[corner]] if only is None else []
    if missing:
        log(f"never occurred: {', '.join(missing)}")
    log(
        f"seed {seed}: "
        + ", ".join(f"{count:,} {name}" for name, count in totals.items())
        + f"; {len(failures)} differences"
    )
    return not failures and not missing


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--configs", type=int, default=20)
    parser.add_argument("--models", type=int, default=5)
    parser.add_argument("--only", type=int, help="one configuration of the campaign, by its number")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    sys.exit(not campaign(**vars(arguments)))


if __name__ == "__main__":
    main()
