# SPDX-License-Identifier: Apache-2.0
"""Finished cases of a campaign in a file of JSON lines, which grows while it runs."""

import json
import os
from pathlib import Path

from sim.cosim.build import ROOT

__all__ = ["KeptCases", "kept_of_seed"]


class KeptCases:
    """The file at `path`; a line that was cut by a lost power supply counts as absent."""

    def __init__(self, path):
        self.path = Path(path)
        self._read = 0  # bytes that `fresh` has seen

    def records(self):
        """One record of each case: the last one."""
        kept = {}
        if self.path.exists():
            for record in _parsed(self.path.read_bytes()):
                kept[record["seed"], record["number"], record["model"]] = record
        return list(kept.values())

    def append(self, record):
        """Add a record: one write, so that processes may share the file."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps(record, separators=(",", ":"), sort_keys=True) + "\n"
        file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            size = os.fstat(file).st_size
            if size and os.pread(file, 1, size - 1) != b"\n":
                line = "\n" + line
            os.write(file, line.encode())
        finally:
            os.close(file)

    def fresh(self):
        """Records of whole lines that came since the last call."""
        if not self.path.exists():
            return []
        with open(self.path, "rb") as file:
            file.seek(self._read)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._read += len(whole)
        return _parsed(whole)


def _parsed(data):
    found = []
    for line in data.splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and {"seed", "number", "model", "failures"} <= record.keys():
            found.append(record)
    return found


def kept_of_seed(seed, path=None):
    """The file of a campaign, where it is by default without `path`."""
    return KeptCases(path or ROOT / "build" / "campaign" / f"{seed}.jsonl")
