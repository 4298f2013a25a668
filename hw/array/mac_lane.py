# SPDX-License-Identifier: Apache-2.0
"""One column lane of the MAC array: weights, a copy of the activations, T multipliers and sums."""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from firmware.columns import HEADERS
from hw.array.bitmask import ColumnDecoder, header_layout, string_layout, weight_layout
from hw.array.product import operand_layout, product, shifted_product, shifts, unpack_products
from hw.array.ring import NO_COLLISIONS, Ring
from hw.shapes import GROUPS, accumulator, code
from hw.stream import Skid, connect

__all__ = [
    "WINDOW",
    "MacLane",
    "group_layout",
    "loading_layout",
    "result_layout",
    "write_layout",
]

# Groups that lanes may be apart. Three are longer than the drain and the pipeline of two short
# groups, so a lane need not wait for the others at every group, and they take turns at being late.
WINDOW = 3
PIPELINE = 3  # cycles from a column's last entry until its sums may go to the result


def write_layout(config):
    """One write into all copies of the activations: address is row * 2 + bank."""
    return data.StructLayout(
        {
            "enable": 1,
            "address": ceil_log2(2 * config.reduction),
            "operands": data.ArrayLayout(operand_layout(config), config.tokens),
        }
    )


def loading_layout(config):
    """The tile that is being loaded: its bank, and how many of its first rows can be read.

    0 rows where none is loaded.
    """
    return data.StructLayout({"bank": 1, "rows": range(config.reduction + 1)})


def group_layout(meta=0):
    """A group of columns to be worked on.

    dense : its weights come from `i_dense`, not from the ring
    end : it is its command's last one
    rewind : its weights are wanted again after the `end`; otherwise they are released
    free : the bank is released after the `end`
    """
    return data.StructLayout(
        {"valid": 1, "bank": 1, "dense": 1, "end": 1, "rewind": 1, "free": 1, "meta": meta}
    )


def result_layout(config):
    """A finished column."""
    return data.StructLayout(
        {
            "accumulators": data.ArrayLayout(accumulator(config), config.tokens),
            **header_layout(config).members,
        }
    )


