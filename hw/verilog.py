# SPDX-License-Identifier: Apache-2.0
"""Verilog-2001 of a component: one self-contained file, without paths of this machine, the same bytes every time."""
from amaranth.back import verilog as backend

__all__ = ["verilog"]


def verilog(component, name):
    """The text of `component` with all it contains; its top module is called `name`."""
    return backend.convert(component, name=name, emit_src=False, strip_internal_attrs=True)
