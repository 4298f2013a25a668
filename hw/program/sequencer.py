# SPDX-License-Identifier: Apache-2.0
"""Control flow and slot selection, ahead of the operations; `Issue` starts those one by one."""

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from firmware.error_codes import Error
from firmware.image import ALIGNMENT, section_bytes
from firmware.isa import CAPACITY, ENGINES, STACKED_BITS, WORDS, Opcode, Select
from hw.bus.fetch import read_layout
from hw.engine import engine_bits
from hw.program.issue import operation_layout
from hw.program.legal import legal
from hw.program.prefetch import stream_layout
from hw.program.program import LATENCY, Program
from hw.rows.layouts import slot_layout
from hw.shapes import ADDRESS, BYTE, CLASS, FEATURE, HEAD, LAYER, PC, WORD, index, slot_mask

__all__ = ["Sequencer"]

START = 3  # cycles from the register's write to the request for the program
LOADED = 4  # from the program's last word to the first instruction's fetch: its check
DECODE = LATENCY + 1  # from an instruction's fetch to its decoding
CHECKED = section_bytes(0) * BYTE.width // WORD.width  # words behind the program, its check word


class Sequencer(wiring.Component):
    """Runs the program once for each pass until ADMIT finds nothing resident, or until an error.

    The program is read into the chip first. Then an instruction takes a cycle and `DECODE`, while
    earlier operations are at work: up to `Issue`'s queue, and not beyond a barrier (ADMIT, EXIT)
    that has not ended, since the slots that are selected depend on it. The weight stream of a
    LINEAR is asked for as soon as it is reached. An operation without a selected slot moves no
    data.

    A pass of more instructions than any can have, or more passes without a result than a sentence
    has layers, are the fault ENDLESS: so every program comes to its end.

    Stalled: by `o_operation` and `o_stream`, at the instruction that gives to them.

    Parameters
    ----------
    config : HardwareConfig

    Members
    -------
    start : In(1), pulse; begins at instruction 0
    program : In(ADDRESS), byte address of the program
    instructions : In(PC), its length
    layers, classes, heads, embedding : In(LAYER), In(CLASS), In(HEAD), In(FEATURE), of the model;
        an instruction that does not fit them is illegal (`legal`)
    slots : In(array of slot_layout(config)), the slot table
    o_fetch : Out(stream of read_layout()), request for the program
    words : In(stream of WORD), its words
    proven : In(1), pulse: they have all been taken, and their check word is right
    o_operation : Out(stream of operation_layout(config)), to `Issue`
    o_stream : Out(stream of stream_layout()), to `Prefetch`
    ended : In(1), pulse, an operation has ended
    resting : In(1), none is waiting or at work
    empty : In(1), with ADMIT's end: nothing is resident, so the queue is finished
    told : In(1), pulse: the result of a sentence is written
    present : In(engine_bits()), engines that exist; opcodes of others are illegal
    busy : Out(1)
    done : Out(1), pulse, the queue is finished

    Attributes
    ----------
    fsm : its states, once it is elaborated
    """

    def __init__(self, config):
        self.config = config
        super().__init__(
            {
                "start": In(1),
                "program": In(ADDRESS),
                "instructions": In(PC),
                "layers": In(LAYER),
                "classes": In(CLASS),
                "heads": In(HEAD),
                "embedding": In(FEATURE),
                "slots": In(data.ArrayLayout(slot_layout(config), config.slots)),
                "o_fetch": Out(stream.Signature(read_layout())),
                "words": In(stream.Signature(WORD)),
                "proven": In(1),
                "o_operation": Out(stream.Signature(operation_layout(config))),
                "o_stream": Out(stream.Signature(stream_layout())),
                "ended": In(1),
                "resting": In(1),
                "empty": In(1),
                "told": In(1),
                "present": In(engine_bits()),
                "busy": Out(1),
                "done": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.program = self._program = program = Program()
        self._op = program.instruction
        self._pc = Signal(PC)
        # Slots of this pass that no GROUP has chosen yet; those of the last GROUP, and their layer.
        self._pending = Signal(slot_mask(self.config))
        self._group = Signal(slot_mask(self.config))
        self._layer = Signal(index(self.config.layers + 1))
        self._offset = Signal(ADDRESS)  # bytes from the first layer's stream to this one's
        # Slots at the model's last layer. It is told at ADMIT, once for the pass: EXIT moves others
        # to that layer, which they have not run yet.
        self._last = Signal(slot_mask(self.config))
        # Bounds that no progress puts off. An instruction is reached once in a pass, and once more
        # for each slot that a GROUP chooses; who is resident has a layer less to go after a pass.
        self._most_steps = CAPACITY * (self.config.slots + 1)
        self._steps = Signal(range(self._most_steps + 2))  # instructions of this pass
        self._passes = Signal(LAYER)  # begun since the last result
        # Of the instruction that is decoded: slots, whether its opcode and its fields are allowed,
        # and what is done with it. In registers: whether it can go is known late in its cycle.
        self._mask = Signal(slot_mask(self.config))
        self._known = Signal()
        self._legal = Signal()
        self._skipped = Signal()
        self._barrier = Signal()
        m.d.comb += [
            self.o_fetch.payload.address.eq(self.program),
            self.o_fetch.payload.words.eq(self.instructions * WORDS + CHECKED),
            program.i.payload.eq(self.words.payload),
            program.pc.eq(self._pc),
            program.restart.eq(self.start),
        ]
        self._states(m, program)
        with m.If(self.told):
            m.d.sync += self._passes.eq(0)
        return m

    def _states(self, m, program):
        """The program's words onto the chip, then four states for each instruction."""
        # A cycle late, as an operation is given away cycles before the program can end.
        rests = Signal()
        m.d.sync += rests.eq(self.resting)
        with m.FSM() as self.fsm:
            m.d.comb += self.busy.eq(~self.fsm.ongoing("IDLE"))
            # No queue is running.
            with m.State("IDLE"):
                with m.If(self.start):
                    m.d.sync += [
                        self._pc.eq(0),
                        self._steps.eq(0),
                        self._passes.eq(0),
                    ]
                    m.next = "READ"
            # Asks for the program.
            with m.State("READ"):
                m.d.comb += self.o_fetch.valid.eq(1)
                with m.If(self.o_fetch.ready):
                    m.next = "WORDS"
            # Its words, until they are proven.
            with m.State("WORDS"):
                m.d.comb += [
                    self.words.ready.eq(1),
                    program.i.valid.eq(self.words.valid),
                ]
                with m.If(self.proven):
                    m.next = "FETCH"
            # An instruction is read from the block RAM.
            with m.State("FETCH"):
                m.d.comb += program.fetch.eq(1)
                m.d.sync += self._steps.eq(self._steps + 1)
                m.next = "FETCHED"
            # It comes, in parts.
            with m.State("FETCHED"):
                with m.If(program.ready):
                    m.next = "MEASURE"
            # It is there; how far is its layer's stream from the first one, and whom is it for?
            with m.State("MEASURE"):
                m.d.sync += self._offset.eq(self._layer * self._stride(self._op))
                self._look(m)
                m.next = "DECODE"
            # Decoded, until it has been given to those that it concerns.
            with m.State("DECODE"):
                self._decode(m)
            # Waits for the end of an operation that changes the slot table.
            with m.State("BARRIER"):
                with m.If(self.ended & self.resting):
                    self._pass_barrier(m)
            # The program has ended; waits for the operations.
            with m.State("REST"):
                with m.If(rests):
                    m.d.comb += self.done.eq(1)
                    m.next = "IDLE"
            # A pass begins that no sentence can need.
            with m.State("ENDLESS"):
                self._fail(m, Error.ENDLESS)
            # An illegal instruction was reached: until reset.
            with m.State("FAULT"):
                pass

    def _look(self, m):
        """What is known of an instruction before it is decoded; nothing changes it meanwhile."""
        op = self._op
        engines = Cat(op.opcode == engine.opcode for engine in ENGINES)
        mask = self._selected(m)
        # ADMIT selects no slot, and is never skipped.
        skipped = (op.opcode != Opcode.ADMIT) & (mask == 0)
        barriers = Cat(op.opcode == engine.opcode for engine in ENGINES if engine.barrier)
        controls = (op.opcode == Opcode.LOOP) | (op.opcode == Opcode.GROUP)
        facts = {
            "last": self.instructions - 1,
            "classes": self.classes,
            "heads": self.heads,
            "embedding": self.embedding,
            "longest": self.config.reduction,
            "widest": self.config.widest,
        }
        m.d.sync += [
            self._mask.eq(mask),
            self._known.eq(controls | (engines & self.present.as_value()).any()),
            self._legal.eq(legal(op, facts)),
            self._skipped.eq(skipped),
            self._barrier.eq(barriers.any() & ~skipped),
        ]

    def _decode(self, m):
        """Control flow is done here, operations go to `Issue`."""
        op = self._op
        operation = self.o_operation.payload
        m.d.comb += [
            operation.pc.eq(self._pc),
            operation.layer.eq(self._layer),
            operation.mask.eq(self._mask),
            operation.instruction.eq(self._program.instruction),
        ]
        # A program must end with LOOP; running over its end is as illegal as a wrong opcode.
        with m.If((self._pc >= self.instructions) | ~self._known | ~self._legal):
            self._fail(m, Error.ILLEGAL_OPCODE)
        with m.Elif(self._steps > self._most_steps):
            self._fail(m, Error.ENDLESS)
        with m.Elif(op.opcode == Opcode.LOOP):
            self._go(m, op.target)
        with m.Elif(op.opcode == Opcode.GROUP):
            self._next_group(m)
        with m.Else():
            self._issue(m)

    def _fail(self, m, error):
        """An illegal instruction, reported when everything before it has ended."""
        m.d.comb += [
            self.o_operation.valid.eq(1),
            self.o_operation.payload.fault.eq(error),
        ]
        with m.If(self.o_operation.ready):
            m.next = "FAULT"

    def _issue(self, m):
        """An operation, and before it its weight stream."""
        op = self._op
        asked = Signal()
        wants = (op.opcode == Opcode.LINEAR) & ~self._skipped
        request = self.o_stream
        operation = self.o_operation
        # The stream is asked for first and once, even if the operation itself must wait for room.
        m.d.comb += [
            request.payload.address.eq(op.address + self._offset),
            request.payload.beats.eq(op.beats),
            request.payload.reduction.eq(op.reduction),
            request.payload.groups.eq(op.groups),
            request.payload.pc.eq(self._pc),
            request.valid.eq(wants & ~asked),
            operation.valid.eq(~wants | asked | request.ready),
            operation.payload.skipped.eq(self._skipped),
        ]
        m.d.sync += asked.eq((asked | (request.valid & request.ready)) & ~operation.ready)
        with m.If(operation.valid & operation.ready):
            self._go(m, self._pc + 1)
            with m.If(self._barrier):
                m.next = "BARRIER"

    def _stride(self, op):
        """Bytes from a layer's stream to the next one's: firmware.image.stream_stride."""
        # Multiplying by the layer is cheap, because stacked streams are short: STACKED_BITS of
        # beats.
        size = op.beats[:STACKED_BITS] * self.config.bus_bytes
        shift = ceil_log2(ALIGNMENT)
        return Mux(op.stacked, Cat(Const(0, shift), (size + ALIGNMENT - 1)[shift:]), 0)

    def _pass_barrier(self, m):
        """The slot table is up to date."""
        self._go(m, self._pc)
        with m.If(self._op.opcode == Opcode.ADMIT):
            m.d.sync += [
                self._pending.eq(self._resident()),
                self._last.eq(Cat(slot.layer + 1 == self.layers for slot in self._slots())),
            ]
            m.d.sync += [
                self._steps.eq(0),
                self._passes.eq(self._passes + 1),
            ]
            with m.If(self.empty):
                m.next = "REST"
            with m.Elif(self._passes == self.layers):
                m.next = "ENDLESS"

    def _go(self, m, pc):
        m.d.sync += self._pc.eq(pc)
        m.next = "FETCH"

    def _next_group(self, m):
        """The lowest pending slot, and the others at its layer."""
        lowest = self._pending & (~self._pending + 1)
        layer = Signal.like(self._layer)
        for i, slot in enumerate(self._slots()):
            with m.If(lowest[i]):
                m.d.comb += layer.eq(slot.layer)
        group = Signal(slot_mask(self.config))
        m.d.comb += group.eq(self._pending & Cat(slot.layer == layer for slot in self._slots()))
        # When none is pending the pass goes on behind the groups.
        m.d.sync += [
            self._group.eq(group),
            self._layer.eq(layer),
            self._pending.eq(self._pending & ~group),
        ]
        self._go(m, Mux(self._pending == 0, self._op.target, self._pc + 1))

    def _resident(self):
        return Cat(slot.resident for slot in self._slots())

    def _slots(self):
        return [self.slots[i] for i in range(self.config.slots)]

    def _selected(self, m):
        """The resident slots that the instruction's `select` means."""
        mask = Signal(slot_mask(self.config))
        last = self._last
        with m.Switch(self._op.select):
            with m.Case(Select.ALL):
                m.d.comb += mask.eq(-1)
            with m.Case(Select.NEW):
                m.d.comb += mask.eq(Cat(slot.fresh for slot in self._slots()))
            with m.Case(Select.GROUP):
                m.d.comb += mask.eq(self._group)
            with m.Case(Select.NOT_LAST):
                m.d.comb += mask.eq(~last)
            with m.Case(Select.LAST):
                m.d.comb += mask.eq(last)
        return mask & self._resident()
