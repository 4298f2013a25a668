# SPDX-License-Identifier: Apache-2.0
"""The register table as CMSIS-SVD 1.3, the XML that debuggers and driver generators read.

Element names, their order and their values are those of Arm's schema CMSIS-SVD 1.3.11.
"""

from xml.etree import ElementTree

from firmware.bits import Bits
from firmware.error_codes import Error
from firmware.registers import REGISTERS, SPAN, VERSION

__all__ = ["svd"]

WORD = 32  # bits of every register, as the bus accesses it
_ACCESS = {"ro": "read-only", "rw": "read-write", "w1c": "read-write", "pulse": "write-only"}


def svd():
    """The CMSIS-SVD description of the device, as text."""
    device = ElementTree.Element("device", schemaVersion="1.3")
    _texts(
        device,
        name="TERSE",
        version=VERSION,
        description="Terse accelerator",
        addressUnitBits=8,
        width=WORD,
        size=WORD,
        resetValue=0,
        resetMask=_hex(_mask(WORD)),
    )
    peripheral = ElementTree.SubElement(ElementTree.SubElement(device, "peripherals"), "peripheral")
    _texts(peripheral, name="TERSE", description="Control registers", baseAddress="0x0")
    block = ElementTree.SubElement(peripheral, "addressBlock")
    _texts(block, offset="0x0", size=_hex(SPAN), usage="registers")
    interrupt = ElementTree.SubElement(peripheral, "interrupt")
    line = "irq: a cause is set that is enabled. The system gives its number."
    _texts(interrupt, name="TERSE", description=line, value=0)
    registers = ElementTree.SubElement(peripheral, "registers")
    for register in REGISTERS:
        _register(registers, register)
    ElementTree.indent(device)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ElementTree.tostring(device, "unicode")}\n'


def _texts(parent, **values):
    """Elements with text in them, in the order given."""
    for name, value in values.items():
        ElementTree.SubElement(parent, name).text = str(value)


def _hex(value):
    return f"{value:#x}"


def _mask(width):
    return (1 << width) - 1


def _register(parent, register):
    """Address, access, reset value, side effects and fields of a register."""
    element = ElementTree.SubElement(parent, "register")
    known = register.reset is not None  # else the configuration decides
    _texts(
        element,
        name=register.name,
        description=register.doc,
        addressOffset=_hex(register.offset),
        size=WORD,
        access=_ACCESS[register.access],
        resetValue=_hex(register.reset if known else 0),
        resetMask=_hex(_mask(register.width) if known else 0),
    )
    if register.access == "w1c":
        _texts(element, modifiedWriteValues="oneToClear")
    # A register without fields is one value, as wide as it is.
    fields = register.fields or (Bits("VALUE", 0, register.width, register.doc),)
    group = ElementTree.SubElement(element, "fields")
    for bits in fields:
        field = ElementTree.SubElement(group, "field")
        _texts(
            field,
            name=bits.name,
            description=bits.doc,
            bitOffset=bits.low,
            bitWidth=bits.width,
        )
        if register.name == "ERROR":
            _error_codes(field)


def _error_codes(field):
    values = ElementTree.SubElement(field, "enumeratedValues")
    for error in Error:
        value = ElementTree.SubElement(values, "enumeratedValue")
        _texts(value, name=error.name, description=error.text, value=int(error))
