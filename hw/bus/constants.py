# SPDX-License-Identifier: Apache-2.0
"""Constants of the image into the parameter memories."""

from firmware.constants import Memory
from hw.shapes import WORD

__all__ = ["write_constants"]

HALF = WORD.width // 2  # gamma and beta share a word


def write_constants(m, core):
    """What the loader passes on, into the memories of the blocks that a `Core` has."""
    index = core.constant.index
    value = core.constant.data
    memory = core.constant.memory
    norm = core.datapath.param_write
    span = core.datapath.span_write
    # A memory keeps as many bits of a constant as its values have.
    m.d.comb += [
        norm.valid.eq(core.constant_valid & (memory == Memory.NORM)),
        norm.payload.address.eq(index),
        norm.payload.gamma.eq(value[:HALF].as_signed()),
        norm.payload.beta.eq(value[HALF:].as_signed()),
        span.valid.eq(core.constant_valid & (memory == Memory.SPAN)),
        span.payload.address.eq(index),
        span.payload.data.eq(value),
    ]
    # A unit that the configuration lacks has no memory, and the image no constants for it.
    if core.drop is not None:
        m.d.comb += [
            core.drop.eta_write_valid.eq(core.constant_valid & (memory == Memory.ETA)),
            core.drop.eta_write.address.eq(index),
            core.drop.eta_write.data.eq(value),
        ]
    if core.dvfs is not None:
        m.d.comb += [
            core.dvfs.table_write_valid.eq(core.constant_valid & (memory == Memory.DVFS)),
            core.dvfs.table_write.address.eq(index),
            core.dvfs.table_write.data.eq(value),
        ]
    if core.tally is not None:
        m.d.comb += [
            core.tally.work_write_valid.eq(core.constant_valid & (memory == Memory.WORK)),
            core.tally.work_write.address.eq(index),
            core.tally.work_write.data.eq(value),
        ]
