# SPDX-License-Identifier: Apache-2.0
"""Joining streams: a `connect` that checks shapes, and the valid bits of a pipeline."""

from amaranth import Cat, Module, Shape, Signal, Value
from amaranth.lib import data, fifo, stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Fifo", "Pipeline", "connect"]


def connect(m, a, b):
    """Connect two interfaces; `wiring.connect` of Amaranth 0.5 compares widths only, this compares shapes as well.

    Raises TypeError when the signatures are not each other's flipped.
    """
    if a.signature != b.signature.flip():
        raise TypeError(
            f"Interfaces must have flipped signatures, not {a.signature!r} and {b.signature!r}"
        )
    wiring.connect(m, a, b)


class Pipeline:
    """Valid bits of a pipeline between the streams `i` and `o` that moves, or stands still, as a whole.

    It moves in a cycle in which the output register is empty or taken; gaps between words stay as they are. Used inside `elaborate`:

        pipeline = Pipeline(m, self.i, self.o)
        word = pipeline.stage(sum=a + b, meta=self.i.payload.meta)      # registers, as a namespace
        word = pipeline.stage(sum=word.sum + 1, meta=word.meta)
        word = pipeline.stage(sum=word.sum * 3, **word.keep("meta"))
        pipeline.output(self.o.payload.sum.eq(word.sum), ...)

    Attributes
    ----------
    enable : the pipeline moves in this cycle; the enable of every register and registered read port in it
    accepted : a word enters in this cycle
    valid : the last stage so far holds a word
    """

    def __init__(self, m, i, o):
        self._m = m
        self._i = i
        self._o = o
        self.enable = Signal(name="pipeline_enable")
        self.accepted = Signal(name="pipeline_accepted")
        self.valid = i.valid
        self.stages = 0
        self._valids = []
        m.d.comb += [
            i.ready.eq(self.enable),
            self.accepted.eq(i.valid & self.enable),
        ]

    def stage(self, **values):
        """One stage of registers that hold `values`; returns them as attributes of the same names.

        A register has the shape of its value; a list of values gives a list of registers. With no values it is a stage for a
        memory's own read register.
        """
        self.stages += 1
        valid = Signal(name=f"valid_{self.stages}")
        stage = _Stage()
        with self._m.If(self.enable):
            self._m.d.sync += valid.eq(self.valid)
            for name, value in values.items():
                setattr(stage, name, self._registers(name, value))
        self.valid = valid
        self._valids.append(valid)
        return stage

    def _registers(self, name, value):
        if isinstance(value, (list, tuple)):
            return [self._registers(f"{name}_{n}", item) for n, item in enumerate(value)]
        value = value if isinstance(value, data.View) else Value.cast(value)
        register = Signal(value.shape(), name=f"{name}_{self.stages}", reset_less=True)
        self._m.d.sync += register.eq(value)
        return register

    def output(self, *assignments):
        """The last stage is offered on `o`; `assignments` give its payload."""
        self._m.d.comb += [
            self._o.valid.eq(self.valid),
            self.enable.eq(self._o.ready | ~self.valid),
            *assignments,
        ]

    def empty(self):
        """No word is inside; call it after the last stage."""
        return ~Cat(*self._valids).any()


class _Stage:
    """The registers of one stage, by name."""

    def keep(self, *names):
        """Arguments of the next `stage` for what goes on unchanged."""
        return {name: getattr(self, name) for name in names}


class Fifo(wiring.Component):
    """A queue of `depth` words between two parts that stall at different times.

    Latency one cycle (two when `depth` is large enough for a block RAM), one word per cycle; `i.ready` depends on no input.

    Parameters
    ----------
    shape : of the payload
    depth : words held

    Members
    -------
    i, o : streams of `shape`
    level : words held now
    """

    def __init__(self, shape, depth):
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
        width = Shape.cast(self._shape).width
        kind = fifo.SyncFIFOBuffered if self._depth > 32 else fifo.SyncFIFO
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
