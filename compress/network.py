# SPDX-License-Identifier: Apache-2.0
"""The network as it is trained: ALBERT with predictors, spans and exits, and the methods on it.

Parameters have the names of the checkpoint (docs/design.md section 1), but a span is learned
as one reach per head (`attention.reach`) from which the checkpoint's table follows.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from compress.fakequant import fake_quantise
from golden_model.config import AF8, NumberFormat

__all__ = ["HARD", "RAMP", "TABLES", "Mode", "Network", "Output", "Trained", "span_table"]

RAMP = 4.0  # R: tokens over which a span falls from 1 to 0
HARD = math.inf  # sharpness of hard token removal
FLOOR = -10000.0
TABLES = ("embedding.word", "embedding.position", "embedding.segment")
MASK = 4  # the id of [MASK], the last of the special tokens
SLOPE = 0.1  # beta of AdapLeR's soft removal: slope for tokens that are kept


@dataclass
class Mode:
    """What is switched on in a forward pass.

    Parameters
    ----------
    sharpness : lambda of soft token removal; HARD drops, None keeps every token
    spans : attend within the heads' spans
    biases : bias by activation name, for fake quantisation; None leaves floats
    format : number format of the codes, where there are biases
    dropout, word_dropout : probabilities, in training only
    maps : keep the attention maps in the output
    """

    sharpness: float | None = None
    spans: bool = False
    biases: dict | None = None
    format: NumberFormat = AF8
    dropout: float = 0.0
    word_dropout: float = 0.0
    maps: bool = False


@dataclass
class Output:
    """Of every layer: logits (B,C), hidden states (B,n,H), live tokens and shares (B,n).

    `shares` are the predictor's, `length` is `live` as a function of eta alone; both are empty
    where no token can go. `maps` are what each query gives to each key (B,heads,n,n), in sum one,
    where the mode keeps them.
    """

    logits: list = field(default_factory=list)
    hidden: list = field(default_factory=list)
    live: list = field(default_factory=list)
    shares: list = field(default_factory=list)
    length: list = field(default_factory=list)
    maps: list = field(default_factory=list)


class Norm(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(size))
        self.beta = nn.Parameter(torch.zeros(size))

    def forward(self, x):
        return F.layer_norm(x, x.shape[-1:], self.gamma, self.beta, 1e-12)


class Stack(nn.Module):
    """One linear map per layer, in one tensor."""

    def __init__(self, *shape):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(shape).normal_(std=0.05))
        self.bias = nn.Parameter(torch.zeros(shape[:-1]))


def _group(**parts) -> Any:
    """A module of modules and parameters: what each is, only its name says."""
    group = nn.Module()
    for name, part in parts.items():
        setattr(group, name, part)
    return group


def _table(*shape):
    return nn.Parameter(torch.empty(shape).normal_(std=0.02))


def span_table(reach, positions):
    """Mask value by distance, (heads, positions): clamp((RAMP + z - d) / RAMP, 0, 1).

    A head is dead when its reach z is -RAMP or less: its whole row is zero.
    """
    distance = torch.arange(positions, dtype=reach.dtype, device=reach.device)
    return ((RAMP + reach[:, None] - distance) / RAMP).clamp(0, 1)


class Trained(nn.Module):
    """What a stage trains: a network of the sizes `config`, with methods at work on it.

    `methods` stand in the order of the recipe, `base` is the mode before any of them has its say,
    `mode` that of the next forward pass.
    """

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.methods = nn.ModuleDict()
        self.base = self.mode = Mode()

    def attach(self, method):
        """Put a method to work; one of the same name is replaced and hands its state on."""
        before = self.methods[method.name] if method.name in self.methods else None
        if before is not None:
            method.load_state_dict(before.state_dict())
        self.methods[method.name] = method

    def settled(self):
        """The mode of evaluation: what every method switches on outside its own stages."""
        mode = self.base
        for method in self.at_work():
            mode = method.mode(mode, None)
        return mode

    def at_work(self) -> Iterable[Any]:
        """The methods, in the order of the recipe."""
        return self.methods.values()


class Network(Trained):
    """The machine's ALBERT."""

    def __init__(self, config):
        super().__init__(config)
        c, h = config, config.hidden
        self.embedding = _group(
            word=_table(c.vocabulary, c.embedding),
            position=_table(c.positions, c.embedding),
            segment=_table(c.segments, c.embedding),
            norm=Norm(c.embedding),
            project=nn.Linear(c.embedding, h),
        )
        self.predictor = _group(
            hidden=Stack(c.layers, c.predictor, h), score=Stack(c.layers, c.predictor)
        )
        self.attention = _group(
            query=nn.Linear(h, h),
            key=nn.Linear(h, h),
            value=nn.Linear(h, h),
            output=nn.Linear(h, h),
            norm=Norm(h),
            reach=nn.Parameter(torch.full((c.heads,), float(c.positions))),
        )
        self.feed_forward = _group(
            up=nn.Linear(h, c.feed_forward), down=nn.Linear(c.feed_forward, h), norm=Norm(h)
        )
        self.exit = _group(pooler=nn.Linear(h, h), classifier=nn.Linear(h, c.classes))
        self.pooler, self.classifier = nn.Linear(h, h), nn.Linear(h, c.classes)
        self.eta = nn.Parameter(torch.full((c.layers,), 0.25))
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.7 / math.sqrt(module.in_features))
                nn.init.zeros_(module.bias)
        self.exit_threshold = 0.0  # nats
        self.observed = None  # a dict collects max |x| by tensor name

    def live_features(self):
        """Which of the heads' features belong to heads that are not dead."""
        live = (self.attention.reach > -RAMP).nonzero()[:, 0]
        size = self.config.head
        return (live[:, None] * size + torch.arange(size, device=live.device)).flatten()

    # Weights and activations as the machine will see them.
    def weight(self, name):
        """A weight as the machine sees it, after all methods: the query's over sqrt(head)."""
        weight = self.get_parameter(name)
        if name == "attention.query.weight":
            weight = weight / math.sqrt(self.config.head)
        for method in self.at_work():
            weight = method.weight(self, name, weight)
        return weight

    def _see(self, name, x):
        """Note max |x| over live tokens; x is (B,n,...), (B,heads,n,n) or (B,...) of [CLS]."""
        if self.observed is not None:
            size, live = x.detach().abs(), self._live
            if x.dim() == 4:
                size = size * live[:, None, :, None] * live[:, None, None, :]
            elif x.dim() == 3 or x.shape == live.shape:
                size = size * live.view(*live.shape, *[1] * (x.dim() - 2))
            self.observed[name] = max(self.observed.get(name, 0.0), size.max().item())
        return x

    def _code(self, name, x):
        self._see(name, x)
        if self.mode.biases is None:
            return x
        return fake_quantise(x, self.mode.biases[name], self.mode.format)

    def _stacked(self, name):
        if name not in self._cache:
            self._cache[name] = self.weight(f"{name}.weight")
        return self._cache[name]

    def _linear(self, name, x):
        return F.linear(x, self._stacked(name), self.get_parameter(f"{name}.bias"))

    def _dropout(self, x):
        return F.dropout(x, self.mode.dropout, self.training)

    def forward(self, tokens, segments, live, embedded=None):
        """Output for right-padded (B,n) tokens; `live` is 1 for real tokens, 0 for padding.

        `embedded` (B,n,H), where given, takes the place of what `embed` makes.
        """
        out, mode = Output(), self.mode
        self._cache, self._live = {}, live
        x = self.embed(tokens, segments) if embedded is None else embedded
        edits = torch.zeros_like(live).masked_fill(live == 0, FLOOR)
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        distance = (positions[:, None] - positions[None, :]).abs()
        spans = span_table(self.attention.reach, self.config.positions) if mode.spans else None
        spans = None if spans is None else spans[:, distance]
        for layer in range(self.config.layers):
            if mode.sharpness is not None:
                live, edits = self._predict(layer, x, live, edits, out)
                self._live = live
            out.live.append(live)
            x = self._attend(x, edits, spans, out)
            x = self._see("x", self._feed_forward(x))
            out.hidden.append(x)
            last = layer == self.config.layers - 1
            out.logits.append(self._exit("" if last else "exit.", x[:, 0]))
        return out

    def embed(self, tokens, segments):
        """The first layer's input (B,n,H)."""
        self._cache = {}
        if self.training and self.mode.word_dropout:
            lost = torch.rand(tokens.shape, device=tokens.device) < self.mode.word_dropout
            tokens = tokens.masked_fill(lost & (tokens > MASK), MASK)
        e = self.embedding
        x = (
            F.embedding(tokens, self.weight("embedding.word"))
            + F.embedding(segments, self.weight("embedding.segment"))
            + self.weight("embedding.position")[: tokens.shape[1]]
        )
        x = self._code("embed", self._dropout(e.norm(self._see("embed_sum", x))))
        return self._linear("embedding.project", x)

    def _predict(self, layer, x, live, edits, out):
        """Token shares of this layer, and who stays: (live, edits) after the drop."""
        p, eta = self.predictor, self.eta[layer]
        hidden = F.linear(
            self._code("x", x.detach()),
            self._stacked("predictor.hidden")[layer],
            p.hidden.bias[layer],
        )
        hidden = self._activation(hidden)
        logits = self._code("predict_hidden", hidden) @ self._stacked("predictor.score")[layer]
        logits = self._see("predict", logits.float() + p.score.bias[layer])
        logits = logits.masked_fill(edits <= FLOOR, FLOOR)
        raw = torch.exp(logits - logits.amax(1, keepdim=True).detach())
        out.shares.append(_share(raw, live.detach()))
        share, count = _share(raw, live), live.sum(1, keepdim=True)
        edit = self._edit(share, eta / count)
        direct = self._edit(share.detach(), eta / count.detach())
        before = out.length[-1] if out.length else live
        out.length.append(before * torch.exp(direct))  # live tokens, as a function of eta alone
        return live * torch.exp(edit), (edits + edit).clamp(min=FLOOR)

    def _edit(self, share, threshold):
        edit = soft_edit(share, threshold, self.mode.sharpness)
        return torch.cat([torch.zeros_like(edit[:, :1]), edit[:, 1:]], 1)  # [CLS] stays

    def _activation(self, x):
        return F.gelu(x, approximate="tanh" if self.config.activation == "gelu_new" else "none")

    def _attend(self, x, edits, spans, out):
        """LayerNorm(x + attention(x)), keys weighted by their edits and by the heads' spans."""
        b, n, h = x.shape
        heads, code = self.config.heads, self._code("x", x)
        query = F.linear(
            code,
            self._stacked("attention.query"),
            self.attention.query.bias / math.sqrt(self.config.head),
        )
        key, value = self._linear("attention.key", code), self._linear("attention.value", code)
        q, k, v = (
            self._code(name, y).view(b, n, heads, -1).transpose(1, 2)
            for name, y in (("q", query), ("k", key), ("v", value))
        )
        # In bfloat16 on a CPU this is many times faster than F.scaled_dot_product_attention.
        score = self._see("score", (q @ k.transpose(2, 3)).float()) + edits[:, None, None]
        score = torch.exp(score - score.amax(3, keepdim=True).detach())
        score = score if spans is None else score * spans
        score = self._code("numerator", score)
        total = score.sum(3, keepdim=True).clamp(min=1e-3)
        if self.mode.maps:
            out.maps.append(score / total)
        context = (score @ v) / total
        context = self._code("context", context.transpose(1, 2).reshape(b, n, h))
        output = self._see("attention", self._linear("attention.output", context))
        return self.attention.norm(self._see("attention_sum", x + self._dropout(output)))

    def _feed_forward(self, x):
        hidden = self._linear("feed_forward.up", self._code("attention_norm", x))
        hidden = self._activation(hidden)
        down = self._see("ffn", self._linear("feed_forward.down", self._code("hidden", hidden)))
        return self.feed_forward.norm(self._see("ffn_sum", x + self._dropout(down)))

    def _exit(self, ramp, cls):
        pooled = self._linear(f"{ramp}pooler", self._code("x", cls))
        pooled = self._code("pooled", self._dropout(torch.tanh(pooled)))
        return self._see("logits", self._linear(f"{ramp}classifier", pooled).float())


def _share(raw, live):
    """Softmax over live tokens, a token counting as much as it is alive."""
    weighted = raw * live
    return weighted / weighted.sum(1, keepdim=True).clamp(min=1e-9)


def soft_edit(share, threshold, sharpness):
    """What removal adds to a token's log weight: 0 for a token that stays surely, FLOOR for none.

    AdapLeR's two branches, which meet at the threshold; the small upper slope keeps a gradient for
    tokens that stay. Infinite sharpness is the hard rule: share >= threshold stays.
    """
    if sharpness == HARD:
        return torch.where(share >= threshold, 0.0, FLOOR)
    sharp, slope = sharpness / threshold, SLOPE / sharpness
    below = sharp * (share - threshold) - slope
    above = (share - 1) * slope / (1 - threshold).clamp(min=1e-3)
    return torch.minimum(below, above).clamp(FLOOR, 0)
