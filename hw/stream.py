# SPDX-License-Identifier: Apache-2.0
"""Joining streams: a `connect` that checks shapes, and the valid bits of a pipeline."""

from amaranth import Cat, Module, Mux, Shape, Signal, Value
from amaranth.lib import data, fifo, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.checks import check_count, check_shape

__all__ = ["Fifo", "Pipeline", "Skid", "RegisterSlice", "connect"]

SHALLOW = 32  # words that a queue keeps in distributed RAM, which can be read at once


def cycles(depth):
    """From a word's way into a `Fifo` of `depth` words to its output; block RAM takes one more."""
    return 2 if depth > SHALLOW else 1


def connect(m, a, b):
    """Connect two interfaces whose members have the same shapes.

    Raises TypeError when the signatures are not each other's flipped.
    """
    # `wiring.connect` of Amaranth 0.5 compares widths alone: a signed number joins an unsigned one
    # and a layout another one whose fields stand in another order, without a word.
    if a.signature != b.signature.flip():
        raise TypeError(
            f"Interfaces must have flipped signatures, not {a.signature!r} and {b.signature!r}"
        )
    wiring.connect(m, a, b)


class Pipeline:
    """Valid bits of a pipeline between the streams `i` and `o`, which moves or stands as a whole.

    It moves in a cycle in which the output register is empty or taken; gaps between words stay as
    they are. Latency one cycle for each `stage`, one word a cycle. Used inside `elaborate`:

        pipeline = Pipeline(m, self.i, self.o)
        word = pipeline.stage(sum=a + b, meta=self.i.payload.meta)
        word = pipeline.stage(sum=word.sum + 1, meta=word.meta)
        word = pipeline.stage(sum=word.sum * 3, **word.keep("meta"))
        pipeline.output(self.o.payload.sum.eq(word.sum), ...)

    Parameters
    ----------
    m : the module that the registers belong to
    i, o : streams; `o` is given its payload by `output`
    stalls : whether `o` may be stalled; if not it is taken whenever it is valid, whatever
        `o.ready` says, and no register needs an enable

    Attributes
    ----------
    enable : the pipeline moves in this cycle; enables every register and read port in it
    accepted : a word enters in this cycle
    valid : the last stage so far holds a word
    stages : how many there are so far
    inside : of each of them its valid bit and its registers, the newest word's first
    """

    def __init__(self, m, i, o, *, stalls=True):
        self._m = m
        self._stalls = stalls
        self._i = i
        self._o = o
        self.enable = Signal(name="pipeline_enable")
        self.accepted = Signal(name="pipeline_accepted")
        self.valid = i.valid
        self.stages = 0
        self.inside = []
        # One enable for all stages, instead of one for each: gaps are not closed, but no stage
        # needs a second register, and a block RAM's read port is a stage like any other.
        m.d.comb += [
            i.ready.eq(self.enable),
            self.accepted.eq(i.valid & self.enable),
        ]

    def stage(self, **values):
        """One stage of registers that hold `values`; returns them as attributes of the same names.

        A register has the shape of its value; a list of values gives a list of registers. Without
        values it is the stage of a memory's own read register.
        """
        self.stages += 1
        valid = Signal(name=f"valid_{self.stages}")
        stage = _Stage()
        with self._m.If(self.enable):
            self._m.d.sync += valid.eq(self.valid)
            for name, value in values.items():
                setattr(stage, name, self._registers(name, value))
        self.valid = valid
        self.inside.append((valid, stage))
        return stage

    def _registers(self, name, value):
        """The registers of a value, or of each value of a list."""
        if isinstance(value, (list, tuple)):
            return [self._registers(f"{name}_{n}", item) for n, item in enumerate(value)]
        value = value if isinstance(value, data.View) else Value.cast(value)
        # The valid bit alone is reset: what no valid bit vouches for is not looked at.
        register = Signal(value.shape(), name=f"{name}_{self.stages}", reset_less=True)
        self._m.d.sync += register.eq(value)
        return register

    def output(self, *assignments):
        """The last stage is offered on `o`; `assignments` give its payload."""
        self._m.d.comb += [
            self._o.valid.eq(self.valid),
            self.enable.eq(self._o.ready | ~self.valid if self._stalls else 1),
            *assignments,
        ]

    def empty(self):
        """No word is inside; call it after the last stage."""
        return ~Cat(valid for valid, _ in self.inside).any()


