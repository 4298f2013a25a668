# SPDX-License-Identifier: Apache-2.0
"""The campaign: failures become small, finished cases are skipped, coverage has its holes."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from firmware.compiler import compile_network
from sim.proof.campaign import __main__ as command
from sim.proof.campaign import dispatch
from sim.proof.campaign.cases import BAD_SENTENCES, Cuts, random_case
from sim.proof.campaign.crosses import CORNERS, CROSSED, cross_holes, crosses, features_of, report
from sim.proof.campaign.dispatch import Job, in_processes, through
from sim.proof.campaign.examine import examine
from sim.proof.campaign.kept_cases import KeptCases
from sim.proof.campaign.shrink import failure_kind, shrink

SEED = 3


def case_with(**wanted):
    """The first case whose attributes are as `wanted`."""
    cases = (random_case(SEED, number, index) for number in range(9) for index in range(9))
    return next(case for case in cases if all(test(case) for test in wanted.values()))


def test_uneven_network_is_drawn_again():
    """This one's columns would not go through the buffers of the configuration."""
    case = random_case(1, 76, 9)
    assert compile_network(case.network, case.hardware).image


def test_network_that_cannot_be_compiled_is_a_failure(monkeypatch):
    """It has no opcodes, and its record says why."""
    case = random_case(SEED, 0, 0)

    def broken(network, hardware):
        raise IndexError("of the compiler")

    for module in ("examine", "crosses"):
        monkeypatch.setattr(f"sim.proof.campaign.{module}.compile_network", broken)
    record = examine(case)
    assert record["opcodes"] == [] and "IndexError: of the compiler" in record["failures"][0]


def record_of(job, model, failures=()):
    case = random_case(job.seed, job.number, model)
    ours = {"seed": job.seed, "number": job.number, "model": model, "failures": list(failures)}
    corners = {"corners": dict.fromkeys(CORNERS, 1)}
    return ours | corners | features_of(case) | {"sentences": len(case.queue), "seconds": 0.1}


def stand_in(job):
    return [record_of(job, model) for model in job.models]


def writes(job, path):
    """A process of the campaign that needs no simulator."""
    for record in stand_in(job):
        KeptCases(path).append(record)


def dies(job, path):
    """The first case is right; the process dies in the second."""
    if job.models[0] == 0:
        KeptCases(path).append(record_of(job, 0))
        raise SystemExit(7)
    writes(job, path)


def test_case_follows_from_its_identity():
    one, again = (random_case(SEED, 2, 4) for _ in range(2))
    assert (one.hardware, one.behave, one.fault) == (again.hardware, again.behave, again.fault)
    pairs = zip(one.queue, again.queue, strict=True)
    assert all(a.ids.tolist() == b.ids.tolist() for a, b in pairs)
    assert one.hardware == random_case(SEED, 2, 0).hardware


def test_shrinks_to_the_sentence_and_the_length():
    """A fault that any sentence of three tokens has with stalls needs nothing else."""
    case = case_with(stalls=lambda case: case.stalls != "none" and case.slots > 1)

    def fails(small):
        long = [one.number for one in small.queue if not one.error and len(one.ids) >= 3]
        return [f"x[{long[0]}] is wrong"] if long and small.behave["stall"] else []

    cuts = shrink(case, fails)
    assert len(cuts.sentences) == 1 and cuts.slots == 1 and cuts.tokens == 3
    assert cuts.stalls and not cuts.latency and not cuts.errors
    assert fails(case.cut(cuts))
    words = case.command(cuts)
    assert f"--sentences {cuts.sentences[0]} --slots 1 --no-latency --no-errors" in words


def test_shrinks_to_a_pair_and_its_bad_sentence():
    """What needs two sentences, one of them bad, keeps both."""
    case = case_with(bad=lambda case: any(one.error in BAD_SENTENCES for one in case.queue))

    def fails(small):
        bad = any(one.error for one in small.queue)
        return ["x is wrong"] if bad and any(not one.error for one in small.queue) else []

    cuts = shrink(case, fails)
    assert len(cuts.sentences) == 2 and cuts.errors and fails(case.cut(cuts))


def test_another_failure_is_not_the_same():
    assert failure_kind(["x[1, 2] must be 5, not -7"]) == failure_kind(["x[9, 0] must be 1, not 3"])
    assert failure_kind(["x[1] must be 5"]) != failure_kind(["y[1] must be 5"])


