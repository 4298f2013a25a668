# SPDX-License-Identifier: Apache-2.0
"""The C driver, compiled for this process; its registers are those of a co-simulated machine."""

import ctypes
import subprocess
from ctypes import POINTER, Structure, byref, c_int, c_uint32, c_uint64, c_void_p

from firmware.error_codes import Error
from firmware.generate import driver_files
from sim.cosim.build import ROOT

__all__ = ["RESULTS", "CDriver", "MemoryStruct", "SentenceStruct"]

RESULTS = ("OK", "ARGUMENT", "IDENTITY", "BUSY", "TIMEOUT", "FAULT", "RECORD", "RESULTS")
WINDOWS = ("image", "embedding", "input", "result")
DELAY = 50  # cycles between two reads of STATUS


class _Bridge(Structure):
    _fields_ = [
        ("simulation", c_void_p),
        ("read", c_void_p),
        ("write", c_void_p),
        ("run", c_void_p),
        ("delay", c_uint64),
        ("refused", c_uint32),
    ]


class _Terse(Structure):
    _fields_ = [
        ("base", c_void_p),
        ("result_words", c_uint32),
        ("positions", c_uint32),
        ("layers", c_uint32),
        ("slots", c_uint32),
    ]


class _Window(Structure):
    _fields_ = [("base", c_uint32), ("size", c_uint32)]


class MemoryStruct(Structure):
    """struct terse_memory: a (base, size) for each of `WINDOWS`."""

    _fields_ = [(name, _Window) for name in WINDOWS]


class _Fault(Structure):
    _fields_ = [("code", c_uint32), ("pc", c_uint32)]


class SentenceStruct(Structure):
    """struct terse_sentence."""

    _fields_ = [
        *(
            (name, c_uint32)
            for name in (
                "status",
                "tag",
                "class_index",
                "exit_layer",
                "tokens",
                "cycles",
                "detail",
                "passes",
                "predicted_exit_layer",
            )
        ),
        ("logits", POINTER(c_uint32)),
        ("entropy", POINTER(c_uint32)),
        ("tokens_per_layer", POINTER(c_uint32)),
        ("dropped_at", POINTER(ctypes.c_uint8)),
    ]


class CDriver:
    """The driver's functions by their names without `terse_`; a result is a name of `RESULTS`.

    Parameters
    ----------
    sim : Cosim
    folder : where the library is compiled

    Attributes
    ----------
    terse : the driver's struct, which `init` fills
    refused : register accesses that were answered with an error
    """

    def __init__(self, sim, folder):
        self._sim = sim
        self._library = _compile(folder)
        handle, accesses = sim.accesses()
        self._bridge = _Bridge(handle, *accesses, DELAY, 0)
        self.terse = _Terse()

    @property
    def refused(self):
        return self._bridge.refused

    def init(self):
        return self._call("init", ctypes.addressof(self._bridge))

    def __getattr__(self, name):
        return lambda *arguments: self._call(name, *arguments)

    def _call(self, name, *arguments):
        function = getattr(self._library, f"terse_{name}")
        function.restype = c_int
        return RESULTS[function(byref(self.terse), *map(_pointer, arguments))]

    def fault(self):
        """(Error, number of the instruction) that stopped the machine."""
        fault = _Fault()
        assert self._call("read_fault", byref(fault)) == "OK"
        return Error(fault.code), fault.pc

    def word(self, name, *arguments):
        """(result, word) of a function whose last argument is a pointer to it."""
        value = c_uint32()
        return self._call(name, *arguments, byref(value)), value.value

    def counter(self, offset):
        value = c_uint64()
        assert self._call("counter", offset, byref(value)) == "OK"
        return value.value

    def sentence(self, record):
        """(result, `SentenceStruct`) of the bytes of a record."""
        sentence = SentenceStruct()
        words = (c_uint32 * (len(record) // 4)).from_buffer_copy(record)
        sentence.record = words  # which its pointers point into
        return self._call("read_sentence", words, byref(sentence)), sentence


def _pointer(argument):
    """Structures go by address, and addresses as such."""
    if isinstance(argument, Structure):
        return byref(argument)
    return c_void_p(argument) if isinstance(argument, int) and argument >> 32 else argument


def _compile(folder):
    for name, text in driver_files().items():
        if name != "terse_mmio.h":
            (folder / name).write_text(text)
    library = folder / "driver.so"
    command = ["gcc", "-std=c99", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    bridge = ROOT / "sim" / "cosim" / "driver"
    sources = sorted(folder.glob("*.c"))
    subprocess.run([*command, f"-I{bridge}", f"-I{folder}", *sources, "-o", library], check=True)
    return ctypes.CDLL(str(library))
