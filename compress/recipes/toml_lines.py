# SPDX-License-Identifier: Apache-2.0
"""On which line of a TOML text a key stands, which `tomllib` does not tell."""

import re

__all__ = ["Lines"]

TABLE = re.compile(r"\s*\[([^\[\]]+)\]")
ENTRY = re.compile(r"\s*\[\[([^\[\]]+)\]\]")
KEY = re.compile(r"\s*([A-Za-z0-9_.\-\"' ]+?)\s*=")


class Lines:
    """Lines of keys and tables; keys inside a value stand where the value begins."""

    def __init__(self, text: str):
        self._lines = {(): 1}
        counts: dict[tuple, int] = {}
        table: tuple = ()
        for number, line in enumerate(text.splitlines(), 1):
            if found := ENTRY.match(line):
                table = self._resolve(found[1], counts)
                counts[table] = counts.get(table, -1) + 1
                table = (*table, counts[table])
            elif found := TABLE.match(line):
                table = self._resolve(found[1], counts)
            elif found := KEY.match(line):
                self._note((*table, *_names(found[1])), number)
                continue
            else:
                continue
            self._note(table, number)

    def _resolve(self, text, counts):
        """The place of a table: below a list of tables it is that of the last."""
        place: tuple = ()
        for name in _names(text):
            place = (*place, counts[place]) if place in counts else place
            place = (*place, name)
        return place

    def _note(self, place, number):
        for size in range(1, len(place) + 1):
            self._lines.setdefault(place[:size], number)

    def of(self, place: tuple) -> int:
        """The line of a place (keys, and numbers in lists), or of what it stands in."""
        while place not in self._lines:
            place = place[:-1]
        return self._lines[place]


def _names(text):
    return [name.strip().strip("\"'") for name in text.split(".")]
