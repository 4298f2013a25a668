# SPDX-License-Identifier: Apache-2.0
"""The methods: their contract, and what each does to a network."""

import dataclasses
import tempfile

import pytest
import torch

from compress.export import tensors_of
from compress.methods import METHODS
from compress.methods.base import Facts
from compress.network import RAMP
from compress.prune import EMBEDDING, PRUNED, sparsity
from compress.recipes.loop import Loop
from compress.recipes.recipe import Stage
from compress.recipes.result_store import ResultStore
from compress.recipes.training import Training
from compress.teachers.teacher import Teacher
from golden_model.config import MODELS
from tests.test_compress import make_network, sentences

NANO = MODELS["nano"]


def train(examples, stage, network=None):
    """The network after a stage, whose teacher is another random network."""
    network = network or make_network()
    teacher = Teacher(make_network(seed=7), examples, torch.arange(NANO.vocabulary))
    with tempfile.TemporaryDirectory() as folder:
        teacher.prepare({"logits", "maps", "saliency"}, ResultStore(folder), {})
    facts = Facts(examples, sentences(12, seed=3), torch.ones(NANO.vocabulary), teacher)
    training = Training(stage, network, facts)
    loop = Loop(training, examples, "unused", seed=1)
    for _ in range(loop.total):
        loop._one()
    training.finish()
    return network


def stage(**methods):
    """A short stage of some methods, by their settings."""
    return Stage(
        "some",
        batch=8,
        epochs=3.0,
        average=0.0,
        methods={name: METHODS[name].Settings(**values) for name, values in methods.items()},
    )


@pytest.mark.parametrize("name", METHODS)
def test_contract(name):
    """Every method says what it is; its defaults are good settings, and settings cannot change."""
    method = METHODS[name]
    assert method.name == name and method.__doc__ and method.source
    kinds = ("tokens", "exit", "attention", "weights", "numbers", "knowledge", "training")
    assert method.kind in kinds
    settings = method.Settings()
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.anything = 1
    assert all(other in METHODS for other in (*method.conflicts, *method.needs))
    assert set(method.signals) <= {"logits", "hidden", "maps", "saliency"}


@pytest.mark.parametrize("name", METHODS)
def test_each_trains_alone(name):
    """A stage of one method beside the labels runs, and leaves what stays and nothing else."""
    network = train(sentences(16), stage(**{"labels": {}, name: {}}))
    assert set(network.methods) == ({name} if METHODS[name].stays else set())
    assert all(torch.isfinite(p).all() for p in network.parameters())


def test_length_has_a_price():
    """Eta ends lower where tokens cost nothing (phi 0) than where they do."""
    eta = {}
    for phi in (0.0, 3.0):
        settings = {"phi": phi, "rate": 0.05, "live": 1.0}
        network = train(sentences(48), stage(labels={}, adapler=settings))
        eta[phi] = network.eta.detach().mean().item()
    assert eta[0.0] < eta[3.0]


def test_magnitude_keeps_its_zeros():
    """They are there at the end of a short stage, and through a later one that trains."""
    examples = sentences(32)
    network = train(examples, stage(labels={}, magnitude={"zeros": 0.6, "embeddings": 0.7}))
    network = train(examples, stage(labels={}), network)
    tensors = tensors_of(network)
    for name in PRUNED:
        assert sparsity(tensors, [name]) >= (0.7 if name in EMBEDDING else 0.6)


def test_spans_kill_no_long_head():
    """Without a wish for dead heads only near-dead ones die; the longest never does."""
    for dead, expected in ((0, 0), (1, 1), (5, 1)):
        network = train(sentences(16), stage(labels={}, spans={"dead": dead, "price": 0.0}))
        assert int((network.attention.reach == -RAMP).sum()) == expected


def test_hidden_states_come_nearer():
    """The student's states, through the learned map where there is one, approach the teacher's."""
    examples = sentences(32)

    def distance(network):
        network.eval().mode = network.settled()
        teacher = make_network(seed=7)
        with torch.no_grad():
            batch = examples.batch(range(len(examples)))
            pairs = zip(network(*batch.inputs).hidden, teacher(*batch.inputs).hidden, strict=True)
            live = batch.inputs[2][:, :, None]
            return sum((((a - b) * live) ** 2).sum() for a, b in pairs)

    assert distance(train(examples, stage(hidden={}))) < distance(make_network())


def test_hidden_states_of_the_same_network_are_no_error():
    """Each layer has its own counterpart in a teacher of as many layers."""
    network, examples = make_network().eval(), sentences(8)
    teacher = Teacher(make_network(), examples, torch.arange(NANO.vocabulary))
    method = METHODS["hidden"](METHODS["hidden"].Settings(), network)
    method.begin(network, Facts(examples, examples, torch.ones(NANO.vocabulary), teacher))
    batch = examples.batch(range(8))
    network.mode = network.settled()
    with teacher._precision():
        loss = method.losses(network, network(*batch.inputs), batch, 0.0)["hidden"]
    assert loss < 1e-6


def test_attention_maps_come_nearer():
    """Also where the teacher has other heads; a layer without a lesson is free."""
    examples = sentences(32)
    batch = examples.batch(range(len(examples)))

    def maps(network):
        network.eval().mode = dataclasses.replace(network.settled(), maps=True)
        with torch.no_grad():
            found = network(*batch.inputs).maps
        assert all(torch.allclose(one.sum(3), torch.ones(()), atol=1e-4) for one in found)
        return torch.stack(found)

    wanted, live = maps(make_network(seed=7)), batch.inputs[2][:, None, :, None]
    before, after = (
        ((maps(network) - wanted) * live).square().sum()
        for network in (make_network(), train(examples, stage(maps={})))
    )
    assert after < before


def test_frozen_parameters_stay():
    before = make_network().embedding.word.clone()
    some = dataclasses.replace(stage(labels={}), frozen=("embedding.",))
    network = train(sentences(16), some)
    assert torch.equal(network.embedding.word, before)
    assert not torch.equal(network.pooler.weight, make_network().pooler.weight)


def test_answers_in_parts(tmp_path, monkeypatch):
    """The same answers as at once; the parts that are there are not asked for again."""
    examples = sentences(24)

    def answers(folder):
        one = Teacher(make_network(seed=7), examples)
        one.prepare({"logits", "saliency"}, ResultStore(folder), {})
        batch = examples.batch([3, 20, 11])
        return one.ask("logits", batch), one.ask("saliency", batch)

    whole = answers(tmp_path / "whole")
    monkeypatch.setattr("compress.teachers.teacher.PART", 10)
    for ours, theirs in zip(answers(tmp_path / "parts"), whole, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-3) and (ours != 0).any()
    store = tmp_path / "parts"
    assert len([*store.glob("logits-part-*.pt")]) == 3
    for path in store.glob("logits-[!p]*.pt"):
        path.unlink()
    monkeypatch.setattr(Teacher, "_logits", lambda *rows: pytest.fail("asked again"))
    answers(store)
