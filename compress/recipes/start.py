# SPDX-License-Identifier: Apache-2.0
"""Where a recipe's vocabulary and first weights come from."""

import dataclasses
import hashlib
from pathlib import Path

import torch
from safetensors.torch import load_file

from compress.data.text_files import DataError
from compress.huggingface.albert import read_albert
from compress.huggingface.importing import CLASSIFIER
from compress.network import Network
from compress.recipes.recipe import FOLDERS
from compress.recipes.result_store import fingerprint
from compress.teachers.encoder import PretrainedEncoder
from compress.teachers.from_encoder import cut_vocabulary, take_over
from compress.teachers.glove import glove_table, read_glove
from compress.teachers.pretrained import fetch
from compress.teachers.teacher import aligned_ids
from compress.tokens.pieces import train_tokenizer
from compress.tokens.tokenizer import load_tokenizer
from compress.tokens.vocabulary import find_tokenizer
from compress.vectors import VECTORS_SCALE, word_vectors
from golden_model.checkpoint import load, load_model
from golden_model.config import ModelConfig

__all__ = [
    "begin",
    "folder_sizes",
    "make_network",
    "start_inputs",
    "token_inputs",
    "vocabulary",
]

READ = (".json", ".safetensors", ".bin", ".model", ".txt")  # what a start reads of a folder
ACCOUNTS = ("run.json", "result.json")  # of how it came to be: they change nothing
VERSION = 1  # counted up when equal inputs come to give another vocabulary or other first weights


def token_inputs(run):
    """What the tokenizer follows from, for a fingerprint."""
    words = run.recipe.words
    return {
        "version": VERSION,
        "words": words.origin,
        "vocabulary": run.sizes.vocabulary,
        "texts": run.corpus.inputs(words.texts),
        "rows": run.corpus.own_inputs,
        "folder": _folder_digest(run.recipe.start),
        "encoder": run.recipe.encoder or _encoder_name(run),
    }


def _encoder_name(run):
    """The encoder whose vocabulary is cut, "" where it is not."""
    return _encoder_run(run).recipe.encoder if run.recipe.words.origin == "encoder" else ""


def vocabulary(run) -> str:
    """The tokenizer.json of a run."""
    recipe = run.recipe
    if recipe.encoder:
        return (fetch(recipe.encoder, say=run.log) / "tokenizer.json").read_text(encoding="utf-8")
    if recipe.start.origin in FOLDERS:
        return _folder_vocabulary(recipe.start, run.sizes)
    rows = run.corpus.split[0] + run.corpus.rows(recipe.words.texts)
    texts = [text for row in rows for text in (row.sentence, row.pair) if text]
    if recipe.words.origin == "encoder":
        run.log("Cutting the vocabulary of the encoder")
        return cut_vocabulary(_encoder_run(run).tokenizer, texts, recipe.model.vocabulary)
    run.log("Learning the vocabulary")
    return train_tokenizer(texts, recipe.model.vocabulary).to_str()


def start_inputs(run):
    """What the first weights follow from, for a fingerprint."""
    origin = run.recipe.start
    encoder = origin.origin == "encoder"
    return {
        "encoder": fingerprint(_encoder_run(run).last_inputs) if encoder else "",
        "version": VERSION,
        "start": origin.origin,
        "folder": _folder_digest(origin),
        "texts": run.corpus.inputs(origin.texts),
        "tokens": run.token_inputs,
        "model": run.config.to_json(),
        "seed": run.seed,
    }


def make_network(run):
    """A network of the run's sizes with random weights."""
    return PretrainedEncoder(run.config) if run.recipe.encoder else Network(run.config)


def begin(run):
    """The network with its first weights."""
    found = run.empty()
    if run.recipe.encoder:
        path = fetch(run.recipe.encoder, say=run.log) / "model.safetensors"
        found.bert.load_state_dict(_bert(load_file(path)))
    elif run.recipe.start.origin == "vectors":
        _vectors(run, found)
    elif run.recipe.start.origin == "glove":
        _glove(run, found)
    elif run.recipe.start.origin in FOLDERS:
        _take(found, _folder_tensors(run.recipe.start))
    elif run.recipe.start.origin == "encoder":
        other = _encoder_run(run)
        take_over(found, other.result(), aligned_ids(run.tokenizer, other.tokenizer))
    return found


@torch.no_grad()
def _vectors(run, network):
    run.log("Learning word vectors")
    rows = run.corpus.split[0] + run.corpus.rows(run.recipe.start.texts)
    texts = run.tokenizer.encode_whole(rows)
    size = run.config.embedding
    network.embedding.word.copy_(word_vectors(texts, run.config.vocabulary, size, run.seed))


@torch.no_grad()
def _glove(run, network):
    pieces = run.tokenizer.tokenizer.get_vocab()
    words = read_glove(fetch("glove", say=run.log))
    table = glove_table(words, pieces, run.config.embedding, VECTORS_SCALE)
    network.embedding.word[: len(table)].copy_(table)


def folder_sizes(start) -> ModelConfig:
    """The sizes of the folder that a run starts from."""
    if start.origin == "checkpoint":
        own = load_model(start.path)
        return dataclasses.replace(own, positions=start.positions or own.positions)
    return read_albert(start.path, start.positions or None).model


def _folder_vocabulary(start, model):
    """The tokenizer.json of such a folder."""
    if start.origin == "checkpoint":
        return load_tokenizer(start.path, model.positions, model).tokenizer.to_str()
    tokenizer, _ = find_tokenizer(Path(start.path), None, model)
    if tokenizer is None:
        raise DataError(f"{start.path} must bring a tokenizer.json to be trained on text")
    return tokenizer.to_str()


def _folder_tensors(start):
    """{name: weight} of such a folder, uncompressed; an ALBERT's exits begin as its classifier.

    Positions beyond a checkpoint's own are its table over again, so that neighbours stay neighbours
    (Longformer, Beltagy et al., 2020, section 5).
    """
    if start.origin == "checkpoint":
        tensors = dict(load(start.path).dense().tensors)
        for name in ("eta", "attention.span"):  # those of a model that keeps all tokens
            del tensors[name]
        table = tensors["embedding.position"]
        rows = torch.arange(folder_sizes(start).positions) % len(table)
        return tensors | {"embedding.position": table[rows]}
    tensors = read_albert(start.path, start.positions or None).tensors()
    return tensors | {f"exit.{name}": tensors[name] for name in CLASSIFIER}


@torch.no_grad()
def _take(network, tensors):
    """Give the network the weights; a classifier of other classes stays as it is, random."""
    state = network.state_dict()
    for name, value in tensors.items():
        if state[name].shape == value.shape:
            state[name].copy_(value)


def _encoder_run(run):
    """The run of the recipe whose encoder a student starts from."""
    return run.other(run.recipe.start.path)


def _bert(tensors):
    """The tensors of BertModel without what a classifier does not use."""
    return {
        name: value
        for name, value in tensors.items()
        if not name.startswith("pooler.") and not name.endswith("position_ids")
    }


def _folder_digest(origin):
    """sha256 over a folder's sizes, weights and tokens, "" without one."""
    if origin.origin not in FOLDERS:
        return ""
    digest = hashlib.sha256()
    for path in sorted(Path(origin.path).iterdir()):
        if path.suffix in READ and path.name not in ACCOUNTS and path.is_file():
            digest.update(path.name.encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()
