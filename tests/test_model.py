# SPDX-License-Identifier: Apache-2.0
import dataclasses

import pytest
import torch

from golden_model.adaptivfloat import decode, encode_fixed
from golden_model.attention import span_mask
from golden_model.config import AF8, INT8, MODELS, NEVER, NumberFormat
from golden_model.exit import argmax
from golden_model.formats import GELU_FRAC, TANH_FRAC
from golden_model.gelu import gelu_float
from golden_model.layernorm import layernorm_float
from golden_model.model import run
from golden_model.quantize import quantize
from golden_model.random_model import random_checkpoint, random_sentences
from golden_model.reference import Reference

NANO = MODELS["nano"]
FORMATS = [AF8, INT8, NumberFormat(8, 4), NumberFormat(6, 2)]


def network_of(fmt=AF8, **options):
    return quantize(random_checkpoint(NANO, seed=3, **options), fmt)


def sentences(count=6):
    return random_sentences(NANO, count, seed=4)


class Steps:
    """Every named tensor of a result again, in float64, from the named tensors before it."""

    def __init__(self, network, tensors):
        self.network, self.t = network, tensors

    def value(self, name, layer=""):
        return self.t[layer + name].double() * 2.0 ** -self.network.frac[name]

    def coded(self, name, layer=""):
        """The tensor as the array sees it."""
        n = self.network
        codes = encode_fixed(self.t[layer + name], n.frac[name], n.code_bias[name], n.fmt)
        return decode(codes, n.code_bias[name], n.fmt)

    def linear(self, name, x, layer=None):
        linear = self.network.linears[name]
        linear = linear if layer is None else linear.layers[layer]
        weight = decode(linear.codes, linear.weight_bias, linear.fmt)
        scale = 2 * linear.fmt.mantissa - linear.input_bias - linear.weight_bias
        return x @ weight.T + linear.bias * 2.0**-scale

    def norm(self, name, x):
        norm = self.network.norms[name]
        return layernorm_float(x, norm.gamma * 2.0**-norm.gamma_frac, norm.beta * 2.0**-norm.frac)

    def layer(self, index):
        """{name: float64 tensor} for one layer."""
        p, activation = f"layer{index}.", self.network.model.activation
        x = self.coded("x", p)
        want = {"predict_hidden": gelu_float(self.linear("predictor.hidden", x, index), activation)}
        inner = self.coded("predict_hidden", p)
        want["predict"] = self.linear("predictor.score", inner, index)[:, 0]
        kept = self.t[p + "keep"].bool()
        m, size = int(kept.sum()), self.network.model.head
        for name, part in (("q", "query"), ("k", "key"), ("v", "value")):
            want[name] = self.linear(f"attention.{part}", x[kept]).view(m, -1, size)
        q, k, v = (self.coded(name, p) for name in "qkv")
        want["score"] = torch.einsum("qhd,khd->hqk", q, k)
        e = decode(self.t[p + "numerator"], self.network.code_bias["numerator"], self.network.fmt)
        want["context"] = torch.einsum("hqk,khd->qhd", e, v) / e.sum(-1).T[..., None]
        want["attention"] = self.linear("attention.output", self.coded("context", p).flatten(1))
        total = self.value("x", p)[kept] + self.value("attention", p)
        want["attention_norm"] = self.norm("attention.norm", total)
        x = self.coded("attention_norm", p)
        want["hidden"] = gelu_float(self.linear("feed_forward.up", x), activation)
        want["ffn"] = self.linear("feed_forward.down", self.coded("hidden", p))
        return want


@pytest.mark.parametrize("fmt", FORMATS, ids=str)
def test_every_tensor_follows_from_those_before(fmt):
    network = network_of(fmt)
    for tokens, segments in sentences(3):
        result = run(network, tokens, segments)
        steps = Steps(network, result.tensors)
        for index in range(result.exit_layer):
            for name, want in steps.layer(index).items():
                got = steps.value(name, f"layer{index}.")
                step = 2.0 ** -network.frac[name]
                tolerance = 3 * step + 2.0**-12 * float(want.abs().max())
                assert got.shape == want.shape
                assert float((got - want).abs().max()) <= tolerance, f"layer{index}.{name}"


@pytest.mark.parametrize("fmt", FORMATS[:2], ids=str)
def test_numerators(fmt):
    network = network_of(fmt)
    tensors = run(network, *sentences(1)[0]).tensors
    score = tensors["layer0.score"].double() * 2.0 ** -network.frac["score"]
    e = torch.exp(score - score.amax(-1, keepdim=True))
    e *= span_mask(network.span, tensors["layer0.rows"]) / 256
    bias = network.code_bias["numerator"]
    got = decode(tensors["layer0.numerator"], bias, fmt)
    assert float((got - e).abs().max()) < 2.0**-5


@pytest.mark.parametrize("fmt", FORMATS, ids=str)
def test_close_to_the_float_twin(fmt):
    """Same roundings of codes, so the logits of the two differ only by flips of single codes."""
    checkpoint = random_checkpoint(NANO, seed=3)
    network = quantize(checkpoint, fmt)
    twin = Reference(checkpoint, fmt, drop=False, exit=False)
    network = dataclasses.replace(network, eta=0 * network.eta, exit_threshold=0)
    errors = []
    for tokens, segments in sentences(12):
        got = torch.tensor(run(network, tokens, segments).logits) * 2.0 ** -network.frac["logits"]
        errors.append((got - torch.tensor(twin.run(tokens, segments).logits)).abs().max())
    assert float(torch.stack(errors).median()) < 0.15 * checkpoint.ranges["logits"]


