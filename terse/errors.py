# SPDX-License-Identifier: Apache-2.0
"""What a user did wrong, told in one line; and which exceptions of libraries say such a thing."""

import sys
import unicodedata

__all__ = ["UserError", "explain", "visible"]


class UserError(Exception):
    """Bad input; the command line prints the text and ends with exit status 2."""


# Modules, and their exceptions that tell a user about their input. A module that nobody has
# imported cannot have raised one, so none is imported here.
OURS = {
    "compress.data.text_files": ("DataError",),
    "firmware.compiler": ("CompileError",),
    "firmware.image": ("ImageError",),
    "golden_model.checkpoint": ("CheckpointError",),
    "golden_model.model": ("SentenceError",),
    "sim.cosim.build": ("BuildError",),
    "sim.synthesis.tools": ("ToolError",),
}
# Exceptions of libraries that a reader of ours let through, and what they are about.
THEIRS = {
    "safetensors": ("SafetensorError",),
    "json": ("JSONDecodeError",),
    "zipfile": ("BadZipFile", "LargeZipFile"),
    "lzma": ("LZMAError",),
    "zlib": ("error",),
    "struct": ("error",),
}

BIDIRECTIONAL = {*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C}


def explain(error: BaseException) -> str | None:
    """The line for the user, or None where the exception is a bug of Terse."""
    if isinstance(error, UserError) or _is_of(error, OURS):
        return str(error)
    if isinstance(error, MemoryError):
        return "Not enough memory for this input"
    if isinstance(error, OSError):
        place = f": {error.filename}" if error.filename is not None else ""
        return f"{error.strerror or error}{place}"
    # tokenizers raises Exception itself, never a subclass; nobody else does.
    if isinstance(error, UnicodeError) or _is_of(error, THEIRS) or type(error) is Exception:
        return f"Input cannot be read: {' '.join(str(error).split())}"
    return None


def _is_of(error, kinds):
    found = (
        getattr(sys.modules[module], name)
        for module, names in kinds.items()
        if module in sys.modules
        for name in names
    )
    return isinstance(error, tuple(found))


def visible(text: str) -> str:
    r"""The text with what would command a terminal as escapes (\x1b); a line's end stays."""
    return "".join(_escaped(char) if _is_command(char) else char for char in text)


def _is_command(char):
    kind = unicodedata.category(char)
    return kind in ("Cc", "Cs", "Zl", "Zp") and char != "\n" or ord(char) in BIDIRECTIONAL


def _escaped(char):
    number = ord(char)
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}"
