# SPDX-License-Identifier: Apache-2.0
"""All mutants of a block's source in one circuit: an input `mutant` chooses which one it is.

A mutant is one small change: an operator that is another one, a condition that always or never
holds, a statement that is left out. The source is rewritten so that each place asks `mutant`; 0 is
the block as it is. What is built once can then be simulated as every mutant of it (mutant schemata:
Untch, Offutt, Harrold, "Mutation analysis using mutant schemata", ISSTA 1993).
"""

import ast
import contextlib
import importlib.machinery
import importlib.util
import operator
import sys
from collections import Counter
from dataclasses import dataclass, replace

from amaranth import Const, Mux, Signal
from amaranth.hdl import SyntaxError as AmaranthSyntaxError
from amaranth.hdl import Value, ValueCastable, ValueLike

__all__ = ["SELECT", "Change", "Instrumented", "changes_of"]

SELECT = Signal(16, name="mutant")
OPERATORS = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "&": operator.and_,
    "|": operator.or_,
    "^": operator.xor,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
NAMES = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.BitAnd: "&",
    ast.BitOr: "|",
    ast.BitXor: "^",
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
}
SYNTAX = {name: kind for kind, name in NAMES.items()}
# What each operator becomes.
OTHER = {
    "+": "-",
    "-": "+",
    "*": "+",
    "&": "|",
    "|": "&",
    "^": "|",
    "==": "!=",
    "!=": "==",
    "<": "<=",
    "<=": "<",
    ">": ">=",
    ">=": ">",
}
RUNTIME = "_mutants_"  # the name of an `Instrumented` in the rewritten source


@dataclass(frozen=True)
class Change:
    """Mutant `number`, from 1: on `line` (of the source), `old` becomes `new`.

    place : (which of the changes of the source that read alike, how many there are)
    """

    number: int
    line: int
    old: str
    new: str
    place: tuple[int, int] = (1, 1)

    @property
    def text(self) -> str:
        """What it does, without its line: a name that lines above do not change."""
        number, count = self.place
        text = " ".join(f"{self.old} → {self.new}".split())
        return f"{text} ({number} of {count})" if count > 1 else text


class _Rewrite(ast.NodeTransformer):
    """Makes every place of a mutation a call of the `Instrumented`."""

    def __init__(self):
        self.changes = []

    def _number(self, node, old, new):
        self.changes.append(Change(len(self.changes) + 1, node.lineno, old, new))
        return ast.Constant(len(self.changes))

    def _call(self, name, *arguments):
        function = ast.Attribute(ast.Name(RUNTIME, ast.Load()), name, ast.Load())
        return ast.Call(function, [*arguments], [])

    def visit_BinOp(self, node):
        name = NAMES.get(type(node.op))
        if name is None:
            return self.generic_visit(node)
        other = ast.BinOp(node.left, SYNTAX[OTHER[name]](), node.right)
        number = self._number(node, ast.unparse(node), ast.unparse(other))
        sides = self.visit(node.left), self.visit(node.right)
        return self._call("operator", number, ast.Constant(name), *sides)

    def visit_Compare(self, node):
        name = NAMES.get(type(node.ops[0]))
        if name is None or len(node.ops) != 1:
            return self.generic_visit(node)
        right = node.comparators[0]
        other = ast.Compare(node.left, [SYNTAX[OTHER[name]]()], [right])
        number = self._number(node, ast.unparse(node), ast.unparse(other))
        sides = self.visit(node.left), self.visit(right)
        return self._call("operator", number, ast.Constant(name), *sides)

    def visit_UnaryOp(self, node):
        if not isinstance(node.op, ast.Invert):
            return self.generic_visit(node)
        number = self._number(node, ast.unparse(node), ast.unparse(node.operand))
        return self._call("invert", number, self.visit(node.operand))

    def visit_Call(self, node):
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        if name == "Mux" and len(node.args) == 3:
            test, one, other = (ast.unparse(part) for part in node.args)
            number = self._number(node, ast.unparse(node), f"Mux({test}, {other}, {one})")
            return self._call("mux", number, *(self.visit(part) for part in node.args))
        if name in ("If", "Elif"):
            old = ast.unparse(node.args[0])
            numbers = [self._number(node, f"{name}({old})", f"{name}({bit})") for bit in (0, 1)]
            condition = self._call("condition", *numbers, self.visit(node.args[0]))
            return ast.Call(node.func, [condition], [])
        return self.generic_visit(node)

    def visit_AugAssign(self, node):
        """`m.d.x += [...]`: each statement of the list may be left out."""
        domain = getattr(node.target, "value", None)
        if not (isinstance(domain, ast.Attribute) and domain.attr == "d"):
            return self.generic_visit(node)
        parts = node.value.elts if isinstance(node.value, ast.List) else [node.value]
        return [self._augmented(domain.value, node, part) for part in parts]

    def _augmented(self, module, node, part):
        number = self._number(part, ast.unparse(part), "nothing")
        value = self.visit(part)
        value = ast.List([value], ast.Load()) if isinstance(part, ast.Starred) else value
        return self._guarded(module, number, ast.AugAssign(node.target, node.op, value))

    def visit_Assign(self, node):
        """`m.next = ...` may be left out."""
        target = node.targets[0]
        if isinstance(target, ast.Attribute) and target.attr == "next":
            number = self._number(node, ast.unparse(node), "nothing")
            return self._guarded(target.value, number, node)
        return self.generic_visit(node)

    def _guarded(self, module, number, statement):
        return ast.With([ast.withitem(self._call("unless", number, module))], [statement])

    def visit_arguments(self, node):
        return node


