# SPDX-License-Identifier: Apache-2.0
"""Random cases of the campaign: everything follows from seed, configuration number and model index.

    case = random_case(seed, number, index)

A case is a hardware configuration, a network that fits it, a queue of sentences, slots, how the
memories behave, and what is wrong: nothing, a bus that answers an access with an error, sentences
that cannot be run, or a damaged row of the embedding image. Each network has a scenario that makes
a rare corner likely. `Cuts` make a case smaller.
"""

import dataclasses
import random
from dataclasses import dataclass

import torch

from firmware.columns import UnevenColumns
from firmware.compiler import compile_network
from firmware.error_codes import Error
from golden_model.hardware import HardwareConfig
from golden_model.quantize import quantize
from sim.cosim.cosim import DECERR, SLVERR
from sim.cosim.memory import READ_BURSTS
from sim.proof.campaign.random_parts import (
    SCENARIOS,
    queue_of,
    random_hardware,
    scenario_checkpoint,
)

__all__ = [
    "BAD_SENTENCES",
    "FAULT_PLACES",
    "STALLS",
    "BusFault",
    "Cuts",
    "Queued",
    "RandomCase",
    "bad_sentence",
    "random_case",
]

STALLS = {"none": 0.0, "few": 0.1, "many": 0.4}  # chance that a channel pauses in a cycle
# What may be wrong in a case, and how often.
WRONG = {"nothing": 55, "bus": 20, "sentences": 17, "row": 8}
BAD_SENTENCES = (Error.SENTENCE_EMPTY, Error.SENTENCE_LENGTH, Error.SENTENCE_TOKEN)
# Where a bus error may hit, in a load and in a run.
FAULT_PLACES = (
    "load: header",
    "load: image",
    "load: embedding header",
    "instruction",
    "weights",
    "queue",
    "tokens",
    "row table",
    "row",
    "result",
)


@dataclass(frozen=True)
class Queued:
    """A sentence of a case; `number` stays its name when others are cut away.

    error, detail : what its record must say
    """

    number: int
    ids: torch.Tensor
    segments: torch.Tensor
    error: Error = Error.NONE
    detail: int = 0

    @property
    def words(self):
        return self.ids, self.segments


@dataclass(frozen=True)
class BusFault:
    """An access that is answered with an error.

    where, which : numbers in [0, 1) that choose an address of the place, and the sentence that it
        belongs to
    """

    place: str
    where: float
    which: float
    response: int


@dataclass(frozen=True)
class Cuts:
    """What is left out of a case.

    sentences : numbers of those that stay; tokens : of a good sentence, at most
    """

    sentences: tuple | None = None
    slots: int | None = None
    stalls: bool = True
    latency: bool = True
    errors: bool = True
    tokens: int | None = None

    @property
    def arguments(self):
        """As the campaign's command takes them."""
        words = []
        if self.sentences is not None:
            words.append("--sentences " + ",".join(map(str, self.sentences)))
        if self.slots is not None:
            words.append(f"--slots {self.slots}")
        words += [
            f"--no-{name}" for name in ("stalls", "latency", "errors") if not vars(self)[name]
        ]
        if self.tokens is not None:
            words.append(f"--tokens {self.tokens}")
        return words


