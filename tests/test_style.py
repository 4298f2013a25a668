# SPDX-License-Identifier: Apache-2.0
"""The style, as far as a program sees it: docstrings everywhere, and in hw/ the rest.

Widths, states, assignments, comments, lengths.
"""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HW = ROOT / "hw"
ROOMS = {
    "hw" if folder == HW else folder.name: sorted(folder.glob("*.py"))
    for folder in (HW, *sorted(path for path in HW.iterdir() if (path / "__init__.py").exists()))
}
FOLDERS = ("golden_model", "firmware", "compress", "sim", "terse", "tests")  # beside hw/
# Rooms that are not yet so.
WAITING = set()
COMMENTS = 4  # own-line ones in 100 lines, at least
UNDOCUMENTED = 14  # lines of a function that needs no docstring, at most
LONGEST = 60  # lines of a function, at most
SHAPES = "shapes.py"  # the only file that may write a width


def _name(call):
    """The last part of what is called: `Signal` of `amaranth.Signal(...)`."""
    return getattr(call.func, "attr", getattr(call.func, "id", ""))


def _is_width(node):
    """A number over 1, or signed(number), unsigned(number), written out."""
    if isinstance(node, ast.Call) and _name(node) in ("signed", "unsigned") and node.args:
        return isinstance(node.args[0], ast.Constant)
    return isinstance(node, ast.Constant) and type(node.value) is int and node.value > 1


def _widths(call):
    """The arguments of a call that are shapes."""
    name = _name(call)
    if name in ("Signal", "In", "Out", "ArrayLayout", "Signature"):
        return call.args[:1]
    if name == "StructLayout" and call.args and isinstance(call.args[0], ast.Dict):
        return call.args[0].values
    return []


def literal_widths(tree, lines):
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and any(_is_width(shape) for shape in _widths(node))
    ]


def lower_case_states(tree, lines):
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and _name(node) == "State"
        and not (
            isinstance(node.args[0], ast.Constant)
            and re.fullmatch(r"[A-Z][A-Z0-9_]*", node.args[0].value)
        )
    ]


def states_without_comment(tree, lines):
    """A state's comment is a line of its own, above it or its first one."""
    return [
        number
        for number, line in enumerate(lines, 1)
        if re.match(r"\s*with m\.State\(", line)
        and not lines[number - 2].lstrip().startswith("#")
        and not lines[number].lstrip().startswith("#")
    ]


def private_configs(tree, lines):
    """A block keeps its configuration as `self.config`."""
    return [number for number, line in enumerate(lines, 1) if re.search(r"self\._config\b", line)]


def two_assignments(tree, lines):
    return [number for number, line in enumerate(lines, 1) if line.count(".eq(") > 1]


def tuples_of_signals(tree, lines):
    """Amaranth names a Signal after the variable that it is assigned to, and a tuple hides that."""
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Tuple)
        and any(isinstance(part, ast.Call) and _name(part) == "Signal" for part in ast.walk(node))
    ]


def _functions(tree):
    """Every function with the number of its lines, the docstring's not among them."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            start = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
            yield node, node.end_lineno - start.lineno + 1


def missing_docstrings(tree, lines):
    """Of `__init__` and `elaborate` the class's docstring speaks."""
    return [
        node.lineno
        for node, length in _functions(tree)
        if length > UNDOCUMENTED
        and node.name not in ("__init__", "elaborate")
        and not ast.get_docstring(node)
    ]


def long_functions(tree, lines):
    return [node.lineno for node, length in _functions(tree) if length > LONGEST]


RULES = (
    literal_widths,
    lower_case_states,
    states_without_comment,
    private_configs,
    two_assignments,
    tuples_of_signals,
    missing_docstrings,
    long_functions,
)


def places(rule, files):
    """Where the rule is broken, as `file:line`."""
    found = []
    for path in files:
        if rule is literal_widths and path.name == SHAPES:
            continue
        text = path.read_text(encoding="utf-8")
        found += [
            f"{path.relative_to(ROOT)}:{line}" for line in rule(ast.parse(text), text.splitlines())
        ]
    return found


def comments(files):
    """Own-line comments in 100 lines; the licence is none."""
    lines = [line.strip() for path in files for line in path.read_text("utf-8").splitlines()]
    own = [line for line in lines if line.startswith("#") and "SPDX" not in line]
    return 100 * len(own) / len(lines)


@pytest.mark.parametrize("room", [room for room in ROOMS if room not in WAITING])
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_rule(rule, room):
    assert places(rule, ROOMS[room]) == []


@pytest.mark.parametrize("room", [room for room in ROOMS if room not in WAITING])
def test_comments(room):
    assert comments(ROOMS[room]) >= COMMENTS


@pytest.mark.parametrize("folder", FOLDERS)
def test_docstrings(folder):
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files
    assert places(missing_docstrings, files) == []


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (literal_widths, "x = Signal(2)"),
        (literal_widths, "x = In(signed(6))"),
        (literal_widths, "x = data.StructLayout({'a': A, 'b': 8})"),
        (lower_case_states, "m.State('Idle')"),
        (states_without_comment, "x\nwith m.State('IDLE'):\n    pass"),
        (private_configs, "self._config = config"),
        (two_assignments, "m.d.comb += [a.eq(b), c.eq(d)]"),
        (tuples_of_signals, "a, b = Signal(), Signal()"),
        (missing_docstrings, "def f():\n" + "    x = 1\n" * 15),
        (missing_docstrings, "async def f():\n" + "    x = 1\n" * 15),
        (long_functions, "def f():\n    'Doc.'\n" + "    x = 1\n" * 61),
    ],
)
def test_rule_finds(rule, text):
    assert rule(ast.parse(text), text.splitlines())


if __name__ == "__main__":  # what is left in the rooms that wait
    for room, files in ROOMS.items():
        print(f"{room}: {comments(files):.1f} comments in 100 lines")
        for rule in RULES:
            print(f"  {rule.__name__}: {' '.join(places(rule, files))}")
