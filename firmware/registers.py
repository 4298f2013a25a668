# SPDX-License-Identifier: Apache-2.0
"""The register table: the RTL block and what firmware/generate.py writes are made from it."""

from dataclasses import dataclass

from firmware.bits import Bits
from firmware.isa import ENGINES
from firmware.record import RECORD

__all__ = [
    "BY_NAME",
    "COUNTERS",
    "COUNTERS_END",
    "ID",
    "REGISTERS",
    "SPAN",
    "VERSION",
    "WATCHDOG_RESET",
    "Register",
    "constants",
]

ID = int.from_bytes(b"TRSE", "little")
VERSION = 4  # of the register table, the image layout and the queue together
WATCHDOG_RESET = 1 << 20
SPAN = 0x200  # bytes of the AXI4-Lite window; other offsets answer DECERR
ADDRESS_BITS = 9


@dataclass(frozen=True)
class Register:
    """One 32-bit register.

    access : "ro" read only; "rw"; "w1c" writing one clears; "pulse" writing one starts something,
        reads zero
    reset : value after power-up; None where it depends on the configuration (`constants`). Soft
        reset leaves rw registers as they are.
    """

    name: str
    offset: int
    access: str
    doc: str
    width: int = 32
    reset: int | None = 0
    fields: tuple = ()


def _flag(name, low, doc):
    return Bits(name, low, 1, doc)


_PLAIN = [
    Register("ID", 0x00, "ro", 'Bytes "TRSE".', reset=ID),
    Register("VERSION", 0x04, "ro", "Version of registers, image and queue.", reset=VERSION),
    Register(
        "CONFIG_HASH",
        0x08,
        "ro",
        "Hash of the hardware configuration; an image must carry the same.",
        reset=None,
    ),
    Register(
        "SHAPE",
        0x0C,
        "ro",
        "Array and bus.",
        reset=None,
        fields=(
            Bits("TOKENS", 0, 8, "token lanes T"),
            Bits("COLUMNS", 8, 8, "column lanes P"),
            Bits("SLOTS", 16, 8, "sentences resident at once"),
            Bits("BUS_BYTES", 24, 8, "bytes of a bus word"),
        ),
    ),
    Register(
        "ROWS",
        0x10,
        "ro",
        "Row table.",
        reset=None,
        fields=(
            Bits("ROWS", 0, 16, "live tokens resident at once"),
            Bits("POSITIONS", 16, 16, "longest sentence"),
        ),
    ),
    Register(
        "UNITS",
        0x14,
        "ro",
        "Optional units that are present.",
        reset=None,
        fields=(
            _flag("SPAN", 0, "attention span mask"),
            _flag("DROP", 1, "token drop"),
            _flag("EXIT", 2, "early exit"),
            _flag("DVFS", 3, "voltage and frequency requests"),
            _flag("COUNTERS", 4, "performance counters"),
            _flag("EMBEDDING_CHECK", 5, "checks of embedding rows"),
        ),
    ),
    Register(
        "FORMAT",
        0x18,
        "ro",
        "Number format of codes, and of result records.",
        reset=None,
        fields=(
            Bits("BITS", 0, 8, "bits of a code"),
            Bits("EXPONENT", 8, 8, "exponent bits; 0 is int8"),
            Bits("LAYERS", 16, 8, "layers that a result record has words for"),
        ),
    ),
    Register("RESULT_WORDS", 0x1C, "ro", "32-bit words of a result record.", reset=None),
    Register(
        "CONTROL",
        0x20,
        "pulse",
        "Commands; ignored while busy, except RESET.",
        width=3,
        fields=(
            _flag("LOAD", 0, "load and check the image and the embedding image's header"),
            _flag("START", 1, "run the queue"),
            _flag("RESET", 2, "drain the buses, then forget errors, image and counters"),
        ),
    ),
    Register(
        "STATUS",
        0x24,
        "ro",
        "State.",
        width=4,
        fields=(
            _flag("BUSY", 0, "loading, running or draining"),
            _flag("LOADED", 1, "an image is loaded"),
            _flag("ERROR", 2, "stopped by an error; soft reset to go on"),
            _flag("DONE", 3, "the queue is finished"),
        ),
    ),
    Register("ERROR", 0x28, "ro", "Code of the first error.", width=8),
    Register(
        "ERROR_PC",
        0x2C,
        "ro",
        "Instruction that was running at the error, or whose weights were awaited; "
        "0 before the first.",
        width=16,
    ),
    Register(
        "IRQ_ENABLE",
        0x30,
        "rw",
        "Causes that raise `irq`.",
        width=3,
        fields=(
            _flag("DONE", 0, "queue finished"),
            _flag("ERROR", 1, "error"),
            _flag("LOADED", 2, "image loaded"),
        ),
    ),
    Register(
        "IRQ_CAUSE",
        0x34,
        "w1c",
        "Causes since they were cleared.",
        width=3,
        fields=(
            _flag("DONE", 0, "queue finished"),
            _flag("ERROR", 1, "error"),
            _flag("LOADED", 2, "image loaded"),
        ),
    ),
    Register("IMAGE_BASE", 0x40, "rw", "Byte address of the image; multiple of 32."),
    Register("IMAGE_SIZE", 0x44, "rw", "Its size in bytes; multiple of 32."),
    Register(
        "EMBEDDING_BASE",
        0x48,
        "rw",
        "Byte address of the embedding image on the embedding port; multiple of 32.",
    ),
    Register("EMBEDDING_SIZE", 0x4C, "rw", "Its size in bytes; multiple of 32."),
    Register(
        "INPUT_BASE", 0x50, "rw", "Byte address of the window of queue and tokens; multiple of 32."
    ),
    Register("INPUT_SIZE", 0x54, "rw", "Its size in bytes."),
    Register("RESULT_BASE", 0x58, "rw", "Byte address of the result records; multiple of 32."),
    Register("RESULT_SIZE", 0x5C, "rw", "Size of their window in bytes."),
    Register(
        "QUEUE_BASE",
        0x60,
        "rw",
        "Byte address of the first descriptor; multiple of 32, in the input window.",
    ),
    Register("QUEUE_COUNT", 0x64, "rw", "Sentences in the queue.", width=16),
    Register(
        "EXIT_THRESHOLD",
        0x68,
        "rw",
        "Entropy below which a sentence stops, Q2.16 nats; set when an image loads.",
        width=18,
    ),
    Register(
        "WATCHDOG",
        0x6C,
        "rw",
        "Cycles without progress before error WATCHDOG; 0 never.",
        reset=WATCHDOG_RESET,
    ),
    Register("SLOT_LIMIT", 0x70, "rw", "Slots used, at most those present.", width=8, reset=None),
    Register("SENTENCES_DONE", 0x74, "ro", "Results written since the queue started.", width=16),
]