@dataclass(frozen=True)
class RandomCase:
    """One case; `damage` is (row, bit of its last mask byte) of the embedding image."""

    seed: int
    number: int
    index: int
    hardware: HardwareConfig
    scenario: str
    network: object
    queue: tuple
    slots: int
    behave: dict
    stalls: str
    fault: BusFault | None = None
    damage: tuple | None = None

    def cut(self, cuts):
        """The case without what `cuts` leaves out; None where no sentence is left."""
        wanted = range(len(self.queue)) if cuts.sentences is None else cuts.sentences
        queue = [
            one for one in self.queue if one.number in wanted and (cuts.errors or not one.error)
        ]
        if cuts.tokens is not None:
            queue = [_shorter(one, cuts.tokens) for one in queue]
        if not queue or (self.fault and all(one.error for one in queue)):
            return None
        behave = dict(self.behave)
        if not cuts.stalls:
            behave["stall"] = 0.0
        if not cuts.latency:
            behave |= {"latency": 0, "bytes_per_cycle": 1e9, "bursts": READ_BURSTS}
        return dataclasses.replace(
            self,
            queue=tuple(queue),
            slots=cuts.slots or self.slots,
            behave=behave,
            stalls=self.stalls if cuts.stalls else "none",
            fault=self.fault if cuts.errors else None,
            damage=self.damage if cuts.errors else None,
        )

    def command(self, cuts=None):
        """What runs it again."""
        words = [f"python -m sim.proof.campaign --seed {self.seed}"]
        words.append(f"--only {self.number} --model {self.index}")
        return " ".join([*words, *(cuts or Cuts()).arguments])


def _shorter(one, tokens):
    if one.error:
        return one
    return dataclasses.replace(one, ids=one.ids[:tokens], segments=one.segments[:tokens])


def random_case(seed, number, index):
    """The case `index` of configuration `number`."""
    hardware = random_hardware(random.Random(f"{seed}/{number}"), number)
    rng = random.Random(f"{seed}/{number}/{index}")
    scenario = SCENARIOS[(number + index) % len(SCENARIOS)]
    network = _network(rng, hardware, scenario)
    good = [Queued(0, *words) for words in queue_of(rng, network.model)]
    wrong = rng.choices(tuple(WRONG), WRONG.values())[0]
    fault = damage = None
    if wrong == "bus":
        response = rng.choice((SLVERR, DECERR))
        fault = BusFault(rng.choice(FAULT_PLACES), rng.random(), rng.random(), response)
    elif wrong == "row" and "embedding_check" in hardware.units:
        damage = int(rng.choice(rng.choice(good).ids.tolist())), rng.randrange(8)
    elif wrong == "sentences":
        for _ in range(rng.randrange(1, 4)):
            bad = bad_sentence(rng, network.model, rng.choice(BAD_SENTENCES))
            good.insert(rng.randrange(len(good) + 1), bad)
    stalls = rng.choice(tuple(STALLS))
    return RandomCase(
        seed,
        number,
        index,
        hardware,
        scenario,
        network,
        tuple(dataclasses.replace(one, number=i) for i, one in enumerate(good)),
        rng.randrange(1, hardware.slots + 1),
        {
            "latency": rng.choice((0, 3, 20)),
            "stall": STALLS[stalls],
            "bytes_per_cycle": rng.choice((1.0, 4.0, 1e9)),
            "seed": rng.randrange(1 << 30),
            "bursts": rng.choice((1, READ_BURSTS)),
        },
        stalls,
        fault,
        damage,
    )


def _network(rng, hardware, scenario):
    """The first network that is drawn whose columns are even enough for the hardware's buffers."""
    while True:
        network = quantize(scenario_checkpoint(rng, hardware, scenario), hardware.format)
        try:
            compile_network(network, hardware)
        except UnevenColumns:
            continue
        except Exception:  # a failure of the case: its run tells
            pass
        return network


def bad_sentence(rng, model, error):
    """A sentence that ends with `error`."""
    length = rng.randrange(1, model.positions + 1)
    if error == Error.SENTENCE_EMPTY:
        length = 0
    if error == Error.SENTENCE_LENGTH:
        length = rng.choice((model.positions + 1, model.positions + rng.randrange(1, 100), 65535))
    ids = torch.tensor([rng.randrange(model.vocabulary) for _ in range(length)], dtype=torch.int64)
    detail = 0
    if error == Error.SENTENCE_TOKEN:
        detail = rng.randrange(length)
        # The first of them counts.
        for at in (detail, rng.randrange(detail, length)):
            ids[at] = rng.choice((model.vocabulary, rng.randrange(model.vocabulary, 1 << 31)))
    return Queued(0, ids, torch.zeros(length, dtype=torch.int64), error, detail)
