# SPDX-License-Identifier: Apache-2.0
"""The compiled co-simulation itself, proven on a small word copier.

Memories, registers, taps, faults, waveform.
"""

import gzip

import numpy as np
import pytest
from amaranth import signed
from amaranth.lib import data

from sim.cosim import dummy
from sim.cosim.build import BuildError, build, library
from sim.cosim.cosim import DECERR, IRQ, LIMIT, OP, SLVERR, Cosim, CosimError
from sim.cosim.taps import decode_tap

CONFIG = dummy.CopierConfig()
WORDS = np.array([0x00FF7F80, 0x12345678, 0xFFFFFFFF, 0], np.uint32)


@pytest.fixture(scope="module")
def built():
    return build(CONFIG, dummy.Copier)


@pytest.fixture
def copier(built):
    sim = Cosim(built, dummy.layouts(CONFIG), memory=4096)
    sim.memory[:16] = WORDS.view(np.uint8)
    return sim


def start(sim, source=0, target=256, count=4):
    for address, value in (
        (dummy.SOURCE, source),
        (dummy.TARGET, target),
        (dummy.COUNT, count),
        (dummy.START, 1),
    ):
        assert sim.write(address, value) == 0


def copied(sim, count=4, target=256):
    return sim.memory[target : target + 4 * count].view(np.uint32)


def test_registers(copier):
    copier.write(dummy.SOURCE, 0xDEADBEEF)
    assert copier.read(dummy.SOURCE) == 0xDEADBEEF
    with pytest.raises(CosimError, match="0x40 was answered with 2"):
        copier.read(0x40)


@pytest.mark.parametrize("stall", [0.0, 0.7])
@pytest.mark.parametrize("latency", [0, 30])
def test_copy(copier, stall, latency):
    copier.behave(latency=latency, stall=stall, seed=3)
    start(copier)
    assert copier.run(IRQ, 10_000) == IRQ
    assert (copied(copier) == WORDS + 1).all()
    assert copier.violations == []
    assert copier.bytes_moved() == copier.bytes_moved(write=True) == 16


def test_stalls_repeat_from_their_seed(built):
    def cycles(seed):
        sim = Cosim(built, dummy.layouts(CONFIG), memory=4096)
        sim.behave(stall=0.5, seed=seed)
        start(sim)
        sim.run(IRQ, 10_000)
        return sim.cycle

    assert cycles(1) == cycles(1)
    assert len({cycles(seed) for seed in range(5)}) > 1


def test_bandwidth(copier):
    copier.behave(latency=0, bytes_per_cycle=0.1)  # 40 cycles a word
    start(copier)
    copier.run(IRQ, 10_000)
    assert copier.cycle > 3 * 40


@pytest.mark.parametrize("bursts", [0, 9])
def test_bursts_at_a_time(copier, bursts):
    with pytest.raises(ValueError, match=f"Bursts must be in 1..8, not {bursts}"):
        copier.behave(bursts=bursts)


def test_taps_end_each_operation(copier):
    start(copier)
    for i, word in enumerate(WORDS):
        assert copier.run(OP, 1000) == OP
        records = copier.take()
        assert list(records["op"]["pc"]) == [i]
        store = records["store"]
        expected = (
            np.array([word >> 8 * lane & 0xFF for lane in range(3)]).astype(np.uint8).view(np.int8)
        )
        assert list(store["tile"]) == [i] and (store["values"] == expected).all()
        assert (store["cycle"] < copier.cycle).all()
    assert copier.run(IRQ, 1000) == IRQ


@pytest.mark.parametrize("write", [False, True])
@pytest.mark.parametrize("response", [SLVERR, DECERR])
def test_fault(copier, write, response):
    copier.fault(256 + 4 if write else 4, 256 + 8 if write else 8, response, write)
    start(copier)
    copier.run(IRQ, 1000)
    assert copier.read(dummy.STATUS) == response
    assert copied(copier)[1] == (0 if write else 0xA5A5A5A6)
    assert (copied(copier)[2:] == WORDS[2:] + 1).all()


def test_outside_memory_is_a_decode_error(copier):
    start(copier, source=4096)
    copier.run(IRQ, 1000)
    assert copier.read(dummy.STATUS) == DECERR


