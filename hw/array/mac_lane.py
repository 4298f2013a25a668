# SPDX-License-Identifier: Apache-2.0
"""One column lane of the MAC array: its weights, its copy of the activations, T multipliers and accumulators."""

from amaranth import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from firmware.columns import HEADERS
from hw.array.bitmask import ColumnDecoder, header_layout, string_layout, weight_layout
from hw.shapes import accumulator, code, decoded
from hw.stream import connect

__all__ = [
    "WINDOW",
    "MacLane",
    "Ring",
    "group_layout",
    "loading_layout",
    "result_layout",
    "unpack",
    "write_layout",
]

RING = 3  # cycles through a `Ring`, and from a rewind to its next word
PIPELINE = 3  # from a column's last entry until its sums may go to the result
WINDOW = 3  # groups that lanes may be apart: longer than drain and pipeline of two short groups
WIDEST_FACTOR = 18  # signed bits that every FPGA's multiplier block takes
NO_COLLISIONS = {
    "no_rw_check": 1
}  # no word is read in the cycle in which it is written: no bypass is needed


def shifts(config):
    """Products are made of mantissas and shifted: without multiplier blocks, or where a decoded code is too wide for one."""
    return config.multiplier == "fabric" or config.format.decoded_bits > WIDEST_FACTOR


def operand_layout(config):
    """An activation in the lanes' copies: decoded; or, where products are shifted, its mantissa * 2^exponent and its sign, which take fewer bits."""
    fmt = config.format
    if not shifts(config):
        return data.StructLayout({"value": decoded(config)})
    mantissa = fmt.mantissa + 1 if fmt.is_adaptivfloat else fmt.bits - 1
    return data.StructLayout({"mantissa": mantissa, "exponent": fmt.exponent, "negative": 1})


def unpack(config, value):
    """A code's operand, combinational: the same integer as golden_model.adaptivfloat.decode_integer."""
    fmt = config.format
    negative = value[-1]
    magnitude = value[:-1]
    mantissa = Cat(magnitude[: fmt.mantissa], magnitude.any())
    exponent = magnitude[fmt.mantissa :]
    if not fmt.is_adaptivfloat:
        if shifts(config):
            return Cat(Mux(negative, -magnitude, magnitude)[: len(magnitude)], negative)
        return Mux(magnitude.any(), value, 0)
    if shifts(config):
        return Cat(mantissa, exponent, negative)
    decoded = mantissa << exponent
    return Mux(negative, -decoded, decoded)


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
    """The tile that is being loaded: its bank, and how many of its first rows can be read; 0 where there is none."""
    return data.StructLayout({"bank": 1, "rows": range(config.reduction + 1)})


def group_layout(meta=0):
    """A group of columns to be worked on. `rewind`: its weights are wanted again, after its command's last group, the `end`; else released.
    `dense`: its weights come from `i_dense`, not from the ring."""
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


