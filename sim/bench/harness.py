# SPDX-License-Identifier: Apache-2.0
"""What every bench needs: build and run a component, clock and reset; streams and values.

A bench is one file `test_X.py`: cocotb tests (not named `test_`) and the pytest functions that run
them:

    @cocotb.test()
    @cocotb.parametrize(pause=harness.PAUSES)
    async def rows(dut, pause):
        block = Requantize(harness.config(), meta=4)      # not elaborated: gives the layouts
        idle, stall = harness.pauses(pause)
        source = harness.Source(dut, "i", block.i.payload.shape(), pause=idle)
        sink = harness.Sink(dut, "o", block.o.payload.shape(), pause=stall)
        harness.drive(dut, "shift", SHIFT, 5)
        await harness.start(dut)
        source.send(words)
        harness.assert_same("values", await sink.receive(len(words)), expected)

    def test_requantize():
        module = "sim.bench.arith.test_requantize"
        harness.run_bench(Requantize(config, meta=4), module, "requantize", config=config)
"""

import dataclasses
import json
import os
import shutil

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge

from golden_model.config import AF8, NumberFormat
from golden_model.hardware import HardwareConfig
from hw.verilog import verilog
from sim.bench.simulated import BUILD, Simulated, default_simulator
from sim.bench.streams import PAUSES, Counter, Sink, Source, pauses
from sim.bench.values import assert_same, pack, unpack

__all__ = [
    "BUILD",
    "PAUSES",
    "Counter",
    "Sink",
    "Source",
    "assert_same",
    "carry_out",
    "config",
    "default_simulator",
    "drive",
    "pack",
    "parameters",
    "pauses",
    "read_port",
    "run_bench",
    "small",
    "start",
    "unpack",
]

CLOCK_NS = 10


def small(tokens=4, format=AF8, **changes):
    """A configuration for the model `nano`, small enough for a bench of seconds."""
    sizes = dict(
        tokens=tokens,
        columns=4,
        rows=16 + -16 % tokens,
        positions=16,
        hidden=32,
        feed_forward=64,
        embedding=16,
        heads=2,
        layers=3,
        classes=4,
        weight_depth=128,
    )
    return HardwareConfig(format=format, **{**sizes, **changes})


def run_bench(
    component, module, name, config=None, only=None, seed=1, large=False, beside="", **values
):
    """Build `component` as `name` and run the cocotb tests of `module` on it; raise when one fails.

    Verilog, simulator and results go to build/sim/`name`. Icarus where it is installed, else
    Verilator; SIM=verilator chooses that. A failing bench runs once more with waves, and the path
    of their file is printed: FST of Icarus, VCD of Verilator.

    config, values : come back inside the simulation from `config()` and `parameters()`; JSON
    only : name of one cocotb test, with all its parameters
    beside : Verilog of what `component` instantiates
    large : Verilator, which then knows no signals but the ports: many times as fast
    """
    carry_out(
        component, Simulated(name, module, _environment(config, values), only, seed, large), beside
    )


def carry_out(component, bench, beside):
    """What `run_bench` does with its bench; who measures benches has another function here."""
    folder = BUILD / bench.name
    text = verilog(component, bench.name) + beside
    failed, log = bench.simulate(folder, text)
    if failed:
        # Verilator's make would take objects from a folder above.
        folder = BUILD / "waves" / bench.name
        shutil.rmtree(folder, ignore_errors=True)
        bench.simulate(folder, text, waves=True)
        waves = sorted([*folder.glob("*.fst"), *folder.glob("*.vcd")])
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-60:])
        shown = ", ".join(map(str, waves)) or "none"
        raise AssertionError(f"{bench.name}: {failed}\n{tail}\nlog: {log}\nwaves: {shown}")


def _environment(config, values):
    """What a simulation finds in its environment: `config()` and `parameters()`."""
    variables = {"BENCH": json.dumps(values)}
    if config is not None:
        variables["BENCH_CONFIG"] = json.dumps(
            dataclasses.asdict(config) | {"units": sorted(config.units)}
        )
    return variables


def parameters():
    """The `values` that were given to `run_bench`."""
    return json.loads(os.environ["BENCH"])


def config():
    """The `config` that was given to `run_bench`."""
    fields = json.loads(os.environ["BENCH_CONFIG"])
    return HardwareConfig(**{**fields, "format": NumberFormat(**fields["format"])})


def drive(dut, name, shape, value):
    """Set the input port `name`."""
    getattr(dut, name).value = pack(shape, value)


def read_port(dut, name, shape):
    """The value of port `name`; raises ValueError when a bit of it is undefined."""
    return unpack(shape, getattr(dut, name).value.to_unsigned())


async def start(dut, cycles=200_000):
    """Start the clock, reset, and the watchdog that fails the test after `cycles`.

    Sources and sinks are created before.
    """
    Clock(dut.clk, CLOCK_NS, unit="ns").start()
    dut.rst.value = 1
    await ClockCycles(dut.clk, 2)
    dut.rst.value = 0
    await RisingEdge(dut.clk)
    cocotb.start_soon(_watchdog(dut, cycles))


async def _watchdog(dut, cycles):
    await ClockCycles(dut.clk, cycles)
    raise AssertionError(f"no end after {cycles} cycles")
