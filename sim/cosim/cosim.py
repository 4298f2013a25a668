# SPDX-License-Identifier: Apache-2.0
"""The compiled co-simulation: the accelerator as a C++ program in this process.

There is one Python call per operation:

sim = Cosim(library, taps(config), memory=1 << 20, embedding=1 << 16)
sim.memory[0:4] = ...; sim.write(CONTROL, 1)
while sim.run(until=OP | IRQ) == OP:
    records = sim.take()        # {"store": {"values": (n, T) array, ..., "cycle": (n,)}, ...}
"""

import ctypes
import pathlib
from ctypes import POINTER, c_char_p, c_double, c_int, c_uint32, c_uint64, c_void_p

import numpy as np
from amaranth.hdl import Shape

from sim.bench.waveform import Compressor
from sim.cosim.memory import READ_BURSTS
from sim.cosim.taps import decode_tap

__all__ = ["EMBEDDING", "IRQ", "LIMIT", "MAIN", "OP", "Cosim", "CosimError"]

OP, IRQ, LIMIT = 1, 2, 4  # why `run` came back
MAIN, EMBEDDING = 0, 1  # memories: behind m_axi, behind m_axi_emb
SLVERR, DECERR = 2, 3

_SIGNATURES = {
    "sim_create": (c_void_p, c_uint64, c_uint64),
    "sim_destroy": (None, c_void_p),
    "sim_reset": (None, c_void_p),
    "sim_cycle": (c_uint64, c_void_p),
    "sim_run": (c_uint32, c_void_p, c_uint32, c_uint64),
    "sim_memory": (c_void_p, c_void_p, c_uint32),
    "sim_port": (c_uint64, c_void_p, c_char_p),
    "sim_drive": (None, c_void_p, c_char_p, c_uint64),
    "sim_port_width": (c_uint32, c_void_p, c_char_p),
    "sim_behave": (None, c_void_p, c_uint32, c_uint32, c_double, c_uint32, c_uint64, c_uint32),
    "sim_fault": (None, c_void_p, c_uint32, c_uint64, c_uint64, c_uint32, c_uint32),
    "sim_clear_faults": (None, c_void_p),
    "sim_writable": (None, c_void_p, c_uint64, c_uint64),
    "sim_clear_writable": (None, c_void_p),
    "sim_bytes": (c_uint64, c_void_p, c_uint32, c_uint32),
    "sim_violation": (c_char_p, c_void_p, c_uint32, c_uint32),
    "sim_write_register": (c_int, c_void_p, c_uint32, c_uint32),
    "sim_read_register": (c_int, c_void_p, c_uint32, POINTER(c_uint32)),
    "sim_tap": (c_int, c_void_p, c_char_p),
    "sim_stop_tap": (None, c_void_p, c_int),
    "sim_tap_count": (c_uint64, c_void_p, c_uint32),
    "sim_tap_records": (c_void_p, c_void_p, c_uint32),
    "sim_tap_cycles": (c_void_p, c_void_p, c_uint32),
    "sim_tap_clear": (None, c_void_p),
    "sim_trace": (c_int, c_void_p, c_char_p),
    "sim_coverage": (c_int, c_void_p, c_char_p),
}


class CosimError(RuntimeError):
    """What no host should see: no answer, a protocol violation, a missing port."""


def _load(path):
    library = ctypes.CDLL(str(path))
    for name, (result, *arguments) in _SIGNATURES.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def _array(address, count, dtype):
    """A copy of `count` items of C memory."""
    if not count:
        return np.empty(0, dtype)
    size = count * np.dtype(dtype).itemsize
    return np.frombuffer((ctypes.c_char * size).from_address(address), dtype).copy()


