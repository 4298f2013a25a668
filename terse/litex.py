# SPDX-License-Identifier: Apache-2.0
"""The accelerator as a peripheral of LiteX; LiteX comes with the test tools.

class Soc(SoCCore):
    def __init__(self, platform, ...):
        ...
        self.terse = TersePeripheral(platform, "ecp5")
        self.terse.attach(self, origin=0x9000_0000)
"""

import pathlib
from collections.abc import Sequence

from litex.gen import LiteXModule
from litex.soc.integration.soc import SoCRegion
from litex.soc.interconnect import axi
from litex.soc.interconnect.csr_eventmanager import EventManager, EventSourceLevel
from migen import ClockSignal, Instance, ResetSignal, Signal

from firmware.registers import ADDRESS_BITS
from hw.bus.axi import lite, master, read_signature
from terse.artefacts import verilog_text
from terse.catalog import hardware

__all__ = ["TersePeripheral"]

WINDOW = 0x1000  # bytes of the bus that the registers take


class TersePeripheral(LiteXModule):
    """Registers on AXI4-Lite, two AXI4 managers, an interrupt; no CSR of its own but the event's.

    platform : LiteX's platform, which gets the Verilog as a source
    hw, settings : as of `terse verilog`
    folder : where the Verilog is written, by default build/litex

    Attributes
    ----------
    bus : AXI4-Lite, the registers (`terse_regs.h`)
    memory : AXI4, image, queue and results
    embedding : AXI4, of which only the read channels are used
    ev : EventManager, the interrupt `terse`
    """

    def __init__(
        self,
        platform,
        hw: str = "ci",
        settings: Sequence[str] = (),
        folder: str | pathlib.Path = "build/litex",
    ):
        bits = hardware(hw, settings).bus_bits
        self.bus = axi.AXILiteInterface(data_width=32, address_width=32)
        self.memory = axi.AXIInterface(data_width=bits, address_width=32, id_width=1)
        self.embedding = axi.AXIInterface(data_width=bits, address_width=32, id_width=1)
        self.ev = EventManager()
        self.ev.terse = EventSourceLevel()
        self.ev.finalize()
        ports = {
            "i_clk": ClockSignal("sys"),
            "i_rst": ResetSignal("sys"),
            "o_irq": self.ev.terse.trigger,
            **_ports("s_axil", self.bus, lite(ADDRESS_BITS).flip()),
            **_ports("m_axi", self.memory, master(bits)),
            **_ports("m_axi_emb", self.embedding, read_signature(bits)),
        }
        if "dvfs" in hardware(hw, settings).units:
            # Nobody here sets a clock: each request is granted at once.
            request = Signal()
            ports |= {"o_dvfs_request": request, "i_dvfs_acknowledge": request}
        # LiteXModule makes the list when it is first asked for.
        self.specials += Instance("terse", **ports)  # pyright: ignore[reportOperatorIssue]
        source = pathlib.Path(folder) / "terse.v"
        source.parent.mkdir(parents=True, exist_ok=True)
        source.write_text(verilog_text(hw, settings))
        platform.add_source(str(source))

    def attach(self, soc, origin: int, name: str = "terse") -> None:
        """Registers at `origin` of the SoC's bus, both managers on it, the interrupt to the CPU.

        With LiteDRAM, `memory` can go to a port of its own instead, by `LiteDRAMAXI2Native`.
        """
        region = SoCRegion(origin=origin, size=WINDOW, mode="rw", cached=False)
        soc.bus.add_slave(name, self.bus, region)
        soc.bus.add_master(f"{name}_memory", self.memory)
        soc.bus.add_master(f"{name}_embedding", self.embedding)
        if soc.irq.enabled:
            soc.irq.add(name, use_loc_if_exists=True)


def _ports(prefix, interface, signature):
    """The instance's flat ports: channel and field of LiteX, such as `aw.addr` of `awaddr`."""
    found = {}
    for name, member in signature.members.items():
        channel = next(one for one in ("aw", "ar", "w", "b", "r") if name.startswith(one))
        way = "i" if member.flow.name == "In" else "o"
        field = getattr(getattr(interface, channel), name.removeprefix(channel), None)
        # LiteX' AXI4-Lite has no protection bits; constant inputs are 0.
        if field is not None:
            found[f"{way}_{prefix}_{name}"] = field
        elif way == "i":
            found[f"i_{prefix}_{name}"] = 0
    return found