class Ring(wiring.Component):
    """A queue in block RAM whose words can be read again, from the first one that was not released.

    Latency `RING` cycles, one word a cycle; as many from a rewind to the next word. The words ahead are read into two registers.

    Parameters
    ----------
    shape, depth : of the queue; depth is a power of two

    Members
    -------
    i, o : streams of `shape`
    release : the word that is taken from `o` in this cycle and all before it are given up
    rewind : after the word taken in this cycle, start again
    """

    def __init__(self, shape, depth):
        self._shape = shape
        self._depth = depth
        super().__init__(
            {
                "i": In(stream.Signature(shape)),
                "o": Out(stream.Signature(shape)),
                "release": In(1),
                "rewind": In(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = Memory(
            shape=self._shape, depth=self._depth, init=[], attrs=NO_COLLISIONS
        )
        write = memory.write_port()
        read = memory.read_port()
        written, fetched, base = (
            Signal(range(2 * self._depth), name=name) for name in ("written", "fetched", "base")
        )
        behind = [
            Signal.like(written, name=f"behind_{stage}") for stage in ("middle", "output")
        ]  # addresses after the words there
        middle, move, fetch = (
            Signal(),
            Signal(),
            Signal(),
        )  # the read port holds a word; it goes to `o`; the next is read
        full = Signal()
        following = Signal.like(written)  # seen a cycle late when words are released
        output = Signal(self._shape, reset_less=True)
        m.d.comb += [
            self.i.ready.eq(~full),
            following.eq(written + 1),
            write.en.eq(self.i.valid & self.i.ready),
            write.addr.eq(written),
            write.data.eq(self.i.payload),
            read.addr.eq(fetched),
            move.eq(~self.o.valid | self.o.ready),
            fetch.eq(~middle | move),
            read.en.eq(fetch),
            self.o.p.eq(output),
        ]
        m.d.sync += full.eq((written ^ base) == self._depth)
        with m.If(write.en):
            m.d.sync += [
                written.eq(following),
                full.eq((following ^ base) == self._depth),
            ]
        with m.If(fetch):
            m.d.sync += middle.eq(fetched != written)
            m.d.sync += behind[0].eq(fetched + 1)
            with m.If(fetched != written):
                m.d.sync += fetched.eq(fetched + 1)
        with m.If(move):
            m.d.sync += [
                self.o.valid.eq(middle),
                output.eq(read.data),
                behind[1].eq(behind[0]),
            ]
        with m.If(self.o.valid & self.o.ready):
            with m.If(self.release):
                m.d.sync += base.eq(behind[1])
            with m.If(self.rewind):
                m.d.sync += [
                    fetched.eq(base),
                    middle.eq(0),
                    self.o.valid.eq(0),
                ]
        return m


class MacLane(wiring.Component):
    """Walks columns of non-zero weights: accumulator[t] = sum over a column's entries of activation[k][t] * weight[k], t = 0..T-1.

    One entry a cycle, also from column to column; a column's sums are in the result 4 cycles after its last entry was issued (5 where products
    are shifted), when the result before has been taken; until then the lane's pipeline stands still as a whole. The lane runs ahead of the
    array's current group by as many groups as it is told of. An entry waits for its row of a tile that is being loaded, a column's last one for the
    whole tile, so that no group leaves before. When the ring is empty bubbles pass; the accumulators are untouched.

    Stages: 0 ring's output; 1 activation memory; 2 its output register, weight decoded; 3 product (3, 4 where it is shifted); accumulators, result.

    Parameters
    ----------
    config : HardwareConfig

    Members
    -------
    i : In(stream of string_layout), this lane's bytes
    i_dense : In(stream of weight_layout), the weights of dense groups; ready does not depend on valid
    reduction, groups : In, as in ColumnDecoder
    write : In(write_layout)
    loading : In(loading_layout)
    window : In(array of group_layout), the group whose columns are being taken and those after it, as far as they are `valid`
    advance : In(1), the window moves on by one group
    o : Out(stream of result_layout); a dense group's have no bias and no destination
    multiplies, starved, blocked, waits : Out(1), an entry is consumed; one is missing; the result before was not taken; a row is not there
    """

    def __init__(self, config):
        self.config = config
        super().__init__(
            {
                "i": In(stream.Signature(string_layout(config))),
                "i_dense": In(stream.Signature(weight_layout(config))),
                "reduction": In(range(config.reduction + 1)),
                "groups": In(16),
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
        m.submodules.weights = weights = Ring(weight_layout(self.config), self.config.weight_depth)
        m.submodules.headers = headers = Ring(header_layout(self.config), HEADERS)
        m.d.comb += [
            decoder.reduction.eq(self.reduction),
            decoder.groups.eq(self.groups),
        ]
        connect(m, wiring.flipped(self.i), decoder.i)
        connect(m, decoder.o, weights.i)
        connect(m, decoder.o_header, headers.i)
        self._enable = Signal()  # the pipeline moves
        last, products = self._multiply(m, *self._issue(m, weights))
        self._accumulate(m, last, products, headers)
        return m

    def _issue(self, m, weights):
        """The entry that enters the pipeline if `multiplies`, and the bank that it reads."""
        ahead, may, loaded = (
            Signal(range(WINDOW + 1)),
            Signal(),
            Signal(),
        )  # groups done in the window; an entry is wanted; its row is there
        group = Signal(group_layout())
        entry = Signal(weight_layout(self.config))
        offered = Signal()
        with m.Switch(ahead):
            for index in range(WINDOW):
                with m.Case(index):
                    m.d.comb += group.eq(self.window[index])
        m.d.comb += [
            entry.eq(
                Mux(group.dense, self.i_dense.payload.as_value(), weights.o.payload.as_value())
            ),
            offered.eq(Mux(group.dense, self.i_dense.valid, weights.o.valid)),
            loaded.eq(
                (self.loading.rows == 0)
                | (self.loading.bank != group.bank)
                | ((entry.k < self.loading.rows) & ~entry.last)
            ),
            may.eq(group.valid & self._enable),
            weights.o.ready.eq(may & loaded & ~group.dense),
            self.i_dense.ready.eq(may & loaded & group.dense),
            self.multiplies.eq(may & loaded & offered),
            self.starved.eq(may & ~offered),
            self.waits.eq(may & ~loaded & offered),
            weights.rewind.eq(weights.o.payload.last & group.end & group.rewind),
            weights.release.eq(weights.o.payload.last & ~group.rewind),
        ]
        m.d.sync += ahead.eq(ahead + (self.multiplies & entry.last) - self.advance)
        return entry, group.bank

    def _multiply(self, m, entry, bank):
        """Stages 1 to 4; returns (it is the column's last entry, each token's product and the carry to be added to it), valid when `_valid`."""
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
            read.addr.eq(Cat(bank, entry.k)),
        ]
        shifted = shifts(config)
        valid, last = (Signal(4 if shifted else 3, name=name) for name in ("valid", "last"))
        weight_code = Signal(code(config), reset_less=True)
        weight = Signal(operand_layout(config), reset_less=True)
        operands = Signal(read.data.shape(), reset_less=True)
        with m.If(self._enable):
            m.d.sync += [
                valid.eq(Cat(self.multiplies, valid)),
                last.eq(Cat(entry.last, last)),
                weight_code.eq(entry.code),
                weight.eq(unpack(config, weight_code)),
                operands.eq(read.data),
            ]
        self._valid = valid[-1]
        if not shifted:
            return last[-1], [
                self._product(m, index, operand, weight) for index, operand in enumerate(operands)
            ]
        mantissa = unpack(config, weight_code)[: len(weight.mantissa)]
        triple = Signal(len(mantissa) + 2, reset_less=True)  # 3 * weight.mantissa, for all tokens
        with m.If(self._enable):
            m.d.sync += triple.eq(mantissa + (mantissa << 1))
        return last[-1], [
            self._shifted_product(m, index, operand, weight, triple)
            for index, operand in enumerate(operands)
        ]

    def _product(self, m, index, operand, weight):
        """Stage 3 with a multiplier block."""
        product = Signal(
            signed(2 * self.config.format.decoded_bits - 1),
            name=f"product_{index}",
            reset_less=True,
        )
        with m.If(self._enable):
            m.d.sync += product.eq(operand.value * weight.value)
        return product, Const(0, 0)

    def _shifted_product(self, m, index, operand, weight, triple):
        """Stages 3 and 4 without a multiplier block: for every two bits of a mantissa 0 to 3 times the other one, and their sum shifted.

        A negative product is left one too small: its bits are inverted, which takes no logic."""
        width = len(operand.mantissa)
        single = weight.mantissa
        mantissas = Signal(2 * width + 1, name=f"mantissas_{index}", reset_less=True)
        exponent = Signal(self.config.format.exponent, name=f"exponent_{index}", reset_less=True)
        negative, carry = (
            Signal(name=f"{name}_{index}", reset_less=True) for name in ("negative", "carry")
        )
        product = Signal(
            signed(2 * self.config.format.decoded_bits - 1),
            name=f"product_{index}",
            reset_less=True,
        )
        bits = Cat(operand.mantissa, Const(0, 1))
        exponents = operand.exponent + weight.exponent
        rows = [
            Mux(bits[at + 1], Mux(bits[at], triple, single << 1), Mux(bits[at], single, 0)) << at
            for at in range(0, width, 2)
        ]
        magnitude = Cat(mantissas << Cat(Const(0, 1), exponent), Const(0, 1)).as_signed()
        with m.If(self._enable):
            m.d.sync += [
                mantissas.eq(sum(rows[1:], rows[0]) << exponents[0]),
                exponent.eq(exponents[1:]),
                negative.eq(operand.negative ^ weight.negative),
                product.eq(Mux(negative, ~magnitude, magnitude)),
                carry.eq(negative),
            ]
        return product, carry

    def _accumulate(self, m, last, products, headers):
        """The accumulators; with a column's last products the sums go to the result, and the accumulators start again from 0."""
        filled, ends, adds = Signal(), Signal(), Signal()  # a result waits; it comes; products come
        result = Signal(
            data.ArrayLayout(accumulator(self.config), self.config.tokens), reset_less=True
        )
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
        for index, (product, carry) in enumerate(products):
            total = Signal(accumulator(self.config), name=f"total_{index}")
            added = Signal(accumulator(self.config), name=f"added_{index}")
            # A carry comes in from an added lowest bit: a third operand would be a second adder.
            m.d.comb += added.eq(
                (Cat(carry, total).as_signed() + Cat(carry, product).as_signed()) >> len(carry)
            )
            with m.If(ends):
                m.d.sync += [
                    result[index].eq(added),
                    total.eq(0),
                ]
            with m.Elif(adds):
                m.d.sync += total.eq(added)
