# SPDX-License-Identifier: Apache-2.0
"""Tap records of the accelerator against the golden model's named tensors, operation by operation.

`Comparison` keeps a mirror of the row table and of the slots, so it knows for every record which
sentence, layer and token it is about. Everything is compared as arrays; the first difference (by
cycle) stops it. What golden has and the machine never showed is a failure too.
"""

import numpy as np

from firmware.isa import Opcode
from sim.proof.difference import Difference, DifferenceError
from sim.proof.mirror import Mirror

__all__ = ["Comparison"]

LAYER = "layer{l}."


class Comparison:
    """Compares what `Cosim.take` returns with golden tensors.

    Parameters
    ----------
    config : HardwareConfig
    program : firmware.compiler.Program
    expected : for each queued sentence a dict of golden arrays (`visible`), or None for a sentence
        that is expected to fail

    Attributes
    ----------
    seen : for each sentence, which elements the machine has shown
    elements : values compared
    """

    def __init__(self, config, program, expected):
        self.lanes = config.tokens
        self.program, self.expected = program, expected
        self.seen = [
            {name: np.zeros(np.shape(values), bool) for name, values in (tensors or {}).items()}
            for tensors in expected
        ]
        self.mirror = Mirror(config.slots, config.tokens)
        self.elements = 0
        self._first = None
        self._pc = 0
        self._ahead = None  # what a NORM has shown while the LINEAR before it ended

    def operation(self, records):
        """Compare the records of one operation that has just ended."""
        self._pc = int(records["op"]["pc"][-1])
        self._values, self._symbol = (
            self.program.instructions[self._pc],
            self.program.symbols[self._pc],
        )
        self._opcode = self._values["opcode"]
        self._first = None
        if self._opcode == Opcode.LINEAR:
            self._ahead, records = records["norm"], records | {"norm": {"cycle": ()}}
        elif self._ahead is not None and len(self._ahead["cycle"]):
            records, self._ahead = records | {"norm": _joined(self._ahead, records["norm"])}, None
        if self._opcode == Opcode.ADMIT:
            self._admit(records["slot"], records["row"])
        for name in (
            "embed",
            "store",
            "norm",
            "predict",
            "score",
            "numerator",
            "denominator",
            "exit",
        ):
            if len(records[name]["cycle"]):
                getattr(self, f"_{name}")(records[name])
        if self._opcode == Opcode.DROP:
            self._rows(records)
        elif self._opcode == Opcode.EXIT:
            self._exits(records)
        if self._first:
            raise DifferenceError(self._first)

    def finish(self):
        """What golden has and the machine never showed: [(sentence, tensor, elements missing)]."""
        return [
            (sentence, name, int((~seen).sum()))
            for sentence, tensors in enumerate(self.seen)
            for name, seen in tensors.items()
            if not seen.all()
        ]

    @property
    def names(self):
        """Names of the tensors that were compared, without their layer."""
        shown = {
            name.partition(".")[2] or name
            for tensors in self.seen
            for name, seen in tensors.items()
            if seen.any()
        }
        return tuple(sorted(shown))

    @property
    def tensors(self):
        """Tensors compared, all sentences together."""
        return sum(bool(seen.any()) for tensors in self.seen for seen in tensors.values())

    # One method for each tap.

    def _admit(self, slots, rows):
        """Sentences come one after another; one that fails leaves its slot and rows to the next."""
        ends = np.append(slots["cycle"], np.iinfo(np.int64).max)[1:]
        for slot, sentence, begin, end in zip(
            slots["slot"], slots["sentence"], slots["cycle"], ends, strict=True
        ):
            if self.expected[sentence] is None:
                continue
            mine = (rows["cycle"] >= begin) & (rows["cycle"] < end) & (rows["slot"] == slot)
            if not self.mirror.admit(slot, sentence, rows["row"][mine], rows["position"][mine]):
                self._note(
                    Difference(
                        "row table",
                        int(sentence),
                        (),
                        len(self.mirror.table),
                        int(rows["row"][mine][0]),
                        int(begin),
                        self._pc,
                    )
                )
                return
        self.mirror.begin_pass()

    def _embed(self, records):
        """Sentences are embedded ahead of their admission."""
        for sentence in np.unique(records["sentence"]):
            if self.expected[sentence] is not None:
                mine = records["sentence"] == sentence
                index = (records["position"][mine], records["feature"][mine])
                self._elements(
                    "embed_sum",
                    int(sentence),
                    index,
                    records["value"][mine],
                    records["cycle"][mine],
                )

    def _store(self, records):
        which, rows = self._live(records)
        feature, cycle = self._features(records)[which], records["cycle"][which]
        values = records["values"].reshape(-1)[which * self.lanes + rows % self.lanes]
        name = self._symbol.tensor
        if self._values.get("cls"):
            self._compare(name, rows, (feature,), values, cycle)
            return
        slots, token = self.mirror.tokens(rows)
        self._compare(name, slots, (token, feature), values, cycle)

    def _features(self, records):
        """Index among the tensor's flattened features, of each record."""
        table, destination = self._symbol.features, records["feature"]
        if table is None:
            return destination
        if table.ndim == 1:
            return np.append(table, -1)[np.minimum(destination, len(table))]
        # A word of VALUES is a group of columns, which arrive lane by lane: count those of each
        # tile and word.
        order = np.lexsort((np.arange(len(destination)), destination, records["tile"]))
        tile, word = records["tile"][order], destination[order]
        begins = np.append(True, (tile[1:] != tile[:-1]) | (word[1:] != word[:-1]))
        starts = np.nonzero(begins)[0]
        lane = np.empty(len(order), np.int64)
        lane[order] = np.arange(len(order)) - starts[np.cumsum(begins) - 1]
        lanes = np.array(
            [np.append(row[row >= 0], np.full((row < 0).sum() + 1, -1)) for row in table]
        )
        return lanes[np.minimum(destination, len(table) - 1), np.minimum(lane, table.shape[1])]

    def _norm(self, records):
        which, rows = self._live(records)
        slots, token = self.mirror.tokens(rows)
        values = records["values"].reshape(-1)[which * self.lanes + rows % self.lanes]
        index, cycle = (token, records["feature"][which]), records["cycle"][which]
        self._compare(self._symbol.tensor, slots, index, values, cycle)
        if self._symbol.tensor == LAYER + "feed_forward_norm":  # which is the next layer's input
            self._compare(LAYER + "x", slots, index, values, cycle, ahead=1)

    def _predict(self, records):
        slots, token = self.mirror.tokens(records["row"])
        self._compare(
            LAYER + "predict_exp", slots, (token,), records["exponential"], records["cycle"]
        )
        self._compare(LAYER + "keep", slots, (token,), records["keep"], records["cycle"])

    def _score(self, records, name=LAYER + "score", values="values"):
        which, rows = self._live(records)
        slots, token = self.mirror.tokens(rows)
        _, key = self.mirror.tokens(records["key"][which])
        numbers = records[values].reshape(-1)[which * self.lanes + rows % self.lanes]
        self._compare(
            name, slots, (records["head"][which], token, key), numbers, records["cycle"][which]
        )

    def _numerator(self, records):
        self._score(records, LAYER + "numerator", "codes")

    def _denominator(self, records):
        which, rows = self._live(records)
        slots, token = self.mirror.tokens(rows)
        numbers = records["values"].reshape(-1)[which * self.lanes + rows % self.lanes]
        self._compare(
            LAYER + "denominator",
            slots,
            (records["head"][which], token),
            numbers,
            records["cycle"][which],
        )

    def _exit(self, records):
        self._compare(LAYER + "entropy", records["slot"], (), records["entropy"], records["cycle"])

    def _rows(self, records):
        """The table after a drop: survivors' positions, in order."""
        predict, rows = records["predict"], records["row"]
        expected = self.mirror.drop(predict["row"], predict["keep"])
        self._table("rows", expected, rows)
        for slot in np.unique(self.mirror.slot[predict["row"]]) if len(predict["row"]) else ():
            positions = expected[expected[:, 0] == slot, 1]
            cycle = np.full(len(positions), records["op"]["cycle"][-1])
            self._compare(
                LAYER + "rows",
                np.full(len(positions), slot),
                (np.arange(len(positions)),),
                positions,
                cycle,
            )
        self.mirror.replace(expected)

    def _exits(self, records):
        """The table without the sentences that left; the others are one layer on."""
        exits = records["exit"]
        expected = self.mirror.without(exits["slot"][exits["exits"] == 1])
        self._table("row table", expected, records["row"])
        self.mirror.replace(expected)
        self.mirror.show(records["slot"])

    def _table(self, name, expected, rows):
        """Whether the entries that the table got are those of `expected`.

        No entries at all: nothing moved.
        """
        found = np.stack([rows["slot"], rows["position"]], axis=1)
        if np.array_equal(rows["row"], np.arange(len(expected))) and np.array_equal(
            found, expected
        ):
            return
        if not len(found) and np.array_equal(expected, self.mirror.table):
            return
        cycle = int(rows["cycle"][0]) if len(found) else -1
        self._note(Difference(name, -1, (), len(expected), len(found), cycle, self._pc))

    # Comparison.

    def _live(self, records):
        """(record, row) of every live lane; with a [CLS] operation the row is a slot."""
        lanes = np.arange(self.lanes)
        which, lane = np.nonzero(records["live"][:, None] >> lanes & 1)
        return which, records["tile"][which] * self.lanes + lane

    def _compare(self, name, slots, index, values, cycles, ahead=0):
        for slot in np.unique(slots):
            mine = slots == slot
            sentence, layer = int(self.mirror.sentence[slot]), int(self.mirror.layer[slot])
            if self.expected[sentence] is None:
                continue
            key = name.format(l=layer + ahead)
            if ahead and key not in self.expected[sentence]:
                continue  # the sentence leaves before that layer
            self._elements(key, sentence, tuple(i[mine] for i in index), values[mine], cycles[mine])

    def _elements(self, key, sentence, index, values, cycles):
        """Compare values with those of one golden tensor.

        The last index runs over all its features, however many axes they have.
        """
        golden = self.expected[sentence].get(key, np.zeros((0,) * len(index), np.int64))
        expected, seen = (
            array.reshape(*array.shape[: len(index) - 1], -1) if len(index) < array.ndim else array
            for array in (golden, self.seen[sentence].get(key, np.zeros(golden.shape, bool)))
        )
        if len(index) > expected.ndim:  # one feature, or none
            expected, seen = expected[..., None], seen[..., None]
        inside = np.ones(len(values), bool)
        for axis, size in zip(index, expected.shape, strict=True):
            inside &= (axis >= 0) & (axis < size)
        place = tuple(axis[inside] for axis in index)
        wrong = ~inside
        wrong[inside] = expected[place] != values[inside]
        seen[place] = True
        self.elements += int(inside.sum())
        if wrong.any():
            at = np.nonzero(wrong)[0][np.argmin(cycles[wrong])]
            where = tuple(int(axis[at]) for axis in index)
            self._note(
                Difference(
                    key,
                    sentence,
                    where,
                    int(expected[where]) if inside[at] else None,
                    int(values[at]),
                    int(cycles[at]),
                    self._pc,
                )
            )

    def _note(self, difference):
        if self._first is None or difference.cycle < self._first.cycle:
            self._first = difference


def _joined(first, second):
    """Records of a tap, one batch behind the other."""
    return {name: np.concatenate([values, second[name]]) for name, values in first.items()}
