# SPDX-License-Identifier: Apache-2.0
"""Requests of a host that come byte by byte become accesses of words (firmware/frames.py)."""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import crc, data, stream, wiring
from amaranth.lib.crc.catalog import CRC8_I_432_1
from amaranth.lib.wiring import In, Out

from firmware.frames import REQUEST_BYTES, FrameKind, Status
from hw.checks import check_count
from hw.shapes import ADDRESS, BYTE, WORD

__all__ = ["Bridge", "access_layout", "frame_layout"]

STEP = WORD.width // BYTE.width
COUNT = 16  # bits of a request's number of words


def access_layout():
    """A word to read or to write, of the registers or of the memory."""
    return data.StructLayout({"write": 1, "memory": 1, "address": ADDRESS, "data": WORD})


def frame_layout():
    """The header as it lies in a shift register: the first byte lowest."""
    return data.StructLayout({"operation": BYTE, "address": ADDRESS, "count": COUNT, "check": BYTE})


class Bridge(wiring.Component):
    """One access a word, one at a time; the answer goes out byte by byte.

    A header with a wrong check byte, or without an operation, is answered and forgotten. The last
    word of a write waits for its check byte, so that a single word, which a command is, is written
    only if all of it was right. A request that stays incomplete for `patience` cycles is forgotten:
    a host that was stopped in the middle of one can begin anew.

    Latency: a word's bytes, its access, and an answer's bytes. Stalled: by every stream.

    Parameters
    ----------
    patience : cycles without a byte in the middle of a request

    Members
    -------
    i : In(stream of BYTE), from the host
    o : Out(stream of BYTE), to the host
    o_access : Out(stream of access_layout())
    i_done : In(stream of {data: WORD, error: 1}), of each access
    """

    def __init__(self, patience):
        check_count("Patience", patience)
        self._patience = patience
        super().__init__(
            {
                "i": In(stream.Signature(BYTE)),
                "o": Out(stream.Signature(BYTE)),
                "o_access": Out(stream.Signature(access_layout())),
                "i_done": In(stream.Signature(data.StructLayout({"data": WORD, "error": 1}))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.crc = self._crc = crc.Parameters(CRC8_I_432_1, BYTE.width).create()
        self._header = Signal(frame_layout())
        self._word = Signal(WORD)
        self._index = Signal(range(REQUEST_BYTES))  # bytes of the header, or of the word
        self._left = Signal(COUNT)  # words to come, this one among them
        self._status = Signal(BYTE)
        self._give_up = Signal()
        self._write, self._memory, known = self._operation()
        self._wait(m)
        with m.FSM():
            self._take_header(m, known)
            self._take_words(m)
            self._access(m)
            self._answer(m)
        return m

    def _operation(self):
        """(writes, of the memory, is an operation at all) of the header."""
        # Registers and memory are two address spaces: a board's memory may begin at 0, too.
        code = self._header.operation
        writes = [operation for operation in FrameKind if operation.is_write]
        memory = (FrameKind.READ_MEMORY, FrameKind.WRITE_MEMORY)
        return tuple(
            Cat(code == operation for operation in chosen).any()
            for chosen in (writes, memory, FrameKind)
        )

    def _wait(self, m):
        """`_give_up` after `patience` cycles without a byte."""
        # Every byte begins the count anew, also one that an answer keeps waiting.
        quiet = Signal(range(self._patience + 1))
        m.d.comb += self._give_up.eq(quiet == self._patience)
        m.d.sync += quiet.eq(Mux(self.i.valid | self._give_up, 0, quiet + 1))

    def _take_header(self, m, known):
        """Its bytes, one behind the other; then whether they are to be believed."""
        # The bytes of a header; after a silence its first one.
        with m.State("HEADER"):
            m.d.comb += [
                self.i.ready.eq(1),
                self._crc.data.eq(self.i.payload),
                self._crc.valid.eq(self.i.valid & (self._index != REQUEST_BYTES - 1)),
                self._crc.start.eq(self._give_up),
            ]
            with m.If(self.i.valid):
                shifted = Cat(self._header.as_value()[BYTE.width :], self.i.payload)
                m.d.sync += [
                    self._header.eq(shifted),
                    self._index.eq(self._index + 1),
                ]
                with m.If(self._index == REQUEST_BYTES - 1):
                    m.next = "BELIEVE"
            with m.Elif(self._give_up):
                m.d.sync += self._index.eq(0)
        # The header is whole: is it to be believed?
        with m.State("BELIEVE"):
            good = known & (self._header.check == self._crc.crc) & (self._header.count != 0)
            m.d.comb += self._crc.start.eq(1)
            m.d.sync += [
                self._index.eq(0),
                self._left.eq(self._header.count),
                self._status.eq(Mux(good, Status.OK, Status.FRAME)),
            ]
            m.next = "STATUS"
            with m.If(good):
                m.next = "ACCESS"
                with m.If(self._write):
                    m.next = "WORD"

    def _take_words(self, m):
        """A word to write; behind the last one its check byte."""
        # The bytes of a word to write.
        with m.State("WORD"):
            m.d.comb += [
                self.i.ready.eq(1),
                self._crc.data.eq(self.i.payload),
                self._crc.valid.eq(self.i.valid),
            ]
            with m.If(self.i.valid):
                m.d.sync += [
                    self._word.eq(Cat(self._word[BYTE.width :], self.i.payload)),
                    self._index.eq(self._index + 1),
                ]
                with m.If(self._index == STEP - 1):
                    m.d.sync += self._index.eq(0)
                    m.next = "ACCESS"
                    with m.If(self._left == 1):
                        m.next = "CHECK"
            with m.Elif(self._give_up):
                self._forget(m)
        # The check byte of all words; the last of them waits for it.
        with m.State("CHECK"):
            m.d.comb += self.i.ready.eq(1)
            with m.If(self.i.valid):
                m.next = "ACCESS"
                with m.If(self.i.payload != self._crc.crc):
                    m.d.comb += self._crc.start.eq(1)
                    m.d.sync += self._status.eq(Status.FRAME)
                    m.next = "STATUS"
            with m.Elif(self._give_up):
                self._forget(m)

    def _forget(self, m):
        """The next byte begins a request."""
        m.d.comb += self._crc.start.eq(1)
        m.d.sync += self._index.eq(0)
        m.next = "HEADER"

    def _access(self, m):
        """One word, and where it leads."""
        header = self._header
        m.d.comb += [
            self.o_access.payload.write.eq(self._write),
            self.o_access.payload.memory.eq(self._memory),
            self.o_access.payload.address.eq(header.address),
            self.o_access.payload.data.eq(self._word),
        ]
        # One access, until it is taken.
        with m.State("ACCESS"):
            m.d.comb += self.o_access.valid.eq(1)
            with m.If(self.o_access.ready):
                m.next = "DONE"
        # Until it is done; then the next word, or the answer.
        with m.State("DONE"):
            m.d.comb += self.i_done.ready.eq(1)
            with m.If(self.i_done.valid):
                m.d.sync += [
                    self._left.eq(self._left - 1),
                    header.address.eq(header.address + STEP),
                ]
                with m.If(self.i_done.payload.error):
                    m.d.sync += self._status.eq(Status.BUS)
                with m.If(~self._write):
                    m.d.sync += self._word.eq(self.i_done.payload.data)
                    m.next = "SEND"
                with m.Elif(self._left == 1):
                    m.d.comb += self._crc.start.eq(1)
                    m.next = "STATUS"
                with m.Else():
                    m.next = "WORD"

    def _answer(self, m):
        """The bytes of a word that was read; at the end status and check byte."""
        moved = self.o.valid & self.o.ready
        # The bytes of a word that was read.
        with m.State("SEND"):
            m.d.comb += [
                self.o.valid.eq(1),
                self.o.payload.eq(self._word),
                self._crc.data.eq(self._word),
                self._crc.valid.eq(moved),
            ]
            with m.If(moved):
                m.d.sync += [
                    self._word.eq(self._word >> BYTE.width),
                    self._index.eq(self._index + 1),
                ]
                with m.If(self._index == STEP - 1):
                    m.d.sync += self._index.eq(0)
                    m.next = "ACCESS"
                    with m.If(self._left == 0):
                        m.next = "STATUS"
        # How the request ended.
        with m.State("STATUS"):
            m.d.comb += [
                self.o.valid.eq(1),
                self.o.payload.eq(self._status),
                self._crc.data.eq(self._status),
                self._crc.valid.eq(moved),
            ]
            with m.If(moved):
                m.next = "END"
        # The check byte of all that was sent.
        with m.State("END"):
            m.d.comb += [
                self.o.valid.eq(1),
                self.o.payload.eq(self._crc.crc),
            ]
            with m.If(moved):
                self._forget(m)
