# SPDX-License-Identifier: Apache-2.0
"""A RISC-V CPU in the host's place: PicoRV32 with a program of its own (YosysHQ, ISC licence)."""

import importlib.resources

from amaranth import Cat, ClockSignal, Const, Instance, Module, Mux, ResetSignal, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.board.bridge import access_layout
from hw.board.memory_port import word_done
from hw.shapes import ADDRESS, AXI_LITE_STROBE, BYTE, WORD

__all__ = ["Cpu", "cpu_verilog"]

# What the CPU sees where.
REGISTERS = 0x1000_0000
LINE = 0x2000_0000
MEMORY = 0x4000_0000
FLASH = 0x8000_0000


def cpu_verilog() -> str:
    """The text of PicoRV32, from its package."""
    package = importlib.resources.files("pythondata_cpu_picorv32")
    return (package / "verilog" / "picorv32.v").read_text()


class Cpu(wiring.Component):
    """PicoRV32 (RV32IMC) with `words` words of RAM, in which its program begins at address 0.

    Registers, memory and flash are only accessed in whole words. A word written to `LINE` is a byte
    for the line, and waits until it is taken. What ends with an error reads as it may: the driver
    looks at the machine's own registers for what is wrong.

    Latency of an access: two cycles in RAM, those of `Access` elsewhere.

    Parameters
    ----------
    program : bytes, at most as many as the RAM has
    words : of RAM

    Members
    -------
    o_access : Out(stream of access_layout())
    i_done : In(stream of word_done())
    o : Out(stream of BYTE), for the line
    trap : Out(1), the CPU met an instruction or an address that it does not know, and stands still
    """

    def __init__(self, program, words=1 << 14):
        if len(program) > 4 * words:
            raise ValueError(f"The program must have at most {4 * words} bytes, not {len(program)}")
        padded = bytes(program) + bytes(-len(program) % 4)
        init = [int.from_bytes(padded[i : i + 4], "little") for i in range(0, len(padded), 4)]
        self._memory = Memory(shape=WORD, depth=words, init=init)
        self._words = words
        super().__init__(
            {
                "o_access": Out(stream.Signature(access_layout())),
                "i_done": In(stream.Signature(word_done())),
                "o": Out(stream.Signature(BYTE)),
                "trap": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        self._valid = Signal()
        self._ready = Signal()
        self._address = Signal(ADDRESS)
        self._given = Signal(WORD)
        self._strobe = Signal(AXI_LITE_STROBE)
        self._got = Signal(WORD)
        m.submodules.cpu = Instance(
            "picorv32",
            p_COMPRESSED_ISA=1,
            p_ENABLE_MUL=1,
            p_ENABLE_DIV=1,
            p_STACKADDR=4 * self._words,
            i_clk=ClockSignal(),
            i_resetn=~ResetSignal(),
            o_trap=self.trap,
            o_mem_valid=self._valid,
            i_mem_ready=self._ready,
            o_mem_addr=self._address,
            o_mem_wdata=self._given,
            o_mem_wstrb=self._strobe,
            i_mem_rdata=self._got,
            i_pcpi_wr=Const(0),
            i_pcpi_rd=Const(0, WORD),
            i_pcpi_wait=Const(0),
            i_pcpi_ready=Const(0),
            i_irq=Const(0, WORD),
        )
        read = self._ram(m)
        self._access(m, read)
        return m

    def _ram(self, m):
        """The program's memory; returns its word."""
        m.submodules.ram = self._memory
        read = self._memory.read_port()
        write = self._memory.write_port(granularity=BYTE.width)
        inside = self._valid & (self._address < 4 * self._words)
        m.d.comb += [
            read.addr.eq(self._address[2:]),
            write.addr.eq(self._address[2:]),
            write.data.eq(self._given),
            write.en.eq(Mux(inside, self._strobe, 0)),
        ]
        return read.data

    def _access(self, m, read):
        """One access of the CPU at a time, to where its address leads."""
        address = self._address
        access = self.o_access.payload
        outside = Cat(address[31], address[30], address[28]).any()
        m.d.comb += [
            access.write.eq(self._strobe.any()),
            access.memory.eq(address[30] | address[31]),
            access.address.eq(Mux(address[31], address, address[:28])),
            access.data.eq(self._given),
            self.o.payload.eq(self._given),
            self._got.eq(read),
        ]
        with m.FSM():
            # The CPU's next access. The RAM reads already.
            with m.State("IDLE"):
                with m.If(self._valid):
                    m.next = "RAM"
                    with m.If(address[29]):
                        m.next = "LINE"
                    with m.Elif(outside):
                        m.next = "ASK"
            # Its word is there, or written.
            with m.State("RAM"):
                m.d.comb += self._ready.eq(1)
                m.next = "IDLE"
            # A byte for the line waits until it is taken.
            with m.State("LINE"):
                m.d.comb += [
                    self.o.valid.eq(1),
                    self._ready.eq(self.o.ready),
                ]
                with m.If(self.o.ready):
                    m.next = "IDLE"
            # Somebody else's word is asked for.
            with m.State("ASK"):
                m.d.comb += self.o_access.valid.eq(1)
                with m.If(self.o_access.ready):
                    m.next = "DONE"
            # It is there, or written.
            with m.State("DONE"):
                m.d.comb += [
                    self.i_done.ready.eq(1),
                    self._got.eq(self.i_done.payload.data),
                    self._ready.eq(self.i_done.valid),
                ]
                with m.If(self.i_done.valid):
                    m.next = "IDLE"