def test_names_and_shapes():
    """Every tensor of a run has its name, shape and int64, with rows dropped layer by layer."""
    network = network_of(exit_threshold=0.0)
    tokens, segments = sentences(1)[0]
    result = run(network, tokens, segments)
    n, previous = len(tokens), len(tokens)
    assert result.tensors["embed_sum"].shape == result.tensors["embed"].shape == (n, 16)
    for layer, m in enumerate(result.tokens_per_layer):
        shapes = {
            "x": (previous, 32),
            "predict_hidden": (previous, 32),
            "predict": (previous,),
            "predict_exp": (previous,),
            "keep": (previous,),
            "rows": (m,),
            "q": (m, 2, 16),
            "k": (m, 2, 16),
            "v": (m, 2, 16),
            "score": (2, m, m),
            "numerator": (2, m, m),
            "denominator": (2, m),
            "context": (m, 2, 16),
            "attention": (m, 32),
            "attention_norm": (m, 32),
            "hidden": (m, 64),
            "ffn": (m, 32),
            "feed_forward_norm": (m, 32),
            "pooled": (32,),
            "logits": (3,),
            "entropy": (),
        }
        got = {
            name.removeprefix(f"layer{layer}."): tuple(t.shape)
            for name, t in result.tensors.items()
            if name.startswith(f"layer{layer}.")
        }
        assert got == shapes
        assert all(t.dtype == torch.int64 for t in result.tensors.values())
        previous = m


def test_drop_and_exit():
    network = network_of(eta=1.0, exit_threshold=0.0)
    for tokens, segments in sentences():
        result = run(network, tokens, segments)
        assert result.exit_layer == 3 and result.dropped_at_layer[0] == NEVER
        stayed = [d for d in result.dropped_at_layer if d == NEVER]
        assert len(stayed) == result.tokens_per_layer[-1]
        for layer, m in enumerate(result.tokens_per_layer):
            assert sum(d > layer for d in result.dropped_at_layer) == m
            assert result.tensors[f"layer{layer}.rows"].tolist() == [
                i for i, d in enumerate(result.dropped_at_layer) if d > layer
            ]


def test_exit_thresholds():
    network = network_of()
    for tokens, segments in sentences():
        late = run(dataclasses.replace(network, exit_threshold=0), tokens, segments)
        early = run(dataclasses.replace(network, exit_threshold=2**18 - 1), tokens, segments)
        assert (late.exit_layer, early.exit_layer) == (3, 1)
        assert early.entropies == late.entropies[:1]


def test_dead_head_changes_only_the_heads():
    """A dead head is as if its values were zero."""
    checkpoint = random_checkpoint(NANO, seed=3, spans=False)
    tensors = dict(checkpoint.tensors)
    tensors["attention.span"] = torch.tensor([[1.0], [0.0]]).repeat(1, 16)
    dead = quantize(dataclasses.replace(checkpoint, tensors=tensors), AF8)
    tensors = dict(checkpoint.tensors)
    for part in ("weight", "bias"):
        value = tensors[f"attention.value.{part}"].clone()
        value[16:] = 0
        tensors[f"attention.value.{part}"] = value
    zero = quantize(dataclasses.replace(checkpoint, tensors=tensors), AF8)
    biases = [
        {name: linear.weight_bias for name, linear in net.linears.items()} for net in (dead, zero)
    ]
    assert biases[0] == biases[1], "the seed gives both networks the same formats"
    for tokens, segments in sentences():
        assert run(dead, tokens, segments).logits == run(zero, tokens, segments).logits


def test_one_token():
    result = run(network_of(), [5])
    assert result.tokens_per_layer == [1] * result.exit_layer


@pytest.mark.parametrize(
    "tokens, segments, text",
    [
        ([], None, "Sentence must have 1..16 tokens, not 0"),
        ([1] * 17, None, "Sentence must have 1..16 tokens, not 17"),
        ([1, 64], None, "Token must be in 0..63, not 64"),
        ([1, -1], None, "Token must be in 0..63, not -1"),
        ([1, 2], [0, 2], "Segment must be in 0..1, not 2"),
        ([1, 2], [0], "Segments must be as many as tokens, 2, not 1"),
    ],
)
def test_wrong_sentence(tokens, segments, text):
    with pytest.raises(ValueError, match=text):
        run(network_of(), tokens, segments)


def test_function_formats():
    network = network_of()
    assert network.frac["hidden"] == network.frac["predict_hidden"] == GELU_FRAC
    assert network.frac["pooled"] == TANH_FRAC


def test_argmax_ties_go_low():
    assert argmax(torch.tensor([3, 7, 7])) == 1


def test_saturations_are_counted():
    checkpoint = random_checkpoint(NANO, seed=3)
    small = {name: value / 16 for name, value in checkpoint.ranges.items()}
    tokens, segments = sentences(1)[0]
    assert run(quantize(checkpoint, AF8), tokens, segments).saturations == 0
    network = quantize(dataclasses.replace(checkpoint, ranges=small), AF8)
    assert run(network, tokens, segments).saturations > 100
