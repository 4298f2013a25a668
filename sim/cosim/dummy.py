# SPDX-License-Identifier: Apache-2.0
"""A small stand-in for the accelerator, so that the co-simulation has a test of its own.

It copies words through `m_axi`.
"""

from dataclasses import dataclass

from amaranth import Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.shapes import ACT

__all__ = ["COUNT", "SOURCE", "START", "STATUS", "TARGET", "Copier", "CopierConfig", "layouts"]

SOURCE, TARGET, COUNT, START, STATUS = 0, 4, 8, 12, 16  # register addresses


@dataclass(frozen=True)
class CopierConfig:
    tokens: int = 3
    config_hash: int = 0xC0B1E5


def layouts(config):
    """Taps: `op` ends each word, `store` shows its bytes as signed numbers of odd widths."""
    return {
        "op": data.StructLayout({"pc": 16, "skipped": 1}),
        "store": data.StructLayout(
            {"tile": 5, "live": config.tokens, "values": data.ArrayLayout(ACT, config.tokens)}
        ),
    }


def _lite():
    """The ports of an AXI-Lite subordinate, by name: 8-bit addresses, 32-bit data."""
    request = {
        "awaddr": 8,
        "awvalid": 1,
        "wdata": 32,
        "wstrb": 4,
        "wvalid": 1,
        "bready": 1,
        "araddr": 8,
        "arvalid": 1,
        "rready": 1,
    }
    answer = {
        "awready": 1,
        "wready": 1,
        "bvalid": 1,
        "bresp": 2,
        "arready": 1,
        "rvalid": 1,
        "rdata": 32,
        "rresp": 2,
    }
    return {f"s_axil_{n}": In(w) for n, w in request.items()} | {
        f"s_axil_{n}": Out(w) for n, w in answer.items()
    }


def _master():
    """The ports of an AXI manager, by name: 32-bit addresses and data."""
    asks = {
        "araddr": 32,
        "arlen": 8,
        "arsize": 3,
        "arvalid": 1,
        "rready": 1,
        "awaddr": 32,
        "awlen": 8,
        "awsize": 3,
        "awvalid": 1,
        "wdata": 32,
        "wstrb": 4,
        "wlast": 1,
        "wvalid": 1,
        "bready": 1,
    }
    answers = {
        "arready": 1,
        "rvalid": 1,
        "rdata": 32,
        "rresp": 2,
        "rlast": 1,
        "awready": 1,
        "wready": 1,
        "bvalid": 1,
        "bresp": 2,
    }
    return {f"m_axi_{n}": Out(w) for n, w in asks.items()} | {
        f"m_axi_{n}": In(w) for n, w in answers.items()
    }


class Copier(wiring.Component):
    """Copies `count` words from `source` to `target`, each plus one.

    `irq` tells when it is done, STATUS the worst response.
    """

    def __init__(self, config):
        self.config = config
        taps = {f"trace_{name}": Out(layout) for name, layout in layouts(config).items()}
        taps |= {f"trace_{name}_valid": Out(1) for name in layouts(config)}
        super().__init__(_lite() | _master() | taps | {"irq": Out(1)})

    def elaborate(self, platform):
        m = Module()
        self._registers(m)
        self._copy(m)
        return m

    def _registers(self, m):
        """Four registers to read and write, then `status` to read; the rest reads SLVERR."""
        self.files = [Signal(32, name=f"file_{i}") for i in range(4)]
        self.status = Signal(2)
        both = self.s_axil_awvalid & self.s_axil_wvalid & ~self.s_axil_bvalid
        m.d.comb += [
            self.s_axil_awready.eq(both),
            self.s_axil_wready.eq(both),
        ]
        with m.If(both):
            m.d.sync += self.s_axil_bvalid.eq(1)
            with m.Switch(self.s_axil_awaddr[2:]):
                for i, register in enumerate(self.files):
                    with m.Case(i):
                        m.d.sync += register.eq(self.s_axil_wdata)
        with m.If(self.s_axil_bvalid & self.s_axil_bready):
            m.d.sync += self.s_axil_bvalid.eq(0)
        m.d.comb += self.s_axil_arready.eq(~self.s_axil_rvalid)
        with m.If(self.s_axil_arvalid & self.s_axil_arready):
            m.d.sync += [
                self.s_axil_rvalid.eq(1),
                self.s_axil_rresp.eq(0),
                self.s_axil_rdata.eq(0),
            ]
            with m.Switch(self.s_axil_araddr[2:]):
                for i, register in enumerate([*self.files, self.status]):
                    with m.Case(i):
                        m.d.sync += self.s_axil_rdata.eq(register)
                with m.Default():
                    m.d.sync += self.s_axil_rresp.eq(2)
        with m.If(self.s_axil_rvalid & self.s_axil_rready):
            m.d.sync += self.s_axil_rvalid.eq(0)

    def _copy(self, m):
        """Copy `count` words, each plus 1, one at a time and each with a trace entry."""
        source, target, count, start = self.files
        index, word = Signal(16), Signal(32)
        m.d.comb += [
            self.m_axi_araddr.eq(source + 4 * index),
            self.m_axi_arsize.eq(2),
            self.m_axi_rready.eq(1),
            self.m_axi_awaddr.eq(target + 4 * index),
            self.m_axi_awsize.eq(2),
            self.m_axi_wdata.eq(word + 1),
            self.m_axi_wstrb.eq(15),
            self.m_axi_wlast.eq(1),
            self.m_axi_bready.eq(1),
            self.trace_op.pc.eq(index),
            self.trace_store.tile.eq(index),
            self.trace_store.live.eq(index),
        ]
        for i in range(self.config.tokens):
            m.d.comb += self.trace_store.values[i].eq(word[8 * i : 8 * i + 8].as_signed())
        with m.FSM():
            with m.State("Idle"):
                m.d.comb += self.irq.eq(start[1])
                with m.If(start[0]):
                    m.d.sync += [
                        self.files[3].eq(0),
                        index.eq(0),
                        self.m_axi_arvalid.eq(1),
                    ]
                    m.next = "Read"
            with m.State("Read"):
                with m.If(self.m_axi_arready):
                    m.d.sync += self.m_axi_arvalid.eq(0)
                with m.If(self.m_axi_rvalid):
                    m.d.sync += [
                        word.eq(self.m_axi_rdata),
                        self.status.eq(self.status | self.m_axi_rresp),
                        self.m_axi_awvalid.eq(1),
                        self.m_axi_wvalid.eq(1),
                    ]
                    m.next = "Write"
            with m.State("Write"):
                for channel in ("aw", "w"):
                    with m.If(getattr(self, f"m_axi_{channel}ready")):
                        m.d.sync += getattr(self, f"m_axi_{channel}valid").eq(0)
                with m.If(self.m_axi_bvalid):
                    m.d.comb += [
                        self.trace_op_valid.eq(1),
                        self.trace_store_valid.eq(1),
                    ]
                    m.d.sync += [
                        index.eq(index + 1),
                        self.status.eq(self.status | self.m_axi_bresp),
                    ]
                    with m.If(index + 1 == count):
                        m.d.sync += self.files[3].eq(2)
                        m.next = "Idle"
                    with m.Else():
                        m.d.sync += self.m_axi_arvalid.eq(1)
                        m.next = "Read"
