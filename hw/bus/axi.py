# SPDX-License-Identifier: Apache-2.0
"""AXI4 and AXI4-Lite as interfaces, and as flat ports with the standard names.

Signatures are seen from the manager; a subordinate's port is `In(...)` of them. Every burst is INCR
at the full bus width, with identifier 0. Names, widths and codes are those of the AMBA AXI and ACE
protocol specification, IHI 0022.
"""

from amaranth.lib import wiring
from amaranth.lib.enum import Enum
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from hw.shapes import (
    ADDRESS,
    AXI_BURST,
    AXI_CACHE,
    AXI_LEN,
    AXI_LITE_STROBE,
    AXI_PROT,
    AXI_RESP,
    AXI_SIZE,
    BYTE,
    WORD,
)

__all__ = ["INCR", "Resp", "attach", "flat", "lite", "master", "read_signature", "size", "write"]

# Every run of words is contiguous, so no other kind of burst is ever asked for.
INCR = 1
# Normal, non-cacheable, bufferable: lets interconnects merge beats and convert widths.
CACHE = 0b0011


# EXOKAY (1) is missing: nothing here asks for exclusive access, so nobody answers it.
class Resp(Enum, shape=AXI_RESP):
    """How a transfer ended; the upper bit is set when it failed."""

    OKAY = 0
    SLVERR = 2
    DECERR = 3


def size(bits):
    """AxSIZE of beats of `bits`."""
    return ceil_log2(bits // BYTE.width)


def _request(channel, bits):
    """An address channel, `ar` or `aw`; constant fields are initial values that nobody drives."""
    return {
        f"{channel}id": Out(1),
        f"{channel}addr": Out(ADDRESS),
        f"{channel}len": Out(AXI_LEN),
        f"{channel}size": Out(AXI_SIZE, init=size(bits)),
        f"{channel}burst": Out(AXI_BURST, init=INCR),
        f"{channel}cache": Out(AXI_CACHE, init=CACHE),
        f"{channel}prot": Out(AXI_PROT),
        f"{channel}valid": Out(1),
        f"{channel}ready": In(1),
    }


def _read_members(bits):
    return {
        **_request("ar", bits),
        "rid": In(1),
        "rdata": In(bits),
        "rresp": In(AXI_RESP),
        "rlast": In(1),
        "rvalid": In(1),
        "rready": Out(1),
    }


def _write_members(bits):
    return {
        **_request("aw", bits),
        "wdata": Out(bits),
        "wstrb": Out(bits // BYTE.width),
        "wlast": Out(1),
        "wvalid": Out(1),
        "wready": In(1),
        "bid": In(1),
        "bresp": In(AXI_RESP),
        "bvalid": In(1),
        "bready": Out(1),
    }


def read_signature(bits):
    """The read half of AXI4 with `bits` of data."""
    return wiring.Signature(_read_members(bits))


def write(bits):
    """The write half of AXI4 with `bits` of data."""
    return wiring.Signature(_write_members(bits))


def master(bits):
    """AXI4 with `bits` of data, both halves."""
    return wiring.Signature({**_write_members(bits), **_read_members(bits)})


def lite(address_bits):
    """AXI4-Lite with 32 bits of data and byte addresses of `address_bits`."""
    return wiring.Signature(
        {
            "awaddr": Out(address_bits),
            "awprot": Out(AXI_PROT),
            "awvalid": Out(1),
            "awready": In(1),
            "wdata": Out(WORD),
            "wstrb": Out(AXI_LITE_STROBE),
            "wvalid": Out(1),
            "wready": In(1),
            "bresp": In(AXI_RESP),
            "bvalid": In(1),
            "bready": Out(1),
            "araddr": Out(address_bits),
            "arprot": Out(AXI_PROT),
            "arvalid": Out(1),
            "arready": In(1),
            "rdata": In(WORD),
            "rresp": In(AXI_RESP),
            "rvalid": In(1),
            "rready": Out(1),
        }
    )


# A nested interface becomes `m_axi__arvalid` in Verilog. Vendors' tools find a bus by its names,
# and know `m_axi_arvalid` alone: so the top's ports are flat, and joined one by one.
def flat(prefix, signature):
    """Members `prefix_name` of a top; for a subordinate's port give `lite(...).flip()`."""
    return {f"{prefix}_{name}": member for name, member in signature.members.items()}


def attach(m, component, prefix, interface):
    """Join the flat ports `prefix_*` of `component` with `interface`, a port of a submodule.

    `interface` may be one half of the bus: ports that it does not have are left alone.
    """
    for name in interface.signature.members:
        port = getattr(component, f"{prefix}_{name}")
        inner = getattr(interface, name)
        # The top's flow decides: the same function joins managers and subordinates.
        if component.signature.members[f"{prefix}_{name}"].flow == Out:
            m.d.comb += port.eq(inner)
        else:
            m.d.comb += inner.eq(port)
