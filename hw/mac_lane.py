# SPDX-License-Identifier: Apache-2.0
"""One column lane of the MAC array: its weights, its copy of the activations, T multipliers and accumulators."""

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from hw.bitmask import ColumnDecoder, entry_layout, header_layout
from hw.shapes import accumulator, code
from hw.stream import connect

__all__ = ["MacLane", "Ring", "group_layout", "operand_layout", "result_layout", "unpack", "write_layout"]

HEADERS = 128           # column headers that a lane holds; a block has at most 32 columns in a lane
WIDEST_FACTOR = 17      # unsigned bits that every FPGA's multiplier block takes


def operand_layout(config):
    """A code taken apart: (-1)^sign * mantissa * 2^exponent."""
    fmt = config.format
    if not fmt.is_adaptivfloat:
        return data.StructLayout({"sign": 1, "exponent": 0, "mantissa": fmt.bits - 1})
    return data.StructLayout({"sign": 1, "exponent": fmt.exponent, "mantissa": fmt.mantissa + 1})


def unpack(config, value):
    """A code's operand, combinational: the same integer as golden_model.adaptivfloat.decode_integer."""
    fmt, sign, magnitude = config.format, value[-1], value[:-1]
    if not fmt.is_adaptivfloat:
        return Cat(sign, Mux(sign, -magnitude, magnitude)[:fmt.bits - 1])
    return Cat(sign, magnitude[fmt.mantissa:], magnitude[:fmt.mantissa], magnitude.any())


def write_layout(config):
    """One write into all copies of the activations: address is row * 2 + bank."""
    return data.StructLayout({"enable": 1, "address": ceil_log2(2 * config.reduction),
                              "operands": data.ArrayLayout(operand_layout(config), config.tokens)})


def group_layout(meta=0):
    """A group of columns to be worked on. `end`: it is its command's last, then `rewind`, or else release the block."""
    return data.StructLayout({"bank": 1, "end": 1, "rewind": 1, "free": 1, "meta": meta})


def result_layout(config):
    """A finished column."""
    return data.StructLayout({"accumulators": data.ArrayLayout(accumulator(config), config.tokens), **header_layout(config).members})


