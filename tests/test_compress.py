# SPDX-License-Identifier: Apache-2.0
"""compress: batches, tokenizer, spans, token removal, pruning, checkpoints."""

import pytest
import torch

from compress.calibrate import (
    Measured,
    choose_threshold,
    dvfs_errors,
    learn_dvfs_table,
    paired_loss,
)
from compress.data.rows import Examples, batches, pad
from compress.data.tasks import Row
from compress.data.text_files import read_samples
from compress.export import network_of, tensors_of, write_samples
from compress.fakequant import fake_quantise, quantise
from compress.losses import length_loss
from compress.network import FLOOR, HARD, RAMP, Mode, Network, soft_edit, span_table
from compress.prune import cubic, magnitude_mask
from compress.tokens.pieces import train_tokenizer
from compress.tokens.tokenizer import SPECIAL, SentenceTokenizer, load_tokenizer
from golden_model.adaptivfloat import decode, encode
from golden_model.checkpoint import Checkpoint, tensor_shapes
from golden_model.config import FORMATS, MODELS
from golden_model.dvfs import BINS

NANO = MODELS["nano"]
TEXTS = [
    "It's a charming film, and I do n't care!",
    "a dull , lifeless mess (really)",
    "Amélie is très bien",
    "the film does n't work",
    "not a bad movie at all",
] * 4


# Rows.
def test_batches_cover_all_rows_once():
    lengths = [i % 7 + 1 for i in range(103)]
    for generator in (None, torch.Generator().manual_seed(1)):
        groups = batches(lengths, 8, generator)
        assert sorted(torch.cat(groups).tolist()) == list(range(103))
        assert max(map(len, groups)) <= 8


def test_pad_keeps_real_lengths():
    tokens, segments, live = pad([([2, 9, 3], [0, 0, 0]), ([2, 3], [0, 1])], 16)
    assert tokens.tolist() == [[2, 9, 3], [2, 3, 0]] and live.tolist() == [[1, 1, 1], [1, 1, 0]]
    assert segments.tolist() == [[0, 0, 0], [0, 1, 0]]


# Tokenizer.
@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    train_tokenizer(TEXTS, 120).save(str(path))
    return load_tokenizer(path.parent, 16)


def test_tokenizer_round_trip_and_template(tokenizer):
    one = tokenizer.encode("It's a charming film, and I do n't care!")
    assert one.ids[0] == 2 and one.ids[-1] == 3 and set(one.segments) == {0}
    assert tokenizer.decode(one.ids) == "it 's a charming film , and i do n't care !"
    assert tokenizer.encode("doesn't").ids == tokenizer.encode("does n't").ids
    assert tokenizer.encode("Amélie très").ids == tokenizer.encode("amelie tres").ids
    assert [tokenizer.tokenizer.id_to_token(i) for i in range(5)] == list(SPECIAL)


def test_tokenizer_pairs_and_truncation(tokenizer):
    pair = tokenizer.encode("not a film", "a dull mess")
    assert pair.ids.count(3) == 2 and pair.segments.index(1) == pair.ids.index(3) + 1
    long = tokenizer.encode("dull film " * 40)
    assert len(long.ids) == 16 and long.ids[0] == 2 and long.ids[-1] == 3
    with pytest.raises(ValueError, match="Positions must be at least 4, not 3"):
        SentenceTokenizer(tokenizer.tokenizer, 3)
    with pytest.raises(FileNotFoundError, match="No tokenizer at"):
        load_tokenizer("nowhere/tokenizer.json")


# Formats.
@pytest.mark.parametrize("fmt", FORMATS, ids=str)
def test_fake_quantisation_is_the_golden_format(fmt):
    """Fake quantization rounds as encode does, ties too, and passes the gradient on as it is."""
    x = torch.cat(
        [
            torch.randn(4000) * torch.exp2(torch.randn(4000) * 4),
            torch.zeros(1),
            torch.tensor([1.0625, 2.0, 3.9]).repeat_interleave(3) * 2.0**-8,
        ]
    )
    ties = decode(torch.arange(2 ** (fmt.bits - 1)), -7, fmt).float()
    x = torch.cat([x, ties, (ties[1:] + ties[:-1]) / 2, -(ties[1:] + ties[:-1]) / 2])
    for bias in (-12, -7, -3):
        expected = decode(encode(x, bias, fmt), bias, fmt).float()
        assert torch.equal(quantise(x, bias, fmt) + 0.0, expected + 0.0)
    x.requires_grad_(True)
    fake_quantise(x, fmt=fmt).sum().backward()
    assert torch.equal(x.grad, torch.ones_like(x))


