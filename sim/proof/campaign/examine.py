# SPDX-License-Identifier: Apache-2.0
"""One random case through golden model and RTL: what is compared, what is recorded.

Every tensor and every result of the good sentences equals the golden model's bit for bit; a bad
sentence has its status and detail. An access that is answered with an error stops the machine with
the documented error code; after a soft reset the same queue runs as if nothing had been.
"""

import time
import traceback

from firmware import isa
from firmware.compiler import compile_network
from firmware.embedding_image import parse_embedding
from firmware.error_codes import Error
from firmware.image import HEADER_BYTES, parse_image
from firmware.isa import Opcode
from golden_model.model import run as run_golden
from hw.trace import taps
from sim.cosim.build import build
from sim.cosim.cosim import DECERR, EMBEDDING, MAIN
from sim.cosim.session import DESCRIPTOR_BYTES, DONE, LOADED, PAGE, Session, SessionError
from sim.proof.campaign.crosses import corners_of, features_of
from sim.proof.check import counter_differences, differences, judge, traced

__all__ = ["CaseRun", "examine"]

SHOWN = 3  # differences of a case
PATIENCE_OF_A_CASE = 5_000_000  # cycles of a load or a run; none takes a tenth of them


def examine(case, attempt=None):
    """Run a case -> its record, which JSON can hold.

    attempt : in place of `CaseRun`: makes an object with `failures`, and `outcome` without them
    """
    begin = time.perf_counter()
    record = {"seed": case.seed, "number": case.number, "model": case.index}
    try:
        run = (attempt or CaseRun)(case)
        record["failures"] = run.failures[:SHOWN]
        record |= {
            "values": run.outcome.elements,
            "cycles": run.outcome.cycles,
            "corners": dict(corners_of(case, run.outcome)),
        }
    except Exception:  # a crash is a failure like any other: the rest of the campaign goes on
        record["failures"] = [traceback.format_exc()]
    seconds = round(time.perf_counter() - begin, 2)
    return record | features_of(case) | {"sentences": len(case.queue), "seconds": seconds}


