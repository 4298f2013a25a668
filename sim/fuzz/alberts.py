# SPDX-License-Identifier: Apache-2.0
"""Mutants of Hugging Face folders: config.json, weights in three forms, tokenizers in three.

What is read must be imported, which compares it with transformers' own model, or be refused.
"""

import base64
import io
import json
import struct
import tempfile
from pathlib import Path

import torch
from transformers import AlbertConfig, AlbertForSequenceClassification
from transformers.utils import logging

from compress.data.text_files import DataError
from compress.huggingface.importing import import_albert
from compress.huggingface.twin import quiet_transformers
from compress.tokens.tokenizer import SPECIAL
from compress.tokens.vocabulary import albert_tokenizer
from golden_model.checkpoint import load
from golden_model.config import FORMATS
from sim.fuzz.checkpoints import in_folder
from sim.fuzz.mutate import change_bytes, change_json, change_text, change_word, put_word, take_word
from sim.fuzz.target import FuzzTarget
from sim.fuzz.tensors import change_tensors, pack_tensors, read_table

__all__ = ["ALBERT_TARGET"]

SMALL = dict(
    vocab_size=24,
    embedding_size=16,
    hidden_size=16,
    num_hidden_layers=1,
    num_attention_heads=2,
    intermediate_size=16,
    max_position_embeddings=12,
    num_labels=3,
)
KEYS = (
    "architectures",
    "problem_type",
    "dtype",
    "torch_dtype",
    "hidden_dropout_prob",
    "rope_scaling",
)
KEYS += ("position_embedding_type", "quantization_config", "auto_map", "id2label", "num_labels")
KEYS += ("output_hidden_states", "use_return_dict", "return_dict", "attn_implementation")
KEYS += (
    "gradient_checkpointing",
    "chunk_size_feed_forward",
    "pruned_heads",
    "transformers_version",
)
PIECES = "".join(
    f"{piece}\t{-i}\n" for i, piece in enumerate(("▁", "▁a", "b", "c", "s", "(", "."), 1)
)
SPIECE = "".join(f"{piece}\t0\n" for piece in SPECIAL) + PIECES
WORDS = "\n".join(("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "##c", "d", ""))


def _varint(value):
    return bytes([value & 0x7F | 0x80]) + _varint(value >> 7) if value > 0x7F else bytes([value])


def _binary_pieces():
    """A spiece.model of the same pieces."""
    found = b""
    for index, line in enumerate(SPIECE.splitlines()):
        piece, score = line.split("\t")
        text = piece.encode()
        kind = 2 if index == 1 else 1
        score = torch.tensor(float(score)).numpy().tobytes()
        one = b"\x0a" + _varint(len(text)) + text + b"\x15" + score + b"\x18" + bytes([kind])
        found += b"\x0a" + _varint(len(one)) + one
    charsmap = b"\x12" + _varint(len(CHARSMAP)) + CHARSMAP
    return found + b"\x12\x02\x18\x01\x1a" + _varint(len(charsmap)) + charsmap


def _charsmap():
    """A character map that makes "a" of "A"."""
    units = [0] * 512
    units[0] = 256 << 10  # what a byte leads to is at 256 ^ byte
    units[256 ^ ord("A")] = 1 << 8 | ord("A") | 256 << 10  # a text follows, at 256 ^ "A" ^ 256
    units[ord("A")] = 1 << 31
    return struct.pack("<513I", 2048, *units) + b"a\0"


CHARSMAP = _charsmap()


@quiet_transformers()
def _bases():
    """{file: bytes} of a folder with config.json and model.safetensors, and its tokenizers."""
    torch.manual_seed(0)
    logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        network = AlbertForSequenceClassification(AlbertConfig(**SMALL, initializer_range=0.2))
        network.save_pretrained(folder)
        files = {path.name: path.read_bytes() for path in folder.iterdir()}
        (folder / "vocabulary.txt").write_text(SPIECE, encoding="utf-8")
        tokenizer = albert_tokenizer(folder / "vocabulary.txt").to_str().encode()
    _read((files | {"tokenizer.json": tokenizer}, {}))  # what transformers loads at first use
    return files, tokenizer


def _config(rng, text):
    values = json.loads(text)
    change_json(rng, values, KEYS)
    return change_text(rng, values)


def _pickled(rng, table):
    """pytorch_model.bin of the tensors, or of something like it."""
    state = {}
    for name, (_, shape, data) in table.items():
        values = torch.frombuffer(bytearray(data), dtype=torch.float32)
        state[name] = values.view(shape).clone()
    name = rng.choice(list(state))
    way = rng.randrange(7)
    if way == 0:
        state[name] = rng.choice((None, 3, "x", [state[name]], {name: state[name]}))
    elif way == 1:
        state[name] = state[name].to(rng.choice((torch.float16, torch.int8, torch.complex64)))
    elif way == 2:
        state[name] = rng.choice(
            (state[name].to_sparse(), state[name][None], state[name].to("meta"))
        )
    elif way == 3:
        state[rng.choice((3, None, "x"))] = state.pop(name)
    file = io.BytesIO()
    torch.save(rng.choice((state, state, state, [state], list(state))), file)
    data = bytearray(file.getvalue())
    if rng.random() < 0.3:
        change_bytes(rng, data)
    return bytes(data)


def _sharded(rng, table):
    """An index and two shards."""
    names = list(table)
    places = {name: f"part-{i % 2}.safetensors" for i, name in enumerate(names)}
    parts = {
        place: pack_tensors({name: table[name] for name in names if places[name] == place})
        for place in sorted(set(places.values()))
    }
    index = {"metadata": {"total_size": 0}, "weight_map": places}
    if rng.random() < 0.7:
        change_json(rng, index if rng.random() < 0.3 else places)
    return {"model.safetensors.index.json": change_text(rng, index)} | parts


def _weights(rng, files):
    table = read_table(files["model.safetensors"])
    way = rng.random()
    if way < 0.7:
        return {"model.safetensors": change_tensors(rng, table)}
    return _sharded(rng, table) if way < 0.85 else {"pytorch_model.bin": _pickled(rng, table)}


def _map(rng, charsmap):
    """A unit of the map that is used, or any bytes."""
    if rng.random() < 0.5:
        return change_bytes(rng, charsmap)
    at = 4 * rng.choice((0, 1, 1 + ord("A"), 1 + (256 ^ ord("A"))))
    if at + 4 <= len(charsmap):
        put_word(charsmap, at, change_word(rng, take_word(charsmap, at)))


def _tokenizer(rng, text):
    """Files of a tokenizer: tokenizer.json, a vocabulary as text or binary, and its switches."""
    files = {}
    way = rng.random()
    if way < 0.5:
        values = json.loads(text)
        if rng.random() < 0.3:
            charsmap = bytearray(CHARSMAP)
            for _ in range(rng.choice((0, 1, 2))):
                _map(rng, charsmap)
            charsmap = base64.b64encode(charsmap).decode()
            values["normalizer"] = {"type": "Precompiled", "precompiled_charsmap": charsmap}
        part = rng.choice((values, values, *(v for v in values.values() if isinstance(v, dict))))
        change_json(rng, part, ("truncation", "padding", "unk_id", "type", "byte_fallback"))
        files["tokenizer.json"] = change_text(rng, values)
    else:
        name, data = rng.choice(
            (
                ("spiece.model", _binary_pieces()),
                ("vocab.txt", SPIECE.encode()),
                ("vocab.txt", WORDS.encode()),
            )
        )
        data = bytearray(data)
        for _ in range(rng.choice((0, 1, 1, 2))):
            change_bytes(rng, data)
        files[name] = bytes(data)
    if rng.random() < 0.5:
        switches = {
            "tokenizer_class": "AlbertTokenizer",
            "do_lower_case": True,
            "strip_accents": None,
            "keep_accents": False,
            "model_max_length": 12,
            "unk_token": "<unk>",
        }
        change_json(
            rng, switches, ("additional_special_tokens", "added_tokens_decoder", "auto_map")
        )
        files["tokenizer_config.json"] = change_text(rng, switches)
    return files


def _mutate(rng, prepared):
    """({file: bytes}, options of the import)."""
    files, tokenizer = prepared
    files = dict(files)
    way = rng.random()
    if way < 0.45:
        files["config.json"] = _config(rng, files["config.json"])
    if 0.4 < way < 0.75:
        changed = _weights(rng, files)
        files.pop("model.safetensors")
        files |= changed
    if way > 0.72:
        files |= _tokenizer(rng, tokenizer)
    if rng.random() < 0.005:
        del files[rng.choice(list(files))]
    options = rng.choice(({}, {}, {"fmt": rng.choice(FORMATS)}, {"zeros": rng.choice((0.5, 0.99))}))
    if rng.random() < 0.1:
        options = options | {"positions": rng.choice((4, 7, 12))}
    return files, options


def _read(mutant):
    files, options = mutant
    in_folder(files, lambda folder: _use(folder, options))


def _use(folder, options):
    """Imported, and what was written is read."""
    with tempfile.TemporaryDirectory() as out:
        imported = import_albert(folder, Path(out) / "out", **options)
        assert load(Path(out) / "out").model == imported.checkpoint.model


ALBERT_TARGET = FuzzTarget("huggingface", _bases, _mutate, _read, (DataError,))
