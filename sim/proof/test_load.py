# SPDX-License-Identifier: Apache-2.0
"""Short loads: consecutive queues of one machine, and what a wrong result would come to."""

import dataclasses
import json

import pytest

from firmware.error_codes import Error
from sim.proof import load
from sim.proof.load import LoadError, cosim_load, cycle_load


def test_queues_of_one_machine():
    """40 sentences in consecutive queues; each kind of bad sentence is among them."""
    found = cosim_load(40, queue=16)
    assert found["queues"] == 3 and sum(found["statuses"].values()) == 40
    wanted = {error.name for error in Error if error.is_sentence} | {"NONE"}
    assert found["statuses"].keys() == wanted and len(found["exit_layers"]) > 1


def test_wrong_result_is_found(monkeypatch):
    """One logit of one golden result is another."""
    run = load.run_golden

    def other(*arguments):
        golden = run(*arguments)
        return dataclasses.replace(golden, logits=[golden.logits[0] + 1, *golden.logits[1:]])

    monkeypatch.setattr(load, "run_golden", other)
    with pytest.raises(LoadError, match="result must be .* not .*logits in the result of sentence"):
        cosim_load(4)


def test_lost_result_is_found(monkeypatch):
    """A record that nobody wrote has no tag."""
    record = load.Session.record

    def lost(session, i):
        found = record(session, i)
        return dataclasses.replace(found, tag=0xEEEEEEEE) if i == 2 else found

    monkeypatch.setattr(load.Session, "record", lost)
    with pytest.raises(LoadError, match="tags must be"):
        cosim_load(4)


def test_cycle_model(monkeypatch):
    monkeypatch.setattr(load, "REPEATED", 100)
    found = cycle_load(1000, queue=600)
    assert found["queues"] == 2 and found["cycles"] > 1000 and found["predicted_twice"] == 100


def test_command_keeps_what_is_there(tmp_path):
    """Each part of the evidence is written without the other."""
    out = tmp_path / "load.json"
    out.write_text('{"co-simulation": {"sentences": 1}}')
    load.main(["--cycles", "20", "--out", str(out)])
    found = json.loads(out.read_text())
    assert found["co-simulation"] == {"sentences": 1} and found["cycle model"]["sentences"] == 20
