# SPDX-License-Identifier: Apache-2.0
"""Verilog-2001 of a component: one file, the same bytes every time, no path of this machine."""

import contextlib
import gc
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
# What wakes `always @*` once: a register that becomes 0. With its value in the declaration it is 0
# before any process waits (IEEE 1800, 6.8), and what follows from constants alone would stay X. So
# it gets its value from a process, the last one of its module: by then the others wait.
_TRIGGER = re.compile(
    r"^  reg (\\\$auto\$verilog_backend\S* ) = 0;\n(.*?)^endmodule$", re.MULTILINE | re.DOTALL
)
_TRIGGERED = r"""  reg \1;
\2  initial \1 = 0;
endmodule"""


def verilog(component, name):
    """The text of `component` with all it contains; its top module is called `name`."""
    # Source locations would be absolute paths of the machine that wrote the file.
    with _uncollected():
        text = backend.convert(component, name=name, emit_src=False, strip_internal_attrs=True)
    text = _TRIGGER.sub(_TRIGGERED, text)
    return _EMPTY.sub(_CLEARED, _CONSTANT.sub(r"\g<0>  initial\n\1", text))


@contextlib.contextmanager
def _uncollected():
    """No garbage collection: Amaranth's netlist is millions of tuples, none of which is garbage.

    The collector walks them over and over, which takes as long as all the rest.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
