# SPDX-License-Identifier: Apache-2.0
"""compress against golden_model: the training network and the float reference are one function."""

import pytest
import torch

from compress.calibrate import coded_mode, observe_ranges
from compress.export import network_of, tensors_of
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
    network.mode = Mode(sharpness=HARD, spans=True, biases={})
    ranges = observe_ranges(network, sentences(12))
    network.mode.biases = {}
    return Checkpoint(MODELS["nano"], tensors_of(network), ranges, exit_threshold=0.0)


def together(network, examples, mode):
    network.eval().mode = mode
    with torch.no_grad():
        return network(*examples.batch(range(len(examples))).inputs)


@pytest.mark.parametrize("fmt", [None, AF8])
def test_network_is_the_reference(checkpoint, fmt):
    examples, network = sentences(12), network_of(checkpoint)
    mode = Mode(sharpness=HARD, spans=True) if fmt is None else coded_mode(checkpoint.ranges)
    output = together(network, examples, mode)
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
