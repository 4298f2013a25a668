# SPDX-License-Identifier: Apache-2.0
"""The Python driver against a register file in Python, and its way through UIO on plain files."""

import mmap
import struct

import pytest

from firmware.driver import DriverError, Terse, UioLink, Windows
from firmware.error_codes import Error
from firmware.record import RECORD
from firmware.registers import BY_NAME, ID, REGISTERS, SPAN, VERSION, constants
from golden_model.hardware import HARDWARE

CONFIG = HARDWARE["ci"]
BUSY, LOADED, ERROR, DONE = 1, 2, 4, 8


class Fake:
    """A link to a register file: busy for `delay` reads of STATUS, then `outcome`."""

    def __init__(self):
        self.words = {register.offset: register.reset or 0 for register in REGISTERS}
        self.words |= {BY_NAME[n].offset: value for n, value in constants(CONFIG).items()}
        self.words[BY_NAME["ID"].offset], self.words[BY_NAME["VERSION"].offset] = ID, VERSION
        self.delay, self.left, self.outcome, self.after = 2, 0, 0, {}
        self.memory = bytearray(1 << 16)
        self.commands = []
        self.missing = 0  # results of the next queue

    def read(self, offset):
        if offset == BY_NAME["STATUS"].offset:
            if self.left:
                return BUSY
            return self.outcome
        return self.words[offset]

    def write(self, offset, value):
        if offset == BY_NAME["CONTROL"].offset:
            self.commands.append(value)
            if value == 2:
                count = self.words[BY_NAME["QUEUE_COUNT"].offset]
                self.words[BY_NAME["SENTENCES_DONE"].offset] = count - self.missing
            self.left, self.outcome = self.delay, self.after.get(value, LOADED | DONE)
        elif offset == BY_NAME["IRQ_CAUSE"].offset:
            self.words[offset] &= ~value
        else:
            self.words[offset] = value

    def pause(self):
        self.left -= 1

    def get(self, address, size):
        return bytes(self.memory[address : address + size])

    def put(self, address, data):
        self.memory[address : address + len(data)] = data


@pytest.fixture
def fake():
    return Fake()


@pytest.fixture
def terse(fake):
    return Terse(fake, polls=10)


@pytest.fixture
def layout(terse):
    return Windows.packed(terse, 1024, 2048, sentences=3, base=4096)


def record(tag, layer=2, tokens=3, status=0):
    words = [0] * RECORD.words(CONFIG)
    words[RECORD.word("STATUS")] = status
    words[RECORD.word("TAG")] = tag
    words[RECORD.word("VERDICT")] = 1 | layer << 8 | tokens << 16
    return struct.pack(f"<{len(words)}I", *words)


def ends(result, call, *arguments):
    """`call` ends as the C driver's result of this name; returns the error."""
    with pytest.raises(DriverError) as caught:
        call(*arguments)
    assert caught.value.result == result
    return caught.value


def test_sizes(terse):
    assert (terse.positions, terse.layers, terse.slots) == (64, 12, 2)
    assert terse.record_bytes == 4 * RECORD.words(CONFIG)


@pytest.mark.parametrize("name", ["ID", "VERSION", "ROWS", "FORMAT", "RESULT_WORDS"])
def test_identity(fake, name):
    fake.words[BY_NAME[name].offset] = 0
    ends("IDENTITY", Terse, fake)


def test_load(fake, terse, layout):
    terse.load(layout)
    assert fake.commands == [1] and terse.read("IMAGE_BASE") == 4096
    assert terse.read("RESULT_SIZE") == 3 * terse.record_bytes
    assert terse.status() == {"BUSY": False, "LOADED": True, "ERROR": False, "DONE": True}


@pytest.mark.parametrize(
    ("window", "text"),
    [
        ({"image": (4100, 1024)}, "aligned"),
        ({"image": (4096, 1000)}, "multiple of 32"),
        ({"input": (8192, 0)}, "not empty"),
        ({"result": (0xFFFFFFE0, 64)}, "inside 32 bits"),
        ({"result": (4096 + 512, 64)}, "share no byte"),
        ({"input": (0, 1 << 15)}, "share no byte"),
    ],
)
def test_load_refused(fake, terse, layout, window, text):
    bad = Windows(**vars(layout) | window)
    assert text in str(ends("ARGUMENT", terse.load, bad)) and fake.commands == []


def test_fault(fake, terse, layout):
    fake.after[1] = ERROR
    fake.words[BY_NAME["ERROR"].offset] = Error.IMAGE_CRC
    error = ends("FAULT", terse.load, layout)
    assert error.error == Error.IMAGE_CRC and "IMAGE_CRC" in str(error)
    ends("FAULT", terse.start, layout.input[0], 1)
    fake.after[4] = 0
    terse.reset()
    assert fake.commands == [1, 4]


def test_timeout(fake, terse, layout):
    fake.delay = 11
    ends("TIMEOUT", terse.load, layout)
    ends("BUSY", terse.set_watchdog, 9)
    terse.wait()


def test_start_refused(fake, terse, layout):
    terse.load(layout)
    first = layout.input[0]
    for queue, count in (
        (first, 0),
        (first, 4),
        (first + 16, 1),
        (first - 32, 1),
        (first, 1 << 16),
    ):
        ends("ARGUMENT", terse.start, queue, count)
    assert fake.commands == [1]


