# SPDX-License-Identifier: Apache-2.0
"""Draw the pictures of docs/: all, or those that are named.

python -m sim.pictures [NAME]...
"""

import pathlib
import sys

from sim.pictures import fields, structure, timing
from sim.pictures.runs import simulate_picture

DOCS = pathlib.Path(__file__).resolve().parents[2] / "docs"
STILL = {
    "machine": structure.machine,
    "datapath": structure.datapath,
    "instruction": fields.instruction_picture,
    "descriptor": fields.descriptor,
    "record": fields.record,
}
TIMED = {"linear": timing.linear, "attention": timing.attention_picture, "overlap": timing.overlap}


def main(names):
    """Write docs/NAME.svg of each of the names, or of all."""
    known = STILL | TIMED
    if unknown := [name for name in names if name not in known]:
        sys.exit(f"Picture must be among {', '.join(known)}, not {unknown[0]!r}")
    chosen = names or list(known)
    run = simulate_picture() if TIMED.keys() & set(chosen) else None
    for name in chosen:
        path = DOCS / f"{name}.svg"
        path.write_text(STILL[name]() if name in STILL else TIMED[name](run))
        print(path)


if __name__ == "__main__":
    main(sys.argv[1:])
