# SPDX-License-Identifier: Apache-2.0
"""Verilog-2001 of a component: one self-contained file, without paths of this machine, the same bytes every time."""
import re

from amaranth.back import verilog as backend

__all__ = ["verilog"]

# Bits of a `reg` that are constant: nothing triggers such a process, so a simulator would leave them X.
_CONSTANT = re.compile(r"^  always @\*\n(    \S.* = \d+'[bdh][0-9a-f]+;\n)", re.MULTILINE)


def verilog(component, name):
    """The text of `component` with all it contains; its top module is called `name`."""
    return _CONSTANT.sub(r"\g<0>  initial\n\1", backend.convert(component, name=name, emit_src=False, strip_internal_attrs=True))
