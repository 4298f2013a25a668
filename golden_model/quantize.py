# SPDX-License-Identifier: Apache-2.0
"""Checkpoint -> Network: all that is float happens here.

Binary points come from the calibrated ranges: the largest that leave HEADROOM, lowered where a
shift would leave what the hardware's shifters take. Every format holds for all layers.
"""

import math

import torch

from golden_model import dvfs
from golden_model.adaptivfloat import bias_for, decode_integer, encode
from golden_model.checkpoint import RANGES, Checkpoint, CheckpointError
from golden_model.config import NumberFormat
from golden_model.fixed import ACT_BITS, saturate
from golden_model.formats import (
    ETA_FRAC,
    GELU_FRAC,
    NORM_FRAC,
    SHIFT_MAX,
    SPAN_FRAC,
    TANH_FRAC,
    TANH_IN_FRAC,
    THRESHOLD_BITS,
    THRESHOLD_FRAC,
)
from golden_model.network import LINEARS, EmbeddingTable, Linear, Network, Norm
from golden_model.softmax import context_shift, numerator_bias

__all__ = ["HEADROOM", "act_frac", "quantize"]

HEADROOM = 1.25
FRAC_MIN, FRAC_MAX = -16, 31
# Where the accumulators allow no more: exp takes 11 fraction bits, and a difference of two ACTs, 17
# bits wide, may move left by 45.
FRAC_LOWEST = -34
RESIDUAL_SHIFT_MAX = 15
TABLE_SHIFT_MIN, TABLE_SHIFT_MAX = -8, 31
FUNCTIONS = {
    "hidden": (GELU_FRAC, GELU_FRAC),
    "predict_hidden": (GELU_FRAC, GELU_FRAC),
    "pooled": (TANH_IN_FRAC, TANH_FRAC),
}  # (input, output) fraction bits

# Tensors that the array takes as codes; the numerators' bias follows from the format alone.
ENCODED = (
    "embed",
    "x",
    "predict_hidden",
    "q",
    "k",
    "v",
    "context",
    "attention_norm",
    "hidden",
    "pooled",
)
# LayerNorm -> its output.
NORMS = {"embedding.norm": "embed", "attention.norm": "attention_norm", "feed_forward.norm": "x"}


def act_frac(maximum: float) -> int:
    """Largest f with maximum * HEADROOM * 2^f <= 2^15; 15 for zero."""
    if maximum == 0:
        return ACT_BITS - 1
    exponent = math.frexp(float(maximum) * HEADROOM)[1]
    return max(FRAC_MIN, min(FRAC_MAX, ACT_BITS - 1 - exponent))


def quantize(checkpoint: Checkpoint, fmt: NumberFormat) -> Network:
    """Every integer the machine uses for `checkpoint` with codes of `fmt`.

    Raises CheckpointError where a part is missing, not finite or has no format.
    """
    return _Quantizer(checkpoint, fmt).network()


