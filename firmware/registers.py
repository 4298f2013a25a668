# SPDX-License-Identifier: Apache-2.0
"""The register table, in one place: the RTL block, the C header, the SVD file and docs/registers.md come from it.

python -m firmware.registers header|svd|markdown > FILE
"""

import enum
import sys
from dataclasses import dataclass

from firmware.isa import ENGINES

__all__ = [
    "BY_NAME",
    "COUNTERS",
    "ID",
    "REGISTERS",
    "SPAN",
    "VERSION",
    "WATCHDOG_RESET",
    "Bits",
    "Error",
    "Register",
    "constants",
    "header",
    "markdown",
    "svd",
]

ID = int.from_bytes(b"TRSE", "little")
VERSION = 3  # of the register table, the image layout and the queue together
WATCHDOG_RESET = 1 << 20
SPAN = 0x200  # bytes of the AXI4-Lite window; other offsets answer DECERR
ADDRESS_BITS = 9


class Error(enum.IntEnum):
    """ERROR register and status word of a result. Below SENTENCE: the queue stops. From SENTENCE on: one sentence fails."""

    NONE = 0
    IMAGE_MAGIC = 1
    IMAGE_VERSION = 2
    IMAGE_UNITS = 3
    IMAGE_CONFIG = 4
    IMAGE_MODEL = 5
    IMAGE_LENGTH = 6
    IMAGE_CRC = 7
    EMBEDDING_HEADER = 8
    EMBEDDING_HASH = 9
    ILLEGAL_OPCODE = 10
    WINDOW = 11
    READ_SLVERR = 12
    READ_DECERR = 13
    WRITE_ERROR = 14
    EMBEDDING_BUS = 15
    WATCHDOG = 16
    NOT_LOADED = 17
    SENTENCE_EMPTY = 32
    SENTENCE_LENGTH = 33
    SENTENCE_TOKEN = 34
    SENTENCE_CHECK = 35

    @property
    def is_sentence(self):
        """Whether only one sentence failed, so that the queue went on."""
        return self >= Error.SENTENCE_EMPTY

    @property
    def text(self):
        return _ERROR_TEXT[self]


_ERROR_TEXT = {
    Error.NONE: "no error",
    Error.IMAGE_MAGIC: "image: magic is not TRSE",
    Error.IMAGE_VERSION: "image: version is not that of this hardware",
    Error.IMAGE_UNITS: "image: needs an optional unit that this hardware lacks",
    Error.IMAGE_CONFIG: "image: compiled for another hardware configuration",
    Error.IMAGE_MODEL: "image: model is larger than this hardware",
    Error.IMAGE_LENGTH: "image: truncated, or its length differs from IMAGE_SIZE",
    Error.IMAGE_CRC: "image: CRC-32 differs",
    Error.EMBEDDING_HEADER: "embedding image: magic, version, sizes or CRC of the header is wrong",
    Error.EMBEDDING_HASH: "embedding image: hash is not the one that the image names",
    Error.ILLEGAL_OPCODE: "program: illegal opcode or program counter beyond the program",
    Error.WINDOW: "address outside the window that the host gave",
    Error.READ_SLVERR: "memory port: read answered SLVERR",
    Error.READ_DECERR: "memory port: read answered DECERR",
    Error.WRITE_ERROR: "memory port: write answered SLVERR or DECERR",
    Error.EMBEDDING_BUS: "embedding port: read answered SLVERR or DECERR",
    Error.WATCHDOG: "no progress for WATCHDOG cycles",
    Error.NOT_LOADED: "queue started without a loaded image",
    Error.SENTENCE_EMPTY: "sentence: no tokens",
    Error.SENTENCE_LENGTH: "sentence: more tokens than the model or the hardware takes",
    Error.SENTENCE_TOKEN: "sentence: token id beyond the vocabulary",
    Error.SENTENCE_CHECK: "sentence: check byte of an embedding row is wrong",
}


@dataclass(frozen=True)
class Bits:
    """A field of a register: `width` bits from bit `low`."""

    name: str
    low: int
    width: int
    doc: str

    @property
    def mask(self):
        return ((1 << self.width) - 1) << self.low


