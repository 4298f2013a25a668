# SPDX-License-Identifier: Apache-2.0
"""The calls of the C driver in Python, over any way to the registers and the memory.

terse = Terse(UioLink("/dev/uio0", "/dev/udmabuf0"))
layout = Windows.packed(terse, len(image), len(embedding), sentences=8, base=link.base)
terse.link.put(layout.image[0], image)
terse.load(layout)
for record in terse.classify([(ids, segments)]):
    print(record.predicted_class, record.exit_layer, record.cycles)
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from firmware.error_codes import Error
from firmware.record import DESCRIPTOR, RECORD, Record, descriptor_bytes, token_bytes
from firmware.registers import BY_NAME, COUNTERS, ID, VERSION
from golden_model.hardware import UNITS, ceil_div

__all__ = ["DriverError", "Link", "Terse", "Windows", "by_deadline"]

ALIGNMENT = 32  # of windows, queue and tokens
POLLS = 1_000_000  # reads of STATUS in a wait
COUNTER_TRIES = 4  # its high word moves once in 2^32 cycles
DESCRIPTOR_BYTES = 4 * DESCRIPTOR.words()
LONGEST_QUEUE = (1 << BY_NAME["QUEUE_COUNT"].width) - 1
LOAD, START, RESET = (bits.mask for bits in BY_NAME["CONTROL"].fields)
CAUSES = {bits.name: bits.mask for bits in BY_NAME["IRQ_CAUSE"].fields}
Window = tuple[int, int]  # first byte, bytes


class Link(Protocol):
    """A way to the machine: registers by their byte offset, memory by the machine's addresses."""

    def read(self, offset: int) -> int: ...

    def write(self, offset: int, value: int) -> None: ...

    def pause(self) -> None:
        """Wait between two reads of STATUS, however long."""
        ...

    def get(self, address: int, size: int) -> bytes: ...

    def put(self, address: int, data: bytes) -> None: ...


class DriverError(RuntimeError):
    """A call did not end well; `result` is the C driver's name for it, `error` the machine's."""

    def __init__(self, result: str, text: str, error: Error = Error.NONE, pc: int = 0):
        super().__init__(text)
        self.result = result
        self.error = error
        self.pc = pc


@dataclass(frozen=True)
class Windows:
    """Windows as (first byte, bytes); image, input and result share no byte.

    embedding : on the embedding port
    input : queue and tokens
    """

    image: Window
    embedding: Window
    input: Window
    result: Window

    @classmethod
    def packed(
        cls, terse: "Terse", image: int, embedding: int, sentences: int, base: int = 0
    ) -> "Windows":
        """Image, input and results of the longest queue one behind the other from `base` on."""
        starts = [base]
        for size in (image, sentences * (DESCRIPTOR_BYTES + terse.token_bytes) + ALIGNMENT):
            starts.append(starts[-1] + ceil_div(size, ALIGNMENT) * ALIGNMENT)
        return cls(
            (starts[0], image),
            (0, embedding),
            (starts[1], starts[2] - starts[1]),
            (starts[2], sentences * terse.record_bytes),
        )

    def problem(self) -> str | None:
        """Which rule is broken, if any."""
        for name, (base, size) in vars(self).items():
            if size <= 0 or base % ALIGNMENT or base < 0 or base + size > 1 << 32:
                return f"window {name} must be aligned to {ALIGNMENT} and inside 32 bits, not empty"
            if name in ("image", "embedding") and size % ALIGNMENT:
                return f"size of window {name} must be a multiple of {ALIGNMENT}, not {size}"
        shared = sorted((self.image, self.input, self.result))
        for (base, size), (following, _) in zip(shared, shared[1:], strict=False):
            if base + size > following:
                return "windows image, input and result must share no byte"
        return None