class _Quantizer:
    """One checkpoint on its way: weights in float64, live heads, then biases and binary points."""

    def __init__(self, checkpoint, fmt):
        checkpoint.check(calibrated=True)
        self.checkpoint = checkpoint
        self.fmt = fmt
        self.model = checkpoint.model
        self.weights = {name: checkpoint[name].double() for name in checkpoint.tensors}
        for part in ("weight", "bias"):
            self.weights[f"attention.query.{part}"] /= math.sqrt(self.model.head)
        self.span = (checkpoint["attention.span"] * 2**SPAN_FRAC).round().long()
        self.live_heads = [h for h in range(self.model.heads) if self.span[h].any()]
        if not self.live_heads:
            raise CheckpointError("Spans must leave at least one live head, not 0")
        self._keep_live_heads()

    def _keep_live_heads(self):
        """Drop the rows of dead heads from query, key and value, their columns from the output."""
        features = torch.arange(self.model.hidden).view(self.model.heads, -1)
        features = features[self.live_heads].flatten()
        for part in ("query", "key", "value"):
            for kind in ("weight", "bias"):
                name = f"attention.{part}.{kind}"
                self.weights[name] = self.weights[name][features]
        name = "attention.output.weight"
        self.weights[name] = self.weights[name][:, features]

    def network(self):
        """The Network: formats first, for the integers depend on them."""
        ranges = self.checkpoint.ranges
        self.code_bias = {name: bias_for(ranges[name], self.fmt) for name in ENCODED}
        self.code_bias["numerator"] = numerator_bias(self.fmt)
        self.weight_bias = {
            name: bias_for(self.weights[f"{name}.weight"].abs().max(), self.fmt) for name in LINEARS
        }
        self.frac = f = self._fracs()
        return Network(
            model=self.model,
            fmt=self.fmt,
            frac=f,
            code_bias=self.code_bias,
            tables={name: self._table(name) for name in ("word", "position", "segment")},
            linears={name: self._linear(name) for name in LINEARS},
            norms={norm: self._norm(norm, output) for norm, output in NORMS.items()},
            residual_shift={
                "attention": f["x"] - f["attention"],
                "ffn": f["attention_norm"] - f["ffn"],
            },
            score_shift=self._score_frac() - f["score"],
            context_shift=context_shift(self.fmt, self.code_bias["v"], f["context"]),
            live_heads=self.live_heads,
            span=self.span[self.live_heads],
            eta=(self.weights["eta"] * 2**ETA_FRAC).round().long(),
            exit_threshold=self._exit_threshold(),
            dvfs_table=self._dvfs_table(),
        )

    def _exit_threshold(self):
        """Unsigned Q2.16; one above ln of the most classes, 2.77, leaves at once all the same."""
        return min(
            2**THRESHOLD_BITS - 1, round(min(self.checkpoint.exit_threshold, 4) * 2**THRESHOLD_FRAC)
        )

    # Binary points.

    def _accumulator_frac(self, name):
        return 2 * self.fmt.mantissa - self.code_bias[LINEARS[name][0]] - self.weight_bias[name]

    def _score_frac(self):
        return 2 * self.fmt.mantissa - self.code_bias["q"] - self.code_bias["k"]

    def _fracs(self):
        """Fraction bits of every ACT tensor, lowered until each shift is one that there is."""
        ranges = self.checkpoint.ranges
        f = {name: act_frac(ranges[name]) for name in RANGES}
        f["attention"] = act_frac(ranges.get("attention_sum", ranges["x"] + ranges["attention"]))
        f["ffn"] = act_frac(ranges.get("ffn_sum", ranges["attention_norm"] + ranges["ffn"]))
        for norm, name in NORMS.items():
            gamma, beta = (self.weights[f"{norm}.{part}"].abs().max() for part in ("gamma", "beta"))
            f[name] = min(f[name], act_frac(beta), act_frac(gamma) + NORM_FRAC)
        for name, (_, output) in LINEARS.items():
            if output not in FUNCTIONS:
                f[output] = _reachable(f[output], self._accumulator_frac(name))
        f["score"] = _reachable(f["score"], self._score_frac())
        f["context"] = _reachable(f["context"], context_shift(self.fmt, self.code_bias["v"], 0))
        for total, residual in (("attention", "x"), ("ffn", "attention_norm")):
            f[total] = min(f[total], f[residual])
            if f[residual] - f[total] > RESIDUAL_SHIFT_MAX:
                raise CheckpointError(
                    f"Range of the sum with {total} must be below 2^15 times that of "
                    f"{residual}, not 2^{f[residual] - f[total]} times"
                )
        for name in ("word", "position", "segment"):
            bias = bias_for(self.weights[f"embedding.{name}"].abs().max(), self.fmt)
            f["embed_sum"] = min(f["embed_sum"], self.fmt.mantissa - bias - TABLE_SHIFT_MIN)
        for name, frac in f.items():
            if not FRAC_LOWEST <= frac <= FRAC_MAX:
                raise CheckpointError(
                    f"Format of {name} must have {FRAC_LOWEST}..{FRAC_MAX} fraction bits, "
                    f"not {frac}: its ranges and weights are too large or too small"
                )
        return f | {name: output for name, (_, output) in FUNCTIONS.items()}

    # Parts.

    def _table(self, name):
        """An embedding, whose shift is to the format of the sum."""
        weight = self.weights[f"embedding.{name}"]
        bias = bias_for(weight.abs().max(), self.fmt)
        shift = self.fmt.mantissa - bias - self.frac["embed_sum"]
        return EmbeddingTable(encode(weight, bias, self.fmt), bias, min(shift, TABLE_SHIFT_MAX))

    def _linear(self, name):
        """Codes, the bias in accumulator units, and the shifts to the output's format."""
        source, output = LINEARS[name]
        weight, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        if name == "predictor.score":
            weight, bias = weight[:, None], bias[:, None]  # (layers, 1, 32), (layers, 1)
        accumulator = self._accumulator_frac(name)
        frac, align = self.frac[output], 0
        if output in FUNCTIONS:
            frac = _reachable(FUNCTIONS[output][0], accumulator)
            align = frac - FUNCTIONS[output][0]
        shift = accumulator - frac
        if not 0 <= shift <= SHIFT_MAX:
            raise CheckpointError(
                f"Shift of {name} must be in 0..{SHIFT_MAX}, not {shift}: its weights and the "
                f"range of {output} are too far apart"
            )
        codes = encode(weight, self.weight_bias[name], self.fmt)
        bias = (bias * 2.0**accumulator).round()
        self._check_accumulator(name, codes, bias)
        return Linear(
            codes,
            bias.long(),
            self.weight_bias[name],
            self.code_bias[source],
            shift,
            frac,
            self.fmt,
            align,
        )

    def _check_accumulator(self, name, codes, bias):
        bits = self.fmt.accumulator_bits(self.model.longest_reduction)
        dot = decode_integer(codes, self.fmt).abs().sum(-1) * self.fmt.largest
        worst = float((dot + bias.abs()).max())
        if worst >= 2.0 ** (bits - 1):
            raise CheckpointError(
                f"Sums of {name} must fit {bits} bits with their bias, "
                f"not reach 2^{math.log2(worst):.1f}"
            )

    def _norm(self, name, output):
        gamma, beta = self.weights[f"{name}.gamma"], self.weights[f"{name}.beta"]
        frac = self.frac[output]
        gamma_frac = min(act_frac(gamma.abs().max()), frac + SHIFT_MAX - NORM_FRAC)
        return Norm(
            saturate((gamma * 2.0**gamma_frac).round().long(), ACT_BITS),
            saturate((beta * 2.0**frac).round().long(), ACT_BITS),
            gamma_frac,
            NORM_FRAC + gamma_frac - frac,
            frac,
        )

    def _dvfs_table(self):
        """As it is, or nobody is predicted to leave early."""
        return list(self.checkpoint.dvfs_table or [self.model.layers] * dvfs.BINS)


def _reachable(frac, accumulator_frac):
    """Fraction bits nearest to `frac` for which accumulator_frac - frac is a shift of 0..47."""
    return max(min(frac, accumulator_frac), accumulator_frac - SHIFT_MAX)
