# SPDX-License-Identifier: Apache-2.0
"""The parts of a random case: hardware configurations, networks that fit them, sentences.

Each network has a scenario that makes a rare corner likely.
"""

import math

from golden_model.config import AF8, FORMATS, INT8, ModelConfig
from golden_model.hardware import UNITS, HardwareConfig
from golden_model.random_model import random_checkpoint, random_sentences

__all__ = ["SCENARIOS", "queue_of", "random_hardware", "random_model", "scenario_checkpoint"]

LANES = (2, 3, 4, 5, 6, 7, 8, 12, 16)
SCENARIOS = ("plain", "only [CLS]", "leave at once", "stay", "dead heads")
FEWEST, MOST = 3, 9  # good sentences of a case


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
        segments=rng.choice((1, 2, 2, 2)),
    )


def scenario_checkpoint(rng, hardware, scenario):
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


def queue_of(rng, model):
    """Lengths from one token to the longest; most of them pairs."""
    seed = rng.randrange(1 << 30)
    sentences = random_sentences(model, rng.randrange(FEWEST, MOST + 1) - 2, seed)
    sentences += random_sentences(model, 1, seed, 1, 1)
    sentences += random_sentences(model, 1, seed, model.positions)
    rng.shuffle(sentences)
    return sentences
