# SPDX-License-Identifier: Apache-2.0
"""AXI4 and AXI4-Lite as interfaces, and as flat ports with the standard names.

Signatures are seen from the manager; a subordinate's port is `In(...)` of them. Addresses are 32-bit byte addresses; every burst
is INCR at the full bus width, with identifier 0.
"""

from amaranth.lib import wiring
from amaranth.lib.enum import Enum
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

__all__ = ["INCR", "Resp", "attach", "flat", "lite", "master", "read", "size", "write"]

INCR = 1
CACHE = 0b0011  # normal, non-cacheable, bufferable: lets interconnects merge and convert widths


class Resp(Enum, shape=2):
    OKAY = 0
    EXOKAY = 1
    SLVERR = 2
    DECERR = 3


def size(bits):
    """AxSIZE of beats of `bits`."""
    return ceil_log2(bits // 8)


def _request(channel, bits):
    return {
        f"{channel}id": Out(1),
        f"{channel}addr": Out(32),
        f"{channel}len": Out(8),
        f"{channel}size": Out(3, init=size(bits)),
        f"{channel}burst": Out(2, init=INCR),
        f"{channel}cache": Out(4, init=CACHE),
        f"{channel}prot": Out(3),
        f"{channel}valid": Out(1),
        f"{channel}ready": In(1),
    }


def _read_members(bits):
    return {
        **_request("ar", bits),
        "rid": In(1),
        "rdata": In(bits),
        "rresp": In(2),
        "rlast": In(1),
        "rvalid": In(1),
        "rready": Out(1),
    }


def _write_members(bits):
    return {
        **_request("aw", bits),
        "wdata": Out(bits),
        "wstrb": Out(bits // 8),
        "wlast": Out(1),
        "wvalid": Out(1),
        "wready": In(1),
        "bid": In(1),
        "bresp": In(2),
        "bvalid": In(1),
        "bready": Out(1),
    }


def read(bits):
    """The read half of AXI4 with `bits` of data."""
    return wiring.Signature(_read_members(bits))


def write(bits):
    """The write half of AXI4 with `bits` of data."""
    return wiring.Signature(_write_members(bits))


def master(bits):
    """AXI4 with `bits` of data, both halves."""
    return wiring.Signature({**_write_members(bits), **_read_members(bits)})


def lite(address_bits):
    """AXI4-Lite with 32 bits of data."""
    return wiring.Signature(
        {
            "awaddr": Out(address_bits),
            "awprot": Out(3),
            "awvalid": Out(1),
            "awready": In(1),
            "wdata": Out(32),
            "wstrb": Out(4),
            "wvalid": Out(1),
            "wready": In(1),
            "bresp": In(2),
            "bvalid": In(1),
            "bready": Out(1),
            "araddr": Out(address_bits),
            "arprot": Out(3),
            "arvalid": Out(1),
            "arready": In(1),
            "rdata": In(32),
            "rresp": In(2),
            "rvalid": In(1),
            "rready": Out(1),
        }
    )


def flat(prefix, signature):
    """Members `prefix_name` for a top's signature: Verilog ports without the double underscore of nested interfaces.

    For a subordinate's port give `lite(...).flip()`.
    """
    return {f"{prefix}_{name}": member for name, member in signature.members.items()}


def attach(m, component, prefix, interface):
    """Join the flat ports `prefix_*` of `component` with `interface`, a port of one of its submodules (or one half of the bus)."""
    for name in interface.signature.members:
        port = getattr(component, f"{prefix}_{name}")
        inner = getattr(interface, name)
        outward = component.signature.members[f"{prefix}_{name}"].flow == Out
        m.d.comb += port.eq(inner) if outward else inner.eq(port)