# Spans.
def test_span_mask_reaches_zero():
    table = span_table(torch.tensor([-RAMP, 0.0, 5.0, 64.0]), 64)
    assert (table[0] == 0).all()
    assert table[1, 0] == 1 and table[1, int(RAMP)] == 0
    assert table[2, 5] == 1 and 0 < table[2, 7] < 1 and (table[2, 5 + int(RAMP) :] == 0).all()
    assert (table[3] == 1).all()
    assert torch.equal((table[:3] * 256).round(), table[:3] * 256)


def sentences(count=6, length=12, config=NANO, seed=0):
    generator = torch.Generator().manual_seed(seed)
    rows = [
        torch.randint(5, config.vocabulary, (3 + i % (length - 2),), generator=generator)
        for i in range(count)
    ]
    return Examples(
        [([2, *row.tolist(), 3], [0] * (len(row) + 2)) for row in rows],
        [int(row.sum()) % 2 for row in rows],
        config.positions,
    )


def test_dead_heads_do_not_matter():
    network = make_network()
    batch = sentences().batch(range(6))
    network.mode = Mode(spans=True)
    with torch.no_grad():
        network.attention.reach.copy_(torch.tensor([-RAMP, 16.0]))
        before = network(*batch.inputs).logits[-1]
        network.attention.value.weight[: NANO.head] *= -3
        assert torch.equal(before, network(*batch.inputs).logits[-1])
        network.attention.value.weight[NANO.head :] *= -3
        assert not torch.equal(before, network(*batch.inputs).logits[-1])


# Token removal.
def make_network(config=NANO, seed=0):
    torch.manual_seed(seed)
    network = Network(config)
    with torch.no_grad():
        network.predictor.score.weight.normal_(std=2)
        network.eta.fill_(0.8)
    return network.eval()


def test_soft_edit_meets_the_hard_rule():
    share = torch.tensor([[0.05, 0.199, 0.2, 0.3]])
    threshold = torch.tensor([[0.2]])
    assert soft_edit(share, threshold, HARD).tolist() == [[FLOOR, FLOOR, 0, 0]]
    sharp = soft_edit(share, threshold, 1e7)
    assert (sharp[0, :2] <= -1000).all() and (sharp[0, 2:] > -1e-6).all()
    assert (soft_edit(share, threshold, 10.0) <= 0).all()


def test_soft_removal_becomes_hard_drop():
    network, batch = make_network(), sentences().batch(range(6))
    with torch.no_grad():
        network.mode = Mode(sharpness=1e9, spans=True)
        soft = network(*batch.inputs)
        network.mode = Mode(sharpness=HARD, spans=True)
        hard = network(*batch.inputs)
    assert 0 < sum((live < 1).sum() for live in hard.live) - (batch.inputs[2] < 1).sum() * 3
    for a, b, live in zip(soft.logits, hard.logits, hard.live, strict=True):
        assert torch.allclose(a, b, atol=1e-4) and set(live.unique().tolist()) <= {0.0, 1.0}
        assert (live[:, 0] == 1).all()


def test_dropping_equals_leaving_out():
    """Masked tokens weigh nothing: a padded batch gives what each sentence gives alone."""
    network, examples = make_network(), sentences()
    network.mode = Mode(sharpness=HARD, spans=True)
    with torch.no_grad():
        together = network(*examples.batch(range(6)).inputs).logits[-1]
        for row in range(6):
            alone = network(*examples.batch([row]).inputs).logits[-1][0]
            assert torch.allclose(together[row], alone, atol=1e-5)


def eta_gradient(phi):
    network, batch = make_network(), sentences().batch(range(6))
    network.mode = Mode(sharpness=20.0)
    output = network(*batch.inputs)
    (phi * length_loss(output, batch.inputs[2])).backward()
    others = [
        name
        for name, p in network.named_parameters()
        if p.grad is not None and p.grad.abs().sum() > 0
    ]
    return network.eta.grad, others


def test_length_moves_eta_alone_and_in_proportion_to_phi():
    gradient, moved = eta_gradient(1.0)
    assert moved == ["eta"] and (gradient < 0).all()
    assert torch.allclose(eta_gradient(0.5)[0], gradient / 2)
    assert (eta_gradient(0.0)[0] == 0).all()


