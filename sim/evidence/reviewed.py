# SPDX-License-Identifier: Apache-2.0
"""Why a branch that its block's bench does not cover in any circuit is no gap."""

__all__ = ["REVIEWED"]

CLASSES = "An entry of a table for more classes than the circuit has, or than there can be."
SHIFT = "A shift so far that no input needs it: the shifter's width is that of its setting."
READY = "It is always ready there."
STAGED = "The queue is as deep as sentences can be staged at a time."
TILES = "A block begins when the last tile of the one before has gone: the iterator is ready then."
GROUP = "A tile is one group where P >= T."

POWER = "power = Array(C(k * LN2, LOGARITHM) for k in range(8))[self._position - EXP_FRAC]"
SHIFTED = '?: cond_then shifted = _named(m, f"shift_{k}", Mux(bit, shifted >> (1 << k), shifted))'
CLAMP = "m.d.comb += result.eq(Mux(value < low, low, Mux(value > high, high, value)))"
ROUNDING = "|| $%d == 0 ? _%d_ : $signed(_%d_ - (1'h0 ? _%d_ + 1 : _%d_ - 1));"
ROUNDS = "Of a division that yosys writes for signed numbers; these have no sign."
BROKEN = "broken = Mux(error == Error.WINDOW, Error.SENTENCE_CHECK, Error.EMBEDDING_BUS)"

REVIEWED: dict[tuple[str, str], str] = {
    ("cpu", "fsm_state else o_access__ready"): (
        "The CPU asks for one thing at a time, so `Access` rests whenever it asks."
    ),
    ("drop", "fsm_state else i__ready$71"): READY,
    ("drop", "live else i__ready$73"): READY,
    (
        "embedding",
        f"?: cond_then {BROKEN}",
    ): "In the machine: sim/proof/test_faults_sentence.py::test_row_outside.",
    ("embedding_table", "fsm_state else i__ready$26"): (
        "No look-up comes through behind a row whose words wait: so at most `AHEAD` rows do."
    ),
    **{("entropy", f"18'h00000 case 6'h0{k} of {POWER}"): CLASSES for k in range(2, 8)},
    ("layernorm", SHIFTED): SHIFT,
    **{("linear", f"{name} else i__ready"): TILES for name in ("fsm_state", "groups", "left")},
    ("linear", "i__valid$36 else i__ready"): TILES,
    **{
        ("loader", f"fsm_state else {port}__ready"): "A reader is idle whenever the loader asks."
        for port in ("o_request", "o_embedding_request")
    },
    **{
        ("loader", f"{name} if with m.If(error != Error.NONE):"): (
            "When constants are read again: sim/proof/test_faults_bus.py has it."
        )
        for name in ("fsm_state", "error")
    },
    (
        "loader",
        f"?: cond_else assign _5_ = ($47 [40] == 1'h0) {ROUNDING % (47, 3, 3, 4, 4)}",
    ): ROUNDS,
    (
        "loader",
        f"?: cond_else assign _8_ = ($59 [37] == 1'h0) {ROUNDING % (59, 6, 6, 7, 7)}",
    ): ROUNDS,
    ("normalize", f"?: cond_then {CLAMP}"): "A setting without a sign is never below 0.",
    ("norm", SHIFTED): SHIFT,
    ("normalize", SHIFTED): SHIFT,
    ("results", "fsm_state else i__ready"): READY,
    ("results", "fsm_state else i_read__ready"): READY,
    ("rows", "slots else $50"): "A command that there is not.",
    ("sequencer", "fsm_state else o_operation__ready"): "Issue has room where a program fails.",
    **{
        ("sequencer", f"{name} else rests"): "The last LOOP has waited for what was at work."
        for name in ("fsm_state", "done")
    },
    **{
        ("staging", f"{name} else i__ready${number}"): STAGED
        for name in ("_sentence", "fsm_state")
        for number in (82, 83, 84)
    },
    ("turns", "fsm_state else i__ready"): TILES,
    **{
        ("walkers", f"{name} if with m.If(more & ~self.o_group.payload.last):"): GROUP
        for name in ("fsm_state", "i__ready", "nth_group", "nth_tile")
    },
}