def test_write_outside_its_window(copier):
    copier.writable((0, 256), (256, 260))
    start(copier, count=2)
    copier.run(IRQ, 1000)
    assert copier.violations == ["m_axi: write outside its window at 260"]


def test_unaligned_and_4k_violations(copier):
    start(copier, source=4094, count=1)
    copier.run(IRQ, 1000)
    assert [text[:30] for text in copier.violations] == [
        "m_axi: AR address is not align",
        "m_axi: AR burst crosses 4 KiB ",
    ]


def test_limit_and_reset(copier):
    assert copier.run(IRQ, 50) == LIMIT
    start(copier)
    copier.run(OP, 1000)
    copier.reset()
    assert copier.read(dummy.SOURCE) == 0
    start(copier)
    assert copier.run(IRQ, 1000) == IRQ


@pytest.mark.parametrize(("name", "opened"), [("copy.vcd", open), ("copy.vcd.gz", gzip.open)])
def test_waveform(tmp_path, name, opened):
    copier = Cosim(build(CONFIG, dummy.Copier, "waveform"), dummy.layouts(CONFIG), memory=4096)
    copier.trace(tmp_path / "wave" / name)
    start(copier, count=1)
    copier.run(IRQ, 1000)
    copier.trace(None)
    with opened(tmp_path / "wave" / name, "rt") as file:
        text = file.read()
    assert "irq" in text and "m_axi_awvalid" in text and text.count("\n#") > 20
    with pytest.raises(CosimError, match="Cannot write the waveform"):
        copier.trace(tmp_path)


def test_coverage(tmp_path):
    """What a run covers besides is in the next file as well."""
    copier = Cosim(build(CONFIG, dummy.Copier, "coverage"), dummy.layouts(CONFIG), memory=4096)
    counts = []
    for name in ("before", "behind"):
        copier.coverage(tmp_path / name)
        lines = (tmp_path / name).read_text().splitlines()
        counts.append([line.rpartition(" ")[2] != "0" for line in lines if line.startswith("C ")])
        start(copier, count=1)
        copier.run(IRQ, 1000)
    before, behind = counts
    assert len(before) == len(behind) and sum(before) < sum(behind)
    assert all(now for was, now in zip(before, behind, strict=True) if was)


def test_other_libraries_do_neither(copier, tmp_path):
    with pytest.raises(CosimError, match="Cannot write the waveform"):
        copier.trace(tmp_path / "copy.vcd.gz")
    with pytest.raises(CosimError, match="of the kind coverage"):
        copier.coverage(tmp_path / "coverage.dat")


def test_wrong_tap_width(built):
    with pytest.raises(CosimError, match="trace_op must be there with 9 bits, found 17"):
        Cosim(built, {"op": data.StructLayout({"pc": 9})})


def test_missing_tap(built):
    with pytest.raises(CosimError, match="trace_row must be there"):
        Cosim(built, {"row": data.StructLayout({"row": 16})})


def test_build_is_reused(built):
    assert build(CONFIG, dummy.Copier) == built


def test_bad_design():
    with pytest.raises(BuildError, match="Verilator failed"):
        library("module accelerator(nonsense")


@pytest.mark.parametrize("seed", range(5))
def test_decode(seed):
    """Random layouts and values against Amaranth's own packing."""
    rng = np.random.default_rng(seed)
    widths = [(f"f{i}", int(rng.integers(1, 64)), bool(rng.integers(2))) for i in range(6)]
    members = {name: signed(width) if sign else width for name, width, sign in widths}
    layout = data.StructLayout(members | {"lanes": data.ArrayLayout(signed(13), 5)})
    wanted, rows = [], []
    for _ in range(20):
        row = {
            name: int(
                rng.integers(-(1 << width - 1), 1 << width - 1)
                if sign
                else rng.integers(1 << width)
            )
            for name, width, sign in widths
        } | {"lanes": [int(v) for v in rng.integers(-4096, 4096, 5)]}
        bits = layout.const(row).as_value().value
        rows.append([bits >> 32 * i & 0xFFFFFFFF for i in range(-(-layout.size // 32))])
        wanted.append(row)
    found = decode_tap(layout, np.array(rows, np.uint32))
    for name in wanted[0]:
        assert found[name].tolist() == [row[name] for row in wanted]
