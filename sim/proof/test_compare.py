# SPDX-License-Identifier: Apache-2.0
"""The comparison itself: a stand-in for the machine shows golden values as taps would.

Each kind of damage must be noticed.
"""

from types import SimpleNamespace

import numpy as np
import pytest

from firmware.compiler import compile_network
from firmware.isa import Opcode, Select
from golden_model.config import MODELS
from golden_model.model import run
from golden_model.quantize import quantize
from golden_model.random_model import random_checkpoint, random_sentences
from hw.trace import taps
from sim.bench.harness import small
from sim.proof.compare import Comparison
from sim.proof.difference import DifferenceError, traced_tensors

CONFIG = small()
TAPS = tuple(taps(CONFIG))


class Machine:
    """Runs the compiled program on golden tensors.

    Admission, groups, drop and exit as the accelerator does them.
    """

    def __init__(self, program, goldens):
        self.program, self.goldens = program, goldens
        self.slots = [None] * CONFIG.slots  # (sentence, layer)
        self.table = []  # (slot, position)
        self.waiting, self.staged = list(range(len(goldens))), 0
        self.cycle = 0

    def records(self):
        """Yield the taps of one operation after another."""
        pc = 0
        while True:
            values = self.program.instructions[pc]
            self.taps = {name: [] for name in TAPS}
            self.values = values
            self.symbol = self.program.symbols[pc]
            target = getattr(self, "_" + values["opcode"].name.lower())(values)
            if values["opcode"] == Opcode.ATTEND:
                self._embed()
            if values["opcode"] == Opcode.ADMIT and not any(self.slots):
                return
            if values["opcode"] not in (Opcode.GROUP, Opcode.LOOP):
                self.tap("op", pc=pc, skipped=0)
                yield self.packed()
            pc = pc + 1 if target is None else target

    def tap(self, name, **fields):
        self.cycle += 1
        self.taps[name].append({**fields, "cycle": self.cycle})

    def packed(self):
        layouts = taps(CONFIG)
        return {
            name: {
                field: np.array([row[field] for row in rows], np.int64).reshape(
                    len(rows), *([-1] if rows and np.ndim(rows[0][field]) else [])
                )
                for field in [*(key for key, _ in layouts[name]), "cycle"]
            }
            for name, rows in self.taps.items()
        }

    def tensor(self, slot, name):
        sentence, layer = self.slots[slot]
        return np.asarray(self.goldens[sentence].tensors[name.format(l=layer)])

    def mine(self, slot):
        return [i for i, (owner, _) in enumerate(self.table) if owner == slot]

    def selected(self):
        chosen = {
            Select.ALL: lambda s: True,
            Select.NEW: lambda s: s in self.fresh,
            Select.GROUP: lambda s: s in self.group,
            Select.LAST: lambda s: s in self.last,
            Select.NOT_LAST: lambda s: s not in self.last,
        }[self.values["select"]]
        return [slot for slot, held in enumerate(self.slots) if held and chosen(slot)]

    def columns(self, tap, name, rows_of, features, **fields):
        """Tap columns of T lanes.

        `rows_of` slots' rows, value[token, feature] of the golden tensor.
        """
        t = CONFIG.tokens
        for tile in range(-(-len(self.table) // t)):
            lanes = [
                (lane, *self.table[tile * t + lane])
                for lane in range(min(t, len(self.table) - tile * t))
            ]
            lanes = [
                (lane, slot, tile * t + lane - self.mine(slot)[0])
                for lane, slot, _ in lanes
                if slot in rows_of
            ]
            for destination, feature in features if lanes else ():
                values = [77] * t
                for lane, slot, token in lanes:
                    tensor = self.tensor(slot, name)
                    values[lane] = int(tensor.reshape(len(tensor), -1)[token, feature])
                self.tap(
                    tap,
                    tile=tile,
                    live=sum(1 << lane for lane, _, _ in lanes),
                    feature=destination,
                    values=values,
                    **fields,
                )

    def _embed(self):
        """The next sentence is embedded beside any operation."""
        if self.staged < len(self.goldens):
            for position, features in enumerate(
                np.asarray(self.goldens[self.staged].tensors["embed_sum"])
            ):
                for feature, value in enumerate(features):
                    self.tap(
                        "embed",
                        sentence=self.staged,
                        position=position,
                        feature=feature,
                        value=int(value),
                    )
            self.staged += 1

    def _admit(self, values):
        """Admit waiting sentences into free slots while rows last, with their slot and row taps."""
        self.fresh = []
        for slot, held in enumerate(self.slots):
            if held is None and self.waiting:
                count = len(self.goldens[self.waiting[0]].dropped_at_layer)
                if len(self.table) + count > CONFIG.rows:
                    break
                while self.staged <= self.waiting[0]:
                    self._embed()
                self.slots[slot] = (self.waiting.pop(0), 0)
                self.fresh.append(slot)
                self.tap("slot", slot=slot, sentence=self.slots[slot][0], layer=0)
                for position in range(count):
                    self.tap("row", row=len(self.table), slot=slot, position=position)
                    self.table.append((slot, position))
        layers = MODELS["nano"].layers
        self.last = [slot for slot, held in enumerate(self.slots) if held and held[1] == layers - 1]
        self.pending = [slot for slot, held in enumerate(self.slots) if held]

    def _group(self, values):
        if not self.pending:
            return values["target"]
        layer = self.slots[self.pending[0]][1]
        self.group = [slot for slot in self.pending if self.slots[slot][1] == layer]
        self.pending = [slot for slot in self.pending if slot not in self.group]
        return None

    def _loop(self, values):
        return values["target"]

    def _linear(self, values):
        """Tap a linear layer's columns over all rows or, with `cls`, over one lane a slot."""
        slots, table = self.selected(), self.symbol.features
        if values.get("cls"):
            for slot in slots:
                for destination, feature in enumerate(
                    table
                    if table is not None
                    else range(len(self.tensor(slot, self.symbol.tensor)))
                ):
                    value = self.tensor(slot, self.symbol.tensor)[feature]
                    lanes = [0] * CONFIG.tokens
                    lanes[slot % CONFIG.tokens] = int(value)
                    self.tap(
                        "store",
                        slot=0,
                        head=0,
                        tile=slot // CONFIG.tokens,
                        live=1 << slot % CONFIG.tokens,
                        feature=destination,
                        values=lanes,
                    )
            return
        if table is not None and table.ndim == 1:
            features = list(enumerate(table))
        elif table is not None:
            features = [
                (word, feature) for word, row in enumerate(table) for feature in row if feature >= 0
            ]
        else:
            features = (
                [(i, i) for i in range(self.tensor(slots[0], self.symbol.tensor)[0].size)]
                if slots
                else ()
            )
        self.columns("store", self.symbol.tensor, slots, features, slot=0, head=0)

    def _norm(self, values):
        slots = self.selected()
        features = [(i, i) for i in range(values["reduction"])]
        self.columns("norm", self.symbol.tensor, slots, features)

    def _drop(self, values):
        keeps = [1] * len(self.table)
        for slot in self.selected():
            for token, row in enumerate(self.mine(slot)):
                keeps[row] = int(self.tensor(slot, "layer{l}.keep")[token])
                self.tap(
                    "predict",
                    row=row,
                    exponential=int(self.tensor(slot, "layer{l}.predict_exp")[token]),
                    keep=keeps[row],
                )
        self.compact(keeps)

    def compact(self, keeps):
        self.table = [entry for entry, keep in zip(self.table, keeps, strict=True) if keep]
        for row, (slot, position) in enumerate(self.table):
            self.tap("row", row=row, slot=slot, position=position)

    def _attend(self, values):
        """Tap scores, numerators, denominators and contexts, by slot, head and tile of T rows."""
        t = CONFIG.tokens
        for slot in self.selected():
            rows = self.mine(slot)
            for head in range(values["groups"]):
                for tile in range(rows[0] // t, rows[-1] // t + 1):
                    live = [lane for lane in range(t) if tile * t + lane in rows]
                    where = {
                        "slot": slot,
                        "head": head,
                        "tile": tile,
                        "live": sum(1 << lane for lane in live),
                    }
                    for key in rows:
                        for tap, name, field in (
                            ("score", "score", "values"),
                            ("numerator", "numerator", "codes"),
                        ):
                            tensor = self.tensor(slot, "layer{l}." + name)[head]
                            lanes = [
                                int(tensor[tile * t + lane - rows[0], key - rows[0]])
                                if lane in live
                                else 0
                                for lane in range(t)
                            ]
                            self.tap(tap, key=key, **{field: lanes}, **where)
                    tensor = self.tensor(slot, "layer{l}.denominator")[head]
                    self.tap(
                        "denominator",
                        values=[
                            int(tensor[tile * t + lane - rows[0]]) if lane in live else 0
                            for lane in range(t)
                        ],
                        **where,
                    )
                    flat = self.tensor(slot, "layer{l}.context").reshape(len(rows), -1)
                    for i in range(values["reduction"]):
                        address = head * values["reduction"] + i
                        feature = self.symbol.features[address]
                        lanes = [
                            int(flat[tile * t + lane - rows[0], feature]) if lane in live else 0
                            for lane in range(t)
                        ]
                        self.tap("store", feature=address, values=lanes, **where)

    def _exit(self, values):
        """Tap entropies and verdicts; free the slots that exit and move the others on one layer."""
        keeps = [1] * len(self.table)
        for slot in self.selected():
            sentence, layer = self.slots[slot]
            leaves = self.goldens[sentence].exit_layer == layer + 1
            self.tap(
                "exit",
                slot=slot,
                entropy=int(self.tensor(slot, "layer{l}.entropy")),
                exits=int(leaves),
            )
            for row in self.mine(slot) if leaves else ():
                keeps[row] = 0
            self.slots[slot] = None if leaves else (sentence, layer + 1)
            if not leaves:
                self.tap("slot", slot=slot, sentence=sentence, layer=layer + 1)
        self.compact(keeps)


@pytest.fixture(scope="module")
def setup():
    model = MODELS["nano"]
    network = quantize(random_checkpoint(model, seed=5, exit_threshold=1.0), CONFIG.format)
    sentences = random_sentences(model, 6, seed=3)
    program = compile_network(network, CONFIG)
    goldens = [run(network, *sentence) for sentence in sentences]
    assert len({golden.exit_layer for golden in goldens}) > 1
    return SimpleNamespace(program=program, goldens=goldens)


def compare(setup, damage=lambda records: None):
    """A Comparison after all operations, with `damage` done to the records of each."""
    comparison = Comparison(
        CONFIG, setup.program, [traced_tensors(golden, setup.program) for golden in setup.goldens]
    )
    for records in Machine(setup.program, setup.goldens).records():
        damage(records)
        comparison.operation(records)
    return comparison


def test_golden_values_are_equal(setup):
    comparison = compare(setup)
    assert comparison.finish() == []
    assert comparison.tensors == sum(len(golden.tensors) for golden in setup.goldens)
    assert comparison.elements >= sum(
        t.numel() for golden in setup.goldens for t in golden.tensors.values()
    )
    assert comparison.mirror.mixed_tiles > 0
    wanted = {name.partition(".")[2] or name for golden in setup.goldens for name in golden.tensors}
    assert set(comparison.names) == wanted


NUMBERS = {
    "embed": "value",
    "store": "values",
    "norm": "values",
    "predict": "exponential",
    "score": "values",
    "numerator": "codes",
    "denominator": "values",
    "exit": "entropy",
    "row": "position",
}


@pytest.mark.parametrize("tap", NUMBERS)
@pytest.mark.parametrize("which", [0, -1])
def test_one_wrong_value_is_found(setup, tap, which):
    """The first or last record of the third operation that has any: its first live lane."""
    seen = []

    def damage(records):
        if len(records[tap]["cycle"]):
            seen.append(records)
        if len(seen) == 3 and records is seen[2]:
            array = records[tap][NUMBERS[tap]]
            if array.ndim == 2:
                live = int(records[tap]["live"][which])
                array[which, (live & -live).bit_length() - 1] += 1
            else:
                array[which] += 1

    with pytest.raises(DifferenceError) as info:
        compare(setup, damage)
    difference = info.value.difference
    if tap != "row":
        assert difference.cycle == seen[2][tap]["cycle"][which]
        assert difference.found == difference.expected + 1
    assert difference.pc == seen[2]["op"]["pc"][-1]


@pytest.mark.parametrize(
    "tap", ["embed", "store", "norm", "predict", "score", "denominator", "exit"]
)
def test_missing_record_is_found(setup, tap):
    """One operation shows one less.

    A tensor is incomplete at the end, or the row table goes another way.

    (The first `store` and the second `norm` show the same tensor, x.)
    """
    seen = []

    def damage(records):
        if len(records[tap]["cycle"]):
            seen.append(records)
        if len(seen) == {"store": 5, "norm": 3}.get(tap, 2) and records is seen[-1]:
            records[tap] = {name: array[1:] for name, array in records[tap].items()}

    try:
        missing = compare(setup, damage).finish()
    except DifferenceError:
        return
    assert missing and all(count > 0 for *_, count in missing)


def test_dead_lane_is_not_compared(setup):
    def damage(records):
        live = records["norm"]["live"][:, None] >> np.arange(CONFIG.tokens) & 1
        if len(live):
            records["norm"]["values"][live == 0] = -5

    assert compare(setup, damage).finish() == []


def test_value_beyond_golden_is_found(setup):
    def damage(records):
        if len(records["norm"]["cycle"]):
            records["norm"]["feature"][0] = 4000

    with pytest.raises(
        DifferenceError,
        match=r"embed\[0, 4000\] of sentence 0 is .*, the golden model has no such value",
    ):
        compare(setup, damage)