class Cosim:
    """One simulated accelerator with its memories, out of reset and ready for register accesses.

    Parameters
    ----------
    library : path of the shared library (`sim.cosim.build`)
    layouts : tap layouts by name (`hw.trace.taps`)
    memory, embedding : bytes behind `m_axi` and `m_axi_emb`

    Attributes
    ----------
    memory, embedding : uint8 arrays, views of the simulated memories
    """

    def __init__(self, library, layouts, memory=1 << 20, embedding=1 << 16):
        self._lib = _load(library)
        self._sim = self._lib.sim_create(memory, embedding)
        self._layouts, self._waveform = layouts, None
        self._taps = {name: self._tap(name, layout) for name, layout in layouts.items()}
        self._words = {name: -(-Shape.cast(one).width // 32) for name, one in layouts.items()}
        # What `take` gives of a tap that showed nothing, which most do in most operations.
        self._nothing = {
            name: decode_tap(one, np.empty((0, self._words[name]), np.uint32))
            | {"cycle": np.empty(0, np.int64)}
            for name, one in layouts.items()
        }
        self._lib.sim_stop_tap(self._sim, self._taps.get("op", -1))
        self.memory, self.embedding = (
            self._view(port, size) for port, size in ((MAIN, memory), (EMBEDDING, embedding))
        )
        self.reset()

    def __del__(self):
        if getattr(self, "_sim", None):
            self._lib.sim_destroy(self._sim)

    def _tap(self, name, layout):
        port = f"trace_{name}"
        index = self._lib.sim_tap(self._sim, port.encode())
        width, wanted = self._lib.sim_port_width(self._sim, port.encode()), Shape.cast(layout).width
        if index < 0 or width != wanted:
            raise CosimError(f"Port {port} must be there with {wanted} bits, found {width}")
        return index

    def _view(self, port, size):
        address = self._lib.sim_memory(self._sim, port)
        view = np.frombuffer((ctypes.c_uint8 * size).from_address(address), np.uint8)
        view.flags.writeable = True
        return view

    def reset(self):
        """Hold the reset line for a few cycles; memories keep what they hold."""
        self._lib.sim_reset(self._sim)

    @property
    def cycle(self):
        return self._lib.sim_cycle(self._sim)

    def port(self, name):
        """The present value of a port of the design, up to 64 bits."""
        return self._lib.sim_port(self._sim, name.encode())

    def drive(self, name, value):
        """Set an input of the design that no model drives."""
        self._lib.sim_drive(self._sim, name.encode(), value)

    def behave(
        self,
        port=MAIN,
        latency=8,
        bytes_per_cycle=1e9,
        stall=0.0,
        seed=1,
        bursts=READ_BURSTS,
    ):
        """How a memory answers.

        Parameters
        ----------
        latency : cycles to the first beat
        bytes_per_cycle : bandwidth
        stall : chance that a channel pauses in a cycle
        bursts : of reads whose addresses it takes before their beats have gone, 1 to READ_BURSTS
        """
        if not 1 <= bursts <= READ_BURSTS:
            raise ValueError(f"Bursts must be in 1..{READ_BURSTS}, not {bursts}")
        self._lib.sim_behave(
            self._sim, port, latency, bytes_per_cycle, int(stall * 256), seed, bursts
        )

    def fault(self, low, high, response=SLVERR, write=False, port=MAIN):
        """Answer accesses that touch bytes low..high-1 with an error."""
        self._lib.sim_fault(self._sim, port, low, high, response, write)

    def clear_faults(self):
        self._lib.sim_clear_faults(self._sim)

    def writable(self, *windows):
        """Declare the only (low, high) windows that the design may write; see `violations`."""
        self._lib.sim_clear_writable(self._sim)
        for low, high in windows:
            self._lib.sim_writable(self._sim, low, high)

    def bytes_moved(self, port=MAIN, write=False):
        """Bytes that crossed a port since the start."""
        return self._lib.sim_bytes(self._sim, port, write)

    @property
    def violations(self):
        """AXI rules and windows that the design broke, as text (the first sixteen of each port)."""
        found = []
        for port in (MAIN, EMBEDDING):
            index = 0
            while text := self._lib.sim_violation(self._sim, port, index):
                found.append(f"{'m_axi_emb' if port else 'm_axi'}: {text.decode()}")
                index += 1
        return found

    def write(self, address, value):
        """Write a register; returns the AXI response (0 is OKAY)."""
        return self._answer(
            self._lib.sim_write_register(self._sim, address, value & 0xFFFFFFFF), address
        )

    def read(self, address):
        """Read a register; an error as response, which `read_response` gives, is raised here."""
        value, response = self.read_response(address)
        if response:
            raise CosimError(f"Register read at {address:#x} was answered with {response}")
        return value

    def read_response(self, address):
        """(value, AXI response) of a register read."""
        value = c_uint32()
        response = self._answer(
            self._lib.sim_read_register(self._sim, address, ctypes.byref(value)), address
        )
        return value.value, response

    def accesses(self):
        """(handle, addresses of its C functions that read and write a register and run cycles)."""
        functions = ("sim_read_register", "sim_write_register", "sim_run")
        found = (ctypes.cast(getattr(self._lib, name), c_void_p).value for name in functions)
        return self._sim, tuple(found)

    def _answer(self, response, address):
        if response < 0:
            raise CosimError(f"No answer to the AXI4-Lite access at {address:#x}")
        return response

    def run(self, until=OP | IRQ, limit=10_000_000):
        """Run until one of the reasons; returns those that hold, LIMIT after `limit` cycles."""
        return self._lib.sim_run(self._sim, until, limit)

    def take(self):
        """Decoded records of every tap since the last call, the cycle of each under "cycle"."""
        taken = {}
        for name, index in self._taps.items():
            count = self._lib.sim_tap_count(self._sim, index)
            if not count:
                taken[name] = dict(self._nothing[name])
                continue
            words = self._words[name]
            raw = _array(
                self._lib.sim_tap_records(self._sim, index), count * words, np.uint32
            ).reshape(count, words)
            cycles = _array(self._lib.sim_tap_cycles(self._sim, index), count, np.uint64)
            taken[name] = decode_tap(self._layouts[name], raw) | {"cycle": cycles.astype(np.int64)}
        self._lib.sim_tap_clear(self._sim)
        return taken

    def trace(self, path):
        """Write a VCD waveform from here on, compressed if `path` ends in .gz; None ends it.

        Only libraries of the kind `waveform` can.
        """
        if path is None:
            self._lib.sim_trace(self._sim, None)
            self._close_waveform()
            return
        path = pathlib.Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._waveform = Compressor(path) if path.suffix == ".gz" else None
        if self._lib.sim_trace(
            self._sim, str(self._waveform.pipe if self._waveform else path).encode()
        ):
            self._close_waveform()
            raise CosimError(f"Cannot write the waveform {path}")

    def coverage(self, path):
        """Write what was covered so far, as Verilator's coverage.dat.

        Only libraries of the kind `coverage` can.
        """
        if self._lib.sim_coverage(self._sim, str(path).encode()):
            raise CosimError("Only a library of the kind coverage counts branches")

    def _close_waveform(self):
        if self._waveform:
            self._waveform.close()
            self._waveform = None
