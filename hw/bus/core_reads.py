# SPDX-License-Identifier: Apache-2.0
"""What the core reads through its memory port: runs of words for two readers, and weights."""

from amaranth import Mux, Signal
from amaranth.lib import wiring

__all__ = ["connect_fetch", "connect_port"]


def connect_port(m, core):
    """The memory port's reads: runs of 32-bit words, and weights."""
    fetch = core.fetch
    prefetch = core.prefetch
    reads = core.reads
    for source, target in (
        (fetch.o_request, reads.i_short),
        (prefetch.o_request, reads.i_stream),
        (reads.o_request, wiring.flipped(core.o_request)),
        (wiring.flipped(core.words), reads.words),
        (reads.o_short, fetch.data),
        (reads.o_stream, prefetch.words),
    ):
        wiring.connect(m, source, target)
    # An error of the port belongs to the instruction whose words it was to bring; weights are
    # read ahead, so that may be a later one than the instruction at work.
    m.d.comb += [
        core.read_pc.eq(Mux(reads.streaming, prefetch.pc, core.issue.pc)),
        prefetch.base.eq(core.queue.image_base),
        prefetch.size.eq(core.queue.image_size),
    ]


def connect_fetch(m, core):
    """Runs of 32-bit words: the program, then descriptors and tokens."""
    sequencer = core.sequencer
    fetch = core.fetch
    staging = core.staging
    queue = core.queue
    run = fetch.i.payload
    filling = sequencer.o_fetch.valid
    reading = staging.o_read.valid & core.working
    # Words go to the one whose run it is: the program first, since the stager waits for an
    # ADMIT.
    program = Signal()
    with m.If(fetch.i.valid & fetch.i.ready):
        m.d.sync += program.eq(filling)
    m.d.comb += [
        fetch.i.valid.eq(filling | reading),
        run.address.eq(
            Mux(filling, sequencer.o_fetch.payload.address, staging.o_read.payload.address)
        ),
        run.words.eq(Mux(filling, sequencer.o_fetch.payload.words, staging.o_read.payload.words)),
        run.base.eq(Mux(filling, queue.image_base, queue.input_base)),
        run.size.eq(Mux(filling, queue.image_size, queue.input_size)),
        sequencer.o_fetch.ready.eq(fetch.i.ready),
        staging.o_read.ready.eq(fetch.i.ready & ~filling & core.working),
        sequencer.words.valid.eq(fetch.o.valid & program),
        sequencer.words.payload.eq(fetch.o.payload),
        staging.words.valid.eq(fetch.o.valid & ~program),
        staging.words.payload.eq(fetch.o.payload),
        fetch.o.ready.eq(Mux(program, sequencer.words.ready, staging.words.ready)),
    ]