class CaseRun:
    """What became of a case.

    Attributes
    ----------
    outcome : `sim.proof.check.Outcome` of the run of all sentences
    failures : a line for each thing that is not as it should be
    """

    def __init__(self, case):
        self.case = case
        self.program = compile_network(case.network, case.hardware)
        self.embedding = parse_embedding(self.program.embedding)
        self.expect = self._expected()
        words = [one.words for one in case.queue]
        goldens = [
            None if i in self.expect else run_golden(case.network, *one)
            for i, one in enumerate(words)
        ]
        self.session = self._session()
        self.failures = []
        if case.fault:
            self._with_fault(words, goldens)
        errors = {i: error for i, (error, _) in self.expect.items()}
        self.outcome = judge(self.session, self.program, goldens, words, case.slots, errors)
        self.failures += self.outcome.failures
        if not self.failures:
            self.failures += counter_differences(case.network, self.outcome)
            self._check_details()

    def _expected(self):
        """{place in the queue: (error, detail)} of the sentences that must fail."""
        expected = {}
        for i, one in enumerate(self.case.queue):
            if one.error:
                expected[i] = one.error, one.detail
            elif self.case.damage and self.case.damage[0] in one.ids.tolist():
                expected[i] = Error.SENTENCE_CHECK, one.ids.tolist().index(self.case.damage[0])
        return expected

    def _session(self):
        """A machine with the case's images and memories."""
        case = self.case
        embedding = bytearray(self.program.embedding)
        if case.damage:
            row, bit = case.damage
            last_mask = self.embedding.offsets[row] + 2 * (self.embedding.width // 16) - 1
            embedding[last_mask] ^= 1 << bit
        session = Session(
            build(case.hardware, traced),
            case.hardware,
            taps(case.hardware),
            self.program.image,
            embedding,
            len(case.queue),
        )
        session.patience = PATIENCE_OF_A_CASE
        for port in (MAIN, EMBEDDING):
            session.sim.behave(port, **case.behave)
        return session

    def _check_details(self):
        """What `judge` does not look at: details of bad sentences, tags, how many are done."""
        for i, (_, detail) in self.expect.items():
            found = self.outcome.records[i].detail
            if found != detail:
                self.failures.append(f"detail of sentence {i} must be {detail}, not {found}")
        tags = [record.tag for record in self.outcome.records]
        if tags != list(range(len(tags))):
            self.failures.append(f"tags must be those of the queue, not {tags}")
        wanted = {"SENTENCES_DONE": len(tags), "STATUS": LOADED | DONE, "ERROR": 0, "ERROR_PC": 0}
        for name, want in wanted.items():
            found = self.session.read(name)
            if found != want:
                self.failures.append(f"{name} behind the queue must be {want}, not {found}")

    # A bus error, before the run that counts.

    def _with_fault(self, words, goldens):
        """The run ends with the documented error, or never came to the address and is right."""
        session, case = self.session, self.case
        at, write, port, error = self._address()
        place = case.fault.place
        loads = place.startswith("load")
        try:
            if loads:
                session.sim.fault(at, at + 1, case.fault.response, write, port)
            session.load()
            session.queue(words, case.slots)
            session.sim.fault(at, at + 1, case.fault.response, write, port)
            session.run()
        except SessionError as stopped:
            self._check_stopped(stopped, error)
        else:
            self._check_finished(goldens)
        session.sim.clear_faults()
        session.reset()
        state = [session.read(name) for name in ("STATUS", "ERROR", "ERROR_PC")]
        if any(state):
            self.failures.append(f"STATUS, ERROR, ERROR_PC after a reset must be 0, not {state}")

    def _check_stopped(self, stopped, error):
        if stopped.error != error:
            place = self.case.fault.place
            name = stopped.error.name
            self.failures.append(f"error of a fault in {place} must be {error.name}, not {name}")

    def _check_finished(self, goldens):
        """Of all places only weights of layers that nobody reached need not be read."""
        place = self.case.fault.place
        if place != "weights":
            self.failures.append(f"fault in {place} was not reported")
        records = self.session.results(len(goldens))
        for i, (golden, record) in enumerate(zip(goldens, records, strict=True)):
            if golden is not None:
                early = self.program.early_exit
                self.failures += differences(i, golden, record, early)

    def _address(self):
        """(address, whether writes fail, port, the documented error) of the case's fault."""
        place, where, session = self.case.fault.place, self.case.fault.where, self.session
        image = parse_image(self.program.image)
        pc = next(pc for pc, words in enumerate(image.program) if _opcode(words) == Opcode.LINEAR)
        good = [i for i, one in enumerate(self.case.queue) if not one.error]
        which = good[int(self.case.fault.which * len(good))]
        ids = self.case.queue[which].ids.tolist()
        row = ids[int(where * len(ids))]
        program = PAGE + image.program_offset
        low, size = {
            "load: header": (PAGE, HEADER_BYTES),
            "load: image": (PAGE, len(image.data)),
            "load: embedding header": (0, HEADER_BYTES),
            "instruction": (program, isa.BYTES * len(image.program)),
            "weights": _weights(image, pc),
            "queue": (session.input_base + DESCRIPTOR_BYTES * which, DESCRIPTOR_BYTES),
            "tokens": (session.tokens_base + session.token_bytes * which, 4 * len(ids)),
            "row table": (HEADER_BYTES + 4 * row, 4),
            "row": (
                self.embedding.offsets[row],
                self.embedding.offsets[row + 1] - self.embedding.offsets[row],
            ),
            "result": (session.result_base + session.record_bytes * which, session.record_bytes),
        }[place]
        at = low + int(where * size)
        if place == "result":
            return at, True, MAIN, Error.WRITE_ERROR
        if place in ("load: embedding header", "row table", "row"):
            return at, False, EMBEDDING, Error.EMBEDDING_BUS
        decoded = self.case.fault.response == DECERR
        return at, False, MAIN, Error.READ_DECERR if decoded else Error.READ_SLVERR


def _opcode(words):
    return isa.unpack(words, "opcode")


def _weights(image, pc):
    """(address, size) of all weights, which begin with those of the first LINEAR."""
    first = isa.unpack(image.program[pc], "address")
    return PAGE + first, len(image.data) - 4 - first