@dataclass(frozen=True)
class Register:
    """One 32-bit register.

    access: "ro" read only; "rw"; "w1c" writing one clears; "pulse" writing one starts something, reads zero.
    reset: value after power-up; None where it depends on the configuration (`constants`). Soft reset leaves rw
    registers as they are.
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
            _flag("EMBEDDING_CHECK", 5, "check byte of embedding rows"),
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
        "Instruction that was running at the error, or whose weights were awaited; 0 before the first.",
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
    "BUSY_STAGING": "Cycles in which the embedder had a token.",
    "TOKENS": "Live tokens, after DROP, summed over layers and sentences.",
    "USEFUL_MACS": "Multiplications of the encoder layers with a non-zero weight, and of their live heads' attention, for live tokens.",
    "SKIPPED_ZEROS": "Multiplications that the layers which ran skipped for live tokens and heads: zero weights.",
    "SKIPPED_HEADS": "Those skipped for live tokens: dead heads.",
    "SKIPPED_TOKENS": "Those of a dense layer skipped for dropped tokens, in layers that ran.",
    "SKIPPED_EXITS": "Those of dense layers that did not run, at the sentence's full length.",
}
_COUNTER_BASE = 0x80


def _counters():
    for i, (name, doc) in enumerate(_COUNTERS.items()):
        low = _COUNTER_BASE + 8 * i
        yield Register(
            f"{name}_LO", low, "ro", f"{doc} Low word; reading it latches the high word."
        )
        yield Register(f"{name}_HI", low + 4, "ro", f"{doc} High word.")


COUNTERS = tuple(_COUNTERS)
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
        "RESULT_WORDS": config.result_words,
        "SLOT_LIMIT": config.slots,
    }


def header():
    """The C header, terse_regs.h."""
    lines = [
        "/* Generated by python -m firmware.registers header: do not edit. */",
        "#ifndef TERSE_REGS_H",
        "#define TERSE_REGS_H",
        "",
        f"#define TERSE_ID_VALUE {ID:#010x}u",
        f"#define TERSE_VERSION_VALUE {VERSION}u",
        f"#define TERSE_WINDOW_BYTES {SPAN:#x}u",
        f"#define TERSE_COUNTERS_END {_COUNTER_BASE + 8 * len(COUNTERS):#x}u",
        "",
    ]
    for register in REGISTERS:
        lines.append(
            f"#define TERSE_{register.name} {register.offset:#04x}u /* {register.access}: {register.doc} */"
        )
        for bits in register.fields:
            name = f"TERSE_{register.name}_{bits.name}"
            lines.append(
                f"#define {name} {bits.mask:#010x}u"
                if bits.width == 1
                else f"#define {name}(x) (((x) >> {bits.low}) & {(1 << bits.width) - 1:#x}u)"
            )
    lines += ["", "enum terse_error {"]
    lines += [f"    TERSE_ERROR_{error.name} = {int(error)}, /* {error.text} */" for error in Error]
    return "\n".join([*lines, "};", "", "#endif", ""])


_SVD_ACCESS = {"ro": "read-only", "rw": "read-write", "w1c": "read-write", "pulse": "write-only"}


def _svd_register(register):
    yield f"<register><name>{register.name}</name><description>{register.doc}</description>".replace(
        "&", "&amp;"
    )
    yield f"<addressOffset>{register.offset:#x}</addressOffset><access>{_SVD_ACCESS[register.access]}</access>"
    if register.access == "w1c":
        yield "<modifiedWriteValues>oneToClear</modifiedWriteValues>"
    if register.reset is not None:
        yield f"<resetValue>{register.reset:#x}</resetValue>"
    if register.fields:
        yield "<fields>"
        for bits in register.fields:
            yield (
                f"<field><name>{bits.name}</name><description>{bits.doc}</description>"
                f"<bitOffset>{bits.low}</bitOffset><bitWidth>{bits.width}</bitWidth></field>"
            )
        yield "</fields>"
    yield "</register>"


def svd():
    """The CMSIS-SVD description of the device."""
    lines = [
        '<?xml version="1.0" encoding="utf-8"?>',
        '<device schemaVersion="1.3">',
        "<name>TERSE</name>",
        f"<version>{VERSION}</version><description>Terse accelerator</description>",
        "<addressUnitBits>8</addressUnitBits><width>32</width><size>32</size>",
        "<peripherals><peripheral>",
        "<name>TERSE</name><description>Control registers</description><baseAddress>0x0</baseAddress>",
        f"<addressBlock><offset>0</offset><size>{SPAN:#x}</size><usage>registers</usage></addressBlock>",
        "<registers>",
    ]
    for register in REGISTERS:
        lines.extend(_svd_register(register))
    return "\n".join([*lines, "</registers></peripheral></peripherals></device>", ""])


def _reset_text(register):
    return "config" if register.reset is None else f"{register.reset:#x}"


def markdown():
    """docs/registers.md."""
    lines = [
        "# Registers",
        "",
        "Generated by `python -m firmware.registers markdown > docs/registers.md`: do not edit.",
        "",
        "All registers are 32 bits, little-endian, at byte offsets of `s_axil`. Writes need all four byte strobes.",
        "Access: ro; rw; w1c (writing one clears); pulse (writing one starts, reads zero).",
        "",
        "| offset | name | access | bits | reset | meaning |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for register in REGISTERS:
        fields = "; ".join(
            f"{b.low}{f'..{b.low + b.width - 1}' if b.width > 1 else ''} {b.name}: {b.doc}"
            for b in register.fields
        )
        lines.append(
            f"| {register.offset:#04x} | {register.name} | {register.access} | {register.width} | "
            f"{_reset_text(register)} | {register.doc}{' ' + fields if fields else ''} |"
        )
    scope = (
        f"Below {int(Error.SENTENCE_EMPTY)} the machine stops and STATUS shows ERROR; from there on one sentence "
        "failed alone and its result says so."
    )
    lines += [
        "",
        "## Error codes",
        "",
        scope,
        "",
        "| code | name | meaning |",
        "| --- | --- | --- |",
    ]
    lines += [f"| {int(error)} | {error.name} | {error.text} |" for error in Error]
    return "\n".join([*lines, ""])


_GENERATORS = {"header": header, "svd": svd, "markdown": markdown}

if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in _GENERATORS:
        sys.exit(f"usage: python -m firmware.registers {'|'.join(_GENERATORS)}")
    sys.stdout.write(_GENERATORS[sys.argv[1]]())
