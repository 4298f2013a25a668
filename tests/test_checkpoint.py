# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from golden_model.checkpoint import Checkpoint, load, tensor_shapes
from golden_model.config import MODELS


def tensors():
    generator = torch.Generator().manual_seed(1)
    return {
        name: torch.randn(shape, generator=generator)
        for name, shape in tensor_shapes(MODELS["nano"]).items()
    }


def test_save_and_load(tmp_path):
    checkpoint = Checkpoint(
        MODELS["nano"], tensors(), {"embed": 2.5}, 0.25, [1, 2, 3], {"a": 1}, "x"
    )
    checkpoint.save(tmp_path)
    again = load(tmp_path)
    assert again.model == checkpoint.model and again.ranges == {"embed": 2.5}
    assert (again.exit_threshold, again.dvfs_table, again.command) == (0.25, [1, 2, 3], "x")
    assert all(torch.equal(again[name], checkpoint[name]) for name in checkpoint.tensors)


def test_half_keeps_zeros(tmp_path):
    given = tensors()
    given["attention.query.weight"][:, ::2] = 0
    Checkpoint(MODELS["nano"], given).save(tmp_path, torch.float16)
    weight = load(tmp_path)["attention.query.weight"]
    assert weight.dtype == torch.float32 and bool((weight[:, ::2] == 0).all())


def test_dense():
    given = tensors()
    given["dense.pooler.bias"] = torch.ones(32)
    dense = Checkpoint(MODELS["nano"], given).dense()
    assert torch.equal(dense["pooler.bias"], torch.ones(32))
    assert not dense["eta"].any() and bool((dense["attention.span"] == 1).all())


def test_wrong_tensors():
    given = tensors()
    with pytest.raises(ValueError, match=r"Tensor eta must have shape \(3,\), not \(4,\)"):
        Checkpoint(MODELS["nano"], given | {"eta": torch.zeros(4)})
    with pytest.raises(ValueError, match="only tensors of the contract, not extra"):
        Checkpoint(MODELS["nano"], given | {"extra": torch.zeros(4)})
    del given["eta"]
    with pytest.raises(ValueError, match="must have the tensor eta, it is missing"):
        Checkpoint(MODELS["nano"], given)