def _rewritten(source):
    tree = ast.parse(source)
    rewrite = _Rewrite()
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            rewrite.generic_visit(node)
    return ast.fix_missing_locations(tree), rewrite.changes


def changes_of(path) -> list[Change]:
    """Every mutant of a source file, those that no circuit has among them."""
    changes = _rewritten(path.read_text())[1]
    counts = Counter(change.text for change in changes)
    seen = Counter()
    numbered = []
    for change in changes:
        seen[change.text] += 1
        numbered.append(replace(change, place=(seen[change.text], counts[change.text])))
    return numbered


class Instrumented(importlib.machinery.SourceFileLoader):
    """Imports the module `name` with its mutants inside; `seen` are those that a circuit has."""

    def __init__(self, name):
        self.seen = set()
        super().__init__(name, importlib.util.find_spec(name).origin)

    def install(self):
        """Import it now, in the place of the module as it is. None else may have it before."""
        if self.name in sys.modules:
            raise RuntimeError(f"{self.name} must not be imported before its mutants")
        spec = importlib.util.spec_from_file_location(self.name, self.path, loader=self)
        module = importlib.util.module_from_spec(spec)
        sys.modules[self.name] = module
        parent, _, last = self.name.rpartition(".")
        setattr(importlib.import_module(parent), last, module)
        spec.loader.exec_module(module)

    def get_code(self, fullname):
        """The rewritten source's; nothing is kept on disk."""
        return compile(_rewritten(self.get_source(fullname))[0], self.path, "exec")

    def exec_module(self, module):
        """With itself as what the rewritten places call."""
        setattr(module, RUNTIME, self)
        super().exec_module(module)

    def _choose(self, number, value, other):
        """`value`, and `other` in its shape where this is the mutant."""
        self.seen.add(number)
        value = Value.cast(value)
        return Mux(SELECT == number, _fit(other, value.shape()), value)

    def operator(self, number, name, left, right):
        """A binary operator."""
        value = OPERATORS[name](left, right)
        if not isinstance(value, ValueLike) or isinstance(value, int):
            return value
        return self._choose(number, value, OPERATORS[OTHER[name]](left, right))

    def invert(self, number, operand):
        """`~`."""
        return self._choose(number, ~operand, operand) if _is_value(operand) else ~operand

    def mux(self, number, test, one, other):
        """`Mux`."""
        return self._choose(number, Mux(test, one, other), Mux(test, other, one))

    def condition(self, never, always, test):
        """What `m.If` and `m.Elif` look at."""
        if not _is_value(test):
            return test
        test = Value.cast(test).bool()
        return self._choose(always, self._choose(never, test, Const(0)), Const(1))

    @contextlib.contextmanager
    def unless(self, number, module):
        """A statement that may be left out, where Amaranth allows a condition."""
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(AmaranthSyntaxError):
                stack.enter_context(module.If(SELECT != number))
                self.seen.add(number)
            yield


def _is_value(value):
    return isinstance(value, (Value, ValueCastable))


def _fit(value, shape):
    """`value` as an assignment to a Signal of that shape would take it."""
    value = Value.cast(value)
    if len(value) < shape.width:
        value = value | Const(0, type(shape)(shape.width, value.shape().signed or shape.signed))
    value = value[: shape.width]
    return value.as_signed() if shape.signed else value
