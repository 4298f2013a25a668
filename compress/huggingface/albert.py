# SPDX-License-Identifier: Apache-2.0
"""A Hugging Face ALBERT classifier on disk: read, checked, and under our names.

What is read is config.json and the weights of `AlbertForSequenceClassification`, as
`save_pretrained` and `torch.save` write them. Nothing is fetched from anywhere.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AlbertConfig

from compress.huggingface.weights import AlbertError, read_weights
from golden_model.checkpoint import tensor_shapes
from golden_model.config import MOST_CLASSES, ModelConfig, brief
from golden_model.files import one_line, read_json
from golden_model.hardware import HardwareConfig, ceil_div

__all__ = [
    "NAMES",
    "POSITIONS",
    "Albert",
    "AlbertError",
    "hardware_for_albert",
    "read_albert",
]

POSITIONS = 128  # kept when nobody says how many
POSITIONS_MIN = 4  # a pair needs [CLS] a [SEP] b
POSITIONS_MAX = 512
EPSILON = 1e-12  # LayerNorm has none in the machine; this one is below float32's steps
ARCHITECTURE = "AlbertForSequenceClassification"
IGNORED = (
    "predictions.",
    "sop_classifier.",
    "albert.embeddings.position_ids",
    "albert.embeddings.token_type_ids",
)  # heads of pre-training; counters, not weights
# Transformers' name -> ModelConfig's; all three are the same two functions.
ACTIVATIONS = {"gelu": "gelu", "gelu_new": "gelu_new", "gelu_pytorch_tanh": "gelu_new"}
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
    state: dict[str, torch.Tensor]
    labels: tuple[str, ...] | None = None

    def tensors(self) -> dict[str, torch.Tensor]:
        """The same tensors by our names, shapes of `tensor_shapes`."""
        tensors = {ours: self.state[theirs] for ours, theirs in NAMES.items()}
        tensors["embedding.position"] = tensors["embedding.position"][: self.model.positions]
        return tensors


def read_albert(folder: str | Path, positions: int | None = None) -> Albert:
    """Albert of a folder; `positions` tokens are kept (default 128, or all where there are fewer).

    Raises AlbertError: a missing or damaged file, another architecture, several layer groups, an
    activation, size or LayerNorm epsilon that the machine does not have, outputs that are no single
    class, tensors that are missing, unknown, of another shape or not finite.
    """
    folder = Path(folder)
    path = folder / "config.json"
    if not path.is_file():
        raise AlbertError(f"{folder} must hold config.json and the weights, config.json is missing")
    config = _config(path)
    model = _sizes(path, config, positions)
    labels = _labels(path, config)
    return Albert(config, model, _state(*read_weights(folder), config, model), labels)


def _config(path):
    """transformers' AlbertConfig of a classifier that the machine computes, sizes apart."""
    values = read_json(path, AlbertError)
    if (found := values.get("model_type")) != "albert":
        raise AlbertError(f"{path}: model_type must be 'albert', not {brief(found)}")
    found = values.get("architectures")
    found = [ARCHITECTURE] if found is None or found == [] else found
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise AlbertError(f"{path}: architectures must be a list of names, not {brief(found)}")
    if ARCHITECTURE not in found:
        raise AlbertError(
            f"{path}: architectures must name {ARCHITECTURE} (a model with a "
            f"classifier), not {brief(', '.join(found))}"
        )
    labels = values.get("num_labels")
    if isinstance(labels, int) and labels > MOST_CLASSES:  # transformers makes a name for each
        raise AlbertError(f"{path}: num_labels must be 2..{MOST_CLASSES}, not {brief(labels)}")
    try:
        config = AlbertConfig.from_dict(values, attn_implementation="eager")
    except Exception as error:  # its validators and converters raise whatever they meet
        raise AlbertError(f"{path}: transformers does not take it, {one_line(error)}") from error
    _check_kind(path, config, values)
    _check_layer(path, config, values)
    # Nothing is dropped at random here, and transformers trips over odd values even so.
    config.hidden_dropout_prob = config.attention_probs_dropout_prob = 0.0
    config.classifier_dropout_prob = 0.0
    return config


def _check_kind(path, config, values):
    """One class of several: the machine's exit takes the largest logit and a softmax's entropy."""
    kind = values.get("problem_type")
    if kind not in (None, "single_label_classification"):
        raise AlbertError(
            f"{path}: problem_type must be single_label_classification (one class of a softmax), "
            f"not {brief(kind)}"
        )
    if config.num_labels < 2:
        raise AlbertError(
            f"{path}: num_labels must be 2..16 (one label is a regression), "
            f"not {brief(config.num_labels)}"
        )


