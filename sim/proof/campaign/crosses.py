# SPDX-License-Identifier: Apache-2.0
"""Functional coverage of a campaign, from its records: rare corners, opcodes times features.

    python -m sim.proof.campaign.crosses build/campaign/1.jsonl

writes docs/evidence/campaign.json, also while the campaign goes on.
"""

import argparse
import json
from collections import Counter
from pathlib import Path

from firmware.compiler import compile_network
from firmware.error_codes import Error
from firmware.isa import Opcode
from golden_model.config import AF8, FORMATS
from golden_model.hardware import BUS_BITS, UNITS
from sim.cosim.build import ROOT
from sim.cosim.cosim import DECERR
from sim.cosim.kept import write_text
from sim.proof.campaign.cases import BAD_SENTENCES, FAULT_PLACES, STALLS
from sim.proof.campaign.kept_cases import KeptCases

__all__ = [
    "CORNERS",
    "CROSSED",
    "EVIDENCE",
    "IMPOSSIBLE",
    "corners_of",
    "corners_sum",
    "cross_holes",
    "crosses",
    "features_of",
    "report",
    "sums_of",
    "write_evidence",
]

EVIDENCE = ROOT / "docs" / "evidence"
CORNERS = (
    "sentence of one token",
    "longest sentence",
    "pair with segment 1",
    "everything dropped but [CLS]",
    "exit at layer 1",
    "exit between",
    "no exit",
    "dead heads",
    "tile with sentences at different layers",
    "int8",
    "AdaptivFloat other than <8,3>",
    "sizes that do not divide T or P",
    "stalls on the buses",
    "damaged embedding row",
    "bad sentence",
    "bus error",
    *(f"without {unit}" for unit in UNITS),
)
NO_ERROR, DAMAGED = "none", Error.SENTENCE_CHECK.name
# Values that a feature can have: what no case had is a hole.
CROSSED = {
    "format": tuple(map(str, FORMATS)),
    "bus": tuple(str(bits) for bits in BUS_BITS),
    "lanes": ("divide", "do not divide"),
    "stalls": tuple(STALLS),
    "errors": (
        NO_ERROR,
        DAMAGED,
        *(error.name for error in BAD_SENTENCES),
        *(f"{place}, {answer}" for place in FAULT_PLACES for answer in ("SLVERR", "DECERR")),
    ),
    "units": ("all", *(f"without {unit}" for unit in UNITS)),
}
# No case can be of these: (opcode, feature, value).
IMPOSSIBLE = {(opcode.name, "units", "without drop") for opcode in (Opcode.DROP, Opcode.GROUP)}


def features_of(case):
    """What a record says of a case itself: {feature: list of values}, opcodes among them."""
    hardware, model, network = case.hardware, case.network.model, case.network
    divide = not (model.hidden % hardware.tokens or model.head % hardware.columns)
    absent = [f"without {unit}" for unit in UNITS if unit not in hardware.units]
    errors = sorted({one.error.name for one in case.queue if one.error})
    if case.damage:
        errors.append(DAMAGED)
    if case.fault:
        answer = "DECERR" if case.fault.response == DECERR else "SLVERR"
        errors.append(f"{case.fault.place}, {answer}")
    return {
        "scenario": case.scenario,
        "opcodes": sorted(_opcodes(network, hardware)),
        "format": [str(hardware.format)],
        "bus": [str(hardware.bus_bits)],
        "lanes": ["divide" if divide else "do not divide"],
        "stalls": [case.stalls],
        "errors": errors or [NO_ERROR],
        "units": absent or ["all"],
    }


def _opcodes(network, hardware):
    try:
        program = compile_network(network, hardware)
    except Exception:  # the case's failure says it
        return set()
    return {Opcode(values["opcode"]).name for values in program.instructions}


