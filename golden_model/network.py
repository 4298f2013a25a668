# SPDX-License-Identifier: Apache-2.0
"""Every integer the machine uses, by name: what `quantize` makes and model and compiler read."""

from dataclasses import dataclass, replace
from functools import cached_property

import torch

from golden_model.adaptivfloat import decode_table
from golden_model.config import ModelConfig, NumberFormat
from golden_model.fixed import Saturations
from golden_model.layernorm import layernorm
from golden_model.mac_array import mac_array
from golden_model.requantize import requantize

__all__ = ["LINEARS", "Linear", "Network", "Norm", "EmbeddingTable"]

# Linear operation: (input tensor, output tensor). x also is the output of feed_forward.norm.
LINEARS = {
    "embedding.project": ("embed", "x"),
    "predictor.hidden": ("x", "predict_hidden"),
    "predictor.score": ("predict_hidden", "predict"),
    "attention.query": ("x", "q"),
    "attention.key": ("x", "k"),
    "attention.value": ("x", "v"),
    "attention.output": ("context", "attention"),
    "feed_forward.up": ("attention_norm", "hidden"),
    "feed_forward.down": ("hidden", "ffn"),
    "exit.pooler": ("x", "pooled"),
    "exit.classifier": ("pooled", "logits"),
    "pooler": ("x", "pooled"),
    "classifier": ("pooled", "logits"),
}


@dataclass
class Linear:
    """codes (out, in), or (layers, out, in) for the predictors.

    Accumulators have 2 m - input_bias - weight_bias fraction bits, so has `bias` (out,); `shift`
    brings them to an ACT of `frac` fraction bits. When a function follows (GELU, tanh), `align` is
    frac - the function's input fraction: brings the ACT to its input; <= 0, nearly always 0.
    """

    codes: torch.Tensor
    bias: torch.Tensor
    weight_bias: int
    input_bias: int
    shift: int
    frac: int
    fmt: NumberFormat
    align: int = 0

    @cached_property
    def decoded(self) -> torch.Tensor:
        """(…, in, out) float64, exact."""
        return decode_table(self.fmt)[self.codes].transpose(-1, -2).contiguous()

    @cached_property
    def layers(self) -> list["Linear"]:
        """One Linear per layer, of the stacked predictors."""
        return [
            replace(self, codes=codes, bias=bias)
            for codes, bias in zip(self.codes, self.bias, strict=True)
        ]

    def __call__(self, codes: torch.Tensor, saturations: Saturations | None = None) -> torch.Tensor:
        """Codes (..., in) -> ACT (..., out)."""
        accumulator = mac_array(codes, self.decoded, self.fmt)
        return requantize(accumulator, self.bias, self.shift, saturations)


@dataclass
class Norm:
    """gamma with `gamma_frac` fraction bits, beta with `frac`, those of the result."""

    gamma: torch.Tensor
    beta: torch.Tensor
    gamma_frac: int
    shift: int
    frac: int

    def __call__(self, x: torch.Tensor, saturations: Saturations | None = None) -> torch.Tensor:
        return layernorm(x, self.gamma, self.beta, self.shift, saturations)


@dataclass
class EmbeddingTable:
    """An embedding: codes (rows, E), worth d * 2^(bias - m); `shift` brings d to embed_sum."""

    codes: torch.Tensor
    bias: int
    shift: int


@dataclass
class Network:
    """frac: fraction bits of every ACT tensor; code_bias: bias of every tensor that is encoded.

    linears has live features only: query, key and value lack the rows of dead heads, the output
    projection their columns; so has span. live_heads are the original numbers.
    residual_shift: x -> attention and attention_norm -> ffn, before the sum.
    """

    model: ModelConfig
    fmt: NumberFormat
    frac: dict[str, int]
    code_bias: dict[str, int]
    tables: dict[str, EmbeddingTable]  # word, position, segment: Table
    linears: dict[str, Linear]  # by the names of LINEARS
    norms: dict[str, Norm]  # embedding.norm, attention.norm, feed_forward.norm
    residual_shift: dict[str, int]  # attention, ffn
    score_shift: int  # accumulator -> score
    context_shift: int  # factor * reciprocal -> context, see softmax.context
    live_heads: list[int]
    span: torch.Tensor  # (live heads, positions) 0..256
    eta: torch.Tensor  # (layers,) unsigned Q1.16
    exit_threshold: int  # unsigned Q2.16
    dvfs_table: list[int]  # predicted exit layer by entropy bin
