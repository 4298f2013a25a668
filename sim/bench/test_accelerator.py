# SPDX-License-Identifier: Apache-2.0
"""The system bench: nano through the generated Verilog, AXI models that stall at random.

No output may have an undefined bit. Results are compared with golden; single tensors are the
co-simulation's business. The four-state check needs Icarus: elsewhere it is reported as not run.
`make wheel` (terse/wheel.py) runs this with a trained model and real sentences.
"""

import os
import random
from dataclasses import dataclass

import cocotb
import numpy as np
from amaranth.lib.wiring import Out
from cocotb.triggers import FallingEdge, ReadOnly, RisingEdge
from cocotb.utils import get_sim_time

from firmware.compiler import compile_network
from firmware.record import DESCRIPTOR, RECORD, Record, descriptor_bytes, token_bytes
from firmware.registers import BY_NAME, ID
from golden_model.checkpoint import load
from golden_model.model import run as run_golden
from golden_model.quantize import quantize
from golden_model.random_model import random_sentences
from hw.accelerator import Accelerator
from sim.bench import harness
from sim.bench.axi import AxiLiteManager, AxiResp
from sim.bench.memory import BenchMemory
from sim.cosim.session import CAUSES, LOAD, START
from sim.proof.check import differences
from sim.proof.system import SMALL_MODEL, random_network

IMAGE, EMBEDDING = 0x1000, 0x2000
DESCRIPTORS = 0x100  # bytes of the input window before the tokens
LENGTHS = (3, 2)  # of nano's sentences
CYCLES = 60_000  # at most


@dataclass(frozen=True)
class Windows:
    """Where the windows behind m_axi begin, the image's at `IMAGE`.

    Sentence i has its tokens at `tokens(i)`, its result at `record(i)`.
    """

    config: object
    image: int
    count: int

    @property
    def input(self):
        return IMAGE + self.image + -self.image % 0x1000

    def tokens(self, number):
        return self.input + DESCRIPTORS + 4 * self.config.positions * number

    @property
    def result(self):
        return self.tokens(self.count) + -self.tokens(self.count) % 0x1000

    def record(self, number):
        return self.result + 4 * RECORD.words(self.config) * number

    @property
    def end(self):
        return self.record(self.count) + -self.record(self.count) % 0x1000


class Host:
    """Register accesses by name, with random pauses of all channels."""

    def __init__(self, dut, pause):
        self._dut = dut
        self._manager = AxiLiteManager(dut, "s_axil", pause)

    async def write(self, name, value):
        assert await self._manager.write(BY_NAME[name].offset, value) == AxiResp.OKAY, name

    async def read(self, name):
        value, response = await self._manager.read(BY_NAME[name].offset)
        assert response == AxiResp.OKAY, name
        return value

    async def command(self, bit):
        """One bit of CONTROL, until `irq`; fails with the machine's error."""
        await self.write("CONTROL", bit)
        if self._dut.irq.value != 1:
            await RisingEdge(self._dut.irq)
        await self.write("IRQ_CAUSE", CAUSES)
        assert await self.read("ERROR") == 0, (
            f"error {await self.read('ERROR')} at instruction {await self.read('ERROR_PC')}"
        )


class Watch:
    """Fails when an output has an undefined bit in a cycle after reset. Counts cycles."""

    def __init__(self, dut, component):
        self.outputs = [
            name for name, member in component.signature.members.items() if member.flow == Out
        ]
        self.cycles = 0
        cocotb.start_soon(self._run(dut))

    async def _run(self, dut):
        ports = [(name, getattr(dut, name)) for name in self.outputs]
        while dut.rst.value != 0:
            await RisingEdge(dut.clk)
        while True:
            await RisingEdge(dut.clk)
            await ReadOnly()
            self.cycles += 1
            for name, port in ports:
                assert defined(port), f"{name} is {port.value} in cycle {self.cycles} after reset"


def defined(port):
    return set(str(port.value)) <= {"0", "1"}


async def regulator(dut):
    """Acknowledges operating points after random times."""
    generator = random.Random(4)
    while True:
        for _ in range(generator.randrange(1, 60)):
            await RisingEdge(dut.clk)
        dut.dvfs_acknowledge.value = dut.dvfs_request.value


def work():
    """(network, sentences): a checkpoint's with the given sentences, or a random nano's."""
    given = harness.parameters()
    if "checkpoint" in given:
        return quantize(load(given["checkpoint"]), harness.config().format), [
            tuple(map(np.array, words)) for words in given["sentences"]
        ]
    return random_network(), [
        random_sentences(SMALL_MODEL, 1, seed=length, low=length, high=length)[0]
        for length in LENGTHS
    ]


def memories(program, sentences, windows):
    """(memory behind m_axi, memory behind m_axi_emb) with images, queue and tokens."""
    main, embedding = (
        BenchMemory(windows.end - IMAGE, IMAGE),
        BenchMemory(len(program.embedding), EMBEDDING),
    )
    main.load(IMAGE, program.image)
    embedding.load(EMBEDDING, program.embedding)
    for i, (tokens, segments) in enumerate(sentences):
        at = windows.tokens(i)
        here = windows.input + 4 * DESCRIPTOR.words() * i
        main.load(here, descriptor_bytes(at, len(tokens), 0, 7 + i))
        main.load(at, token_bytes(tokens, segments))
    return main, embedding


