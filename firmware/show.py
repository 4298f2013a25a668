# SPDX-License-Identifier: Apache-2.0
"""What is in an image or embedding image, as text: `terse image show`."""

from firmware import isa
from firmware.columns import count_nonzeros
from firmware.constants import memory_words
from firmware.embedding_image import EMBEDDING_MAGIC, parse_embedding
from firmware.error_codes import Error
from firmware.image import HEADER, parse_image, require
from firmware.image_match import config_name, unit_names
from firmware.image_rules import check_content, check_rows, hardware_of
from firmware.registers import ID

__all__ = ["SHOWN", "describe", "disassemble", "show"]

# Fields that each operation uses, in the order in which they are shown.
_LOAD = ("select", "source", "source_base", "source_stride")
_STORE = ("target_buffer", "target_base", "target_stride")
SHOWN = {
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
        "follow",
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
        "follow",
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
    """Lines of name and value, in the header's order."""
    special = {
        "magic": f"{image.magic:#010x}",
        "embedding_hash": f"{image.embedding_hash:#010x}",
        "config_hash": config_name(image.config_hash),
        "model": f"{image.layers} layers, {image.classes} classes, {image.heads} live heads",
        "exit_threshold": f"{image.exit_threshold} ({image.exit_threshold / 65536:.4f} nats)",
        "units": ", ".join(unit_names(image.units)) or "none",
    }
    for name in HEADER:
        if name != "reserved":
            yield f"  {name:17}{special.get(name, image.header[name])}"


def _show_weights(image, hardware):
    """A table with a line for each LINEAR; of a stack of streams the first layer's."""
    yield (
        f"  {'pc':>4} {'offset':>9} {'bytes':>8} {'K':>5} {'groups':>6} {'non-zeros':>9} "
        f"{'cycles/tile':>11} {'limit':>8} {'bus words':>9}"
    )
    for pc, words in enumerate(image.program):
        if isa.unpack(words, "opcode") != isa.Opcode.LINEAR:
            continue
        rows, groups = isa.unpack(words, "reduction"), isa.unpack(words, "groups")
        beats, stream = isa.unpack(words, "beats"), image.stream(pc, hardware.bus_bytes)
        counts = count_nonzeros(stream, hardware.columns, hardware.bus_bytes, groups, rows)
        limit = counts.sum() / hardware.columns
        yield (
            f"  {pc:4} {isa.unpack(words, 'address'):9} {beats * hardware.bus_bytes:8} "
            f"{rows:5} {groups:6} {counts.sum():9} "
            f"{counts.max(axis=1).sum():11} {limit:8.1f} {beats:9}"
        )


def show(path, hardware=None):
    """`describe` of a file, under its name; a file that is no image is not read to its end."""
    with open(path, "rb") as file:
        start = file.read(4)
        _magic(start)
        data = start + file.read()
    return f"{path}\n{describe(data, hardware)}"


def describe(data, hardware=None):
    """What is in an image or an embedding image, as text.

    hardware : for the weights of an image compiled for a configuration without a name

    Raises `ImageError` where the bytes are neither, are damaged, or hold what no compiler writes.
    """
    lines = _image(data, hardware) if _magic(data) == ID else _embedding(data)
    return "\n".join([*lines, ""])


def _magic(data):
    """The magic number of an image or an embedding image."""
    magic = int.from_bytes(data[:4], "little")
    require(
        magic in (ID, EMBEDDING_MAGIC),
        Error.IMAGE_MAGIC,
        f"Image must start with {ID:#010x} (TRSE), or with {EMBEDDING_MAGIC:#010x} (TRSM) "
        f"if it is an embedding image, not {magic:#010x}",
    )
    return magic


def _image(data, hardware):
    """Header, sections, program, and what each weight operation costs."""
    image = parse_image(data)
    hardware = hardware or hardware_of(image)
    check_content(image, hardware)
    words = memory_words(hardware) if hardware else {}
    counts = ", ".join(f"{count} {memory.name}" for memory, count in words.items())
    program, constants = map(len, image.sections)
    lines = [
        "header",
        *_show_header(image),
        "sections",
        f"  program   {image.program_offset:9} {program:9} bytes",
        f"  constants {image.constants_offset:9} {constants:9} bytes: {counts or image.constants}",
        "program",
        *(f"  {pc:4} {disassemble(words)}" for pc, words in enumerate(image.program)),
    ]
    if hardware is None:
        return [*lines, "weights: give the hardware configuration to see them"]
    title = (
        f"weights (one tile of {hardware.tokens} rows; limit = non-zeros / "
        f"{hardware.columns} lanes)"
    )
    return [*lines, title, *_show_weights(image, hardware)]


def _embedding(data):
    """Header and size of an embedding image whose every row is sound."""
    image = parse_embedding(data)
    check_rows(image)
    dense = image.rows * image.width
    return [
        "embedding image",
        f"  hash {image.hash:#010x}",
        *(f"  {name} {getattr(image, name)}" for name in ("rows", "vocabulary", "positions")),
        f"  width {image.width}",
        f"  {len(data):,} bytes, {len(data) / dense:.2f} of {dense:,} codes",
    ]