class MacLane(wiring.Component):
    """accumulator[t] = sum over a column's entries of activation[k][t] * weight[k], t = 0 .. T-1.

    An entry is a weight that is not 0, or any of a dense group. One entry a cycle, also from column
    to column; a column's sums are in the result `PIPELINE` + 1 cycles after its last entry was
    issued (one more where products are shifted), when the result before has been taken. The lane
    runs ahead of the array's current group by as many groups as the window has.

    Stalled: where the result before is not taken, the lane's pipeline stands still as a whole. An
    entry waits for its row of a tile that is being loaded, a column's last one for the whole tile,
    so that no group leaves before. When the ring is empty bubbles pass; the sums are untouched.

    Stages: 0 ring's output; 1 activation memory; 2 its output register, weight decoded; 3 product
    (3 and 4 where it is shifted); then accumulators and result.

    Parameters
    ----------
    config : HardwareConfig

    Members
    -------
    i : In(stream of string_layout), this lane's bytes
    i_dense : In(stream of weight_layout), weights of dense groups; ready does not depend on valid
    reduction : In(range(config.reduction + 1)), K of the weight stream, see ColumnDecoder
    groups : In(GROUPS), columns of the weight stream, see ColumnDecoder
    write : In(write_layout), activations into this lane's copy
    loading : In(loading_layout)
    window : In(3 x group_layout), the group whose columns are being taken and those after it, as
        far as they are `valid`; a group stays until it has moved through the window
    advance : In(1), the window moves on by one group: its first one's column, one of each lane, has
        been taken, or is in this cycle
    o : Out(stream of result_layout); of a dense group without bias and destination. A result that
        is there before its group is the first one may be withdrawn, or change, by `advance`
    multiplies : Out(1), an entry is consumed
    starved : Out(1), an entry is missing
    blocked : Out(1), the result before was not taken
    waits : Out(1), a row is not there

    Attributes
    ----------
    totals : the sums of the column that is added up, once it is elaborated
    """

    def __init__(self, config):
        self.config = config
        super().__init__(
            {
                "i": In(stream.Signature(string_layout(config))),
                "i_dense": In(stream.Signature(weight_layout(config))),
                "reduction": In(range(config.reduction + 1)),
                "groups": In(GROUPS),
                "write": In(write_layout(config)),
                "loading": In(loading_layout(config)),
                "window": In(data.ArrayLayout(group_layout(), WINDOW)),
                "advance": In(1),
                "o": Out(stream.Signature(result_layout(config))),
                "multiplies": Out(1),
                "starved": Out(1),
                "blocked": Out(1),
                "waits": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.decoder = decoder = ColumnDecoder(self.config)
        # Headers have a ring of their own, because they are wanted when a column ends and weights
        # when it begins.
        m.submodules.weights = weights = Ring(weight_layout(self.config), self.config.weight_depth)
        m.submodules.headers = headers = Ring(header_layout(self.config), HEADERS)
        m.d.comb += [
            decoder.reduction.eq(self.reduction),
            decoder.groups.eq(self.groups),
        ]
        connect(m, wiring.flipped(self.i), decoder.i)
        connect(m, decoder.o, weights.i)
        connect(m, decoder.o_header, headers.i)
        # Lanes take a dense entry together, each into registers of its own: what the slowest one
        # waits for is far away.
        m.submodules.dense = dense = Skid(weight_layout(self.config))
        connect(m, wiring.flipped(self.i_dense), dense.i)
        self._enable = Signal()  # the pipeline moves
        last, products = self._multiply(m, *self._issue(m, weights, dense.o))
        self._accumulate(m, last, products, headers)
        return m

    def _issue(self, m, weights, dense):
        """(The entry that enters the pipeline if `multiplies`, the bank that it reads)."""
        ahead = Signal(range(WINDOW + 1))  # groups of the window that are done
        may = Signal()  # an entry is wanted
        loaded = Signal()  # its row is there
        group = Signal(group_layout())
        entry = Signal(weight_layout(self.config))
        offered = Signal()
        # Both sources' rows are compared before one is chosen: the choice comes late.
        sources = dense, weights.o
        dense_loaded, ring_loaded = (self._loaded(source.payload, group) for source in sources)
        with m.Switch(ahead):
            for index in range(WINDOW):
                with m.Case(index):
                    m.d.comb += group.eq(self.window[index])
        m.d.comb += [
            entry.eq(Mux(group.dense, dense.payload.as_value(), weights.o.payload.as_value())),
            # A dense group's entry does not take the ring, where later operations' weights wait.
            offered.eq(Mux(group.dense, dense.valid, weights.o.valid)),
            loaded.eq(Mux(group.dense, dense_loaded, ring_loaded)),
            may.eq(group.valid & self._enable),
            weights.o.ready.eq(may & ring_loaded & ~group.dense),
            dense.ready.eq(may & dense_loaded & group.dense),
            self.multiplies.eq(may & loaded & offered),
            self.starved.eq(may & ~offered),
            self.waits.eq(may & ~loaded & offered),
            weights.rewind.eq(weights.o.payload.last & group.end & group.rewind),
            weights.release.eq(weights.o.payload.last & ~group.rewind),
        ]
        m.d.sync += ahead.eq(ahead + (self.multiplies & entry.last) - self.advance)
        return entry, group.bank

    def _loaded(self, entry, group):
        """Whether the row of an entry of a group can be read."""
        loading = self.loading
        return (
            (loading.rows == 0)
            | (loading.bank != group.bank)
            | ((entry.k < loading.rows) & ~entry.last)
        )

    def _activations(self, m, k, bank):
        """This lane's copy of the activations, read at row `k`, all tokens at once: stage 1."""
        # A copy in each lane: at any time the lanes are at different rows, each at that of its own
        # weight, and a memory shared by them would need a port for each. The bank is the lowest bit
        # of the address: a reduction that is no power of two leaves no gap.
        config = self.config
        m.submodules.activations = memory = Memory(
            shape=data.ArrayLayout(operand_layout(config), config.tokens),
            depth=2 * config.reduction,
            init=[],
            attrs=NO_COLLISIONS,
        )
        write = memory.write_port()
        read = memory.read_port()
        m.d.comb += [
            write.en.eq(self.write.enable),
            write.addr.eq(self.write.address),
            write.data.eq(self.write.operands),
            read.en.eq(self._enable),
            read.addr.eq(Cat(bank, k)),
        ]
        return read.data

    def _multiply(self, m, entry, bank):
        """Stages 1 to 4: (it is a column's last entry, for each token product and carry).

        The carry is to be added to the product. All are valid when `_valid`.
        """
        config = self.config
        activations = self._activations(m, entry.k, bank)
        shifted = shifts(config)
        stages = PIPELINE + shifted
        valid = Signal(stages)
        last = Signal(stages)
        weight_code = Signal(code(config), reset_less=True)
        weight = Signal(operand_layout(config), reset_less=True)
        operands = Signal(activations.shape(), reset_less=True)
        # The activations were decoded when they were written, once for all lanes; a weight is here,
        # behind its ring, which is deep: codes are narrower.
        with m.If(self._enable):
            m.d.sync += [
                valid.eq(Cat(self.multiplies, valid)),
                last.eq(Cat(entry.last, last)),
                weight_code.eq(entry.code),
                weight.eq(unpack_products(config, weight_code)),
                operands.eq(activations),
            ]
        self._valid = valid[-1]
        if not shifted:
            return last[-1], [
                product(m, config, self._enable, index, operand, weight)
                for index, operand in enumerate(operands)
            ]
        mantissa = unpack_products(config, weight_code)[: len(weight.mantissa)]
        triple = Signal(len(mantissa) + 2, reset_less=True)  # 3 * weight.mantissa, for all tokens
        with m.If(self._enable):
            m.d.sync += triple.eq(mantissa + (mantissa << 1))
        return last[-1], [
            shifted_product(m, config, self._enable, index, operand, weight, triple)
            for index, operand in enumerate(operands)
        ]

    def _accumulate(self, m, last, products, headers):
        """Sums of products; with a column's last ones they go to the result, and start from 0."""
        filled = Signal()  # a result waits
        ends = Signal()  # a column's last products come
        adds = Signal()  # products come
        result = Signal(
            data.ArrayLayout(accumulator(self.config), self.config.tokens), reset_less=True
        )
        # The result is a second set of registers: the next column is added up while the lane waits
        # for its turn in the drain.
        taken = self.o.valid & self.o.ready
        current = self.window[0]
        m.d.comb += [
            self.blocked.eq(self._valid & last & filled),
            self._enable.eq(~self.blocked),
            ends.eq(self._valid & last & ~filled),
            adds.eq(self._valid & self._enable),
            self.o.valid.eq(filled & (headers.o.valid | current.dense)),
            self.o.payload.accumulators.eq(result),
            self.o.payload.bias.eq(headers.o.payload.bias),
            self.o.payload.destination.eq(headers.o.payload.destination),
            headers.o.ready.eq(taken & ~current.dense),
            headers.rewind.eq(current.end & current.rewind),
            headers.release.eq(~current.rewind),
        ]
        m.d.sync += filled.eq((filled & ~taken) | ends)
        self.totals = []
        for index, (term, carry) in enumerate(products):
            total = Signal(accumulator(self.config), name=f"total_{index}")
            added = Signal(accumulator(self.config), name=f"added_{index}")
            self.totals.append(total)
            # A carry comes in from an added lowest bit: a third operand would be a second adder.
            m.d.comb += added.eq(
                (Cat(carry, total).as_signed() + Cat(carry, term).as_signed()) >> len(carry)
            )
            with m.If(ends):
                m.d.sync += [
                    result[index].eq(added),
                    total.eq(0),
                ]
            with m.Elif(adds):
                m.d.sync += total.eq(added)
