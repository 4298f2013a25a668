# SPDX-License-Identifier: Apache-2.0
import dataclasses

import pytest
import torch

from golden_model import dvfs
from golden_model.adaptivfloat import decode
from golden_model.checkpoint import RANGES, CheckpointError
from golden_model.config import AF8, INT8, MODELS, NumberFormat
from golden_model.quantize import HEADROOM, act_frac, quantize
from golden_model.random_model import random_checkpoint

FORMATS = [AF8, INT8, NumberFormat(8, 4), NumberFormat(4, 3), NumberFormat(8, 2)]


@pytest.fixture(scope="module")
def checkpoint():
    return random_checkpoint(MODELS["nano"], seed=2, dead_heads=1)


def changed(checkpoint, **tensors):
    tensors = {name.replace("__", "."): t for name, t in tensors.items()}
    return dataclasses.replace(checkpoint, tensors=checkpoint.tensors | tensors)


@pytest.mark.parametrize("maximum", [1e-3, 0.7, 1.0, 26.0, 26.3, 900.0])
def test_act_frac(maximum):
    f = act_frac(maximum)
    assert maximum * HEADROOM * 2.0**f <= 2**15 < maximum * HEADROOM * 2.0 ** (f + 1)


@pytest.mark.parametrize("scale", [2.0**-9, 1.0, 2.0**9])
@pytest.mark.parametrize("fmt", FORMATS, ids=str)
def test_shifts_are_what_the_hardware_takes(checkpoint, fmt, scale):
    ranges = {name: scale * value for name, value in checkpoint.ranges.items()}
    network = quantize(dataclasses.replace(checkpoint, ranges=ranges), fmt)
    shifts = [linear.shift for linear in network.linears.values()]
    shifts += [norm.shift for norm in network.norms.values()]
    shifts += [network.score_shift, network.context_shift]
    assert all(0 <= shift <= 47 for shift in shifts), shifts
    assert all(-16 <= linear.align <= 0 for linear in network.linears.values())
    assert all(0 <= shift <= 15 for shift in network.residual_shift.values())
    assert all(-8 <= table.shift <= 31 for table in network.tables.values())
    assert all(-64 <= f <= 31 for f in network.frac.values())


def test_shift_that_the_hardware_has_not(checkpoint):
    """The sum needs few fraction bits, the accumulator has many: weights that are all tiny."""
    tiny = {
        f"feed_forward__down__{part}": checkpoint[f"feed_forward.down.{part}"] * 2.0**-60
        for part in ("weight", "bias")
    }
    ranges = checkpoint.ranges | {"ffn": 1e-18, "attention_norm": 100.0}
    with pytest.raises(
        CheckpointError, match=r"Shift of feed_forward.down must be in 0\.\.47, not"
    ):
        quantize(dataclasses.replace(changed(checkpoint, **tiny), ranges=ranges), AF8)


def test_weights_are_the_nearest_codes(checkpoint):
    network = quantize(checkpoint, AF8)
    linear = network.linears["feed_forward.up"]
    weight = checkpoint["feed_forward.up.weight"].double()
    got = decode(linear.codes, linear.weight_bias, AF8)
    assert float(((got - weight).abs() / weight.abs().max()).max()) < 2.0**-5
    assert not got[weight == 0].any(), "pruned weights stay zero"


def test_query_holds_the_scale(checkpoint):
    network = quantize(checkpoint, AF8)
    linear = network.linears["attention.query"]
    got = decode(linear.codes, linear.weight_bias, AF8)
    want = checkpoint["attention.query.weight"][:16].double() / 4
    assert float((got - want).abs().max()) < 2.0**-5 * float(want.abs().max())


def test_dead_heads_are_gone(checkpoint):
    network = quantize(checkpoint, AF8)
    assert network.live_heads == [0] and network.span.shape == (1, 16)
    assert network.linears["attention.value"].codes.shape == (16, 32)
    assert network.linears["attention.output"].codes.shape == (32, 16)
    with pytest.raises(ValueError, match="Spans must leave at least one live head, not 0"):
        quantize(changed(checkpoint, attention__span=torch.zeros(2, 16)), AF8)


def test_decisions(checkpoint):
    network = quantize(dataclasses.replace(checkpoint, exit_threshold=0.25), AF8)
    assert network.exit_threshold == 2**14 and int(network.eta[-1]) == round(0.7 * 2**16)
    assert len(network.dvfs_table) == dvfs.BINS
    network = quantize(changed(checkpoint, eta=torch.ones(3)), AF8)
    assert network.eta.tolist() == [2**16] * 3
    with pytest.raises(ValueError, match="DVFS table must have 64 entries, not 2"):
        quantize(dataclasses.replace(checkpoint, dvfs_table=[1, 2]), AF8)


def test_refuses_what_overflows(checkpoint):
    bias = torch.full((32,), 3e7)
    with pytest.raises(ValueError, match="Sums of pooler must fit 31 bits with their bias"):
        quantize(changed(checkpoint, pooler__bias=bias), AF8)


@pytest.mark.parametrize("name", ["q", "k"])
def test_refuses_formats_that_no_shift_reaches(checkpoint, name):
    ranges = checkpoint.ranges | {name: 1e-300}
    with pytest.raises(ValueError, match=r"Format of score must have -34..31 fraction bits, not"):
        quantize(dataclasses.replace(checkpoint, ranges=ranges), AF8)


def test_largest_exit_threshold(checkpoint):
    network = quantize(dataclasses.replace(checkpoint, exit_threshold=1e308), AF8)
    assert network.exit_threshold == 2**18 - 1


def test_missing_range(checkpoint):
    ranges = {name: 1.0 for name in RANGES if name != "score"}
    with pytest.raises(ValueError, match="must have a range of score, it is missing"):
        quantize(dataclasses.replace(checkpoint, ranges=ranges), AF8)


def test_zero_tensors(checkpoint):
    zero = {name: torch.zeros_like(t) for name, t in checkpoint.tensors.items()}
    zero["attention.span"] += 1
    network = quantize(
        dataclasses.replace(checkpoint, tensors=zero, ranges=dict.fromkeys(RANGES, 0.0)), AF8
    )
    assert all(not linear.codes.any() for linear in network.linears.values())