def corners_of(case, outcome):
    """How often each of CORNERS occurred in one run."""
    hardware, network = case.hardware, case.network
    model, fmt = network.model, hardware.format
    goldens = [golden for golden in outcome.goldens if golden]
    many = [golden for golden in goldens if len(golden.dropped_at_layer) > 1]
    good = [one for one in case.queue if not one.error]
    counts = Counter(
        {
            "sentence of one token": sum(len(one.ids) == 1 for one in good),
            "longest sentence": sum(len(one.ids) == model.positions for one in good),
            "pair with segment 1": sum(
                bool(one.segments.any()) and not bool(one.segments.all()) for one in good
            ),
            "everything dropped but [CLS]": sum(1 in golden.tokens_per_layer for golden in many),
            "dead heads": len(network.live_heads) < model.heads,
            "tile with sentences at different layers": outcome.mixed_tiles,
            "int8": not fmt.is_adaptivfloat,
            "AdaptivFloat other than <8,3>": fmt.is_adaptivfloat and fmt != AF8,
            "sizes that do not divide T or P": bool(
                model.hidden % hardware.tokens or model.head % hardware.columns
            ),
            "stalls on the buses": case.behave["stall"] > 0,
            "damaged embedding row": bool(case.damage) * outcome.goldens.count(None),
            "bad sentence": len(case.queue) - len(good),
            "bus error": case.fault is not None,
        }
    )
    if network.exit_threshold and model.layers > 1:
        layers = [golden.exit_layer for golden in goldens]
        counts["exit at layer 1"] = layers.count(1)
        counts["exit between"] = sum(1 < layer < model.layers for layer in layers)
        counts["no exit"] = layers.count(model.layers)
    counts.update({f"without {unit}": unit not in hardware.units for unit in UNITS})
    return Counter({name: int(count) for name, count in counts.items() if count})


def crosses(records):
    """{feature: {opcode: {value: cases}}}."""
    table = {
        feature: {opcode.name: dict.fromkeys(values, 0) for opcode in Opcode}
        for feature, values in CROSSED.items()
    }
    for record in records:
        for feature, rows in table.items():
            for opcode in record["opcodes"]:
                for value in record[feature]:
                    rows[opcode][value] += 1
    return table


def cross_holes(table):
    """A line for each pair that could be and that no case had."""
    return [
        f"{opcode} x {feature} {value}"
        for feature, rows in table.items()
        for opcode, counts in rows.items()
        for value, count in counts.items()
        if not count and (opcode, feature, value) not in IMPOSSIBLE
    ]


def corners_sum(records):
    """How often each corner occurred in all of them."""
    corners = Counter()
    for record in records:
        corners.update(record.get("corners", {}))
    return corners


def sums_of(records):
    """What all of them come to."""
    return {
        "configurations": len({one["number"] for one in records}),
        "cases": len(records),
        "sentences": sum(one.get("sentences", 0) for one in records),
        "values": sum(one.get("values", 0) for one in records),
        "cycles": sum(one.get("cycles", 0) for one in records),
        "differences": sum(bool(one["failures"]) for one in records),
    }


def report(records):
    """What the evidence of a campaign is."""
    table = crosses(records)
    corners = corners_sum(records)
    numbers = [record["number"] for record in records]
    seeds = [record["seed"] for record in records]
    return {
        "seeds": [min(seeds), max(seeds)],
        "configurations": [min(numbers), max(numbers)],
        **{name: count for name, count in sums_of(records).items() if name != "configurations"},
        "failures": [
            {"command": record.get("command"), "first": record["failures"][0]}
            for record in records
            if record["failures"]
        ],
        "seconds": round(sum(record["seconds"] for record in records)),
        "corners": {corner: corners[corner] for corner in CORNERS},
        "crosses": table,
        "holes": cross_holes(table),
    }


def write_evidence(records, path=EVIDENCE / "campaign.json"):
    """Write the `report` of records; the same records give the same bytes."""
    write_text(Path(path), json.dumps(report(records), indent=1, sort_keys=True) + "\n")


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("state", nargs="+", help="files of campaigns' records")
    parser.add_argument("--out", default=EVIDENCE / "campaign.json")
    chosen = parser.parse_args(arguments)
    records = [record for path in chosen.state for record in KeptCases(path).records()]
    if not records:
        parser.error(f"{' '.join(chosen.state)} must hold finished cases, there are none")
    write_evidence(records, chosen.out)
    found = report(records)
    print(f"{found['cases']:,} cases, {found['differences']} differ, {len(found['holes'])} holes")


if __name__ == "__main__":
    main()