def test_command_runs_what_is_left(monkeypatch, capsys):
    """The printed command makes the same cuts; the exit status tells."""
    seen = []

    def attempt(case):
        seen.append(case)
        return {"sentences": len(case.queue), "failures": ["x is wrong"]}

    monkeypatch.setattr(command, "examine", attempt)
    case = random_case(SEED, 0, 0)
    words = case.command(Cuts(sentences=(0, 2), slots=1, stalls=False, tokens=2)).split()[3:]
    assert command.main(words) == 1
    assert [one.number for one in seen[0].queue] == [0, 2] and seen[0].slots == 1
    assert all(len(one.ids) <= 2 for one in seen[0].queue if not one.error)
    assert "DIFFERS" in capsys.readouterr().out


def test_resumed_campaign_skips(tmp_path, monkeypatch, capsys):
    """What is in the file does not run again, a line that was cut does."""
    kept = KeptCases(tmp_path / "state.jsonl")
    for model in range(2):
        kept.append(record_of(Job(SEED, 0, []), model))
    with open(kept.path, "a") as file:
        file.write('{"seed": 3, "number": 0, "mod')
    ran = []

    def processes(jobs, kept, workers):
        ran.extend(jobs)
        yield from in_processes(jobs, kept, workers, writes)

    monkeypatch.setattr(command, "in_processes", processes)
    assert command.campaign(SEED, 2, 3, kept.path, 1)
    assert ran == [Job(SEED, 0, [2]), Job(SEED, 1, [0, 1, 2])]
    assert len(kept.records()) == 6
    ran.clear()
    assert command.campaign(SEED, 2, 3, kept.path, 1) and not ran
    assert "6 cases" in capsys.readouterr().out


def test_part_of_a_campaign(tmp_path, monkeypatch, capsys):
    """It begins where it is told to, and needs no corner."""
    ran = []

    def processes(jobs, kept, workers):
        ran.extend(jobs)
        yield

    monkeypatch.setattr(command, "in_processes", processes)
    state = str(tmp_path / "state.jsonl")
    words = f"--seed {SEED} --from 7 --configs 2 --models 1 --state {state}"
    assert command.main(words.split()) == 0
    assert [job.number for job in ran] == [7, 8]
    assert "never occurred" not in capsys.readouterr().out


def test_process_that_dies(tmp_path):
    """The case in hand failed, the others ran."""
    kept = KeptCases(tmp_path / "state.jsonl")
    list(in_processes([Job(SEED, 0, [0, 1, 2])], kept, 1, dies))
    failures = {record["model"]: record["failures"] for record in kept.records()}
    assert failures.keys() == {0, 1, 2} and not failures[0] and not failures[2]
    assert "exit status 7" in failures[1][0]


def test_executor(tmp_path):
    """What Dask's client gives is such an executor; a job that is lost does not stop the others."""
    kept = KeptCases(tmp_path / "state.jsonl")

    def work(job):
        if job.number == 1:
            raise OSError("lost")
        return stand_in(job)

    jobs = [Job(SEED, number, [0, 1]) for number in range(3)]
    with ThreadPoolExecutor(1) as executor:
        assert set(map(id, through(executor, jobs, kept, work))) == set(map(id, jobs))
    assert [record["number"] for record in kept.records() if record["failures"]] == [1]
    assert len(kept.records()) == 5


def test_no_dask(monkeypatch, capsys):
    """One line, exit status 2."""

    def absent(address):
        raise ModuleNotFoundError("--dask needs dask.distributed")

    monkeypatch.setattr(command, "dask_executor", absent)
    with pytest.raises(SystemExit) as stop:
        command.main(["--dask", "localhost:1"])
    assert stop.value.code == 2 and "needs dask.distributed" in capsys.readouterr().err


def test_dask_is_named_where_it_is_missing(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "dask.distributed", None)
    monkeypatch.setitem(sys.modules, "dask", None)
    with pytest.raises(ModuleNotFoundError, match="pip install distributed"):
        dispatch.dask_executor("localhost:1").__enter__()


def test_crosses_and_holes():
    records = stand_in(Job(SEED, 0, [0, 1, 2]))
    table = crosses(records)
    formats = table["format"]["ADMIT"]
    assert sum(formats.values()) == 3 and formats.keys() == set(CROSSED["format"])
    holes = cross_holes(table)
    assert any(hole.startswith("LINEAR x format") for hole in holes)
    assert "DROP x units without drop" not in holes
    found = report(records)
    assert found["cases"] == 3 and found["differences"] == 0
    assert found == report(list(reversed(records)))
    assert json.dumps(found, sort_keys=True)


def test_evidence_from_a_file(tmp_path):
    """The command that writes it while a campaign goes on."""
    kept = KeptCases(tmp_path / "state.jsonl")
    writes(Job(SEED, 0, [0, 1]), kept.path)
    out = tmp_path / "campaign.json"
    from sim.proof.campaign import crosses as module

    module.main([str(kept.path), "--out", str(out)])
    assert json.loads(out.read_text())["cases"] == 2