async def prepare(host, program, windows):
    """Write the windows, the queue, the interrupt enables and the watchdog into the registers."""
    assert await host.read("ID") == ID
    places = {
        "IMAGE": (IMAGE, len(program.image)),
        "EMBEDDING": (EMBEDDING, len(program.embedding)),
        "INPUT": (windows.input, windows.result - windows.input),
        "RESULT": (windows.result, windows.end - windows.result),
    }
    for name, (base, size) in places.items():
        await host.write(f"{name}_BASE", base)
        await host.write(f"{name}_SIZE", size)
    for name, value in {
        "QUEUE_BASE": windows.input,
        "QUEUE_COUNT": windows.count,
        "IRQ_ENABLE": CAUSES,
        "WATCHDOG": CYCLES // 4,
    }.items():
        await host.write(name, value)


@cocotb.test()
async def sentences(dut):
    """A queue from LOAD to its records, which are the golden model's."""
    config, (quantized, queue) = harness.config(), work()
    program = compile_network(quantized, config)
    windows = Windows(config, len(program.image), len(queue))
    main, embedding = memories(program, queue, windows)
    watch = None
    if harness.parameters()["four_state"]:
        assert not defined(
            dut.m_axi_rdata
        )  # nobody drives it yet: the check can see what it looks for
        watch = Watch(dut, Accelerator(config))
    dut.dvfs_acknowledge.value = 0
    for name in ("awvalid", "wvalid", "bready", "arvalid", "rready"):
        getattr(dut, f"s_axil_{name}").value = 0
    main.serve_read(dut, "m_axi", pause=1)
    main.serve_write(dut, "m_axi", pause=11)
    embedding.serve_read(dut, "m_axi_emb", pause=21)
    await harness.start(dut, harness.parameters().get("cycles", CYCLES))
    cocotb.start_soon(regulator(dut))
    host = Host(dut, pause=31)
    await prepare(host, program, windows)
    await host.command(LOAD)
    begin = get_sim_time("ns")
    await host.command(START)
    dut._log.info(
        f"{round((get_sim_time('ns') - begin) / harness.CLOCK_NS):,} cycles, "
        f"{round(begin / harness.CLOCK_NS):,} before to load the images"
    )
    assert await host.read("SENTENCES_DONE") == len(queue)
    for i, sentence in enumerate(queue):
        data = main.dump(windows.record(i), 4 * RECORD.words(config))
        record = Record.parse(config, data)
        assert record.tag == 7 + i
        assert differences(i, run_golden(quantized, *sentence), record, program.early_exit) == []
    assert main.strays == embedding.strays == []
    if watch is not None:
        assert watch.cycles > 1000
        dut._log.info(
            f"four-state check: {watch.cycles} cycles, {len(watch.outputs)} outputs, "
            "no undefined bit"
        )


@cocotb.test()
async def busy_at_once(dut):
    """STATUS read in the very cycle in which the write of CONTROL is answered says BUSY."""
    for name in ("awvalid", "wvalid", "arvalid"):
        getattr(dut, f"s_axil_{name}").value = 0
    for port in ("m_axi", "m_axi_emb"):
        getattr(dut, f"{port}_arready").value = 0
        getattr(dut, f"{port}_rvalid").value = 0
    await harness.start(dut)
    dut.s_axil_awaddr.value = BY_NAME["CONTROL"].offset
    dut.s_axil_wdata.value = LOAD
    dut.s_axil_wstrb.value = 0b1111
    dut.s_axil_awvalid.value = dut.s_axil_wvalid.value = dut.s_axil_bready.value = 1
    dut.s_axil_araddr.value = BY_NAME["STATUS"].offset
    dut.s_axil_rready.value = 1
    while await sampled(dut, "awready", "wready") != [1, 1]:
        pass
    dut.s_axil_awvalid.value = dut.s_axil_wvalid.value = 0
    dut.s_axil_arvalid.value = 1
    assert await sampled(dut, "bvalid", "arready") == [1, 1]
    valid, status = await sampled(dut, "rvalid", "rdata")
    assert valid and status & 1, "not busy"


async def sampled(dut, *names):
    """What ports of s_axil were in the cycle that ends now."""
    await FallingEdge(dut.clk)
    values = [int(getattr(dut, f"s_axil_{name}").value) for name in names]
    await RisingEdge(dut.clk)
    return values


def test_accelerator(capsys):
    """The whole accelerator; under Icarus Verilog no output may have undefined bits."""
    simulator = os.environ.get("SIM", harness.default_simulator())
    four_state = simulator == "icarus"
    config = harness.small()
    harness.run_bench(
        Accelerator(config),
        "sim.bench.test_accelerator",
        "accelerator",
        config=config,
        four_state=four_state,
    )
    if not four_state:
        with capsys.disabled():
            print(
                "\nfour-state check of the accelerator: not run "
                f"(it needs Icarus Verilog; this was {simulator})"
            )
