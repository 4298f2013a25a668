# SPDX-License-Identifier: Apache-2.0
"""Whole recipes on a toy task: what is trained again and what is not, and equal bits."""

import json
import os
import random
import shutil
import signal

import pytest
import torch

from compress.calibrate import measure
from compress.costs import LATER
from compress.data.text_files import DataError
from compress.huggingface.albert import read_albert
from compress.recipes.loop import Loop
from compress.recipes.result import write_result
from compress.tokens.tokenizer import load_tokenizer
from golden_model.checkpoint import load
from golden_model.config import AF8, MODELS
from golden_model.model import run
from golden_model.quantize import quantize
from terse.evaluate import flops
from tests.recipes import TOY, from_albert, toy_data, toy_run

ALL = ["finetune", "reduce", "prune", "quantise"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return toy_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """The folder in which the whole recipe ran."""
    folder = tmp_path_factory.mktemp("whole")
    made = toy_run(folder, data)
    write_result(made, folder / "out", "terse compress toy.toml")
    assert made.trained == ALL
    return folder


def weights(made):
    return made.result().state_dict()


def assert_equal(one, other):
    assert one.keys() == other.keys()
    for name, value in one.items():
        same = torch.equal(value, other[name]) if torch.is_tensor(value) else value == other[name]
        assert same, name


def test_result(whole):
    """The checkpoint has what the methods promise, and says how it was made."""
    checkpoint = load(whole / "out")
    metrics = checkpoint.metrics
    assert metrics["encoder_sparsity"] >= 0.6 and metrics["embedding_sparsity"] >= 0.6
    assert metrics["dead_heads"] >= 1 and metrics["rows"] == 24
    assert checkpoint.labels == ("0", "1") and checkpoint.format == AF8
    assert checkpoint.command == "terse compress toy.toml" and len(checkpoint.dvfs_table) == 64
    assert "dense.pooler.weight" in checkpoint.tensors
    account = json.loads((whole / "out" / "run.json").read_text())
    assert list(account["stages"]) == ALL and account["recipe"]["task"] == "toy"
    text = (whole / "out" / "metrics.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert {line["stage"] for line in lines} == set(ALL)
    assert {"step", "loss", "logits", "hidden", "predictors"} <= lines[-2].keys()
    encoding = load_tokenizer(whole / "out", MODELS["nano"].positions).encode("a warm film")
    assert run(quantize(checkpoint, AF8), encoding.ids, encoding.segments).predicted_class in (0, 1)


def test_costs(whole):
    """The plain model's figures are counted; each method after it changes what it should."""
    account = json.loads((whole / "out" / "run.json").read_text())
    names = [row["method"] for row in account["costs"]]
    assert names == ["dense", "adapler", "spans", "magnitude", "adaptivfloat", "entropy", "dvfs"]
    size = {row["method"]: row["bytes"] for row in account["costs"]}
    work = {row["method"]: row["multiplications"] for row in account["costs"]}
    checkpoint, tokens = load(whole / "out"), account["tokens"]
    assert work["dense"] == flops(checkpoint, [tokens] * 3, tokens, plain=True) / 2
    plain = {n: t for n, t in checkpoint.dense().tensors.items() if not n.startswith(LATER)}
    del plain["attention.span"]
    assert size["dense"] == 4 * sum(tensor.numel() for tensor in plain.values())
    assert size["adapler"] > size["dense"] and work["adapler"] > work["dense"]
    assert size["spans"] == size["adapler"] and work["spans"] < work["adapler"]
    assert size["magnitude"] < 0.6 * size["spans"] and work["magnitude"] < 0.6 * work["spans"]
    assert size["adaptivfloat"] < 0.5 * size["magnitude"]
    assert work["adaptivfloat"] == work["magnitude"] < work["entropy"] == work["dvfs"]


def test_the_same_again_trains_nothing(whole, data):
    again = toy_run(whole, data)
    weights(again)
    assert again.trained == []


@pytest.mark.parametrize(
    "change, trained",
    [
        (("[stage.magnitude]", "[stage.magnitude]\nzeros = 0.5"), ALL[2:]),
        (("dead = 1", "dead = 0"), ALL[1:]),
        (("smoothing = 0.05", "smoothing = 0.06"), ALL),
        (("[stage.dvfs]\n", ""), ALL[3:]),
        (('name = "prune"', 'name = "sparse"'), []),
        (("held = 16", "held = 15"), ALL),
    ],
)
def test_a_change_trains_what_follows_from_it(whole, data, change, trained):
    made = toy_run(whole, data, TOY.replace(*change))
    weights(made)
    assert made.trained == trained


def test_own_rows_by_name_leave_the_held_ones_out(data, tmp_path):
    made = toy_run(tmp_path, data, TOY.replace("epochs = 1.5", 'rows = ["toy/train"]'))
    held = {row.sentence for row in made.corpus.held}
    assert held.isdisjoint(row.sentence for row in made.corpus.rows(made.recipe.stages[0].rows))


def test_result_under_another_name(whole, data, tmp_path):
    """A file that was copied over another's is found out."""
    shutil.copytree(whole / "store", tmp_path / "store")
    made = toy_run(tmp_path, data)
    one, other = (made.store.path("stage", made.inputs(s)) for s in made.recipe.stages[2:])
    for suffix in (".pt", ".json"):
        shutil.copy(one.with_suffix(suffix), other.with_suffix(suffix))
    with pytest.raises(DataError, match=f"{other.name} must be the result of what"):
        made.result()


def test_another_seed_or_another_byte_trains_all(whole, data, tmp_path):
    made = toy_run(whole, data, seed=1)
    weights(made)
    assert made.trained == ALL
    other = toy_data(tmp_path / "data")
    path = other / "toy" / "train.tsv"
    path.write_bytes(path.read_bytes() + b"\n")
    made = toy_run(whole, other)
    weights(made)
    assert made.trained == ALL


class Interrupted(Exception):
    pass


@pytest.mark.parametrize("stage, step", [("finetune", 5), ("reduce", 2), ("prune", 1)])
def test_equal_bits_after_an_interruption(whole, data, tmp_path, monkeypatch, stage, step):
    one = Loop._one

    def stop(loop):
        if loop.stage.name == stage and loop.step == step:
            raise Interrupted
        one(loop)

    monkeypatch.setattr(Loop, "_one", stop)
    with pytest.raises(Interrupted):
        weights(toy_run(tmp_path, data))
    monkeypatch.setattr(Loop, "_one", one)
    made = toy_run(tmp_path, data)
    assert_equal(weights(made), weights(toy_run(whole, data)))
    assert made.trained[0] == stage


def test_equal_bits_after_kills(whole, data, tmp_path, monkeypatch):
    """SIGKILL at ten moments of CPU time that a seed chooses; who comes through begins anew."""
    monkeypatch.setattr("compress.recipes.loop.SAVE_EVERY", 0.0)
    wanted, draw, kills = weights(toy_run(whole, data)), random.Random(1), 0
    while kills < 10:
        moment = draw.uniform(0.02, 0.3)
        child = os.fork()
        if not child:
            signal.signal(signal.SIGPROF, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
            signal.setitimer(signal.ITIMER_PROF, moment)
            try:
                weights(toy_run(tmp_path, data))
                os._exit(0)
            finally:
                os._exit(1)  # not into the tests that follow
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert status in (0, -signal.SIGKILL)
        kills += status != 0
        if status == 0:
            assert_equal(weights(toy_run(tmp_path, data)), wanted)
            shutil.rmtree(tmp_path / "store")
    assert_equal(weights(toy_run(tmp_path, data)), wanted)


def test_from_an_albert(data, tmp_path):
    """A Hugging Face folder gets predictors, exits, spans and zeros; its sizes stay."""
    recipe = from_albert(tmp_path)
    made = toy_run(tmp_path, data, recipe)
    before = read_albert(tmp_path / "albert", 24)
    begun = made.initial().state_dict()
    assert torch.equal(begun["attention.query.weight"], before.tensors()["attention.query.weight"])
    assert torch.equal(begun["exit.pooler.weight"], before.tensors()["pooler.weight"])
    checkpoint = write_result(made, tmp_path / "out", "")
    model = checkpoint.model
    assert (model.hidden, model.heads, model.positions, model.classes) == (48, 3, 24, 2)
    assert checkpoint.metrics["encoder_sparsity"] >= 0.6 and checkpoint["eta"].max() > 0


def test_compressed_from_a_checkpoint_that_teaches(whole, data, tmp_path):
    """Without a stage before: the weights it starts from teach, and are the uncompressed ones."""
    start = f'origin = "checkpoint"\npath = "{whole / "out"}"'
    head, _, rest = TOY.partition("[[stage]]")
    stages = rest[rest.index("[[stage]]") :].replace('"finetune"', '"start"')
    text = head.replace('model = "nano"\n', "").replace('origin = "vectors"', start) + stages
    made = toy_run(tmp_path, data, text)
    checkpoint = write_result(made, tmp_path / "out", "")
    assert made.trained == ALL[1:]
    before = load(whole / "out")
    for name in ("embedding.word", "feed_forward.up.weight", "exit.pooler.weight"):
        assert torch.equal(checkpoint[f"dense.{name}"], before[f"dense.{name}"])
    assert checkpoint.metrics["encoder_sparsity"] >= 0.6


def test_without_the_dense_weights(whole, data):
    """They are left out, and compared with none the less."""
    made = toy_run(whole, data, TOY.replace("held = 16", "held = 16\ndense = false"))
    small = write_result(made, whole / "small", "")
    assert not any(name.startswith("dense.") for name in load(whole / "small").tensors)
    wanted = measure(made.uncompressed(), made.dev).accuracy()
    assert small.metrics["dense_accuracy"] == pytest.approx(wanted, abs=1e-4)
    assert small.metrics.keys() == load(whole / "out").metrics.keys() and made.trained == []


def test_from_a_checkpoint(whole, data, tmp_path):
    """Training goes on with the uncompressed weights of a checkpoint, and its vocabulary."""
    start = f'origin = "checkpoint"\npath = "{whole / "out"}"'
    text = TOY.replace('model = "nano"\n', "").replace('origin = "vectors"', start)
    made = toy_run(tmp_path, data, text)
    dense = load(whole / "out")["dense.feed_forward.up.weight"]
    assert torch.equal(made.initial().feed_forward.up.weight.detach(), dense)
    assert (
        made.tokenizer.encode("a warm film").pieces
        == toy_run(whole, data).tokenizer.encode("a warm film").pieces
    )
    (whole / "out" / "README.md").write_text("A word about it.")
    assert toy_run(tmp_path, data, text).start_inputs == made.start_inputs


def test_longer_texts_than_the_checkpoint(whole, data, tmp_path):
    """The table of positions comes over again."""
    start = f'origin = "checkpoint"\npath = "{whole / "out"}"\npositions = 40'
    text = TOY.replace('model = "nano"\n', "").replace('origin = "vectors"', start)
    made = toy_run(tmp_path, data, text)
    table = load(whole / "out")["dense.embedding.position"]
    assert made.config.positions == 40 and made.tokenizer.positions == 40
    found = made.initial().embedding.position.detach()
    assert torch.equal(found, torch.cat([table, table, table])[:40])