def test_classify(fake, terse, layout):
    """Most urgent first; the results come back in the order of the sentences."""
    terse.load(layout)
    results = layout.result[0]
    for place, tag in enumerate((2, 0, 1)):
        fake.put(results + place * terse.record_bytes, record(tag))
    sentences = [([5, 6], [0, 1]), ([7], [0]), ([8, 9, 10], [0, 0, 0])]
    found = terse.classify(sentences, deadlines=[500, 0, 20])
    assert [one.tag for one in found] == [0, 1, 2] and fake.commands == [1, 2]
    queue = struct.unpack("<12I", fake.get(layout.input[0], 48))
    assert queue[1::4] == (3, 2, 1) and queue[2::4] == (20, 500, 0) and queue[3::4] == (2, 0, 1)
    assert fake.get(queue[4], 8) == struct.pack("<2I", 5, 6 | 1 << 31)


def test_classify_refused(fake, terse, layout):
    terse.load(layout)
    ends("ARGUMENT", terse.classify, [([1], [0])] * 4)
    ends("ARGUMENT", terse.classify, [([], [])])
    ends("ARGUMENT", terse.classify, [([1] * 65, [0] * 65)])
    for bad in (record(0, layer=0), record(0, layer=13), record(0, tokens=0), record(0, status=99)):
        fake.put(layout.result[0], bad)
        ends("RECORD", terse.classify, [([1], [0])])
    fake.put(layout.result[0], record(0, layer=0, status=Error.SENTENCE_TOKEN))
    assert terse.classify([([1], [0])])[0].status == Error.SENTENCE_TOKEN


def test_settings(terse):
    terse.set_slot_limit(1)
    terse.set_exit_threshold(77)
    terse.set_watchdog(99)
    names = ("SLOT_LIMIT", "EXIT_THRESHOLD", "WATCHDOG")
    assert [terse.read(name) for name in names] == [1, 77, 99]
    ends("ARGUMENT", terse.set_slot_limit, 3)
    ends("ARGUMENT", terse.set_exit_threshold, 1 << 18)
    assert terse.units() == CONFIG.units and terse.counters()["CYCLES"] == 0


def test_interrupts(fake, terse):
    fake.words[BY_NAME["IRQ_CAUSE"].offset] = 0b101
    assert terse.irq_state() == {"DONE", "LOADED"}
    terse.irq_acknowledge(["DONE"])
    terse.irq_enable(["DONE", "ERROR"])
    assert terse.irq_state() == {"LOADED"} and terse.read("IRQ_ENABLE") == 0b011
    ends("ARGUMENT", terse.irq_enable, ["IDLE"])


def test_uio(tmp_path):
    """Registers and memory are the files' bytes; the buffer's address is the kernel's."""
    (tmp_path / "uio0").write_bytes(bytes(mmap.PAGESIZE))
    (tmp_path / "udmabuf0").write_bytes(bytes(8192))
    folder = tmp_path / "class" / "udmabuf0"
    folder.mkdir(parents=True)
    (folder / "phys_addr").write_text("0x1f400000\n")
    (folder / "size").write_text("8192\n")
    link = UioLink(tmp_path / "uio0", tmp_path / "udmabuf0", system=tmp_path / "class")
    link.write(0x20, 0x12345678)
    assert link.read(0x20) == 0x12345678 and link.read(SPAN - 4) == 0
    assert (tmp_path / "uio0").read_bytes()[0x20:0x24] == struct.pack("<I", 0x12345678)
    link.put(0x1F400010, b"terse")
    assert link.get(0x1F400010, 5) == b"terse"
    assert (tmp_path / "udmabuf0").read_bytes()[16:21] == b"terse"
    for address, size in ((0x1F3FFFFF, 2), (0x1F401FFF, 2)):
        with pytest.raises(ValueError, match="Memory must be in 0x1f400000..0x1f402000"):
            link.get(address, size)
    with pytest.raises(OSError):
        UioLink(tmp_path / "none", tmp_path / "udmabuf0", 0, 8192)


def test_missing_results(fake, terse, layout):
    terse.load(layout)
    terse.run(layout.input[0], 2)
    fake.missing = 1
    assert "must have 2 results, not 1" in str(ends("RESULTS", terse.run, layout.input[0], 2))


def test_counter_that_carries_while_it_is_read(fake, terse):
    """The low word goes over behind the first read of the high one."""
    high, low = (BY_NAME[f"CYCLES_{end}"].offset for end in ("HI", "LO"))
    fake.words[high], fake.words[low] = 1, 0xFFFFFFFF
    read, reads = fake.read, []

    def carries(offset):
        value = read(offset)
        reads.append(offset)
        if reads == [high]:
            fake.words[high], fake.words[low] = 2, 0
        return value

    fake.read = carries
    assert terse.counters()["CYCLES"] == 2 << 32


def test_counter_of_nobody(fake, terse):
    """Every read has another value: it is given up."""
    high, read = BY_NAME["CYCLES_HI"].offset, fake.read
    values = iter(range(1000))
    fake.read = lambda offset: next(values) if offset == high else read(offset)
    assert "CYCLES does not stand still" in str(ends("TIMEOUT", terse.counters))
