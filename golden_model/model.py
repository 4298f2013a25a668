# SPDX-License-Identifier: Apache-2.0
"""The whole network on integers, top to bottom: what the accelerator computes for one sentence.

Shapes: n live tokens entering a layer, m after its drop, h live heads. Names are those of
docs/design.md, "Named tensors". `run` fills `Result.tensors` with all of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from golden_model.adaptivfloat import encode_act
from golden_model.attention import attention
from golden_model.config import NEVER, ModelConfig
from golden_model.contribution import contribution
from golden_model.embedding import embedding_sum
from golden_model.entropy import entropy_sums, is_sure, reported_entropy
from golden_model.exit import argmax, off_ramp
from golden_model.fixed import ACT_BITS, Saturations, round_shift, saturate
from golden_model.gelu import gelu
from golden_model.network import Network
from golden_model.requantize import add_residual
from golden_model.softmax import numerator
from golden_model.token_drop import keep

__all__ = ["Ids", "Result", "SentenceError", "check_sentence", "run"]


Ids = Sequence[int] | torch.Tensor  # of the tokens of a sentence, or of their segments


class SentenceError(ValueError):
    """Tokens or segments that the model does not have: what was wrong and what is allowed."""


@dataclass
class Result:
    """What the accelerator reports for one sentence, and every named tensor."""

    logits: list[int]  # ACT, `Network.frac["logits"]` fraction bits
    predicted_class: int
    exit_layer: int  # counted from 1
    entropies: list[int]  # unsigned Q2.16, by executed layer
    tokens_per_layer: list[int]  # after the drop, by executed layer
    dropped_at_layer: list[int]  # by position: layer from 0, or NEVER
    saturations: int
    tensors: dict[str, torch.Tensor] = field(repr=False)


def check_sentence(model: ModelConfig, tokens: torch.Tensor, segments: torch.Tensor) -> None:
    """SentenceError unless the sentence can enter the machine."""
    if not 1 <= len(tokens) <= model.positions:
        raise SentenceError(f"Sentence must have 1..{model.positions} tokens, not {len(tokens)}")
    if len(segments) != len(tokens):
        raise SentenceError(
            f"Segments must be as many as tokens, {len(tokens)}, not {len(segments)}"
        )
    for thing, ids, limit in (
        ("Token", tokens, model.vocabulary),
        ("Segment", segments, model.segments),
    ):
        for value in (int(ids.min()), int(ids.max())):
            if not 0 <= value < limit:
                raise SentenceError(f"{thing} must be in 0..{limit - 1}, not {value}")


def run(network: Network, tokens: Ids, segments: Ids | None = None) -> Result:
    """One sentence of token ids (and segment ids, default 0) through the network -> Result."""
    tokens = torch.as_tensor(tokens, dtype=torch.int64)
    segments = torch.zeros_like(tokens) if segments is None else torch.as_tensor(segments).long()
    check_sentence(network.model, tokens, segments)
    return _Sentence(network).run(tokens, segments)


class _Sentence:
    """One sentence on its way: the network, its named tensors, its saturation counter."""

    def __init__(self, network):
        self.network, self.model = network, network.model
        self.tensors, self.saturations = {}, Saturations()

    def run(self, tokens, segments):
        """Embed, then layer by layer until the exit is sure or was the last."""
        n = len(tokens)
        x = self.embed(tokens, segments)  # (n, H)
        rows = torch.arange(n)  # original positions
        dropped = torch.full((n,), NEVER)
        entropies, live = [], []
        for layer in range(self.model.layers):
            self.prefix = f"layer{layer}."
            x, survivors = self.drop(layer, x, rows)  # (m, H), (m,)
            dropped[rows[~torch.isin(rows, survivors)]] = layer
            rows = survivors
            x = self.feed_forward(self.attend(x, rows))
            last = layer == self.model.layers - 1
            logits, entropy, sure = self.exit("" if last else "exit.", x[0])
            entropies.append(entropy)
            live.append(len(rows))
            if sure:
                break
        return Result(
            logits.tolist(),
            argmax(logits),
            layer + 1,
            entropies,
            live,
            dropped.tolist(),
            self.saturations.count,
            self.tensors,
        )

    def name(self, name, tensor):
        self.tensors[self.prefix + name] = tensor
        return tensor

    def code(self, name, act):
        """The array's input: an ACT tensor encoded with its own bias."""
        network = self.network
        return encode_act(act, network.frac[name], network.code_bias[name], network.fmt)

    def linear(self, name, codes):
        return self.network.linears[name](codes, self.saturations)

    def embed(self, tokens, segments):
        """Word + position + segment, LayerNorm, projection E -> H."""
        self.prefix = ""
        tables = [self.network.tables[name] for name in ("word", "position", "segment")]
        word, position, segment = (table.codes for table in tables)
        total = embedding_sum(
            word[tokens],
            position[: len(tokens)],
            segment[segments],
            [table.shift for table in tables],
            self.network.fmt,
            self.saturations,
        )
        self.name("embed_sum", total)  # (n, E)
        embed = self.name("embed", self.network.norms["embedding.norm"](total, self.saturations))
        return self.linear("embedding.project", self.code("embed", embed))  # (n, H)

    def drop(self, layer, x, rows):
        """Contribution predictor and drop rule; survivors keep order and positions."""
        self.name("x", x)  # (n, H)
        hidden, predict = contribution(
            self.code("x", x),
            self.network.linears["predictor.hidden"].layers[layer],
            self.network.linears["predictor.score"].layers[layer],
            self.model.activation,
            self.saturations,
        )
        self.name("predict_hidden", hidden)  # (n, 32)
        e = numerator(self.name("predict", predict), self.network.frac["predict"])
        self.name("predict_exp", e)  # (n,) Q1.16
        kept = self.name("keep", keep(e, int(self.network.eta[layer]))).bool()
        return x[kept], self.name("rows", rows[kept])  # (m, H), (m,)

    def attend(self, x, rows):
        """LayerNorm(x + output projection of the heads' contexts)."""
        codes = self.code("x", x)
        heads = []
        for name, part in (("q", "query"), ("k", "key"), ("v", "value")):
            act = self.linear(f"attention.{part}", codes)
            act = self.name(name, act.view(len(x), -1, self.model.head))  # (m, h, head)
            heads.append(self.code(name, act))
        results = attention(*heads, rows=rows, network=self.network, saturations=self.saturations)
        for name, tensor in zip(
            ("score", "numerator", "denominator", "context"), results, strict=True
        ):
            self.name(name, tensor)
        context = self.code("context", results[3]).flatten(1)  # (m, h * head)
        y = self.name("attention", self.linear("attention.output", context))  # (m, H)
        return self.add_and_norm("attention", x, y)

    def feed_forward(self, x):
        """LayerNorm(x + down(GELU(up(x))))."""
        up = self.network.linears["feed_forward.up"]
        hidden = up(self.code("attention_norm", x), self.saturations)  # (m, FF)
        hidden = saturate(round_shift(hidden, up.align), ACT_BITS, self.saturations)
        hidden = self.name("hidden", gelu(hidden, self.model.activation))
        y = self.name("ffn", self.linear("feed_forward.down", self.code("hidden", hidden)))
        return self.add_and_norm("ffn", x, y)

    def add_and_norm(self, name, x, y):
        """x in the format of y, added and normalized: attention_norm or feed_forward_norm."""
        block = {"attention": "attention", "ffn": "feed_forward"}[name]
        total = add_residual(x, y, self.network.residual_shift[name], self.saturations)
        norm = self.network.norms[f"{block}.norm"]
        return self.name(f"{block}_norm", norm(total, self.saturations))

    def exit(self, ramp, cls):
        """(logits, reported entropy, whether to leave here); the last layer always leaves."""
        linears = self.network.linears
        pooled, logits = off_ramp(
            self.code("x", cls),
            linears[f"{ramp}pooler"],
            linears[f"{ramp}classifier"],
            self.saturations,
        )
        self.name("pooled", pooled)  # (H,)
        self.name("logits", logits)  # (C,)
        z, s = entropy_sums(logits, self.network.frac["logits"])
        entropy = self.name("entropy", reported_entropy(z, s))
        return logits, int(entropy), ramp == "" or bool(is_sure(z, s, self.network.exit_threshold))
