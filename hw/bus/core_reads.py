# SPDX-License-Identifier: Apache-2.0
"""What the core reads through its memory port: runs of words for two readers, and weights."""

from amaranth import Mux, Shape, Signal
from amaranth.lib import data, wiring

from hw.shapes import PC, UNDER_WAY

__all__ = ["connect_check", "connect_fetch", "connect_port", "section_layout"]


def section_layout():
    """A section of the image: the program, or the weights of the instruction `pc`."""
    return data.StructLayout({"program": 1, "pc": PC})


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
    damaged = Signal(PC)
    m.d.comb += [
        core.read_pc.eq(
            Mux(core.damaged, damaged, Mux(reads.streaming, prefetch.pc, core.issue.pc))
        ),
        prefetch.base.eq(core.image_base),
        prefetch.size.eq(core.image_size),
    ]
    with m.If(core.check.broken):
        m.d.sync += [
            core.damaged.eq(1),
            damaged.eq(core.check.tag.pc),
        ]


def connect_check(m, core, program):
    """Sections of the image past the check; `program`: the short run under way is the program's."""
    check = core.check
    reads = core.reads
    words = core.words
    m.d.comb += [
        check.moved.eq(words.valid & words.ready & (reads.streaming | program)),
        check.word.eq(words.payload),
        check.word_tag.program.eq(~reads.streaming),
        check.word_tag.pc.eq(Mux(reads.streaming, core.prefetch.pc, 0)),
        core.sequencer.proven.eq(check.sound & check.tag.program),
    ]
    # A LINEAR may end before the last words of its stream have come, which are padding and the
    # check word. What comes of it stays in the machine until they have.
    ahead = Signal(Shape(UNDER_WAY.width, signed=True))
    proven = check.sound & ~check.tag.program
    m.d.sync += ahead.eq(ahead + proven - core.datapath.done.linear)
    m.d.comb += core.results.hold.eq(ahead < 0)


def connect_fetch(m, core):
    """Runs of 32-bit words: the program, then descriptors and tokens.

    Returns whether the run under way is the program's.
    """
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
        run.base.eq(Mux(filling, core.image_base, queue.input_base)),
        run.size.eq(Mux(filling, core.image_size, queue.input_size)),
        sequencer.o_fetch.ready.eq(fetch.i.ready),
        staging.o_read.ready.eq(fetch.i.ready & ~filling & core.working),
        sequencer.words.valid.eq(fetch.o.valid & program),
        sequencer.words.payload.eq(fetch.o.payload),
        staging.words.valid.eq(fetch.o.valid & ~program),
        staging.words.payload.eq(fetch.o.payload),
        fetch.o.ready.eq(Mux(program, sequencer.words.ready, staging.words.ready)),
    ]
    return program
