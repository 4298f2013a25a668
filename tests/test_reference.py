# SPDX-License-Identifier: Apache-2.0
"""The float twin against the ALBERT of transformers, and its options."""

import dataclasses

import pytest
import torch
from transformers import AlbertConfig, AlbertForSequenceClassification

from golden_model.config import AF8, ModelConfig
from golden_model.random_model import random_checkpoint, random_sentences
from golden_model.reference import Reference

SMALL = dict(
    layers=3,
    embedding=32,
    hidden=64,
    heads=4,
    feed_forward=128,
    vocabulary=100,
    positions=32,
    classes=2,
)
LAYER = "albert.encoder.albert_layer_groups.0.albert_layers.0."
NAMES = {
    "embedding.word": "albert.embeddings.word_embeddings.weight",
    "embedding.position": "albert.embeddings.position_embeddings.weight",
    "embedding.segment": "albert.embeddings.token_type_embeddings.weight",
    "embedding.norm.": "albert.embeddings.LayerNorm.",
    "embedding.project.": "albert.encoder.embedding_hidden_mapping_in.",
    "attention.query.": LAYER + "attention.query.",
    "attention.key.": LAYER + "attention.key.",
    "attention.value.": LAYER + "attention.value.",
    "attention.output.": LAYER + "attention.dense.",
    "attention.norm.": LAYER + "attention.LayerNorm.",
    "feed_forward.up.": LAYER + "ffn.",
    "feed_forward.down.": LAYER + "ffn_output.",
    "feed_forward.norm.": LAYER + "full_layer_layer_norm.",
    "pooler.": "albert.pooler.",
    "classifier.": "classifier.",
}


def albert(checkpoint):
    """transformers' model with the same weights."""
    c = checkpoint.model
    model = AlbertForSequenceClassification(
        AlbertConfig(
            vocab_size=c.vocabulary,
            embedding_size=c.embedding,
            hidden_size=c.hidden,
            num_hidden_layers=c.layers,
            num_attention_heads=c.heads,
            intermediate_size=c.feed_forward,
            max_position_embeddings=c.positions,
            hidden_act=c.activation,
            num_labels=c.classes,
            attn_implementation="eager",
        )
    ).eval()
    state = {}
    for name, tensor in checkpoint.tensors.items():
        for ours, theirs in NAMES.items():
            if name.startswith(ours):
                end = name.removeprefix(ours).replace("gamma", "weight").replace("beta", "bias")
                state[theirs + end] = tensor
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not missing and not unexpected
    return model


@pytest.mark.parametrize("activation", ["gelu", "gelu_new"])
def test_is_albert(activation):
    model = ModelConfig(**SMALL, activation=activation)
    checkpoint = random_checkpoint(model, seed=5, dead_heads=1)
    theirs = albert(checkpoint)
    ours = Reference(checkpoint, drop=False, exit=False, span=False)
    for tokens, segments in random_sentences(model, 5, seed=6):
        with torch.no_grad():
            want = theirs(input_ids=tokens[None], token_type_ids=segments[None]).logits[0]
        got = torch.tensor(ours.run(tokens, segments).logits)
        assert float((got - want).abs().max()) < 1e-5


def test_options():
    model = ModelConfig(**SMALL)
    checkpoint = random_checkpoint(model, seed=5, eta=1.0, exit_threshold=9.0)
    tokens, segments = random_sentences(model, 1, seed=7, low=32)[0]
    result = Reference(checkpoint).run(tokens, segments)
    assert result.exit_layer == 1 and result.tokens_per_layer[0] < 32
    assert Reference(checkpoint, exit=False).run(tokens, segments).exit_layer == 3
    assert Reference(checkpoint, drop=False).run(tokens, segments).tokens_per_layer == [32]
    spans = Reference(checkpoint, drop=False).run(tokens, segments).tensors["layer0.numerator"]
    ones = Reference(checkpoint, drop=False, span=False).run(tokens, segments)
    assert not torch.equal(spans, ones.tensors["layer0.numerator"])


def test_dense_ignores_compression():
    model = ModelConfig(**SMALL)
    checkpoint = random_checkpoint(model, seed=5, exit_threshold=9.0)
    tokens, segments = random_sentences(model, 1, seed=8)[0]
    dense = Reference(checkpoint.dense()).run(tokens, segments)
    plain = Reference(checkpoint, drop=False, exit=False, span=False).run(tokens, segments)
    assert dense.logits == plain.logits and dense.exit_layer == 3


def test_codes_lose_little():
    model = ModelConfig(**SMALL)
    checkpoint = dataclasses.replace(random_checkpoint(model, seed=5), exit_threshold=0.0)
    differences = []
    for tokens, segments in random_sentences(model, 6, seed=9):
        plain = torch.tensor(Reference(checkpoint, drop=False).run(tokens, segments).logits)
        coded = torch.tensor(Reference(checkpoint, AF8, drop=False).run(tokens, segments).logits)
        differences.append((plain - coded).abs().max())
    assert float(torch.stack(differences).median()) < 0.2 * checkpoint.ranges["logits"]