class Ring(wiring.Component):
    """A queue in block RAM whose words can be read again, from the first one that was not released.

    Latency 3 cycles, one word a cycle; 3 cycles from a rewind to the next word. The words ahead are read into two registers.

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
        self._shape, self._depth = shape, depth
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape)), "release": In(1), "rewind": In(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = Memory(shape=self._shape, depth=self._depth, init=[])
        write, read = memory.write_port(), memory.read_port()
        written, fetched, taken, base = (Signal(range(2 * self._depth), name=name) for name in ("written", "fetched", "taken", "base"))
        middle, move, fetch = Signal(), Signal(), Signal()     # the read port holds a word; it goes to `o`; the next is read
        output = Signal(self._shape, reset_less=True)
        m.d.comb += [
            self.i.ready.eq((written ^ base) != self._depth), write.en.eq(self.i.valid & self.i.ready),
            write.addr.eq(written), write.data.eq(self.i.payload), read.addr.eq(fetched),
            move.eq(~self.o.valid | self.o.ready), fetch.eq(~middle | move), read.en.eq(fetch), self.o.p.eq(output),
        ]
        with m.If(write.en):
            m.d.sync += written.eq(written + 1)
        with m.If(fetch):
            m.d.sync += middle.eq(fetched != written)
            with m.If(fetched != written):
                m.d.sync += fetched.eq(fetched + 1)
        with m.If(move):
            m.d.sync += [self.o.valid.eq(middle), output.eq(read.data)]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += taken.eq(taken + 1)
            with m.If(self.release):
                m.d.sync += base.eq(taken + 1)
            with m.If(self.rewind):
                m.d.sync += [taken.eq(base), fetched.eq(base), middle.eq(0), self.o.valid.eq(0)]
        return m


class MacLane(wiring.Component):
    """Walks columns of non-zero weights: accumulator[t] = sum over a column's entries of activation[k][t] * weight, t = 0..T-1.

    One entry a cycle and one cycle between columns; a column's result is `arrived` 5 cycles after its last entry was issued. It is taken over by
    the drain chain when the chain is not draining and this lane's place is empty; until then the lane's pipeline stands still as a whole. The
    lane runs at most one group ahead of the array's current group. When the ring is empty bubbles pass; the accumulators are untouched.

    Stages: 0 ring's output; 1 activation memory; 2 its output register, weight shifted; 3 operands decoded; 4 product; 5 accumulators; result.

    Parameters
    ----------
    config : HardwareConfig

    Members
    -------
    i : In(stream of bus words), this lane's bytes
    i_dense, i_header : In(streams of entry_layout, header_layout), written straight into the rings, before the decoder's
    reduction, groups : In, as in ColumnDecoder
    write : In(write_layout)
    current, following : In(group_layout), with their current_valid, following_valid
    advance : In(1), the current group has arrived everywhere, the following one becomes the current one
    draining, shift : In(1), the chain moves columns out; by one place
    neighbour, result : In, Out(result_layout), the chain
    arrived : Out(1), the current group's result is in the chain, or will be in the next cycle if all others are
    multiplies, starved, blocked : Out(1), an entry is consumed; one is missing; the chain is not free
    """

    def __init__(self, config):
        self.config = config
        self._shifts = config.multiplier == "fabric" or config.format.decoded_bits - 1 > WIDEST_FACTOR
        super().__init__({
            "i": In(stream.Signature(config.bus_bits)),
            "i_dense": In(stream.Signature(entry_layout(config))), "i_header": In(stream.Signature(header_layout(config))),
            "reduction": In(range(config.reduction + 1)), "groups": In(16), "write": In(write_layout(config)),
            "current": In(group_layout()), "current_valid": In(1), "following": In(group_layout()), "following_valid": In(1),
            "advance": In(1), "draining": In(1), "shift": In(1),
            "neighbour": In(result_layout(config)), "result": Out(result_layout(config)), "arrived": Out(1),
            "multiplies": Out(1), "starved": Out(1), "blocked": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.decoder = self._decoder = ColumnDecoder(self.config)
        m.submodules.weights = weights = Ring(entry_layout(self.config), self.config.weight_depth)
        m.submodules.headers = headers = Ring(header_layout(self.config), HEADERS)
        m.d.comb += [self._decoder.reduction.eq(self.reduction), self._decoder.groups.eq(self.groups)]
        connect(m, wiring.flipped(self.i), self._decoder.i)
        self._merge(m, self.i_dense, self._decoder.o, weights.i)
        self._merge(m, self.i_header, self._decoder.o_header, headers.i)
        self._enable = Signal()     # the pipeline moves
        bank = self._issue(m, weights)
        last, products = self._multiply(m, weights.o.payload, bank)
        self._accumulate(m, last, products, headers)
        return m

    def _merge(self, m, first, second, o):
        m.d.comb += [
            o.valid.eq(first.valid | second.valid), o.payload.eq(Mux(first.valid, first.payload.as_value(), second.payload.as_value())),
            first.ready.eq(o.ready), second.ready.eq(o.ready & ~first.valid),
        ]

    def _issue(self, m, weights):
        """Which entry enters the pipeline, and which bank it reads."""
        ahead, between, may = Signal(range(3)), Signal(), Signal()     # groups issued beyond the current one; after a column; entry wanted
        group = Mux(ahead == 0, self.current.as_value(), self.following.as_value())
        group = data.View(group_layout(), group)
        ends = self.multiplies & weights.o.payload.last
        m.d.comb += [
            may.eq(~between & Mux(ahead == 0, self.current_valid, self.following_valid & (ahead == 1))),
            weights.o.ready.eq(may & self._enable), self.multiplies.eq(weights.o.valid & weights.o.ready),
            self.starved.eq(may & self._enable & ~weights.o.valid),
            weights.rewind.eq(weights.o.payload.last & group.end & group.rewind),
            weights.release.eq(weights.o.payload.last & group.end & ~group.rewind),
        ]
        m.d.sync += ahead.eq(ahead + ends - self.advance)
        with m.If(self._enable):
            m.d.sync += between.eq(ends)
        return group.bank

    def _multiply(self, m, entry, bank):
        """Stages 1 to 4; returns (the column's last product, [(sign, magnitude) of each token's]), and when they are valid in `_valid`."""
        config = self.config
        m.submodules.activations = memory = Memory(shape=data.ArrayLayout(operand_layout(config), config.tokens), depth=2 * config.reduction,
                                                   init=[])
        write, read = memory.write_port(), memory.read_port()
        m.d.comb += [write.en.eq(self.write.enable), write.addr.eq(self.write.address), write.data.eq(self.write.operands),
                     read.en.eq(self._enable), read.addr.eq(Cat(bank, entry.k))]
        valid, last = (Signal(4, name=name) for name in ("valid", "last"))
        weight_code = Signal(code(config), reset_less=True)
        weight, operands = Signal(operand_layout(config), reset_less=True), Signal(read.data.shape(), reset_less=True)
        factor = Signal(1 if self._shifts else config.format.decoded_bits - 1, reset_less=True)
        unpacked = data.View(operand_layout(config), unpack(config, weight_code))
        with m.If(self._enable):
            m.d.sync += [
                valid.eq(Cat(self.multiplies, valid)), last.eq(Cat(entry.last, last)), weight_code.eq(entry.code),
                weight.eq(unpacked), factor.eq(unpacked.mantissa << unpacked.exponent), operands.eq(read.data),
            ]
        self._valid = valid[-1]
        product = self._shifted_product if self._shifts else self._product
        return last[-1], [product(m, index, operand, weight, factor) for index, operand in enumerate(operands)]

    def _product(self, m, index, operand, weight, factor):
        """Stages 3 and 4 by a multiplier block: both operands shifted, then multiplied."""
        width = self.config.format.decoded_bits - 1
        magnitude, other = (Signal(width, name=f"{name}_{index}", reset_less=True) for name in ("magnitude", "weight"))
        product = Signal(2 * width, name=f"product_{index}", reset_less=True)
        sign = Signal(2, name=f"sign_{index}", reset_less=True)
        with m.If(self._enable):
            m.d.sync += [
                magnitude.eq(operand.mantissa << operand.exponent), other.eq(factor), product.eq(magnitude * other),
                sign.eq(Cat(operand.sign ^ weight.sign, sign)),
            ]
        return sign[1], product

    def _shifted_product(self, m, index, operand, weight, _factor):
        """Stages 3 and 4 without a multiplier block: mantissas multiplied by rows of an adder tree, then shifted."""
        width = len(operand.mantissa)
        mantissas = Signal(2 * width, name=f"mantissas_{index}", reset_less=True)
        exponent = Signal(len(operand.exponent) + 1, name=f"exponent_{index}", reset_less=True)
        product = Signal(2 * self.config.format.decoded_bits - 2, name=f"product_{index}", reset_less=True)
        sign = Signal(2, name=f"sign_{index}", reset_less=True)
        rows = [Mux(weight.mantissa[bit], operand.mantissa, 0) << bit for bit in range(width)]
        while len(rows) > 1:
            rows = [sum(rows[at:at + 2], Const(0, 0)) for at in range(0, len(rows), 2)]
        with m.If(self._enable):
            m.d.sync += [
                mantissas.eq(rows[0]), exponent.eq(operand.exponent + weight.exponent), product.eq(mantissas << exponent),
                sign.eq(Cat(operand.sign ^ weight.sign, sign)),
            ]
        return sign[1], product

    def _accumulate(self, m, last, products, headers):
        """Stage 5, and the hand-over to the chain, which also clears the accumulators: the slot after a column's last product is empty."""
        done, filled, capture = Signal(), Signal(), Signal()   # a result waits in the accumulators; in the chain; it moves there
        free = ~self.draining & ~filled & headers.o.valid
        m.d.comb += [
            capture.eq(done & free), self._enable.eq(~done | free), self.blocked.eq(done & ~free), self.arrived.eq(filled | capture),
            headers.o.ready.eq(capture), headers.rewind.eq(self.current.end & self.current.rewind),
            headers.release.eq(self.current.end & ~self.current.rewind),
        ]
        with m.If(self._enable):
            m.d.sync += done.eq(self._valid & last)
        with m.If(self.advance):
            m.d.sync += filled.eq(0)
        with m.Elif(capture):
            m.d.sync += filled.eq(1)
        with m.If(self.shift):
            m.d.sync += self.result.eq(self.neighbour)
        with m.Elif(capture):
            m.d.sync += [self.result.bias.eq(headers.o.payload.bias), self.result.destination.eq(headers.o.payload.destination)]
        for index, (sign, product) in enumerate(products):
            total = Signal(accumulator(self.config), name=f"accumulator_{index}")
            with m.If(capture):
                m.d.sync += [total.eq(0), self.result.accumulators[index].eq(total)]
            with m.Elif(self._valid & self._enable):
                m.d.sync += total.eq(Mux(sign, total - product, total + product))
