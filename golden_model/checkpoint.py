# SPDX-License-Identifier: Apache-2.0
"""A checkpoint: a folder with model.safetensors and config.json (docs/design.md section 1).

All that makes one good is checked here, and nowhere else: when it is made, when it is read from a
folder, and once more when `quantize` turns it into integers.
"""

import json
import pathlib
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from safetensors.torch import save_file

from golden_model.config import AF8, ModelConfig, NumberFormat, brief, from_json
from golden_model.dvfs import BINS
from golden_model.files import read_json, read_safetensors

__all__ = ["RANGES", "Checkpoint", "CheckpointError", "load", "load_model", "tensor_shapes"]

# Tensors whose range `quantize` needs. The residual sums may be added, which then need no guess;
# the numerators' is 1 by definition and may be there.
RANGES = (
    "embed_sum",
    "embed",
    "x",
    "predict_hidden",
    "predict",
    "q",
    "k",
    "v",
    "score",
    "context",
    "attention",
    "attention_norm",
    "hidden",
    "ffn",
    "pooled",
    "logits",
)
OPTIONAL_RANGES = ("attention_sum", "ffn_sum", "numerator")
# Of values and ranges: an ACT has -16 fraction bits or more, so it reaches 2^31, less headroom.
LARGEST = 2.0**30
SHARES = ("eta", "attention.span")  # tensors that hold shares, 0..1


class CheckpointError(ValueError):
    """A checkpoint that is not what it must be: what was wrong and what is allowed, in one line."""


def _linear(name, outputs, inputs, stack=()):
    return {f"{name}.weight": (*stack, outputs, inputs), f"{name}.bias": (*stack, outputs)}


def _norm(name, size):
    return {f"{name}.gamma": (size,), f"{name}.beta": (size,)}


def tensor_shapes(model: ModelConfig) -> dict[str, tuple[int, ...]]:
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

    Parameters
    ----------
    model : sizes
    tensors : {name: tensor}, those of `tensor_shapes`; dense.NAME is of the uncompressed model
    ranges : max |x| by tensor, for all of RANGES once it is calibrated
    exit_threshold : an entropy in nats; 0 never exits
    dvfs_table : predicted exit layer, from 1, by entropy bin
    metrics, command : what was measured, and what made it
    labels : names of the classes, where they have names
    format : the number format that it was rounded for, which runs take unless told otherwise

    Raises CheckpointError.
    """

    model: ModelConfig
    tensors: dict[str, torch.Tensor]
    ranges: dict[str, float] = field(default_factory=dict)
    exit_threshold: float = 0.0
    dvfs_table: list[int] | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    command: str = ""
    labels: tuple[str, ...] | None = None
    format: NumberFormat = AF8

    def __post_init__(self):
        if isinstance(self.labels, list):  # as JSON has them
            self.labels = tuple(self.labels)
        self.check()
        self.tensors = {name: tensor.float() for name, tensor in self.tensors.items()}

    def __getitem__(self, name: str) -> torch.Tensor:
        return self.tensors[name]

    def check(self, calibrated: bool = False) -> None:
        """Raise CheckpointError unless every part holds what it may hold.

        calibrated: also every range that `quantize` needs must be there.
        """
        self._check_tensors()
        _check_ranges(self.ranges, calibrated)
        if not _within(self.exit_threshold, 0, float("inf")):
            raise CheckpointError(
                "Exit threshold must be one number of nats for all layers, at least 0, "
                f"not {brief(self.exit_threshold)}"
            )
        if self.dvfs_table is not None:
            _check_table(self.dvfs_table, self.model.layers)
        if self.labels is not None:
            _check_labels(self.labels, self.model.classes)
        if not isinstance(self.metrics, dict):
            raise CheckpointError(f"Metrics must be an object, not {brief(self.metrics)}")
        if not isinstance(self.command, str):
            raise CheckpointError(f"Command must be text, not {brief(self.command)}")

    def _check_tensors(self):
        shapes = tensor_shapes(self.model)
        for name in shapes:
            if name not in self.tensors:
                raise CheckpointError(f"Checkpoint must have the tensor {name}, it is missing")
        for name, tensor in self.tensors.items():
            plain = name.removeprefix("dense.")
            if plain not in shapes:
                raise CheckpointError(
                    f"Checkpoint must have only tensors of the contract, not {brief(name)}"
                )
            _check_tensor(name, tensor, shapes[plain])
            _check_values(name, tensor.float(), plain in SHARES)

    def dense(self) -> "Checkpoint":
        """The uncompressed model: dense.NAME for NAME, every token kept, no exit, full spans."""
        tensors = {name: t for name, t in self.tensors.items() if not name.startswith("dense.")}
        for name in list(tensors):
            tensors[name] = self.tensors.get("dense." + name, tensors[name])
        tensors["eta"] = torch.zeros_like(tensors["eta"])
        tensors["attention.span"] = torch.ones_like(tensors["attention.span"])
        return Checkpoint(self.model, tensors, self.ranges, labels=self.labels, format=self.format)

    def save(self, path: str | pathlib.Path, dtype: torch.dtype = torch.float32) -> None:
        """Write the folder `path`; dtype torch.float16 halves it."""
        self.check()
        path = pathlib.Path(path)
        path.mkdir(parents=True, exist_ok=True)
        tensors = {name: t.detach().to(dtype).contiguous() for name, t in self.tensors.items()}
        save_file(tensors, path / "model.safetensors")
        config = {
            "model": self.model.to_json(),
            "format": asdict(self.format),
            "labels": self.labels,
            "ranges": self.ranges,
            "exit_threshold": self.exit_threshold,
            "dvfs_table": self.dvfs_table,
            "metrics": self.metrics,
            "command": self.command,
        }
        (path / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def load(path: str | pathlib.Path) -> Checkpoint:
    """Read a checkpoint folder, which must be complete: every range that `quantize` needs is there.

    Raises CheckpointError for what is missing, damaged or not allowed, OSError for what cannot be
    opened.
    """
    path = pathlib.Path(path)
    config = _read_config(path)
    checkpoint = Checkpoint(
        _from_json(path, ModelConfig, config["model"]),
        read_safetensors(path / "model.safetensors", CheckpointError),
        config.get("ranges", {}),
        config.get("exit_threshold", 0.0),
        config.get("dvfs_table"),
        config.get("metrics", {}),
        config.get("command", ""),
        config.get("labels"),
        # Checkpoints from before there was a choice were all made for AdaptivFloat<8,3>.
        _from_json(path, NumberFormat, config.get("format", asdict(AF8))),
    )
    checkpoint.check(calibrated=True)
    return checkpoint


def load_model(path: str | pathlib.Path) -> ModelConfig:
    """The sizes alone of a checkpoint folder; raises as `load` does."""
    path = pathlib.Path(path)
    return _from_json(path, ModelConfig, _read_config(path)["model"])


def _read_config(path):
    for name in ("config.json", "model.safetensors"):
        if not (path / name).is_file():
            raise CheckpointError(
                f"{path} must hold config.json and model.safetensors, {name} is missing"
            )
    config = read_json(path / "config.json", CheckpointError)
    if "model" not in config:
        raise CheckpointError(f"{path / 'config.json'} must have the key model, it is missing")
    return config


def _from_json(path, kind, values):
    try:
        return from_json(kind, values)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path / 'config.json'}: {error}") from error


# Rules for one part each.


def _within(value, low, high):
    """Whether a value is a number of low..high; infinity and NaN are none, nor is a bool."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and low <= value <= high and value != float("inf")


