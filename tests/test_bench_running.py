# SPDX-License-Identifier: Apache-2.0
"""How cases of `terse bench` are measured: networks, queues, the cycle model."""

import dataclasses

import pytest

from golden_model.config import MODELS
from golden_model.formats import ETA_FRAC
from golden_model.hardware import HARDWARE
from golden_model.model import run
from terse.benchmark import kept, running, sweep
from terse.benchmark import rows as benching
from terse.benchmark.cases import Emulated, Fitted, Stream
from terse.benchmark.profile import fit
from terse.errors import UserError
from tests.toy import CASE, toy

FALLING = (12, 9, 4)


def test_cycle_model():
    """Of one sentence, of an emulated profile, of the trained model's stream.

    It is what the golden model says, or the profile.
    """
    one = running.model(dataclasses.replace(CASE, layers=3, source="model"))
    assert (one.source, one.tokens, one.exit_layers) == ("model", [6], [3])
    profile = running.model(
        Emulated(
            "nano", HARDWARE["ci"], slots=2, sparsity=0.6, layers=3, sentences=4, profile=(6, 4)
        )
    )
    assert (
        profile.tokens == [6] * 4
        and profile.live == [[6, 4]] * 4
        and all(0 < one < profile.cycles for one in profile.latencies)
    )
    stream = running.model(
        Stream("tiny", HARDWARE["ci"], slots=2, sentences=2, bytes_per_cycle=4, source="model")
    )
    assert len(stream.tokens) == 2 and max(stream.exit_layers) <= MODELS["tiny"].layers


def test_nobody_leaves_a_random_network():
    """What the cycle model takes for granted of random sentences is what the golden model finds."""
    for zeros in (0.0, 0.6, 0.8):
        case = dataclasses.replace(CASE, tokens=16, layers=3, sparsity=zeros)
        ((ids, segments),) = running.queue(case)
        sentence = running._golden(running.network_key(case), (tuple(ids), tuple(segments)))
        assert sentence.entering == sentence.live == (16,) * 3


def test_long_streams_need_data(monkeypatch):
    """Without SST-2's dev split the samples come again, and it is said."""
    long = Stream("tiny", HARDWARE["ci"], sentences=70, source="model")
    monkeypatch.setattr(running, "has_data", lambda: False)
    queue = running.queue(long)
    assert len(queue) == 70 and queue[64:] == queue[:6] and queue[0] != queue[1]
    monkeypatch.setattr(benching, "has_data", lambda: False)
    monkeypatch.setattr(kept, "measure_kept", lambda some, watch: dict.fromkeys(some, toy()))
    assert (
        "repeat the samples" in benching.bench([long]).notes[0] and not benching.bench([CASE]).notes
    )


def test_fitted_profile(monkeypatch):
    """The mean of the profile, though not each sentence's.

    What is simulated is what the golden model keeps, and so is what the cycle model runs.
    """
    case = Fitted("nano", HARDWARE["ci"], sparsity=0.6, slots=2, sentences=4, profile=FALLING)
    live = [
        run(running.case_network(case), *words).tokens_per_layer for words in running.queue(case)
    ]
    staying = [sum(counts) for counts in zip(*live, strict=True)]
    assert (
        staying == pytest.approx([4 * tokens for tokens in FALLING], abs=1)
        and len({tuple(one) for one in live}) > 1
    )
    assert running.model(dataclasses.replace(case, source="model")).live == live
    monkeypatch.setattr(
        running.measuring,
        "measure_cycles",
        lambda network, config, sentences, *_: (network, len(sentences)),
    )
    network, sentences = running.simulate_case(case)
    assert (
        network is running.case_network(case)
        and sentences == 4
        and "tokens about 12 9 4, 60% zeros" in case.label
    )


def test_fit_keeps_what_the_rule_allows():
    """Nobody is dropped where all are to stay; who has more than the mean always stays.

    A profile that rises is none.
    """
    case = dataclasses.replace(CASE, layers=3)
    network, words = running.case_network(case), running.queue(case)
    eta = fit(network, words, (6, 6, 1))
    first, second, third = run(dataclasses.replace(network, eta=eta), *words[0]).tokens_per_layer
    assert first == second == 6 > third > 1 and 0 < eta[0] < eta[2] == 1 << ETA_FRAC
    for profile in ((4, 5, 1), (6, 5), (6, 5, 0)):
        with pytest.raises(ValueError, match="Profile must be 3 numbers of tokens"):
            fit(network, words, profile)


def test_profile_is_not_simulated():
    case = sweep.streams(8)[0][1]
    with pytest.raises(
        UserError,
        match="not what a profile says: base 16x16, 256 sentences, 8 slots, "
        "tokens 25 16 10 6, 60% zeros",
    ):
        running.simulate_case(case)
