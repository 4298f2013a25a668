# SPDX-License-Identifier: Apache-2.0
"""Why a mutant that its block's bench does not find is no fault, or is another one's to find."""

__all__ = ["REASONS"]

EQUAL = "Of two values that are equal either may be taken."
ZERO = "What no statement drives is 0 anyway."
TAKEN = "Looked at only once it has been taken, which loads it again."
FOLLOWS = "An operation waits for a word too many: that costs time, and no result."
UNHEARD = "Nobody listens to the line."
MODEL = "Slower, not wrong: sim/cycles/test_model.py finds it."

REASONS: dict[tuple[str, str], str] = {
    ("accelerator", "limit < self.config.slots → limit <= self.config.slots"): EQUAL,
    (
        "accelerator",
        "self.writer.i_request.ready & self.running → self.writer.i_request.ready | self.running",
    ): "A result is given when the one before is written: the writer takes it at once.",
    ("accelerator", "waited >= limit → waited > limit"): (
        "A cycle later: from outside nobody sees in which cycle the last progress was."
    ),
    ("adaptivfloat", "rounded > 127 → rounded >= 127"): EQUAL,
    ("admission", "self.o_rows.payload.mask.eq(0) → nothing"): ZERO,
    ("board", "one.ready & ~busy → one.ready | ~busy"): (
        "sim/bench/board/test_board.py finds it: `beyond` asks the flash while the image is copied."
    ),
    ("contribution", "value > maximum → value >= maximum"): EQUAL,
    ("contribution", "asked.eq(0) → nothing (1 of 2)"): (
        "The end of the next pass sets it back before it is looked at."
    ),
    ("copier", "m.next = 'DONE' → nothing"): (
        "Where all is copied nothing more is asked for, so it stands still there as well."
    ),
    ("copier", "If(place == 0) → If(1)"): (
        "Only the second word looks at what it says, which is then of the first word."
    ),
    (
        "core",
        "self.rows.free != self.config.physical_rows → self.rows.free == self.config.physical_rows",
    ): ("A program that leaves rows behind ends with an error, and its reset frees them."),
    ("core", "issue.restart.eq(self.start) → nothing"): (
        "A record has a difference of passes, and the governor measures none before its begin."
    ),
    ("core", "datapath.scores_request.ready & chosen → datapath.scores_request.ready | chosen"): (
        "Only who acts asks, and SCORES takes its request at once: nobody else reads it then."
    ),
    (
        "core",
        "self.words.valid & self.words.ready | self.token_done.valid & self.token_done.ready → "
        "self.words.valid & self.words.ready & (self.token_done.valid & self.token_done.ready)",
    ): ("Columns, scores and operations are progress too, and come before WATCHDOG has passed."),
    ("core", "self.passed.eq(issue.ended & admits & ~self.admission.empty) → nothing"): (
        "sim/cosim/test_cosim_system.py::test_operating_point finds it."
    ),
    ("core", "~issue.skipped → issue.skipped"): (
        "Of progress: a program that only skips ends with ENDLESS all the same."
    ),
    ("datapath", "made & wants → made | wants"): FOLLOWS,
    (
        "datapath",
        "block.progress.eq(Mux(normed, self.norm.progress, self.store.progress)) → nothing",
    ): MODEL,
    ("datapath", "self.norm.written.eq(self.store.progress) → nothing"): MODEL,
    ("datapath", "operand.o.valid & operand.o.ready → operand.o.valid | operand.o.ready"): (
        "ATTEND's query tile finds a free bank of the array: its last word is taken at once."
    ),
    ("drop", "command.payload.as_value().eq(0) → nothing"): ZERO,
    ("dvfs", "self._rest > lanes → self._rest >= lanes"): EQUAL,
    ("dvfs", "ahead > 1 → ahead >= 1"): EQUAL,
    ("embedding", "If(self._reader.idle) → If(1)"): (
        "The reader takes no request before it has drained."
    ),
    ("embedding_sum", "read.en.eq(valid[0]) → nothing"): "What it reads besides is not looked at.",
    (
        "embedding_table",
        "resting & (ahead == 0) & (runs.level == 0) → resting & (ahead == 0) | (runs.level == 0)",
    ): "The embedder is idle only without tokens, and those last longer.",
    ("feed", "command.meta.turn.eq(0) → nothing"): ZERO,
    ("entropy", "self._position.eq(EXP_FRAC) → nothing"): (
        "z has exp(0) in it, so one of its bits from there on is always set."
    ),
    (
        "gather",
        "lane.eq(0) → nothing (1 of 3)",
    ): "It is 0 there: the last block of a request ended it.",
    ("flash", "self.clock.eq(0) → nothing"): "The clock stands low where a run ends.",
    ("layernorm", "self.o.valid & self.o.ready → self.o.valid | self.o.ready"): (
        "The last result is in the last stage then: the next roots begin earlier, that is all."
    ),
    ("linear", "left > self.instruction.block → left >= self.instruction.block"): EQUAL,
    ("linear", "Elif(tiles.i.ready) → Elif(1)"): (
        "A block begins when the last tile of the one before has gone: the iterator is ready then."
    ),
    ("memory_port", "bus.bresp.eq(axi.Resp.OKAY) → nothing"): ZERO,
    ("memory_port", "Elif(owner.valid) → Elif(1)"): (
        "A word comes a cycle after its run or later, and its owner is there by then."
    ),
    ("program", "self.i.ready.eq(1) → nothing"): "The sequencer, which gives the words, knows it.",
    ("span_mask", "query > key → query >= key"): EQUAL,
    ("record", "If(self.i.valid) → If(1)"): TAKEN,
    ("sdram", "self.drive.eq(0) → nothing"): (
        "Each read command sets it to 0, and between reads the chip does not drive."
    ),
    ("sequencer", "m.next = 'FAULT' → nothing"): (
        "Issue takes nothing behind a fault: the state that gave it is stuck as FAULT is."
    ),
    ("soc", "uart.rx.eq(self.rx) → nothing"): UNHEARD,
    ("soc", "uart.i.ready.eq(1) → nothing"): UNHEARD,
    ("softmax", "score > maximum → score >= maximum"): EQUAL,
    ("staging", "m.next = 'IDLE' → nothing"): (
        "Behind the last sentence it does as little as IDLE, until the reset of the next queue."
    ),
    ("store", "turn.o.valid & blocks.o.valid → turn.o.valid | blocks.o.valid"): (
        "A block and what is known of it come in the same cycle, and leave in the same cycle."
    ),
    ("tiles", "bound < 0 → bound <= 0"): "Below 0 and at 0 there is no lane.",
    (
        "tiles",
        "bound < lanes → bound <= lanes",
    ): "Shifted by all lanes, the row of ones is empty too.",
    ("walkers", "nth_tile.eq(0) → nothing"): "An item's last run has closed its group: it is 0.",
}
