# SPDX-License-Identifier: Apache-2.0
"""Bits that flip in memory behind a good load: what the machine says of its results.

    python -m sim.proof.flips --count 1000

A run that is called ok must be right. Each flip is one bit of a part of memory; the machine runs
the same sentences again, and their records are compared with those of the undamaged memory.
"""

import argparse
import random
from collections import Counter

from firmware import isa
from firmware.embedding_image import parse_embedding
from firmware.image import HEADER_BYTES, parse_image
from firmware.isa import Opcode
from golden_model.random_model import random_sentences
from sim.cosim.build import build
from sim.cosim.session import PAGE, SessionError
from sim.proof.check import traced
from sim.proof.system import CONFIG, SMALL_MODEL, Machine, random_network

__all__ = ["OUTCOMES", "PLACES", "Flips"]

SENTENCES = 4
OUTCOMES = ("stopped", "sentence failed", "ok and right", "ok and wrong")
PLACES = ("weights", "program", "constants", "rows", "row table")


class Flips:
    """A loaded machine, its sentences, and their records without damage.

    seed : of the sentences and of the bits
    """

    def __init__(self, seed):
        self._machine = Machine(build(CONFIG, traced), random_network())
        self._random = random.Random(seed)
        self._sentences = random_sentences(SMALL_MODEL, SENTENCES, seed=seed, low=3, high=9)
        self._loaded = False
        self._parts = self._bits()
        self._want = self._run()
        assert all(record.status == 0 for record in self._want)

    def _bits(self):
        """{place: (memory, byte ranges)}; of embeddings what the sentences read."""
        image = parse_image(self._machine.program.image)
        embedding = parse_embedding(self._machine.program.embedding)
        linear = [words for words in image.program if isa.unpack(words, "opcode") == Opcode.LINEAR]
        first = min(isa.unpack(words, "address") for words in linear)
        program, constants = image.sections
        used = {
            row
            for ids, segments in self._sentences
            for at, (token, segment) in enumerate(zip(ids.tolist(), segments.tolist(), strict=True))
            for row in (
                token,
                embedding.vocabulary + at,
                embedding.vocabulary + embedding.positions + segment,
            )
        }
        offsets = embedding.offsets
        main = self._machine.sim.memory[PAGE:]
        rows = self._machine.sim.embedding
        start = image.program_offset
        return {
            "weights": (main, [(first, len(image.data) - 4)]),
            "program": (main, [(start, start + len(program))]),
            "constants": (
                main,
                [(image.constants_offset, image.constants_offset + len(constants))],
            ),
            "rows": (rows, [(offsets[row], offsets[row + 1]) for row in sorted(used)]),
            "row table": (
                rows,
                [(HEADER_BYTES + 4 * row, HEADER_BYTES + 4 * row + 8) for row in sorted(used)],
            ),
        }

    def _run(self):
        """The records of a run behind a load, SessionError where the machine stops."""
        session = self._machine.session
        if not self._loaded:
            session.load()
            self._loaded = True
        session.queue(self._sentences)
        session.run()
        return session.results(SENTENCES)

    def flip(self, place):
        """One bit of `place` flips behind the load, and back behind the run; the outcome."""
        memory, ranges = self._parts[place]
        if not self._loaded:
            self._machine.session.load()
            self._loaded = True
        low, high = self._random.choice(ranges)
        at, bit = self._random.randrange(low, high), 1 << self._random.randrange(8)
        memory[at] ^= bit
        try:
            found = self._run()
        except SessionError:
            self._machine.session.reset()
            self._loaded = False
            return "stopped"
        finally:
            memory[at] ^= bit
        pairs = list(zip(found, self._want, strict=True))
        good = [(one, want) for one, want in pairs if one.status == 0]
        if any(self._differ(one, want) for one, want in good):
            return "ok and wrong"
        return "ok and right" if len(good) == len(pairs) else "sentence failed"

    def _differ(self, one, want):
        """Whether the results differ, cycles and passes apart: a queue may run in another order."""
        names = ("tag", "predicted_class", "exit_layer", "tokens", "logits", "live")
        names += ("entropies", "entering", "dropped_at_layer")
        return any(getattr(one, name) != getattr(want, name) for name in names)

    def count(self, place, flips):
        """{outcome: how often} of so many flips."""
        return Counter(self.flip(place) for _ in range(flips))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="flips of each part of memory")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    flips = Flips(arguments.seed)
    print(f"{'flips in':12}" + "".join(f"{outcome:>17}" for outcome in OUTCOMES))
    wrong = 0
    for place in PLACES:
        found = flips.count(place, arguments.count)
        print(f"{place:12}" + "".join(f"{found[outcome]:17,}" for outcome in OUTCOMES), flush=True)
        wrong += found["ok and wrong"]
    return wrong != 0


if __name__ == "__main__":
    raise SystemExit(main())
