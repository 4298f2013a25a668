# SPDX-License-Identifier: Apache-2.0
"""Branches and toggles of a block, read out of Verilog and Verilator's coverage.dat."""

import hashlib
import linecache
import re
from dataclasses import dataclass, field

__all__ = ["Covered", "counted", "coverage_points", "verilog_modules"]

KICK = "dump_module"  # in the name of the variable that yosys puts into every process
SOURCE = re.compile(r'src = "([^":]+):(\d+)')
POINT = re.compile(r"^C '(.*)' (\d+)$")


@dataclass
class _Module:
    """A module of a Verilog text: its Python source, and lines by number."""

    source: str
    lines: dict[int, str] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)  # of a wire: its line of Python


def verilog_modules(text: str) -> dict[str, _Module]:
    """{name: module} of what Amaranth writes with `emit_src`."""
    modules = {}
    module, source = None, ""
    for number, line in enumerate(text.splitlines(), 1):
        found = SOURCE.search(line)
        if found and module is None:
            source = found[1]
        if line.startswith("module "):
            module = modules[_module_name(line)] = _Module(source)
        elif line.startswith("endmodule"):
            module, source = None, ""
        elif module is not None:
            module.lines[number] = line
            wire = re.match(r"  assign (\S+) +=", line)
            if wire and found:
                module.origins[wire[1]] = f"{found[1]}:{found[2]}"
    return modules


def _module_name(line):
    """Of a line that begins a module."""
    return line.split()[1].partition("(")[0].lstrip("\\")


def counted(text: str, source: str) -> str:
    """The text, line by line, in which Verilator puts counters into modules of `source` alone."""
    modules = verilog_modules(text)
    lines = []
    for line in text.splitlines():
        if line.startswith("module "):
            own = modules[_module_name(line)].source == source
            line = f"/*verilator coverage_{'on' if own else 'off'}*/ {line}"
        lines.append(line)
    return "\n".join(lines) + "\n"


def coverage_points(lines: list[str]) -> dict:
    """{module: [(its fields by name, count)]} of the lines of a coverage.dat."""
    points = {}
    for line in lines:
        point = POINT.match(line)
        if point:
            fields = dict(re.findall("\x01([a-zA-Z]+)\x02([^\x01]*)", point[1]))
            name = _plain(fields["page"].partition("/")[2])
            points.setdefault(name, []).append((fields, int(point[2])))
    return points


@dataclass
class Covered:
    """What is covered in the modules of the file `source`.

    branches : {(digest of a module's branches, place among them): (text, whether it is covered)}
    toggles : {text: whether it is covered}
    """

    source: str
    branches: dict[tuple[str, int], tuple[str, bool]] = field(default_factory=dict)
    toggles: dict[str, bool] = field(default_factory=dict)

    def add(self, modules: dict, points: dict):
        """`verilog_modules` of a text and the `coverage_points` of a simulation of it."""
        for name, module in modules.items():
            if module.source == self.source:
                self._add_module(module, points.get(name, []))

    def _add_module(self, module, points):
        """The points of a simulation that are the module's own."""
        branches = []
        for fields, count in points:
            line = module.lines.get(int(fields["l"]), "")
            if fields["t"] == "toggle":
                signal = _plain(fields["o"])
                # Values between, fields of what counts as a whole, and empty signals are left out.
                if not re.search(r"[$.]|\[-", signal):
                    self.toggles[signal] = self.toggles.get(signal, False) or count > 0
            elif fields["o"] != "block" and KICK not in line:
                place = int(fields["l"]), int(fields["n"])
                branches.append((place, fields["o"], _branch(module, place[0], fields["o"]), count))
        branches.sort()
        kinds = " ".join(f"{kind} {text}" for _, kind, text, _ in branches)
        digest = hashlib.sha256(kinds.encode()).hexdigest()[:16]
        for number, (_, _, text, count) in enumerate(branches):
            _, before = self.branches.get((digest, number), (text, False))
            self.branches[digest, number] = text, before or count > 0

    def figures(self) -> dict:
        """Counts, and the text of what is not covered.

        elsewhere : branches that are not covered, but in another circuit all that read alike are
        """
        branches = [covered for _, covered in self.branches.values()]
        alike = {}  # {(digest, text without numbers): whether all of its branches are covered}
        for (digest, _), (text, covered) in self.branches.items():
            place = digest, _unnumbered(text)
            alike[place] = alike.get(place, True) and covered
        good = {text for (_, text), covered in alike.items() if covered}
        left = [text for text, covered in self.branches.values() if not covered]
        nowhere = [text for text in left if _unnumbered(text) not in good]
        return {
            "branches": [sum(branches), len(branches)],
            "elsewhere": len(left) - len(nowhere),
            "toggles": [sum(self.toggles.values()), len(self.toggles)],
            "branches left": sorted(set(nowhere)),
            "toggles left": _short(text for text, covered in self.toggles.items() if not covered),
        }