class _Stage:
    """The registers of one stage, by name."""

    def keep(self, *names):
        """Arguments of the next `stage` for what goes on unchanged."""
        return {name: getattr(self, name) for name in names}


class _Link(wiring.Component):
    """Streams `i` and `o` of one shape."""

    def __init__(self, shape):
        check_shape("Payload", shape)
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})


class RegisterSlice(_Link):
    """A register between two streams, where what is in front of it comes late in the cycle.

    Latency one cycle, one word a cycle. Stalled: the word on `o` is held; `i.ready` depends on
    `o.ready`.

    Parameters
    ----------
    shape : of the payload

    Members
    -------
    i : In(stream of `shape`)
    o : Out(stream of `shape`)
    """

    def elaborate(self, platform):
        m = Module()
        payload = Signal.like(self.o.payload, reset_less=True)
        m.d.comb += [
            self.i.ready.eq(~self.o.valid | self.o.ready),
            self.o.payload.eq(payload),
        ]
        with m.If(self.i.ready):
            m.d.sync += [
                self.o.valid.eq(self.i.valid),
                payload.eq(self.i.payload),
            ]
        return m


class Skid(_Link):
    """Two registers between two streams: no path leads through it, forwards or backwards.

    Latency one cycle, one word a cycle. Stalled: the word on `o` is held, and one more is taken.

    Parameters
    ----------
    shape : of the payload

    Members
    -------
    i : In(stream of `shape`)
    o : Out(stream of `shape`)

    Attributes
    ----------
    second : the word behind the one on `o`
    waits : it is there
    """

    def __init__(self, shape):
        super().__init__(shape)
        self.second = Signal.like(self.o.payload, reset_less=True)
        self.waits = Signal()

    def elaborate(self, platform):
        m = Module()
        first = Signal.like(self.o.payload, reset_less=True)
        second = self.second
        waits = self.waits
        move = Signal()
        m.d.comb += [
            move.eq(~self.o.valid | self.o.ready),
            self.i.ready.eq(~waits),
            self.o.payload.eq(first),
        ]
        with m.If(~waits):
            m.d.sync += second.eq(self.i.payload)
        with m.If(move):
            m.d.sync += [
                self.o.valid.eq(self.i.valid | waits),
                first.eq(Mux(waits, Value.cast(second), Value.cast(self.i.payload))),
                waits.eq(0),
            ]
        with m.Else():
            m.d.sync += waits.eq(waits | self.i.valid)
        return m


class Fifo(wiring.Component):
    """A queue of `depth` words between two parts that stall at different times.

    Latency: see `cycles`; one word a cycle. Stalled: the word on `o` is
    held, and `i` is taken until the queue is full; `i.ready` depends on no input.

    Parameters
    ----------
    shape : of the payload
    depth : words held, at least 1

    Members
    -------
    i : In(stream of `shape`)
    o : Out(stream of `shape`)
    level : Out(range(depth + 1)), words held now
    """

    def __init__(self, shape, depth):
        check_shape("Payload", shape)
        check_count("Depth", depth)
        self._shape = shape
        self._depth = depth
        super().__init__(
            {
                "i": In(stream.Signature(shape)),
                "o": Out(stream.Signature(shape)),
                "level": Out(range(depth + 1)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        # Amaranth's queues hold bits; the payload's shape is the ports' alone.
        width = Shape.cast(self._shape).width
        # The plain kind reads its memory at once, which a block RAM cannot; the buffered one reads
        # ahead, a cycle later.
        kind = fifo.SyncFIFO if self._depth <= SHALLOW else fifo.SyncFIFOBuffered
        m.submodules.fifo = queue = kind(width=width, depth=self._depth)
        m.d.comb += [
            queue.w_data.eq(self.i.payload),
            queue.w_en.eq(self.i.valid),
            self.i.ready.eq(queue.w_rdy),
            self.o.p.eq(queue.r_data),
            self.o.valid.eq(queue.r_rdy),
            queue.r_en.eq(self.o.ready),
            self.level.eq(queue.level),
        ]
        return m
