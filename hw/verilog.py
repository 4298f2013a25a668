# SPDX-License-Identifier: Apache-2.0
"""Verilog-2001 of a component: one file, the same bytes every time, no path of this machine."""

import re

from amaranth.back import verilog as backend

__all__ = ["verilog"]

# Bits of a `reg` that are constant: nothing triggers such a process, so a simulator would leave
# them X.
_CONSTANT = re.compile(r"^  always @\*\n(    \S.* = \d+'[bdh][0-9a-f]+;\n)", re.MULTILINE)
# A memory that starts empty, a line for each of its words: two thirds of the text of a large core.
_EMPTY = re.compile(
    r"^  initial begin\n"
    r"    (\w+)\[0\] = (\d+'h0+);\n"
    r"(?:    \1\[\d+\] = \2;\n)*"
    r"    \1\[(\d+)\] = \2;\n"
    r"  end\n",
    re.MULTILINE,
)
_CLEARED = r"""  integer \1_index;
  initial for (\1_index = 0; \1_index <= \3; \1_index = \1_index + 1) \1[\1_index] = \2;
"""


def verilog(component, name):
    """The text of `component` with all it contains; its top module is called `name`."""
    # Source locations would be absolute paths of the machine that wrote the file.
    text = backend.convert(component, name=name, emit_src=False, strip_internal_attrs=True)
    return _EMPTY.sub(_CLEARED, _CONSTANT.sub(r"\g<0>  initial\n\1", text))