_COUNTERS = {
    "CYCLES": "Cycles busy.",
    "ARRAY_BUSY": "Cycles in which at least one lane of the array multiplied.",
    "MACS": "Multiplications done: T for each entry that a column lane takes.",
    "STALL_WEIGHTS": "Cycles the array waited for weights.",
    "STALL_LOAD": "Cycles the array waited for activations.",
    "STALL_DRAIN": "Cycles the array waited for its results to leave.",
    "BYTES_READ": "Bytes read on the memory port.",
    "BYTES_EMBEDDING": "Bytes read on the embedding port.",
    "BYTES_WRITTEN": "Bytes written on the memory port.",
    "SATURATIONS": "Values clamped to 16 bits.",
    "EMBEDDING_ERRORS": "Tokens with an embedding row that failed its check.",
    "PASSES": "Passes of the shared layer.",
    **{
        f"BUSY_{engine.opcode.name}": f"Cycles in which {engine.opcode.name} was at work."
        for engine in ENGINES
    },
    "BUSY_STAGING": "Cycles in which the block `embedding` had a token.",
    "TOKENS": "Live tokens, after DROP, summed over layers and sentences.",
    "USEFUL_MACS": "Multiplications of the encoder layers with a non-zero weight, "
    "and of their live heads' attention, for live tokens.",
    "SKIPPED_ZEROS": "Multiplications that the layers which ran skipped "
    "for live tokens and heads: zero weights.",
    "SKIPPED_HEADS": "Those skipped for live tokens: dead heads.",
    "SKIPPED_TOKENS": "Those of a dense layer skipped for dropped tokens, in layers that ran.",
    "SKIPPED_EXITS": "Those of dense layers that did not run, at the sentence's full length.",
}
COUNTER_BASE = 0x80  # offset of the first one


def _counters():
    for i, (name, doc) in enumerate(_COUNTERS.items()):
        low = COUNTER_BASE + 8 * i
        yield Register(f"{name}_LO", low, "ro", f"{doc} Low word.")
        yield Register(f"{name}_HI", low + 4, "ro", f"{doc} High word.")


COUNTERS = tuple(_COUNTERS)
COUNTERS_END = COUNTER_BASE + 8 * len(COUNTERS)  # offset behind the last of them
REGISTERS = (*_PLAIN, *_counters())
BY_NAME = {register.name: register for register in REGISTERS}


def constants(config):
    """Register name -> value after reset, for the registers that depend on a `HardwareConfig`."""
    return {
        "CONFIG_HASH": config.config_hash,
        "SHAPE": config.tokens | config.columns << 8 | config.slots << 16 | config.bus_bytes << 24,
        "ROWS": config.rows | config.positions << 16,
        "UNITS": config.unit_bits,
        "FORMAT": config.format.bits | config.format.exponent << 8 | config.layers << 16,
        "RESULT_WORDS": RECORD.words(config),
        "SLOT_LIMIT": config.slots,
    }