# Pruning.
def test_cubic_schedule_and_masks():
    assert cubic(0, 0.6) == 0 and cubic(1, 0.6) == 0.6 and 0.4 < cubic(0.4, 0.6) < 0.6
    weight = torch.arange(1, 11).float().view(2, 5)
    assert magnitude_mask(weight, 0.55).sum() == 4
    rare = magnitude_mask(weight, 0.5, torch.tensor([[10.0], [1.0]]))
    assert rare[0, 1:].sum() == 4


# After training.
def test_checkpoint_round_trip(tmp_path):
    network = make_network()
    with torch.no_grad():
        network.attention.reach.copy_(torch.tensor([-RAMP, 3.0]))
    network.base = Mode(sharpness=HARD, spans=True)
    tensors = tensors_of(network)
    assert {name: tuple(t.shape) for name, t in tensors.items()} == tensor_shapes(NANO)
    again = network_of(Checkpoint(NANO, tensors))
    for name, value in network.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


def test_threshold_and_dvfs_table():
    """Both keep within the budgets and what they promise, on logits that grow surer by layer."""
    torch.manual_seed(0)
    labels = torch.randint(0, 2, (200,))
    sure = torch.rand(200)
    signs = (labels * 2 - 1).float()
    logits = torch.stack([torch.stack([-signs, signs], 1) * (sure * k)[:, None] for k in (2, 4, 8)])
    measured = Measured(logits, torch.ones(3, 200), torch.full((200,), 9.0), labels)
    assert choose_threshold(measured, live=0.5, share=0.65) is None
    _, threshold = choose_threshold(measured, live=1.0, share=0.65)
    exits = measured.exits(threshold)
    assert exits.float().mean() <= 0.65 * 3 and measured.accuracy(exits) == 100
    assert measured.live_share(exits) == 1
    table = learn_dvfs_table(measured, threshold)
    assert len(table) == BINS and table == sorted(table) and table[0] == 1
    errors = dvfs_errors(measured, threshold, learn_dvfs_table(measured, threshold, 0.5))
    assert errors["dvfs_error"] < errors["dvfs_error_of_mean"]


def test_threshold_of_several_classes():
    """Eight classes are unsure up to ln 8: the threshold may lie above the ln 2 of two."""
    labels = torch.arange(64) % 8
    logits = torch.stack([torch.eye(8)[labels] * k for k in (2.0, 4.0)])  # 1.76 and 0.54 nats
    measured = Measured(logits, torch.ones(2, 64), torch.full((64,), 9.0), labels)
    _, threshold = choose_threshold(measured, live=1.0, share=0.5)
    assert threshold > measured.entropies[0].max() > 0.7


def test_dvfs_table_pools_what_falls():
    """Four bins, whose medians 1, 3, 2, 4 must not fall: the two in the middle become one."""
    exits = torch.tensor([1, 1, 3, 3, 3, 2, 2, 4])
    entropies = [0.01, 0.01, 0.04, 0.04, 0.04, 0.07, 0.07, 0.2]

    class Some:
        def exits(self, threshold):
            return exits

    measured = Some()
    measured.entropies = torch.tensor([entropies])
    table = learn_dvfs_table(measured, 0.1, quantile=0.5)
    assert table[:8] == [1, 3, 3, 3, 3, 3, 4, 4] and set(table[8:]) == {4}
    errors = dvfs_errors(measured, 0.1, table)
    assert errors == {"dvfs_error": pytest.approx(2 / 8), "dvfs_error_of_mean": 0.875}
    exits[2] = 1  # means 1, 7/3, 2, 4
    table = learn_dvfs_table(measured, 0.1, quantile=None)
    assert table[:8] == [1, 2, 2, 2, 2, 2, 4, 4] and set(table[8:]) == {4}


def test_samples_are_mixed(tmp_path):
    rows = [Row("word " * (i % 30 + 1), i % 2) for i in range(300)]
    write_samples(rows, tmp_path / "samples.tsv", seed=1)
    chosen = read_samples(tmp_path / "samples.tsv", 2)
    assert len(chosen) == 64 and 24 <= sum(label for _, label in chosen) <= 40


def test_paired_loss():
    """Of ten rows three are lost and one won: 20 points, with the interval of four that differ."""
    before = torch.tensor([1, 1, 1, 1, 1, 1, 0, 0, 0, 0]).bool()
    after = torch.tensor([0, 0, 0, 1, 1, 1, 1, 0, 0, 0]).bool()
    lost, interval = paired_loss(before, after)
    assert lost == pytest.approx(20) and interval == pytest.approx(19.6 * 3.6**0.5)
    assert paired_loss(before, before) == (0, 0)
