# SPDX-License-Identifier: Apache-2.0
"""compress against golden_model: the training network and the float reference are one function."""

import pytest
import torch

from compress.calibrate import observe_ranges
from compress.export import network_of, tensors_of
from compress.methods.adaptivfloat import AdaptivFloat
from compress.network import HARD, RAMP, Mode
from golden_model.calibrate import calibrate
from golden_model.checkpoint import RANGES, Checkpoint
from golden_model.config import AF8, MODELS
from golden_model.reference import Reference
from tests.test_compress import make_network, sentences


@pytest.fixture(scope="module")
def checkpoint():
    network = make_network()
    with torch.no_grad():
        network.attention.reach.copy_(torch.tensor([-RAMP, 2.0]))
    network.base = Mode(sharpness=HARD, spans=True)
    ranges = observe_ranges(network, sentences(12))
    network.attach(AdaptivFloat(AdaptivFloat.Settings(AF8), network, ranges))
    return Checkpoint(MODELS["nano"], tensors_of(network), ranges, exit_threshold=0.0)


def together(network, examples):
    network.eval().mode = network.settled()
    with torch.no_grad():
        return network(*examples.batch(range(len(examples))).inputs)


@pytest.mark.parametrize("fmt", [None, AF8])
def test_network_is_the_reference(checkpoint, fmt):
    examples = sentences(12)
    output = together(network_of(checkpoint, codes=fmt), examples)
    for row, (ids, segments) in enumerate(examples.sequences):
        result = Reference(checkpoint, fmt=fmt, exit=False).run(ids, segments)
        for layer in range(3):
            assert int(output.live[layer][row].sum()) == result.tokens_per_layer[layer]
            expected = result.tensors[f"layer{layer}.logits"].float()
            assert torch.allclose(output.logits[layer][row], expected, atol=1e-4)


def test_ranges_are_those_of_the_golden_calibration(checkpoint):
    examples, network = sentences(12), network_of(checkpoint)
    ours = observe_ranges(network, examples)
    theirs = calibrate(checkpoint, examples.sequences)
    for name in RANGES:
        if name not in ("q", "k", "v", "score"):  # theirs leave dead heads out
            assert ours[name] == pytest.approx(theirs[name], rel=1e-4), name
