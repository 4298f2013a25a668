# SPDX-License-Identifier: Apache-2.0
"""The sum of a token's rows, feature by feature: golden_model/embedding.py."""

from amaranth import Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from hw.arith.adaptivfloat import decode
from hw.arith.fixed import round_shift, saturate
from hw.shapes import ACT, EMBEDDING_SHIFT, FEATURE, ROW, code, decoded, index

__all__ = ["EmbeddingSum", "feature_layout", "sum_shape"]

SHIFT_LOW = -8  # of the program's shifts
SHIFT_HIGH = 31
TABLES = 3  # of words, positions and segments
STAGES = 2  # registers from a code to the sums: decoded, shifted


def feature_layout():
    """One feature of embed_sum, of the token with this `row`."""
    return data.StructLayout({"row": ROW, "feature": FEATURE, "value": ACT, "last": 1})


def sum_shape(config):
    """`TABLES` shifted codes, exactly."""
    return signed(config.format.decoded_bits - SHIFT_LOW + ceil_log2(TABLES))


class EmbeddingSum(wiring.Component):
    """value = saturate(sum over the tables of round_shift(decode(code), shift), 16).

    The rows of a token come table after table, a code a cycle; the sums of the last one's features
    leave as they come. Latency three cycles from a code to its feature. Cannot be stalled.

    Parameters
    ----------
    config : HardwareConfig

    Members
    -------
    code_valid : In(1), pulse
    feature : In(FEATURE), the number of the feature whose code it is
    code : In(code(config))
    table : In(index(TABLES)), whose row it is of: words, positions, segments; changes only while
        nothing is `busy`
    width : In(FEATURE), features of a row
    row : In(ROW), of the token, passes along
    wanted : In(1), features leave
    word_shift : In(EMBEDDING_SHIFT), -8..31
    position_shift : In(EMBEDDING_SHIFT), likewise
    segment_shift : In(EMBEDDING_SHIFT), likewise
    sum_valid : Out(1), pulse
    sum : Out(feature_layout())
    saturated : Out(1), the feature that leaves in this cycle was clamped
    busy : Out(1), codes are on their way
    """

    def __init__(self, config):
        self.config = config
        super().__init__(
            {
                "code_valid": In(1),
                "feature": In(FEATURE),
                "code": In(code(config)),
                "table": In(index(TABLES)),
                "width": In(FEATURE),
                "row": In(ROW),
                "wanted": In(1),
                "word_shift": In(EMBEDDING_SHIFT),
                "position_shift": In(EMBEDDING_SHIFT),
                "segment_shift": In(EMBEDDING_SHIFT),
                "sum_valid": Out(1),
                "sum": Out(feature_layout()),
                "saturated": Out(1),
                "busy": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        config = self.config
        shape = sum_shape(config)
        m.submodules.sums = sums = Memory(shape=shape, depth=config.embedding, init=[])
        read = sums.read_port()
        write = sums.write_port()
        value = Signal(decoded(config))
        shifted = Signal(shape)
        valid = Signal(STAGES)  # of `value` and `shifted`
        value_feature = Signal(FEATURE)
        shifted_feature = Signal(FEATURE)
        total = Signal(shape)
        result, changed = saturate(m, total, ACT.width)
        leaves = valid[1] & (self.table == TABLES - 1) & self.wanted
        m.d.sync += [
            valid.eq(self.code_valid | valid << 1),
            value_feature.eq(self.feature),
            shifted_feature.eq(value_feature),
            value.eq(decode(self.code, config.format)),
            shifted.eq(round_shift(m, value, self._shift(m), SHIFT_LOW, SHIFT_HIGH)),
            self.sum_valid.eq(leaves),
            self.saturated.eq(leaves & changed),
            self.sum.row.eq(self.row),
            self.sum.feature.eq(shifted_feature),
            self.sum.value.eq(result),
            self.sum.last.eq(shifted_feature == self.width - 1),
        ]
        # The first table's codes need no sums from before, so nobody has to clear them.
        m.d.comb += [
            total.eq(shifted + Mux(self.table == 0, 0, read.data)),
            read.en.eq(valid[0]),
            read.addr.eq(value_feature),
            write.en.eq(valid[1]),
            write.addr.eq(shifted_feature),
            write.data.eq(total),
            self.busy.eq(self.code_valid | valid.any() | self.sum_valid),
        ]
        return m

    def _shift(self, m):
        """The shift of the table whose row comes, for `round_shift`."""
        shift = Signal(range(SHIFT_HIGH - SHIFT_LOW + 1))
        amounts = (self.word_shift, self.position_shift, self.segment_shift)
        # A register: the table changes cycles before its first code comes.
        with m.Switch(self.table):
            for number, amount in enumerate(amounts):
                with m.Case(number):
                    m.d.sync += shift.eq(amount - SHIFT_LOW)
        return shift