class Terse:
    """The accelerator behind a link. Raises DriverError where the C driver returns no TERSE_OK.

    Attributes
    ----------
    positions, layers, slots : of the hardware
    record_bytes, token_bytes : room for a result, and for the tokens of the longest sentence
    """

    def __init__(self, link: Link, polls: int = POLLS):
        self.link = link
        self.polls = polls
        if self.read("ID") != ID or self.read("VERSION") != VERSION:
            raise DriverError("IDENTITY", f"No Terse of version {VERSION} behind this link")
        self.positions = self._field("ROWS", "POSITIONS")
        self.layers = self._field("FORMAT", "LAYERS")
        self.slots = self._field("SHAPE", "SLOTS")
        self.record_bytes = 4 * self.read("RESULT_WORDS")
        self.token_bytes = ceil_div(4 * self.positions, ALIGNMENT) * ALIGNMENT
        if self.record_bytes != 4 * RECORD.words(self):
            raise DriverError("IDENTITY", "The registers' sizes do not fit each other")

    def read(self, name: str) -> int:
        """A register by its name."""
        return self.link.read(BY_NAME[name].offset)

    def write(self, name: str, value: int) -> None:
        self.link.write(BY_NAME[name].offset, value)

    def _field(self, register, name):
        bits = next(bits for bits in BY_NAME[register].fields if bits.name == name)
        return bits.take(self.read(register))

    # Life cycle -----------------------------------------------------------------------------------

    def reset(self) -> None:
        """Drain the buses, forget image, errors and counters."""
        self.write("CONTROL", RESET)
        self.wait()

    def load(self, layout: Windows) -> None:
        """Set the windows and load the image, which is in memory."""
        if problem := layout.problem():
            raise DriverError("ARGUMENT", problem.capitalize())
        self._check_command()
        for name, (base, size) in vars(layout).items():
            self.write(f"{name.upper()}_BASE", base)
            self.write(f"{name.upper()}_SIZE", size)
        self.write("CONTROL", LOAD)
        self.wait()

    def start(self, queue: int, count: int) -> None:
        """Start the queue at address `queue` of `count` sentences."""
        first, size = self.read("INPUT_BASE"), self.read("INPUT_SIZE")
        if not 0 < count <= LONGEST_QUEUE or queue % ALIGNMENT:
            raise DriverError("ARGUMENT", f"Queue of 1..{LONGEST_QUEUE} sentences, not {count}")
        if not first <= queue <= queue + DESCRIPTOR_BYTES * count <= first + size:
            raise DriverError("ARGUMENT", "The queue must lie in the input window")
        if count * self.record_bytes > self.read("RESULT_SIZE"):
            raise DriverError("ARGUMENT", f"The result window has no room for {count} records")
        self._check_command()
        self.write("QUEUE_BASE", queue)
        self.write("QUEUE_COUNT", count)
        self.write("CONTROL", START)

    def wait(self) -> None:
        """Until it is no longer busy."""
        for _ in range(self.polls):
            if not self.status()["BUSY"]:
                self._check_command()
                return
            self.link.pause()
        raise DriverError("TIMEOUT", f"Still busy after {self.polls} reads of STATUS")

    def run(self, queue: int, count: int) -> None:
        """Start and wait; there must be a result for each sentence."""
        self.start(queue, count)
        self.wait()
        if (found := self.finished()) != count:
            raise DriverError("RESULTS", f"The queue must have {count} results, not {found}")

    def _check_command(self):
        """Whether a command would be obeyed."""
        status = self.status()
        if status["BUSY"]:
            raise DriverError("BUSY", "Loading or running")
        if status["ERROR"]:
            error, pc = self.fault()
            text = f"Stopped by {error.name} ({error.text}) at instruction {pc}; reset to go on"
            raise DriverError("FAULT", text, error, pc)

    # State and settings ---------------------------------------------------------------------------

    def status(self) -> dict[str, bool]:
        """{BUSY, LOADED, ERROR, DONE: whether}."""
        word = self.read("STATUS")
        return {bits.name: bool(bits.take(word)) for bits in BY_NAME["STATUS"].fields}

    def fault(self) -> tuple[Error, int]:
        """(error that stopped the machine, number of the instruction)."""
        return Error(self.read("ERROR")), self.read("ERROR_PC")

    def finished(self) -> int:
        """Results written since the queue started."""
        return self.read("SENTENCES_DONE")

    def units(self) -> frozenset[str]:
        """The optional units that are present."""
        word = self.read("UNITS")
        return frozenset(name for i, name in enumerate(UNITS) if word >> i & 1)

    def counters(self) -> dict[str, int]:
        """The 64-bit counters; 0 without the unit."""
        return {name: self._counter(name) for name in COUNTERS}

    def _counter(self, name):
        """Both words of one moment: the high one has not moved meanwhile."""
        high = self.read(f"{name}_HI")
        for _ in range(COUNTER_TRIES):
            low = self.read(f"{name}_LO")
            if (again := self.read(f"{name}_HI")) == high:
                return high << 32 | low
            high = again
        raise DriverError("TIMEOUT", f"{name} does not stand still: is there a machine?")

    def set_exit_threshold(self, threshold: int) -> None:
        """Entropy below which a sentence stops, Q2.16 nats, until the next load."""
        self._set("EXIT_THRESHOLD", threshold, 0, (1 << BY_NAME["EXIT_THRESHOLD"].width) - 1)

    def set_watchdog(self, cycles: int) -> None:
        """Cycles without progress after which the machine stops; 0 never."""
        self._set("WATCHDOG", cycles, 0, (1 << BY_NAME["WATCHDOG"].width) - 1)

    def set_slot_limit(self, slots: int) -> None:
        """Sentences resident at once."""
        self._set("SLOT_LIMIT", slots, 1, self.slots)

    def _set(self, name, value, low, high):
        """A setting that must not change while the machine uses it."""
        if not low <= value <= high:
            raise DriverError("ARGUMENT", f"{name} must be in {low}..{high}, not {value}")
        if self.status()["BUSY"]:
            raise DriverError("BUSY", "Loading or running")
        self.write(name, value)

    # Interrupts -----------------------------------------------------------------------------------

    def irq_state(self) -> frozenset[str]:
        """The causes that are pending, of `CAUSES`, enabled or not."""
        word = self.read("IRQ_CAUSE")
        return frozenset(name for name, mask in CAUSES.items() if word & mask)

    def irq_acknowledge(self, causes: Iterable[str]) -> None:
        self.write("IRQ_CAUSE", _mask(causes))

    def irq_enable(self, causes: Iterable[str]) -> None:
        """Let these causes raise the line, and no others."""
        self.write("IRQ_ENABLE", _mask(causes))

    # Sentences ------------------------------------------------------------------------------------

    def classify(
        self,
        sentences: Sequence[tuple[Sequence[int], Sequence[int]]],
        deadlines: Sequence[int] | None = None,
    ) -> list[Record]:
        """The results of (token ids, segment ids), in their order; `load` comes first.

        deadlines : cycles of the highest operating point that each may take, 0 none. The most
            urgent sentences go first.
        """
        base = self.read("INPUT_BASE")
        tokens = base + ceil_div(DESCRIPTOR_BYTES * len(sentences), ALIGNMENT) * ALIGNMENT
        if tokens + len(sentences) * self.token_bytes > base + self.read("INPUT_SIZE"):
            raise DriverError(
                "ARGUMENT", f"The input window has no room for {len(sentences)} sentences"
            )
        deadlines = deadlines or [0] * len(sentences)
        for place, i in enumerate(by_deadline(deadlines)):
            ids, segments = sentences[i]
            if not 0 < len(ids) <= self.positions:
                raise DriverError(
                    "ARGUMENT", f"Sentence {i} must have 1..{self.positions} tokens, not {len(ids)}"
                )
            at = tokens + place * self.token_bytes
            self.link.put(at, token_bytes(ids, segments))
            words = descriptor_bytes(at, len(ids), deadlines[i], i)
            self.link.put(base + DESCRIPTOR_BYTES * place, words)
        self.run(base, len(sentences))
        results = self.read("RESULT_BASE")
        records = [self._record(results + i * self.record_bytes) for i in range(len(sentences))]
        return sorted(records, key=lambda record: record.tag)

    def _record(self, at):
        try:
            record = Record.parse(self, self.link.get(at, self.record_bytes))
        except ValueError as error:
            raise DriverError("RECORD", f"No record of this machine at {at:#x}: {error}") from error
        good = 1 <= record.exit_layer <= self.layers and 1 <= record.tokens <= self.positions
        if not record.status and not good:
            raise DriverError("RECORD", f"No record of this machine at {at:#x}")
        return record


def _mask(causes):
    """The word of some causes; DriverError for one that there is not."""
    if unknown := set(causes) - set(CAUSES):
        raise DriverError("ARGUMENT", f"Causes are {', '.join(CAUSES)}, not {', '.join(unknown)}")
    return sum(CAUSES[name] for name in set(causes))


def by_deadline(deadlines: Sequence[int]) -> list[int]:
    """Sentence numbers as the C driver's terse_order_by_deadline orders them.

    The earliest deadline comes first, 0 (none) last, equal ones as they came.
    """
    return sorted(range(len(deadlines)), key=lambda number: deadlines[number] or float("inf"))