def _check_tensor(name, tensor, shape):
    if not isinstance(tensor, torch.Tensor):
        raise CheckpointError(f"Tensor {name} must be a tensor, not {brief(tensor)}")
    if tuple(tensor.shape) != shape:
        raise CheckpointError(f"Tensor {name} must have shape {shape}, not {tuple(tensor.shape)}")
    if not tensor.is_floating_point():
        kind = str(tensor.dtype).removeprefix("torch.")
        raise CheckpointError(f"Tensor {name} must hold floats, not {kind}")


def _check_values(name, values, shares):
    """Finite float32, not too large for any format; `shares` lie in 0..1."""
    wrong = values[~torch.isfinite(values)]
    if len(wrong):
        raise CheckpointError(f"Tensor {name} must hold finite numbers only, not {float(wrong[0])}")
    low, high, allowed = (0, 1, "0..1") if shares else (-LARGEST, LARGEST, "-2^30..2^30")
    wrong = values[(values < low) | (values > high)]
    if len(wrong):
        raise CheckpointError(f"Tensor {name} must be in {allowed}, not {float(wrong[0]):g}")


def _check_ranges(ranges, calibrated):
    """Known names, sane numbers; all of RANGES where the checkpoint is `calibrated`."""
    if not isinstance(ranges, dict):
        raise CheckpointError(f"Ranges must be an object of numbers, not {brief(ranges)}")
    for name in RANGES if calibrated else ():
        if name not in ranges:
            raise CheckpointError(f"Checkpoint must have a range of {name}, it is missing")
    for name, value in ranges.items():
        if name not in RANGES + OPTIONAL_RANGES:
            raise CheckpointError(
                f"Ranges must be of {', '.join(RANGES + OPTIONAL_RANGES)}, not of {brief(name)}"
            )
        if not _within(value, 0, LARGEST):
            raise CheckpointError(
                f"Range of {name} must be a number in 0..2^30, not {brief(value)}"
            )


def _check_table(table, layers):
    if not isinstance(table, (list, tuple)):
        raise CheckpointError(f"DVFS table must be a list of layers or null, not {brief(table)}")
    if len(table) != BINS:
        raise CheckpointError(f"DVFS table must have {BINS} entries, not {len(table)}")
    for index, layer in enumerate(table):
        if not isinstance(layer, int) or not _within(layer, 1, layers):
            raise CheckpointError(
                f"DVFS table entry {index} must be a layer in 1..{layers}, not {brief(layer)}"
            )


def _check_labels(labels, classes):
    if not isinstance(labels, tuple) or len(labels) != classes:
        raise CheckpointError(f"Labels must be the names of {classes} classes, not {brief(labels)}")
    for label in labels:
        # What a terminal could take for a command is no name.
        if not isinstance(label, str) or not label.isprintable() or not label.strip():
            raise CheckpointError(f"Label must be printable text, not {brief(label)}")