def _check_layer(path, config, values):
    """The layer that the machine has, sizes apart."""
    absolute = values.get("position_embedding_type", "absolute")
    for thing, found, allowed in (
        ("num_hidden_groups", config.num_hidden_groups, (1,)),
        ("inner_group_num", config.inner_group_num, (1,)),
        ("hidden_act", config.hidden_act, tuple(ACTIVATIONS)),
        ("type_vocab_size", config.type_vocab_size, (1, 2)),
        ("position_embedding_type", absolute, ("absolute",)),
    ):
        if found not in allowed:
            raise AlbertError(
                f"{path}: {thing} must be {' or '.join(map(str, allowed))}, not {brief(found)}"
            )
    epsilon = config.layer_norm_eps
    if not isinstance(epsilon, (int, float)) or not 0 <= epsilon <= EPSILON:
        raise AlbertError(
            f"{path}: layer_norm_eps must be at most {EPSILON} (the machine's "
            f"LayerNorm has none), not {brief(epsilon)}"
        )


def _labels(path, config):
    """Names of the classes from id2label, None where it holds only what transformers invents."""
    classes, names = range(config.num_labels), config.id2label
    if sorted(names) != list(classes) or not all(isinstance(n, str) for n in names.values()):
        raise AlbertError(
            f"{path}: id2label must name the classes 0..{config.num_labels - 1}, not {brief(names)}"
        )
    if all(names[i] == f"LABEL_{i}" for i in classes):
        return None
    return tuple(names[i] for i in classes)


def _sizes(path, config, positions):
    """ModelConfig with the positions that are kept."""
    most = config.max_position_embeddings
    if most < POSITIONS_MIN:
        raise AlbertError(
            f"{path}: max_position_embeddings must be at least {POSITIONS_MIN}, not {most}"
        )
    most = min(most, POSITIONS_MAX)
    positions = min(POSITIONS, most) if positions is None else positions
    if not POSITIONS_MIN <= positions <= most:
        raise AlbertError(
            f"Positions must be in {POSITIONS_MIN}..{most}, not {positions}; "
            f"nearest: {min(max(positions, POSITIONS_MIN), most)}"
        )
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
            activation=ACTIVATIONS[config.hidden_act],
        )
        hardware_for_albert(model)
    except (TypeError, ValueError) as error:
        raise AlbertError(f"No hardware holds this model: {error}") from error
    return model


def hardware_for_albert(model: ModelConfig, **changes: Any) -> HardwareConfig:
    """A HardwareConfig of just the model's sizes, 4 x 4 lanes or `changes`.

    Raises ValueError where there is none. A large model with long sentences needs more token lanes:
    the compiler says so.
    """
    sizes: dict[str, Any] = {
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
    sizes["rows"] = 4 * ceil_div(model.positions, 4)
    sizes["weight_depth"] = 1 << (2 * model.longest_reduction - 1).bit_length()
    return HardwareConfig(**sizes | changes)


def _state(path, tensors, config, model):
    """{transformers' name: float32 tensor} of what was read from `path`."""
    tensors = _renamed(tensors)
    shapes = tensor_shapes(model)
    shapes["embedding.position"] = (config.max_position_embeddings, model.embedding)
    unknown = [
        name for name in tensors if name not in NAMES.values() and not name.startswith(IGNORED)
    ]
    if unknown:
        raise AlbertError(
            f"{path} must hold only tensors of {ARCHITECTURE}, not {brief(unknown[0])}"
        )
    return {theirs: _tensor(path, tensors, theirs, shapes[ours]) for ours, theirs in NAMES.items()}


def _renamed(tensors):
    """Names as the classifier has them: a base model's lack "albert.", old ones say gamma, beta."""
    renamed = {}
    base = not any(name.startswith("albert.") for name in tensors)
    for name, tensor in tensors.items():
        name = name.replace("LayerNorm.gamma", "LayerNorm.weight")
        name = name.replace("LayerNorm.beta", "LayerNorm.bias")
        if base and name.startswith(("embeddings.", "encoder.", "pooler.")):
            name = f"albert.{name}"
        renamed[name] = tensor
    return renamed


def _tensor(path, tensors, name, shape):
    """One of them in float32, of the right shape and finite."""
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
