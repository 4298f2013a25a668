# SPDX-License-Identifier: Apache-2.0
"""Random hardware configurations times random cases, every tensor compared.

    python -m sim.proof.campaign --seed N

Everything follows from the seed (sim/proof/campaign/cases.py). Finished cases are kept in a file,
so the same command goes on after Ctrl-C. A case that fails is made as small as it can be and
printed as a command that fails in the same way. What really happened is counted from the results: a
corner that never occurred is a failure too.
"""

import argparse
import contextlib
import sys

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from sim.proof.campaign.cases import Cuts, random_case
from sim.proof.campaign.crosses import CORNERS, EVIDENCE, corners_sum, sums_of, write_evidence
from sim.proof.campaign.dispatch import Job, dask_executor, examined, in_processes, through
from sim.proof.campaign.examine import examine
from sim.proof.campaign.kept_cases import kept_of_seed

__all__ = ["campaign", "main"]

STOPPED = 130  # exit status after Ctrl-C, as shells have it


def campaign(seed, configs=20, models=5, state=None, workers=2, executor=None, first=0):
    """Run what is not yet in the state file; whether nothing differed and every corner occurred.

    A part that does not begin with configuration 0 need not have every corner.

    executor : of concurrent.futures, to which configurations go; default processes of our own
    first : number of the first configuration
    """
    kept = kept_of_seed(seed, state)
    numbers = range(first, first + configs)
    wanted = {(number, model) for number in numbers for model in range(models)}
    done = {(one["number"], one["model"]) for one in _of(kept.records(), seed)} & wanted
    kept.fresh()
    jobs = [
        Job(seed, number, left)
        for number in numbers
        if (left := [model for model in range(models) if (number, model) not in done])
    ]
    run = through(executor, jobs, kept) if executor else in_processes(jobs, kept, workers)
    console = Console()
    columns = (
        TextColumn("configuration {task.fields[number]}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("cases, {task.fields[differ]} differ"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=len(wanted), completed=len(done), number="", differ=0)
        _follow(run, kept, bar, task, console)
    return _summary(
        [one for one in _of(kept.records(), seed) if (one["number"], one["model"]) in wanted],
        whole=first == 0,
    )


def _of(records, seed):
    return [record for record in records if record["seed"] == seed]


def _follow(run, kept, bar, task, console):
    """Show what comes: a bar where somebody looks, else a line for each configuration."""
    differ = 0
    for finished in run:
        for record in kept.fresh():
            differ += bool(record["failures"])
            bar.update(task, advance=1, number=record["number"], differ=differ)
            if record["failures"]:
                _say(console, f"differs: {record.get('command')}\n    {record['failures'][0]}")
        if finished is not None and not console.is_terminal:
            _say(console, _line([one for one in kept.records() if finished.has(one)], finished))


def _say(console, text):
    console.print(text, markup=False, highlight=False, soft_wrap=True)
    console.file.flush()


def _line(records, job):
    """Of one configuration."""
    sums = sums_of(records)
    wrong = "DIFFERS" if sums["differences"] else "equal"
    return (
        f"{job.number:4} {sum(one['seconds'] for one in records):7.1f} s  {sums['cases']} cases, "
        f"{sums['sentences']} sentences, {sums['values']:,} values, {sums['cycles']:,} cycles: "
        f"{wrong}"
    )


def _summary(records, whole):
    """Print corners and sums; whether all is well."""
    corners = corners_sum(records)
    print("\n".join(["", *(f"{corners[corner]:6}  {corner}" for corner in CORNERS), ""]))
    missing = [corner for corner in CORNERS if not corners[corner]] if whole else []
    if missing:
        print(f"never occurred: {', '.join(missing)}")
    sums = sums_of(records)
    print(", ".join(f"{count:,} {name}" for name, count in sums.items()))
    return not sums["differences"] and not missing


def _one(arguments, cuts):
    """Run a single case, or all of one configuration, here; whether they are right."""
    models = range(arguments.models) if arguments.model is None else [arguments.model]
    right = True
    for model in models:
        case = random_case(arguments.seed, arguments.only, model)
        small = case.cut(cuts)
        if small is None:
            raise ValueError("Sentences must leave at least one of the case, they leave none")
        record = examine(small) if cuts != Cuts() else examined(case)
        words = f"{record['sentences']} sentences, {record.get('cycles', 0):,} cycles"
        print(f"{case.command(cuts)}: {words}: {'DIFFERS' if record['failures'] else 'equal'}")
        print(f"    {case.hardware}, {case.network.model}")
        for failure in record["failures"]:
            print(f"    {failure}")
        if record.get("command"):
            print(f"smallest: {record['command']}")
        right &= not record["failures"]
    return right


def _numbers(text):
    return tuple(int(word) for word in text.split(","))


def _parser():
    """Its options."""
    parser = argparse.ArgumentParser(
        prog="python -m sim.proof.campaign", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--configs", type=int, default=20)
    parser.add_argument("--from", dest="first", type=int, default=0, help="the first one's number")
    parser.add_argument("--models", type=int, default=5, help="cases of each configuration")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--state", help="file of finished cases, build/campaign/SEED.jsonl")
    parser.add_argument("--dask", metavar="ADDRESS", help="scheduler of dask.distributed")
    parser.add_argument(
        "--report",
        nargs="?",
        const=EVIDENCE / "campaign.json",
        help="write what came of it, by default docs/evidence/campaign.json",
    )
    parser.add_argument("--only", type=int, help="one configuration of the campaign, here and now")
    parser.add_argument("--model", type=int, help="of it one case")
    parser.add_argument("--sentences", type=_numbers, help="of that only these: 0,3")
    parser.add_argument("--slots", type=int, help="at most so many")
    parser.add_argument("--tokens", type=int, help="of a good sentence, at most")
    for name in ("stalls", "latency", "errors"):
        parser.add_argument(f"--no-{name}", dest=name, action="store_false")
    return parser


def main(arguments=None):
    """The command; the exit status."""
    parser = _parser()
    chosen = parser.parse_args(arguments)
    names = ("sentences", "slots", "stalls", "latency", "errors", "tokens")
    cuts = Cuts(**{name: getattr(chosen, name) for name in names})
    if cuts != Cuts() and (chosen.only is None or chosen.model is None):
        parser.error("Cuts are of one case: they need --only and --model")
    try:
        if chosen.only is not None:
            return int(not _one(chosen, cuts))
    except ValueError as error:
        parser.error(str(error))
    with contextlib.ExitStack() as stack:
        executor = None
        if chosen.dask:
            try:
                executor = stack.enter_context(dask_executor(chosen.dask))
            except (ModuleNotFoundError, OSError, ValueError) as error:
                parser.error(str(error))
        return _campaign(chosen, executor)


def _campaign(chosen, executor):
    """The campaign as the command asks for it; the exit status."""
    state = kept_of_seed(chosen.seed, chosen.state)
    try:
        size = chosen.configs, chosen.models
        right = campaign(chosen.seed, *size, state.path, chosen.workers, executor, chosen.first)
    except KeyboardInterrupt:
        print(f"Stopped; the same command goes on from {state.path}")
        return STOPPED
    finally:
        if chosen.report and (records := state.records()):
            write_evidence(records, chosen.report)
    return int(not right)


if __name__ == "__main__":
    sys.exit(main())
