# SPDX-License-Identifier: Apache-2.0
"""The weights of a Hugging Face folder: one file or shards, safetensors or PyTorch's pickles.

Pickles are read with `weights_only`, so that a file cannot run code.
"""

from pathlib import Path

import torch

from compress.data.text_files import DataError
from golden_model.config import brief
from golden_model.files import read_json, read_safetensors

__all__ = ["AlbertError", "read_weights"]

# In the order in which transformers looks for them.
FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)


class AlbertError(DataError):
    """A model that cannot be imported: what is wrong with it, and what is allowed."""


def read_weights(folder: Path) -> tuple[Path, dict[str, torch.Tensor]]:
    """(file that was read, {name: tensor}) of a folder.

    Raises AlbertError where there is none, or where it is damaged or holds other things.
    """
    for name in FILES:
        path = folder / name
        if path.is_file():
            return path, _shards(path) if path.suffix == ".json" else _file(path)
    raise AlbertError(
        f"{folder} must hold the weights, as {' or '.join(FILES[::2])} or in shards; "
        f"{FILES[0]} is missing"
    )


def _file(path):
    """{name: tensor} of one file."""
    if path.suffix == ".safetensors":
        return read_safetensors(path, AlbertError)
    with path.open("rb") as file:
        try:
            tensors = torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:  # by what is wrong: UnpicklingError, OSError, EOFError, ...
            raise AlbertError(
                f"{path} cannot be read, it is damaged, truncated or holds more than tensors"
            ) from error
    if not isinstance(tensors, dict) or not all(
        isinstance(name, str) and isinstance(tensor, torch.Tensor)
        for name, tensor in tensors.items()
    ):
        raise AlbertError(f"{path} must hold tensors by name (a state_dict), nothing else")
    for name, tensor in tensors.items():
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
            raise AlbertError(f"{path}: tensor {brief(name)} must hold its numbers, one by one")
    return tensors


def _shards(path):
    """{name: tensor} of the files that an index names; they lie beside it."""
    places = read_json(path, AlbertError).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise AlbertError(f"{path}: weight_map must be an object of files, not {brief(places)}")
    shards = {}
    for name, place in places.items():
        if not isinstance(place, str) or Path(place).name != place:
            raise AlbertError(f"{path}: {brief(name)} must be in a file beside, not {brief(place)}")
        if place not in shards:
            if not _is_file(path.parent / place):
                raise AlbertError(f"{path} names the file {brief(place)}, it is missing")
            shards[place] = _file(path.parent / place)
        if name not in shards[place]:
            raise AlbertError(f"{path.parent / place} must have the tensor {name}, it is missing")
    return {name: shards[place][name] for name, place in places.items()}


def _is_file(path):
    """Whether there is such a file; of a name that no file can have, there is none."""
    try:
        return path.is_file()
    except OSError:
        return False
