# SPDX-License-Identifier: Apache-2.0
"""The accelerator with taps inside its datapath, for pictures of its timing."""

from amaranth import Cat, Module
from amaranth.lib import data, wiring
from amaranth.lib.wiring import Out

from hw.accelerator import Accelerator
from hw.array.column import Kind

__all__ = ["Watched", "points"]


def points(config):
    """Layouts by name: what is recorded in every cycle in which it happens.

    start, taken : an operation begins; it has sent all its work and is the older one
    end : an operation has ended, of instruction `pc`
    load : a word of a tile goes into a bank of the lanes, `last` of its tile
    weights : a bus word of weights goes to a lane
    lanes : the column lanes that multiply
    command : `groups` groups are to be worked on; of ATTEND for `lanes`, of an item
    column : T accumulators leave the array
    write : a word of results is written to its buffer
    numerator : a word of attention's numerators leaves the softmax
    """
    item = {"kind": Kind, "slot": 8, "head": 8, "tile": 16}
    return {
        name: data.StructLayout(members)
        for name, members in {
            "start": {"one": 1},
            "taken": {"one": 1},
            "end": {"pc": 16, "skipped": 1},
            "load": {"last": 1},
            "weights": {"first": 1},
            "lanes": {"lanes": config.columns},
            "command": {"groups": 8, "dense": 1, "free": 1, "lanes": config.columns, **item},
            "column": {"last": 1, **item},
            "write": {"one": 1},
            "numerator": {"slot": 8, "head": 8, "tile": 16, "key": 16},
        }.items()
    }


class Watched(wiring.Component):
    """`Accelerator` with the ports `trace_NAME` and `trace_NAME_valid` for each of `points`.

    Members
    -------
    those of `Accelerator`, and the taps
    """

    def __init__(self, config):
        self.config = config
        self.accelerator = Accelerator(config)
        taps = {f"trace_{name}": Out(layout) for name, layout in points(config).items()}
        taps |= {f"trace_{name}_valid": Out(1) for name in points(config)}
        super().__init__({**self.accelerator.signature.members, **taps})

    def elaborate(self, platform):
        m = Module()
        m.submodules.accelerator = inner = self.accelerator
        for name, member in inner.signature.members.items():
            ours = getattr(self, name)
            theirs = getattr(inner, name)
            m.d.comb += ours.eq(theirs) if member.flow == Out else theirs.eq(ours)
        for name, (valid, members) in self._values().items():
            m.d.comb += getattr(self, f"trace_{name}_valid").eq(valid)
            tap = getattr(self, f"trace_{name}")
            m.d.comb += [tap[key].eq(value) for key, value in members.items()]
        return m

    def _values(self):
        """(valid, {member: value}) of each of `points`."""
        core = self.accelerator.core
        issue = core.issue
        datapath = core.datapath
        array = datapath.array
        store = datapath.store
        command = array.i_command.payload
        meta = command.meta
        column = array.o.payload
        multiplies = Cat(lane.multiplies for lane in array.lanes)
        numerator = datapath.attention.numerator
        names = ("kind", "slot", "head", "tile")
        return {
            "start": (issue.start.as_value().any(), {"one": 1}),
            "taken": (issue.taken, {"one": 1}),
            "end": (issue.ended, {"pc": issue.pc, "skipped": issue.skipped}),
            "load": (_moves(array.i_load), {"last": array.i_load.payload.last}),
            "weights": (_moves(array.i_weights), {"first": array.i_weights.payload.first}),
            "lanes": (multiplies.any(), {"lanes": multiplies}),
            "command": (
                _moves(array.i_command),
                {
                    **{name: command[name] for name in ("groups", "dense", "free", "lanes")},
                    **{name: meta[name] for name in names},
                },
            ),
            "column": (
                _moves(array.o),
                {"last": column.last, **{name: column.meta[name] for name in names}},
            ),
            "write": (store.write_valid | store.value_write_valid, {"one": 1}),
            "numerator": (
                datapath.attention.numerator_valid,
                {name: numerator[name] for name in ("slot", "head", "tile", "key")},
            ),
        }


def _moves(port):
    """A word of the stream moves in this cycle."""
    return port.valid & port.ready
