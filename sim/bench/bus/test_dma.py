# SPDX-License-Identifier: Apache-2.0
"""hw/bus/dma.py: every byte of every request arrives in order.

Nothing outside the window is touched, errors and aborts end cleanly.
"""

import random

import cocotb
import pytest
from amaranth import unsigned
from cocotb.triggers import ClockCycles, FallingEdge, RisingEdge

from firmware.error_codes import Error
from hw.bus.dma import Reader, Writer
from hw.bus.transfer import bus_word, transfer_layout, word
from hw.bus.words import Words
from sim.bench import harness
from sim.bench.memory import AxiResp, BenchMemory

BASE, SIZE = 0x1000, 0x3000
STALLS = (None, 7)
SLOW = (7, 8, 9, 10)  # addresses wait: an abort finds them offered


def requests(step, count=12, unit=None):
    """Corners and random runs of bus words of `step` bytes; counted in words of `unit` bytes."""
    generator = random.Random(step)
    runs = [
        (BASE, 1),
        (BASE + 0x1000 - step, 2),
        (BASE + SIZE - step, 1),
        (BASE + 3 * step, 200),
        (BASE + 15 * step, 1),
    ]
    for _ in range(count):
        start = generator.randrange(SIZE // step)
        runs.append((BASE + start * step, generator.randint(1, min(40, SIZE // step - start))))
    return [
        {"address": address, "words": words * step // (unit or step), "base": BASE, "size": SIZE}
        for address, words in runs
    ]


def refused(step, unit=None):
    """Requests that must not reach the bus."""
    runs = [
        (BASE - step, 1),
        (BASE + SIZE, 1),
        (BASE + SIZE - step, 2),
        (BASE + 1, 1),
        (BASE, 0),
        (BASE, SIZE // step + 1),
    ]
    runs = [(address, words * step // (unit or step)) for address, words in runs]
    whole = [(BASE, 0xFFFFFFFC), (BASE, 0x40000000), (BASE, 0x80000000)]
    top = {"address": 0xFFFFFFF0, "words": 8, "base": 0xFFFFF000, "size": 0x1000}
    inside = [
        {"address": address, "words": words, "base": BASE, "size": SIZE}
        for address, words in runs + whole
    ]
    return [top, top | {"size": 0x2000}, *inside]


def filled(seed=3):
    memory = BenchMemory(SIZE, BASE)
    memory.data[:] = random.Random(seed).randbytes(SIZE)
    return memory


def expected(memory, asked, step):
    """The words of `asked` as (data, last)."""
    for one in asked:
        for i in range(one["words"]):
            content = memory.dump(one["address"] + i * step, step)
            yield {"data": int.from_bytes(content, "little"), "last": int(i == one["words"] - 1)}


async def until(dut, name, value=1, cycles=2000):
    for _ in range(cycles):
        await RisingEdge(dut.clk)
        if getattr(dut, name).value == value:
            return
    raise AssertionError(f"{name} did not become {value}")


async def abort(dut):
    dut.abort.value = 1
    await RisingEdge(dut.clk)
    dut.abort.value = 0
    await RisingEdge(dut.clk)
    await until(dut, "idle")


async def reader_bench(dut, pause="none", stall=None):
    config = harness.config()
    dut.abort.value = 0
    idle, hold = harness.pauses(pause)
    source, memory = harness.Source(dut, "i_request", transfer_layout(), pause=idle), filled()
    sink = harness.Sink(dut, "o", bus_word(config), pause=hold)
    memory.serve_read(dut, "bus_", pause=stall)
    await harness.start(dut)
    return config.bus_bytes, source, sink, memory


@cocotb.test()
@cocotb.parametrize(pause=harness.PAUSES, stall=STALLS)
async def read_runs(dut, pause, stall):
    step, source, sink, memory = await reader_bench(dut, pause, stall)
    asked = requests(step)
    want = list(expected(memory, asked, step))
    source.send(asked)
    harness.assert_same("data", await sink.receive(len(want)), want)
    await until(dut, "idle")
    assert sink.empty() and not memory.strays and dut.error.value == 0
    if pause == "none" and stall is None:
        assert sink.cycles[-1] - sink.cycles[0] < 1.35 * len(want)


@cocotb.test()
async def read_refused(dut):
    step, source, sink, memory = await reader_bench(dut)
    for one in refused(step):
        source.send([one])
        await until(dut, "error", Error.WINDOW)
        await abort(dut)
        assert dut.error.value == 0
    assert sink.empty() and not memory.touched
    asked = requests(step)[:1]
    source.send(asked)
    harness.assert_same("after", await sink.receive(1), list(expected(memory, asked, step)))


@cocotb.test()
@cocotb.parametrize(response=[int(AxiResp.SLVERR), int(AxiResp.DECERR)], stall=STALLS)
async def read_failing(dut, response, stall):
    """Words before a failing beat arrive, the error shows, and an abort makes the reader whole."""
    step, source, sink, memory = await reader_bench(dut, stall=stall)
    code = Error.READ_SLVERR if response == AxiResp.SLVERR else Error.READ_DECERR
    asked = {"address": BASE + 4 * step, "words": 100, "base": BASE, "size": SIZE}
    for position in (0, 1, 17, 99):
        memory.faults = {asked["address"] + position * step: AxiResp(response)}
        source.send([asked])
        await until(dut, "error", code)
        await until(dut, "idle")
        want = list(expected(memory, [asked], step))[:position]
        harness.assert_same("before the fault", await sink.receive(position), want)
        memory.faults = {}
        source.send([asked])
        await ClockCycles(dut.clk, 20)
        assert dut.error.value == code and dut.i_request__ready.value == 0, "until an abort"
        await abort(dut)
        harness.assert_same("after", await sink.receive(100), list(expected(memory, [asked], step)))
        assert sink.empty()


@cocotb.test()
@cocotb.parametrize(stall=(None, *SLOW))
async def read_aborted(dut, stall):
    """A request that waits through an abort is served whole, and nothing of the one before."""
    step, source, sink, memory = await reader_bench(dut, stall=stall)
    asked = {"address": BASE, "words": 150, "base": BASE, "size": SIZE}
    short = {"address": BASE + 32, "words": 2, "base": BASE, "size": SIZE}
    for cycles in (*range(3, 20), 40, 90):
        source.send([asked])
        await source.wait()
        await ClockCycles(dut.clk, cycles)
        source.send([short])
        dut.abort.value = 1
        await RisingEdge(dut.clk)
        dut.abort.value = 0
        await ClockCycles(dut.clk, 2)
        await sink.receive(sink.level)
        harness.assert_same("after", await sink.receive(2), list(expected(memory, [short], step)))
        await until(dut, "idle")
        assert sink.empty()


@cocotb.test()
@cocotb.parametrize(pause=harness.PAUSES)
async def split(dut, pause):
    """Bus words leave as 32-bit words, lowest first; `last` is with the last part only."""
    config = harness.config()
    idle, stall = harness.pauses(pause)
    source, sink = (
        harness.Source(dut, "i", bus_word(config), pause=idle),
        harness.Sink(dut, "o", word(), pause=stall),
    )
    dut.clear.value = 0
    await harness.start(dut)
    generator, parts = random.Random(5), config.bus_bits // 32
    words = [
        {"data": generator.getrandbits(config.bus_bits), "last": generator.randrange(2)}
        for _ in range(40)
    ]
    source.send(words)
    want = [
        {"data": (one["data"] >> 32 * i) & 0xFFFFFFFF, "last": int(one["last"] and i == parts - 1)}
        for one in words
        for i in range(parts)
    ]
    harness.assert_same("words", await sink.receive(len(want)), want)


@cocotb.test()
async def cleared(dut):
    """After `clear` in the middle of a bus word the next one leaves from its lowest part on."""
    config = harness.config()
    parts = config.bus_bits // 32
    content = random.Random(6).getrandbits(config.bus_bits)
    dut.clear.value = dut.o__ready.value = 0
    dut.i__valid.value = 1
    harness.drive(dut, "i__payload", bus_word(config), {"data": content, "last": 0})
    await harness.start(dut)
    for taken in range(parts):
        dut.o__ready.value = 1
        await ClockCycles(dut.clk, taken)
        dut.o__ready.value = 0
        await FallingEdge(dut.clk)
        found = harness.read_port(dut, "o__payload", word())["data"]
        assert found == content >> 32 * taken & 0xFFFFFFFF
        dut.clear.value = 1
        await RisingEdge(dut.clk)
        dut.clear.value = 0
        await FallingEdge(dut.clk)
        found = harness.read_port(dut, "o__payload", word())["data"]
        assert found == content & 0xFFFFFFFF


async def writer_bench(dut, pause="none", stall=None, content=True):
    config = harness.config()
    dut.abort.value = 0
    idle, late = harness.pauses(pause)
    source, memory = harness.Source(dut, "i_request", transfer_layout(), pause=idle), filled()
    content = harness.Source(dut, "i_data", unsigned(32), pause=late) if content else None
    memory.serve_write(dut, "bus_", pause=stall)
    await harness.start(dut)
    return config.bus_bytes, source, content, memory


async def written(dut, source, content, memory, one, seed):
    """Send one request with random data; checks that exactly its bytes change."""
    generator = random.Random(seed)
    words = [generator.getrandbits(32) for _ in range(one["words"])]
    before = bytearray(memory.data)
    at = one["address"] - BASE
    before[at : at + 4 * len(words)] = b"".join(value.to_bytes(4, "little") for value in words)
    source.send([one])
    content.send(words)
    await until(dut, "done", cycles=20000)
    assert memory.data == before, f"memory differs after {one}"


@cocotb.test()
@cocotb.parametrize(pause=harness.PAUSES, stall=STALLS)
async def write_runs(dut, pause, stall):
    step, source, content, memory = await writer_bench(dut, pause, stall)
    for seed, one in enumerate(requests(step, 4, unit=4)):
        await written(dut, source, content, memory, one, seed)
    await until(dut, "idle")
    assert not memory.strays and dut.error.value == 0


@cocotb.test()
async def write_refused(dut):
    step, source, content, memory = await writer_bench(dut)
    parts = [{"address": BASE, "words": step // 4 - 1, "base": BASE, "size": SIZE}]
    for one in refused(step, 4) + parts:
        source.send([one])
        await until(dut, "error", Error.WINDOW)
        await abort(dut)
    assert not memory.touched


@cocotb.test()
@cocotb.parametrize(response=[int(AxiResp.SLVERR), int(AxiResp.DECERR)])
async def write_failing(dut, response):
    step, source, content, memory = await writer_bench(dut)
    one = {"address": BASE, "words": 40 * step // 4, "base": BASE, "size": SIZE}
    memory.faults = {BASE + 17 * step: AxiResp(response)}
    source.send([one])
    content.send(range(32 * step // 4))
    await until(dut, "error", Error.WRITE_ERROR)
    assert BASE + 32 * step not in memory.touched
    memory.faults = {}
    await abort(dut)
    await content.wait()
    await written(dut, source, content, memory, one, 1)


async def feed(dut, words):
    """Offer words on `i_data`; unlike a Source it can be cancelled."""
    for one in words:
        dut.i_data__payload.value, dut.i_data__valid.value = one, 1
        await RisingEdge(dut.clk)
        while dut.i_data__ready.value != 1:
            await RisingEdge(dut.clk)
    dut.i_data__valid.value = 0


@cocotb.test()
@cocotb.parametrize(stall=(None, *SLOW))
async def write_aborted(dut, stall):
    """A write aborted after 3 to 29 cycles leaves every bus word old or new, none beside it."""
    step, source, _, memory = await writer_bench(dut, stall=stall, content=False)
    dut.i_data__valid.value = 0
    one = {"address": BASE + step, "words": 20 * step // 4, "base": BASE, "size": SIZE}
    for cycles in range(3, 30):
        words = [cycles << 16 | i for i in range(one["words"])]
        before, wanted = bytes(memory.data), b"".join(word.to_bytes(4, "little") for word in words)
        source.send([one])
        feeding = cocotb.start_soon(feed(dut, words[: cycles * 2]))
        await ClockCycles(dut.clk, cycles)
        await abort(dut)
        await source.wait()
        await until(dut, "idle")
        assert (
            memory.dump(BASE, step) == before[:step]
            and memory.data[21 * step :] == before[21 * step :]
        )
        for at in range(
            step, 21 * step, step
        ):  # each bus word is as it was, or as it should become
            assert memory.data[at : at + step] in (
                before[at : at + step],
                wanted[at - step : at],
            ), f"aborted after {cycles}: byte {at}"
        feeding.cancel()
        dut.i_data__valid.value = 0
    assert not memory.strays


@cocotb.test()
@cocotb.parametrize(stall=(None, *SLOW))
async def write_behind_abort(dut, stall):
    """A request that waits through an abort is written whole."""
    step, source, _, memory = await writer_bench(dut, stall=stall, content=False)
    dut.i_data__valid.value = 0
    one = {"address": BASE, "words": 20 * step // 4, "base": BASE, "size": SIZE}
    other = {"address": BASE + 0x800, "words": 3 * step // 4, "base": BASE, "size": SIZE}
    for cycles in range(1, 20):
        source.send([one])
        await source.wait()
        feeding = cocotb.start_soon(feed(dut, range(one["words"])))
        await ClockCycles(dut.clk, cycles)
        feeding.cancel()
        dut.i_data__valid.value = 0
        source.send([other])
        dut.abort.value = 1
        await RisingEdge(dut.clk)
        dut.abort.value = 0
        await RisingEdge(dut.clk)
        words = [cycles << 16 | i for i in range(other["words"])]
        feeding = cocotb.start_soon(feed(dut, words))
        await until(dut, "done")
        await until(dut, "idle")
        content = b"".join(word.to_bytes(4, "little") for word in words)
        assert memory.dump(other["address"], len(content)) == content


BUSES = [32, 128]


@pytest.mark.parametrize("bits", BUSES)
def test_reader(bits):
    config = harness.small(bus_bits=bits)
    for only in ("read_runs", "read_refused", "read_failing", "read_aborted"):
        harness.run_bench(
            Reader(config), "sim.bench.bus.test_dma", f"reader_{bits}", config=config, only=only
        )


@pytest.mark.parametrize("bits", BUSES)
def test_words(bits):
    config = harness.small(bus_bits=bits)
    harness.run_bench(
        Words(config),
        "sim.bench.bus.test_dma",
        f"words_{bits}",
        config=config,
        only="(split|cleared)",
    )


@pytest.mark.parametrize("bits", BUSES)
def test_writer(bits):
    config = harness.small(bus_bits=bits)
    for only in (
        "write_runs",
        "write_refused",
        "write_failing",
        "write_aborted",
        "write_behind_abort",
    ):
        harness.run_bench(
            Writer(config), "sim.bench.bus.test_dma", f"writer_{bits}", config=config, only=only
        )


def test_burst_wrong():
    with pytest.raises(ValueError, match="Burst must be 16, 32 or 64 beats, not 8"):
        Reader(harness.small(), burst=8)
