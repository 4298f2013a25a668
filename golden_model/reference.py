# SPDX-License-Identifier: Apache-2.0
"""The float twin of `model`: the same network, names and shapes, in float64.

Compression is switched on one by one: drop, exit, span, and `fmt` (weights and array inputs rounded
to codes, with the biases that `quantize` would choose). With everything off it is plain ALBERT.
"""

import math

import torch

from golden_model.adaptivfloat import bias_for, decode, encode
from golden_model.attention import span_mask
from golden_model.checkpoint import Checkpoint
from golden_model.config import NEVER, NumberFormat
from golden_model.contribution import contribution_float
from golden_model.embedding import embedding_sum_float
from golden_model.entropy import entropy_float
from golden_model.exit import argmax, off_ramp_float
from golden_model.gelu import gelu_float
from golden_model.layernorm import layernorm_float
from golden_model.model import Ids, Result, check_sentence
from golden_model.network import LINEARS
from golden_model.softmax import numerator_bias
from golden_model.token_drop import keep_float

__all__ = ["Reference"]


class Reference:
    """`Reference(checkpoint, ...).run(tokens)`; options are those of the module's description."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        fmt: NumberFormat | None = None,
        drop: bool = True,
        exit: bool = True,
        span: bool = True,
    ):
        self.model, self.fmt = checkpoint.model, fmt
        self.may_drop, self.may_exit = drop, exit
        self.threshold, self.ranges = checkpoint.exit_threshold, checkpoint.ranges
        self.weights = {name: tensor.double() for name, tensor in checkpoint.tensors.items()}
        for part in ("weight", "bias"):
            self.weights[f"attention.query.{part}"] /= math.sqrt(self.model.head)
        if not span:
            self.weights["attention.span"] = torch.ones_like(self.weights["attention.span"])
        names = [f"{name}.weight" for name in LINEARS]
        for name in [*names, "embedding.word", "embedding.position", "embedding.segment"]:
            weight = self.weights[name]
            bias = 0 if fmt is None else bias_for(weight.abs().max(), fmt)
            self.weights[name] = self.rounded(weight, bias)
        self.live = [h for h in range(self.model.heads) if self.weights["attention.span"][h].any()]

    def rounded(self, x, bias):
        return x if self.fmt is None else decode(encode(x, bias, self.fmt), bias, self.fmt)

    def code(self, name, x):
        """x as the array sees it."""
        return x if self.fmt is None else self.rounded(x, bias_for(self.ranges[name], self.fmt))

    def linear(self, name, x, layer=None):
        weight, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        if layer is not None:
            weight, bias = weight[layer], bias[layer]
        return self.code(LINEARS[name][0], x) @ weight.transpose(0, -1) + bias

    def norm(self, name, x):
        return layernorm_float(x, self.weights[f"{name}.gamma"], self.weights[f"{name}.beta"])

    def run(self, tokens: Ids, segments: Ids | None = None) -> Result:
        """One sentence -> Result with floats."""
        tokens = torch.as_tensor(tokens, dtype=torch.int64)
        segments = torch.zeros_like(tokens) if segments is None else torch.as_tensor(segments)
        check_sentence(self.model, tokens, segments)
        self.tensors, self.prefix = {}, ""
        x = self.embed(tokens, segments)
        rows, dropped = torch.arange(len(tokens)), torch.full((len(tokens),), NEVER)
        entropies, live = [], []
        for layer in range(self.model.layers):
            self.prefix = f"layer{layer}."
            x, survivors = self.drop(layer, x, rows)
            dropped[rows[~torch.isin(rows, survivors)]] = layer
            rows = survivors
            x = self.feed_forward(self.attend(x, rows))
            last = layer == self.model.layers - 1
            logits, entropy = self.exit("" if last else "exit.", x[0])
            entropies.append(entropy)
            live.append(len(rows))
            if last or (self.may_exit and entropy < self.threshold):
                break
        return Result(
            logits.tolist(),
            argmax(logits),
            layer + 1,
            entropies,
            live,
            dropped.tolist(),
            0,
            self.tensors,
        )

    def name(self, name, tensor):
        self.tensors[self.prefix + name] = tensor
        return tensor

    def embed(self, tokens, segments):
        w = self.weights
        total = embedding_sum_float(
            w["embedding.word"][tokens],
            w["embedding.position"][: len(tokens)],
            w["embedding.segment"][segments],
        )
        embed = self.name("embed", self.norm("embedding.norm", self.name("embed_sum", total)))
        return self.linear("embedding.project", embed)

    def drop(self, layer, x, rows):
        """(x of the tokens that stay, their original positions)."""
        self.name("x", x)
        hidden, predict = contribution_float(
            x,
            lambda t: self.linear("predictor.hidden", t, layer),
            lambda t: self.linear("predictor.score", t, layer),
            self.model.activation,
        )
        self.name("predict_hidden", hidden)
        self.name("predict_exp", torch.exp(self.name("predict", predict) - predict.max()))
        eta = self.weights["eta"][layer] if self.may_drop else 0.0
        kept = keep_float(predict, eta)
        self.name("keep", kept.long())
        return x[kept], self.name("rows", rows[kept])

    def attend(self, x, rows):
        """Attention of the live heads, projection, residual and LayerNorm; x (m, H) -> (m, H)."""
        q, k, v = (
            self.linear(f"attention.{part}", x).view(len(x), self.model.heads, -1)
            for part in ("query", "key", "value")
        )
        q, k, v = (
            self.name(name, t[:, self.live]) for name, t in (("q", q), ("k", k), ("v", v))
        )  # (m, h, head)
        score = self.name(
            "score", torch.einsum("qhd,khd->hqk", self.code("q", q), self.code("k", k))
        )
        e = torch.exp(score - score.amax(-1, keepdim=True))
        e = e * span_mask(self.weights["attention.span"][self.live], rows)
        if self.fmt is not None:
            e = self.rounded(e, numerator_bias(self.fmt))
        total = self.name("denominator", self.name("numerator", e).sum(-1))
        context = torch.einsum("hqk,khd->qhd", e, self.code("v", v))
        context = self.name("context", context / total.T[..., None].clamp(min=1e-300))
        full = torch.zeros(len(x), self.model.heads, self.model.head, dtype=x.dtype)
        full[:, self.live] = context
        y = self.name("attention", self.linear("attention.output", full.flatten(1)))
        total = self.name("attention_sum", x + y)
        return self.name("attention_norm", self.norm("attention.norm", total))

    def feed_forward(self, x):
        hidden = gelu_float(self.linear("feed_forward.up", x), self.model.activation)
        y = self.name("ffn", self.linear("feed_forward.down", self.name("hidden", hidden)))
        total = self.name("ffn_sum", x + y)
        return self.name("feed_forward_norm", self.norm("feed_forward.norm", total))

    def exit(self, ramp, cls):
        """(logits, entropy) of the off-ramp whose tensors begin with `ramp`, from [CLS]."""
        pooled, logits = off_ramp_float(
            cls,
            lambda t: self.linear(f"{ramp}pooler", t),
            lambda t: self.linear(f"{ramp}classifier", t),
        )
        self.name("pooled", pooled)
        self.name("logits", logits)
        entropy = float(self.name("entropy", entropy_float(logits)))
        return logits, entropy
