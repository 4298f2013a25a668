# SPDX-License-Identifier: Apache-2.0
"""A Hugging Face ALBERT classifier on disk: read, checked, and under our names.

What is read is config.json and model.safetensors of `AlbertForSequenceClassification`, as
`save_pretrained` writes them. Nothing is fetched from anywhere.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import AlbertConfig, AlbertForSequenceClassification

from compress.data import DataError
from golden_model.checkpoint import tensor_shapes
from golden_model.config import ModelConfig, brief
from golden_model.hardware import HardwareConfig, ceil_div

__all__ = ["NAMES", "POSITIONS", "Albert", "AlbertError", "eager", "hardware_for", "read"]

POSITIONS = 128  # kept when nobody says how many
POSITIONS_MIN = 4  # a pair needs [CLS] a [SEP] b
EPSILON = 1e-12  # LayerNorm has none in the machine; this one is below float32's steps
ARCHITECTURE = "AlbertForSequenceClassification"
IGNORED = (
    "predictions.",
    "sop_classifier.",
    "albert.embeddings.position_ids",
    "albert.embeddings.token_type_ids",
)  # heads of pre-training; counters, not weights
LAYER = "albert.encoder.albert_layer_groups.0.albert_layers.0."
_MODULES = {
    "embedding.norm": "albert.embeddings.LayerNorm",
    "embedding.project": "albert.encoder.embedding_hidden_mapping_in",
    "attention.query": LAYER + "attention.query",
    "attention.key": LAYER + "attention.key",
    "attention.value": LAYER + "attention.value",
    "attention.output": LAYER + "attention.dense",
    "attention.norm": LAYER + "attention.LayerNorm",
    "feed_forward.up": LAYER + "ffn",
    "feed_forward.down": LAYER + "ffn_output",
    "feed_forward.norm": LAYER + "full_layer_layer_norm",
    "pooler": "albert.pooler",
    "classifier": "classifier",
}
# Name in the checkpoint (docs/design.md) -> name in transformers.
NAMES = {
    "embedding.word": "albert.embeddings.word_embeddings.weight",
    "embedding.position": "albert.embeddings.position_embeddings.weight",
    "embedding.segment": "albert.embeddings.token_type_embeddings.weight",
    **{
        f"{ours}.{'gamma' if ours.endswith('norm') else 'weight'}": f"{theirs}.weight"
        for ours, theirs in _MODULES.items()
    },
    **{
        f"{ours}.{'beta' if ours.endswith('norm') else 'bias'}": f"{theirs}.bias"
        for ours, theirs in _MODULES.items()
    },
}


class AlbertError(DataError):
    """A checkpoint that cannot be imported: what is wrong with it, and what is allowed."""


@dataclass(frozen=True)
class Albert:
    """A checkpoint that was read and found good.

    Parameters
    ----------
    config : transformers' AlbertConfig, eager attention
    model : ModelConfig with as many positions as are kept
    state : float32 tensors by transformers' names, all positions
    labels : names of the classes, None where id2label has only LABEL_0, LABEL_1, ...
    """

    config: AlbertConfig
    model: ModelConfig
    state: dict
    labels: tuple[str, ...] | None = None

    def tensors(self):
        """The same tensors by our names, shapes of `tensor_shapes`."""
        tensors = {ours: self.state[theirs] for ours, theirs in NAMES.items()}
        tensors["embedding.position"] = tensors["embedding.position"][: self.model.positions]
        return tensors


def read(folder, positions=None):
    """Albert of a folder; `positions` tokens are kept (default 128, or all where there are fewer).

    Raises AlbertError: a missing or damaged file, another architecture, several layer groups, an
    activation, size or LayerNorm epsilon that the machine does not have, tensors that are missing,
    unknown, of another shape or not finite.
    """
    folder = Path(folder)
    for name in ("config.json", "model.safetensors"):
        if not (folder / name).is_file():
            raise AlbertError(
                f"{folder} must hold config.json and model.safetensors, {name} is missing"
            )
    config = _config(folder / "config.json")
    model = _sizes(config, positions)
    state = _state(folder / "model.safetensors", config, model)
    return Albert(config, model, state, _labels(folder / "config.json", config))


def _config(path):
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise AlbertError(f"{path} must be JSON: {error}") from error
    if not isinstance(values, dict) or values.get("model_type") != "albert":
        found = values.get("model_type") if isinstance(values, dict) else values
        raise AlbertError(f"{path}: model_type must be 'albert', not {found!r}")
    if ARCHITECTURE not in (found := values.get("architectures") or [ARCHITECTURE]):
        raise AlbertError(
            f"{path}: architectures must name {ARCHITECTURE} (a model with a "
            f"classifier), not {', '.join(map(str, found))}"
        )
    try:
        config = AlbertConfig.from_dict(values, attn_implementation="eager")
    except (StrictDataclassError, ValueError, TypeError, AttributeError) as error:
        raise AlbertError(f"{path}: {' '.join(str(error).split())}") from error
    _check(path, config, values)
    return config


def _check(path, config, values):
    """What makes it the network of the machine, sizes apart."""
    absolute = values.get("position_embedding_type", "absolute")
    for thing, found, allowed in (
        ("num_hidden_groups", config.num_hidden_groups, (1,)),
        ("inner_group_num", config.inner_group_num, (1,)),
        ("hidden_act", config.hidden_act, ("gelu", "gelu_new")),
        ("type_vocab_size", config.type_vocab_size, (1, 2)),
        ("position_embedding_type", absolute, ("absolute",)),
    ):
        if found not in allowed:
            raise AlbertError(
                f"{path}: {thing} must be {' or '.join(map(str, allowed))}, not {found}"
            )
    if not 0 <= config.layer_norm_eps <= EPSILON:
        raise AlbertError(
            f"{path}: layer_norm_eps must be at most {EPSILON} (the machine's "
            f"LayerNorm has none), not {config.layer_norm_eps}"
        )


def _labels(path, config):
    """Names of the classes from id2label, None where it holds only what transformers invents."""
    classes, names = range(config.num_labels), config.id2label
    if sorted(names) != list(classes):
        raise AlbertError(
            f"{path}: id2label must name the classes 0..{config.num_labels - 1}, not {brief(names)}"
        )
    if all(names[i] == f"LABEL_{i}" for i in classes):
        return None
    return tuple(str(names[i]) for i in classes)


def _sizes(config, positions):
    most = min(config.max_position_embeddings, 512)
    positions = min(POSITIONS, most) if positions is None else positions
    if not POSITIONS_MIN <= positions <= most:
        raise AlbertError(f"Positions must be in {POSITIONS_MIN}..{most}, not {positions}")
    try:
        model = ModelConfig(
            layers=config.num_hidden_layers,
            embedding=config.embedding_size,
            hidden=config.hidden_size,
            heads=config.num_attention_heads,
            feed_forward=config.intermediate_size,
            vocabulary=config.vocab_size,
            positions=positions,
            classes=config.num_labels,
            segments=config.type_vocab_size,
            activation=config.hidden_act,
        )
        hardware_for(model)
    except (TypeError, ValueError) as error:
        raise AlbertError(f"No hardware holds this model: {error}") from error
    return model


def hardware_for(model, **changes):
    """A HardwareConfig of just the model's sizes, 4 x 4 lanes or `changes`; ValueError where none is.

    A large model with long sentences needs more token lanes: the compiler says so.
    """
    sizes = {
        name: getattr(model, name)
        for name in (
            "positions",
            "hidden",
            "feed_forward",
            "embedding",
            "heads",
            "layers",
            "classes",
        )
    }
    depth = 1 << (2 * model.longest_reduction - 1).bit_length()
    return HardwareConfig(
        **sizes | {"rows": 4 * ceil_div(model.positions, 4), "weight_depth": depth} | changes
    )


def _state(path, config, model):
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise AlbertError(f"{path} cannot be read, it is damaged or truncated: {error}") from error
    shapes = tensor_shapes(model)
    shapes["embedding.position"] = (config.max_position_embeddings, model.embedding)
    unknown = [
        name for name in tensors if name not in NAMES.values() and not name.startswith(IGNORED)
    ]
    if unknown:
        raise AlbertError(f"{path} must hold only tensors of {ARCHITECTURE}, not {unknown[0]}")
    return {theirs: _tensor(path, tensors, theirs, shapes[ours]) for ours, theirs in NAMES.items()}


def _tensor(path, tensors, name, shape):
    if name not in tensors:
        raise AlbertError(f"{path} must have the tensor {name}, it is missing")
    tensor = tensors[name]
    if tuple(tensor.shape) != shape:
        raise AlbertError(
            f"{path}: tensor {name} must have shape {shape} by config.json, "
            f"not {tuple(tensor.shape)}"
        )
    if not tensor.is_floating_point() or not bool(torch.isfinite(tensor.float()).all()):
        raise AlbertError(f"{path}: tensor {name} must hold finite floats only")
    return tensor.float()


def eager(albert, dtype=torch.float32):
    """transformers' own model, eager attention: a function (tokens, segments) -> logits (C,)."""
    network = AlbertForSequenceClassification(albert.config).eval()
    network.load_state_dict(albert.state)
    network.to(dtype)

    @torch.no_grad()
    def logits(tokens, segments):
        tokens, segments = (torch.as_tensor(ids)[None] for ids in (tokens, segments))
        return network(input_ids=tokens, token_type_ids=segments).logits[0]

    return logits
