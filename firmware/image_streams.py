# SPDX-License-Identifier: Apache-2.0
"""What the weight streams of an image must hold, whose check words are right.

The machine trusts masks and destinations: a lane that ends late waits for ever, a destination
behind its tile is another feature.
"""

from firmware import isa
from firmware.buffers import buffer_words
from firmware.columns import BIAS_BITS, COLUMN_HEADER_BYTES, PADDING, lane_strings
from firmware.error_codes import Error
from firmware.image import CHECK_BYTES, require
from firmware.isa import Target
from golden_model.bitmask import WORD_ROWS

__all__ = ["check_lanes"]


def check_lanes(thing, data, words, hardware):
    """Raise `ImageError` at the first column of a LINEAR's stream that no compiler writes.

    thing : what messages call the stream; data : its bytes; words : of the instruction
    """
    groups = isa.unpack(words, "groups")
    most = _destinations(words, hardware)
    strings = lane_strings(data, hardware.columns, hardware.bus_bytes)
    strings[-1] = strings[-1][:-CHECK_BYTES]
    for lane, string in enumerate(strings):
        at = 0
        for group in range(groups):
            where = f"{thing} must have {groups} groups, lane {lane} ends in group {group}"
            end = _column_end(thing, string, at, words)
            require(end <= len(string), Error.ILLEGAL_OPCODE, where)
            place = string[at + BIAS_BITS // 8 : at + COLUMN_HEADER_BYTES]
            destination = int.from_bytes(place, "little")
            require(
                destination < most or destination == PADDING,
                Error.ILLEGAL_OPCODE,
                f"{thing} must have destinations in 0..{most - 1} or {PADDING}, not {destination}",
            )
            at = end
        require(
            not any(string[at:]),
            Error.ILLEGAL_OPCODE,
            f"{thing} must have {groups} groups, lane {lane} has more",
        )


def _destinations(words, hardware):
    """How many destinations there are: features of a tile, or words of a row of VALUES."""
    if isa.unpack(words, "target_buffer") == Target.VALUES:
        return buffer_words(hardware)["values"] // hardware.rows
    return isa.unpack(words, "target_stride")


def _column_end(thing, string, at, words):
    """Where the column at a byte of a lane's string ends; behind the string where it is cut."""
    at += COLUMN_HEADER_BYTES
    for rest in range(isa.unpack(words, "reduction"), 0, -WORD_ROWS):
        mask = int.from_bytes(string[at : at + 2], "little")
        require(
            rest >= WORD_ROWS or mask >> rest == 0,
            Error.ILLEGAL_OPCODE,
            f"{thing} must have no code beyond its {isa.unpack(words, 'reduction')} rows",
        )
        at += 2 + mask.bit_count()
    return at
