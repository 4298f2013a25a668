# SPDX-License-Identifier: Apache-2.0
"""Sections of an image that are read again, the program and weights: each ends with its CRC-32."""

from amaranth import Module, Signal
from amaranth.lib import crc, wiring
from amaranth.lib.crc.catalog import CRC32_ISO_HDLC
from amaranth.lib.wiring import In, Out

from hw.bus.transfer import bus_word
from hw.checks import check_shape

__all__ = ["LATENCY", "SectionCheck"]

LATENCY = 3  # cycles from a section's last word to the verdict


class SectionCheck(wiring.Component):
    """Looks on while the words of sections are taken, and tells of each whether it is sound.

    Latency `LATENCY` from a section's last word to its verdict; a word a cycle. Nothing can stall
    it.

    Parameters
    ----------
    config : HardwareConfig
    tag : shape of what goes with a section's last word to its verdict

    Members
    -------
    moved : In(1), `word` is taken in this cycle
    word : In(bus_word(config)), the sections' words one after another
    word_tag : In(tag), looked at with a section's last word
    sound : Out(1), pulse: a section ends with the CRC-32 of all before it
    broken : Out(1), pulse: it does not
    tag : Out(tag), with either
    """

    def __init__(self, config, tag):
        check_shape("Tag", tag)
        self.config = config
        super().__init__(
            {
                "moved": In(1),
                "word": In(bus_word(config)),
                "word_tag": In(tag),
                "sound": Out(1),
                "broken": Out(1),
                "tag": Out(tag),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.crc = check = crc.Parameters(CRC32_ISO_HDLC, self.config.bus_bits).create()
        moved = Signal()
        word = Signal.like(self.word)
        tag = Signal.like(self.tag)
        first = Signal(init=1)  # the word begins a section
        ended = Signal()  # a section's last word is in the CRC
        ended_tag = Signal.like(self.tag)
        # A register in front: whether a word is taken is known late in its cycle.
        m.d.sync += [
            moved.eq(self.moved),
            word.eq(self.word),
            tag.eq(self.word_tag),
        ]
        m.d.comb += [
            check.start.eq(moved & first),
            check.valid.eq(moved),
            check.data.eq(word.data),
        ]
        with m.If(moved):
            m.d.sync += first.eq(word.last)
        m.d.sync += [
            ended.eq(moved & word.last),
            ended_tag.eq(tag),
            self.sound.eq(ended & check.match_detected),
            self.broken.eq(ended & ~check.match_detected),
            self.tag.eq(ended_tag),
        ]
        return m
