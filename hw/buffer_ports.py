# SPDX-License-Identifier: Apache-2.0
"""Who reads and who writes which buffer of the datapath, wired; firmware/buffers.py has the map."""

from amaranth.lib import wiring

from firmware.isa import Target
from hw.array.operand import HELD

__all__ = ["connect_reads", "connect_writes"]


def connect_reads(m, datapath):
    """SUM serves NORM, CODES the operand, NORMED both; KEYS, VALUES ATTEND; SCORES the ports."""
    for buffer, request, words in (
        (datapath.sum, datapath.norm.sum_request, datapath.norm.sum_words),
        (datapath.codes, datapath.operand.codes_request, datapath.operand.codes_words),
        (datapath.keys, datapath.attention.key_request, datapath.attention.key_words),
        (datapath.values, datapath.attention.value_request, datapath.attention.value_words),
        (
            datapath.scores,
            wiring.flipped(datapath.scores_request),
            wiring.flipped(datapath.scores_words),
        ),
    ):
        wiring.connect(m, request, buffer.i)
        wiring.connect(m, buffer.o, words)
    # A follower reads what is still being written: its reader knows how far, and holds the buffer.
    for name in HELD:
        buffer = getattr(datapath, name)
        m.d.comb += [
            getattr(datapath.operand, f"{name}_index").eq(buffer.index),
            buffer.hold.eq(getattr(datapath.operand, f"{name}_hold")),
        ]
    m.d.comb += [
        datapath.norm.sum_index.eq(datapath.sum.index),
        datapath.sum.hold.eq(datapath.norm.sum_hold),
    ]
    # NORM and the operand read NORMED in turns: a follower's tile waits until NORM has read its
    # own.
    normalizing = datapath.norm.reading
    users = (
        (normalizing, datapath.norm.normed_request, datapath.norm.normed_words),
        (~normalizing, datapath.operand.normed_request, datapath.operand.normed_words),
    )
    for chosen, request, words in users:
        m.d.comb += [
            request.ready.eq(datapath.normed.i.ready & chosen),
            words.payload.eq(datapath.normed.o.payload),
            words.valid.eq(datapath.normed.o.valid & chosen),
        ]
        with m.If(chosen):
            m.d.comb += [
                datapath.normed.i.valid.eq(request.valid),
                datapath.normed.i.payload.eq(request.payload),
                datapath.normed.o.ready.eq(words.ready),
            ]


def connect_writes(m, datapath):
    """The store writes all but NORMED, which is NORM's, and STATE, which stager and NORM share."""
    store = datapath.store
    norm = datapath.norm
    for buffer, target, values in (
        (datapath.sum, Target.SUM, store.write.values),
        (datapath.scores, Target.SCORES, store.write.values),
        (datapath.codes, Target.CODES, store.write.codes),
        (datapath.keys, Target.KEYS, store.write.codes),
    ):
        m.d.comb += [
            buffer.write.eq(store.write_valid & (store.target == target)),
            buffer.write_address.eq(store.write.address),
            buffer.write_lanes.eq(store.write.lanes),
            buffer.write_data.eq(values),
        ]
    m.d.comb += [
        datapath.values.write.eq(store.value_write_valid),
        datapath.values.write_address.eq(store.value_write.address),
        datapath.values.write_data.eq(store.value_write.codes),
        datapath.values.write_lanes.eq(-1),
        datapath.normed.write.eq(norm.normed_write_valid),
        datapath.normed.write_address.eq(norm.normed_write.address),
        datapath.normed.write_data.eq(norm.normed_write.values),
        datapath.normed.write_lanes.eq(norm.normed_write.lanes),
        datapath.state.write_lanes.eq(-1),
        datapath.staged.ready.eq(~norm.state_write_valid),
    ]
    # NORM goes first, because its results cannot wait; the stager has a queue.
    for valid, word in (
        (datapath.staged.valid, datapath.staged.payload),
        (norm.state_write_valid, norm.state_write),
    ):
        with m.If(valid):
            m.d.comb += [
                datapath.state.write.eq(1),
                datapath.state.write_address.eq(word.address),
                datapath.state.write_data.eq(word.values),
            ]
