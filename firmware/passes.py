# SPDX-License-Identifier: Apache-2.0
"""The program of a network: one pass of the layer, in its order.

Admit new sentences and project their embeddings; predictor and drop by groups of slots that are at
one layer; attention; feed forward; off-ramp; LOOP.
"""

from firmware.assembler import Symbol
from firmware.isa import Function, Opcode, Select, Source, Target
from golden_model.formats import EXP_IN_FRAC

__all__ = ["write_pass"]

_GELU = {"gelu_new": Function.GELU_NEW, "gelu": Function.GELU}
EVERYBODY = {"select": Select.ALL, "source": Source.STATE, "operand": "x"}


def write_pass(asm, early_exit):
    """Emit the pass on an `Assembler`; early_exit: with the shared off-ramp in every layer."""
    _embed(asm)
    if (asm.network.eta > 0).any():
        _drop(asm)
    _attend(asm)
    _feed_forward(asm)
    if early_exit:
        _off_ramp(asm, "exit.", Select.NOT_LAST)
    _decide(asm, Select.NOT_LAST, groups=int(early_exit))
    _off_ramp(asm, "", Select.LAST)
    _decide(asm, Select.LAST, groups=1, final=1)
    asm.emit("LOOP", None, opcode=Opcode.LOOP, target=0)


def _embed(asm):
    """Admit sentences, normalize their sums (n, E), project to (n, H) and move into STATE."""
    tables = asm.network.tables
    asm.emit(
        "ADMIT",
        Symbol("embed_sum", asm.network.frac["embed_sum"]),
        opcode=Opcode.ADMIT,
        reduction=asm.model.embedding,
        target_buffer=Target.STATE,
        word_shift=tables["word"].shift,
        position_shift=tables["position"].shift,
        segment_shift=tables["segment"].shift,
    )
    asm.norm(
        "embedding.norm",
        "embed",
        0,
        select=Select.NEW,
        source=Source.STATE,
        skip_sum=1,
        **asm.area["embed"].target,
    )
    asm.linear(
        "embedding.project",
        "x",
        select=Select.NEW,
        source=Source.NORMED,
        operand="embed",
        follow=1,
        **asm.area["embed"].source,
        **asm.area["x"].target,
    )
    asm.emit(
        "move",
        Symbol("layer{l}.x", asm.network.frac["x"]),
        opcode=Opcode.NORM,
        select=Select.NEW,
        reduction=asm.model.hidden,
        target_buffer=Target.STATE,
        follow=1,
    )


def _drop(asm):
    """Score and drop rows, one group of slots in the same layer after the other."""
    group = asm.emit("GROUP", None, opcode=Opcode.GROUP)
    order, stored = asm.in_order("predictor.hidden")
    asm.linear(
        "predictor.hidden",
        "predict_hidden",
        stacked=True,
        select=Select.GROUP,
        source=Source.STATE,
        operand="x",
        function=_GELU[asm.model.activation],
        arrangement=stored,
        **asm.area["predict_hidden"].target,
    )
    asm.linear(
        "predictor.score",
        "predict",
        stacked=True,
        codes=asm.network.linears["predictor.score"].codes[:, :, order],
        select=Select.GROUP,
        source=Source.CODES,
        follow=1,
        **asm.area["predict_hidden"].source,
        **asm.area["predict"].target,
    )
    asm.emit(
        "DROP",
        Symbol("layer{l}.keep"),
        opcode=Opcode.DROP,
        select=Select.GROUP,
        score_align=asm.network.frac["predict"] - EXP_IN_FRAC,
        **asm.area["predict"].source,
    )
    loop = asm.emit("LOOP", None, opcode=Opcode.LOOP, target=group)
    asm.instructions[group]["target"] = loop + 1


def _attend(asm):
    """Queries, keys, values and contexts of live heads, output projection, residual LayerNorm."""
    network = asm.network
    context = asm.area["context"]
    values, context_features = asm.heads_in_order()
    asm.linear("attention.query", "q", **EVERYBODY, **asm.area["q"].target)
    asm.linear("attention.key", "k", follow=1, **EVERYBODY, **asm.area["k"].target)
    asm.linear(
        "attention.value",
        "v",
        arrangement=values,
        target_buffer=Target.VALUES,
        follow=1,
        **EVERYBODY,
    )
    asm.emit(
        "ATTEND",
        Symbol("layer{l}.context", network.frac["context"], context_features),
        opcode=Opcode.ATTEND,
        select=Select.ALL,
        groups=len(network.live_heads),
        reduction=asm.model.head,
        shift=network.score_shift,
        score_align=network.frac["score"] - EXP_IN_FRAC,
        context_shift=network.context_shift,
        target_base=context.base,
        target_stride=context.stride,
        store_encode=asm.encoder("context"),
        **asm.area["q"].source,
    )
    asm.linear(
        "attention.output",
        "attention",
        codes=network.linears["attention.output"].codes[:, context_features],
        select=Select.ALL,
        source=Source.CODES,
        **context.source,
        **asm.area["attention"].target,
    )
    asm.norm(
        "attention.norm",
        "layer{l}.attention_norm",
        1,
        select=Select.ALL,
        source=Source.STATE,
        align=network.residual_shift["attention"],
        **asm.area["attention_norm"].target,
    )


def _feed_forward(asm):
    """Up projection (n, H) -> (n, F) with GELU, down to (n, H), residual LayerNorm."""
    order, stored = asm.in_order("feed_forward.up")
    asm.linear(
        "feed_forward.up",
        "hidden",
        select=Select.ALL,
        source=Source.NORMED,
        operand="attention_norm",
        function=_GELU[asm.model.activation],
        follow=1,
        arrangement=stored,
        **asm.area["attention_norm"].source,
        **asm.area["hidden"].target,
    )
    asm.linear(
        "feed_forward.down",
        "ffn",
        codes=asm.network.linears["feed_forward.down"].codes[:, order],
        select=Select.ALL,
        source=Source.CODES,
        follow=1,
        **asm.area["hidden"].source,
        **asm.area["ffn"].target,
    )
    asm.norm(
        "feed_forward.norm",
        "layer{l}.feed_forward_norm",
        2,
        select=Select.ALL,
        source=Source.NORMED,
        target_buffer=Target.STATE,
        align=asm.network.residual_shift["ffn"],
        **asm.area["attention_norm"].source,
    )


def _off_ramp(asm, ramp, select):
    """Pooler and classifier on the [CLS] rows."""
    order, stored = asm.in_order(f"{ramp}pooler")
    asm.linear(
        f"{ramp}pooler",
        "pooled",
        select=select,
        source=Source.CLS,
        operand="x",
        cls=1,
        function=Function.TANH,
        # The last layer's ramp stands behind an EXIT, not behind the NORM that writes its rows.
        follow=int(select == Select.NOT_LAST),
        arrangement=stored,
        **asm.area["pooled"].target,
    )
    asm.linear(
        f"{ramp}classifier",
        "logits",
        codes=asm.network.linears[f"{ramp}classifier"].codes[:, order],
        select=select,
        source=Source.CODES,
        cls=1,
        follow=1,
        **asm.area["pooled"].source,
        **asm.area["logits"].target,
    )


def _decide(asm, select, groups, final=0):
    """EXIT; groups 0: without entropy, all move on."""
    asm.emit(
        "EXIT",
        Symbol("layer{l}.entropy") if groups else None,
        opcode=Opcode.EXIT,
        select=select,
        groups=groups,
        final=final,
        reduction=asm.model.classes,
        score_align=asm.network.frac["logits"] - EXP_IN_FRAC,
        **asm.area["logits"].source,
    )
