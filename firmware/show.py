# SPDX-License-Identifier: Apache-2.0
"""What is in an image, as text: `terse image show`."""

from pathlib import Path

from firmware import isa
from firmware.columns import count_nonzeros
from firmware.image import HEADER, Memory, config_name, parse_image, unit_names
from golden_model.hardware import HARDWARE

__all__ = ["SHOWN", "disassemble", "show"]

# Fields that each operation uses, in the order in which they are shown.
_LOAD = ("select", "source", "source_base", "source_stride")
_STORE = ("target_buffer", "target_base", "target_stride")
SHOWN = {
    isa.Opcode.HALT: (),
    isa.Opcode.ADMIT: (
        "reduction",
        "target_buffer",
        "word_shift",
        "position_shift",
        "segment_shift",
    ),
    isa.Opcode.GROUP: ("target",),
    isa.Opcode.LINEAR: (
        *_LOAD,
        "encode",
        "cls",
        "reduction",
        "groups",
        "block",
        "address",
        "beats",
        "stacked",
        "shift",
        "function",
        "align",
        *_STORE,
        "store_encode",
    ),
    isa.Opcode.NORM: (
        *_LOAD,
        "reduction",
        "skip_sum",
        "residual",
        "align",
        "normalize",
        "norm_set",
        "shift",
        *_STORE,
    ),
    isa.Opcode.DROP: ("select", "source_base", "source_stride", "score_align"),
    isa.Opcode.ATTEND: (
        "select",
        "groups",
        "reduction",
        "shift",
        "score_align",
        "context_shift",
        "source_base",
        "source_stride",
        "target_base",
        "target_stride",
        "store_encode",
    ),
    isa.Opcode.EXIT: (
        "select",
        "final",
        "groups",
        "reduction",
        "source_base",
        "source_stride",
        "score_align",
    ),
    isa.Opcode.LOOP: ("target",),
}
_ENUMS = {
    "select": isa.Select,
    "source": isa.Source,
    "target_buffer": isa.Target,
    "function": isa.Function,
}
_ALWAYS = ("select", "source", "target_buffer", "target", "reduction")  # shown even when zero


def disassemble(words):
    """One instruction as text: the opcode and the fields that it uses; zeros are left out."""
    opcode = isa.unpack(words, "opcode")
    if opcode not in isa.Opcode.__members__.values():
        return f"ILLEGAL {' '.join(f'{word:08x}' for word in words)}"
    parts = [isa.Opcode(opcode).name]
    for name in SHOWN[isa.Opcode(opcode)]:
        value = isa.unpack(words, name)
        if value or name in _ALWAYS:
            parts.append(f"{name}={_ENUMS[name](value).name if name in _ENUMS else value}")
    return " ".join(parts)


def _show_header(image):
    for name in HEADER:
        value = image.header[name]
        text = (
            f"{value:#010x}" if name in ("magic", "config_hash", "embedding_hash") else f"{value}"
        )
        if name == "config_hash":
            text = config_name(value)
        if name == "model":
            text = f"{image.layers} layers, {image.classes} classes, {image.heads} live heads"
        if name == "exit_threshold":
            text = f"{value} ({value / 65536:.4f} nats)"
        if name == "units":
            text = ", ".join(unit_names(value)) or "none"
        if name != "reserved":
            yield f"  {name:17}{text}"


def _show_weights(image, hardware):
    yield f"  {'pc':>4} {'offset':>9} {'bytes':>8} {'K':>5} {'groups':>6} {'non-zeros':>9} {'cycles/tile':>11} {'limit':>8} {'bus words':>9}"
    for pc, words in enumerate(image.program):
        if isa.unpack(words, "opcode") != isa.Opcode.LINEAR:
            continue
        rows, groups = isa.unpack(words, "reduction"), isa.unpack(words, "groups")
        beats = isa.unpack(words, "beats")
        counts = count_nonzeros(
            image.stream(pc, hardware.bus_bytes), hardware.columns, hardware.bus_bytes, groups, rows
        )
        limit = counts.sum() / hardware.columns
        yield (
            f"  {pc:4} {isa.unpack(words, 'address'):9} {beats * hardware.bus_bytes:8} {rows:5} {groups:6} {counts.sum():9} "
            f"{counts.max(axis=1).sum():11} {limit:8.1f} {beats:9}"
        )


def show(path, hardware=None):
    """The text of `terse image show`: header, sections, program, and what each weight operation costs.

    `hardware` is needed for the last part when the image was compiled for a configuration without a name.
    """
    image = parse_image(Path(path).read_bytes())
    named = (config for config in HARDWARE.values() if config.config_hash == image.config_hash)
    hardware = hardware or next(named, None)
    lines = [
        str(path),
        "header",
        *_show_header(image),
        "sections",
        f"  program   {image.program_offset:9} {isa.BYTES * image.instructions:9} bytes",
        f"  constants {image.constants_offset:9} {8 * image.constants:9} bytes: "
        + ", ".join(
            f"{sum(m == memory for m, _, _ in image.pairs)} {memory.name}" for memory in Memory
        ),
        "program",
        *(f"  {pc:4} {disassemble(words)}" for pc, words in enumerate(image.program)),
    ]
    if hardware is None:
        lines.append("weights: give the hardware configuration to see them")
    else:
        lines += [
            f"weights (one tile of {hardware.tokens} rows; limit = non-zeros / {hardware.columns} lanes)",
            *_show_weights(image, hardware),
        ]
    return "\n".join([*lines, ""])