def _unnumbered(text):
    """Without places of bits, and numbers that Amaranth gives to values without a name."""
    return re.sub(r"\d+", "#", text)


def _plain(name):
    """A name as the Verilog has it: Verilator writes other characters as `__0` and two digits."""
    return re.sub(r"__0([0-9A-Fa-f]{2})", lambda found: chr(int(found[1], 16)), name)


def _branch(module, number, kind):
    """What a branch is: the signal it sets, and its condition (in Python where there is a line)."""
    line = module.lines[number].strip()
    if line.startswith("assign"):
        signal, condition = "?:", _python(module, line)
    else:
        signal, condition = _target(module, number), _condition(module, number, kind)
    return f"{signal} {kind} {condition}".replace("\\", "")


def _target(module, number):
    """The signal that the process around a line sets."""
    while not module.lines[number].lstrip().startswith("always"):
        number -= 1
    for inner in range(number + 1, number + 4):
        found = re.match(r" *(\S+) +(?:<?=) (.*);", module.lines.get(inner, ""))
        if found:
            return found[2] if found[1].startswith("\\$") else found[1]
    return "?"


def _condition(module, number, kind):
    """Of an `if`, or the value and the word of a `case`."""
    line = module.lines[number]
    inside = re.search(r"if \((.*)\)", line)
    if inside or kind != "case":
        return _python(module, inside[1] if inside else line)
    above = number
    while not re.match(r" *casez? ", module.lines[above]) or _indent(module, above) >= _indent(
        module, number
    ):
        above -= 1
    word = re.search(r"\((.*)\)", module.lines[above])[1]
    return f"{line.strip().rstrip(':')} of {_python(module, word)}"


def _indent(module, number):
    line = module.lines[number]
    return len(line) - len(line.lstrip())


def _python(module, text):
    """A condition of Verilog; the line of Python that made it, where it is one."""
    words = text.split()
    origin = module.origins.get(words[words[0] == "assign"])
    if origin is None:
        return " ".join(text.split())
    path, _, line = origin.rpartition(":")
    return linecache.getline(path, int(line)).strip()


def _short(toggles):
    """Toggles by signal and edge: "sum[3]:0->1" and "sum[4]:0->1" become "sum[3-4] 0->1"."""
    signals = {}
    for toggle in toggles:
        signal, _, edge = toggle.partition(":")
        name, _, bit = signal.rpartition("[") if signal.endswith("]") else (signal, "", "")
        signals.setdefault((name, edge), []).append(int(bit.rstrip("]")) if bit else None)
    return [f"{name}{_bits(bits)} {edge}" for (name, edge), bits in sorted(signals.items())]


def _bits(bits):
    """[3, 4, 5, 9] -> "[3-5, 9]"; None is the bit of a signal that has no other in a circuit."""
    if set(bits) == {None}:
        return ""
    runs = []
    for bit in sorted({bit or 0 for bit in bits}):
        if runs and bit == runs[-1][1] + 1:
            runs[-1][1] = bit
        else:
            runs.append([bit, bit])
    return f"[{', '.join(f'{a}-{b}' if a < b else str(a) for a, b in runs)}]"
