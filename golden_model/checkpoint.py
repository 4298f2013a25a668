# SPDX-License-Identifier: Apache-2.0
"""A checkpoint: a folder with model.safetensors and config.json (docs/design.md section 1)."""

import json
import pathlib
from dataclasses import dataclass, field

import torch
from safetensors.torch import load_file, save_file

from golden_model.config import ModelConfig

__all__ = ["Checkpoint", "load", "tensor_shapes"]


def _linear(name, outputs, inputs, stack=()):
    return {f"{name}.weight": (*stack, outputs, inputs), f"{name}.bias": (*stack, outputs)}


def _norm(name, size):
    return {f"{name}.gamma": (size,), f"{name}.beta": (size,)}


def tensor_shapes(model):
    """Shape of every tensor of a checkpoint, by name."""
    e = model.embedding
    h = model.hidden
    ff = model.feed_forward
    shapes = {
        "embedding.word": (model.vocabulary, e),
        "embedding.position": (model.positions, e),
        "embedding.segment": (model.segments, e),
    }
    shapes |= _norm("embedding.norm", e) | _linear("embedding.project", h, e)
    shapes |= _linear("predictor.hidden", model.predictor, h, (model.layers,))
    shapes |= {
        "predictor.score.weight": (model.layers, model.predictor),
        "predictor.score.bias": (model.layers,),
    }
    for part in ("query", "key", "value", "output"):
        shapes |= _linear(f"attention.{part}", h, h)
    shapes |= {"attention.span": (model.heads, model.positions)}
    shapes |= _norm("attention.norm", h) | _norm("feed_forward.norm", h)
    shapes |= _linear("feed_forward.up", ff, h) | _linear("feed_forward.down", h, ff)
    for ramp in ("exit.", ""):
        shapes |= _linear(ramp + "pooler", h, h) | _linear(ramp + "classifier", model.classes, h)
    return shapes | {"eta": (model.layers,)}


@dataclass
class Checkpoint:
    """Float tensors of a model with what compression and calibration found out about it.

    `ranges` is max |x| per named tensor; `exit_threshold` is an entropy in nats; `dvfs_table` the
    predicted exit layer per entropy bin; tensors named dense.NAME are of the uncompressed model.
    """

    model: ModelConfig
    tensors: dict
    ranges: dict = field(default_factory=dict)
    exit_threshold: float = 0.0
    dvfs_table: list | None = None
    metrics: dict = field(default_factory=dict)
    command: str = ""

    def __post_init__(self):
        shapes = tensor_shapes(self.model)
        for name in shapes:
            if name not in self.tensors:
                raise ValueError(f"Checkpoint must have the tensor {name}, it is missing")
        for name, tensor in self.tensors.items():
            plain = name.removeprefix("dense.")
            if plain not in shapes:
                raise ValueError(f"Checkpoint must have only tensors of the contract, not {name}")
            if tuple(tensor.shape) != shapes[plain]:
                raise ValueError(
                    f"Tensor {name} must have shape {shapes[plain]}, not {tuple(tensor.shape)}"
                )
        self.tensors = {name: tensor.float() for name, tensor in self.tensors.items()}

    def __getitem__(self, name):
        return self.tensors[name]

    def dense(self):
        """The uncompressed model: dense.NAME for NAME, every token kept, no exit, full spans."""
        tensors = {name: t for name, t in self.tensors.items() if not name.startswith("dense.")}
        for name in list(tensors):
            tensors[name] = self.tensors.get("dense." + name, tensors[name])
        tensors["eta"] = torch.zeros_like(tensors["eta"])
        tensors["attention.span"] = torch.ones_like(tensors["attention.span"])
        return Checkpoint(self.model, tensors, self.ranges)

    def save(self, path, dtype=torch.float32):
        """Write the folder `path`; dtype torch.float16 halves it."""
        path = pathlib.Path(path)
        path.mkdir(parents=True, exist_ok=True)
        tensors = {name: t.detach().to(dtype).contiguous() for name, t in self.tensors.items()}
        save_file(tensors, path / "model.safetensors")
        config = {
            "model": self.model.to_json(),
            "ranges": self.ranges,
            "exit_threshold": self.exit_threshold,
            "dvfs_table": self.dvfs_table,
            "metrics": self.metrics,
            "command": self.command,
        }
        (path / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def load(path):
    """Read a checkpoint folder."""
    path = pathlib.Path(path)
    config = json.loads((path / "config.json").read_text())
    return Checkpoint(
        ModelConfig(**config["model"]),
        load_file(path / "model.safetensors"),
        config.get("ranges", {}),
        config.get("exit_threshold", 0.0),
        config.get("dvfs_table"),
        config.get("metrics", {}),
        config.get("command", ""),
    )
