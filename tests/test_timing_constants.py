# SPDX-License-Identifier: Apache-2.0
"""Timing has one home: hw's blocks publish it, docstrings, benches and the cycle model quote it."""

import ast
import pathlib
import re

import pytest
from amaranth import Module

import hw.arith.adaptivfloat
import hw.arith.exponential
import hw.arith.functions
import hw.arith.gelu
import hw.arith.requantize
import hw.array.normalize
import hw.attention.span_mask
from hw.arith.exponential import Exponential
from hw.stream import Pipeline
from sim.bench.harness import small
from sim.cosim.memory import READ_BURSTS, WRITE_BURSTS

ROOT = pathlib.Path(__file__).resolve().parents[1]
HW = sorted((ROOT / "hw").rglob("*.py"))
CYCLES = [
    path for path in sorted((ROOT / "sim" / "cycles").glob("*.py")) if "test_" not in path.name
]
MODEL = [path for path in CYCLES if path.stem not in ("measure", "modelled", "operations", "work")]
# The model's own: times before the run, the longest period of a stream that repeats.
OWN = {"BEFORE", "PERIOD"}
SMALL = {0, 1, 2}  # a step, a pair, a doubling: no measured figure
# What says that a block publishes its timing.
TIMING = re.compile(r"^(LATENCY = |def (cycles|latency)\()|^[A-Z]+ = \d+  # cycles ", re.MULTILINE)
FIGURE = re.compile(r"(?<![.,/\d])\b([3-9]|\d\d+) (more )?cycles|[Ll]atency [3-9]")


def constants(path):
    """{name: value} of a file's module-level integers that are written as numbers."""
    found = {}
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign):
            try:
                value = ast.literal_eval(node.value)
            except ValueError:
                continue
            if type(value) is int:
                found |= {
                    target.id: value for target in node.targets if isinstance(target, ast.Name)
                }
    return found


def test_no_constant_of_the_cycle_model_repeats_one_of_hw():
    """Neither by its name nor by its value: what the model needs it imports."""
    published = [(path, name, value) for path in HW for name, value in constants(path).items()]
    twice = [
        f"{path.relative_to(ROOT)}: {name} = {value}, as {other_name} of {other.relative_to(ROOT)}"
        for path in CYCLES
        for name, value in constants(path).items()
        if name not in OWN
        for other, other_name, other_value in published
        if name == other_name or value == other_value
    ]
    assert not twice, twice
    assert len(published) > 60  # the walk finds them


@pytest.mark.parametrize("path", MODEL, ids=lambda path: path.stem)
def test_the_model_has_no_figures_of_its_own(path):
    """Its formulas are made of names: no number above 2 stands in them."""
    tree = ast.parse(path.read_text())
    figures = [
        f"{path.name}:{node.lineno}: {node.value}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and type(node.value) in (int, float)
        and node.value not in SMALL
    ]
    own = [value for name, value in constants(path).items() if name in OWN]
    assert len(figures) <= len(own) + ("for _ in range(3)" in path.read_text()), figures


@pytest.mark.parametrize("path", HW, ids=lambda path: path.stem)
def test_docstrings_quote_what_a_block_publishes(path):
    text = path.read_text()
    if not TIMING.search(text):
        return
    tree = ast.parse(text)
    typed = [
        line.strip()
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
        for line in (ast.get_docstring(node) or "").splitlines()
        if FIGURE.search(line)
    ]
    assert not typed, typed


def test_the_memory_model_takes_its_constants():
    """sim/cosim/axi.h writes no number where the cycle model has one."""
    header = (ROOT / "sim" / "cosim" / "axi.h").read_text()
    limits = re.findall(r"bursts\.size\(\) < ([\w.]+)", header)
    assert limits == ["memory.bursts", "WRITE_BURSTS"]
    assert re.findall(r"\bbursts = (\w+);", header) == ["READ_BURSTS"]
    assert READ_BURSTS > WRITE_BURSTS > 0


@pytest.fixture
def stages(monkeypatch):
    """Stages of the pipelines that are elaborated, in the order in which they are closed."""
    found = []
    output = Pipeline.output

    def counted(self, *assignments):
        found.append(self.stages)
        output(self, *assignments)

    monkeypatch.setattr(Pipeline, "output", counted)
    return found


CONFIG = small()
PIPELINES = {
    "requantize": (lambda: hw.arith.requantize.Requantize(CONFIG), hw.arith.requantize.LATENCY),
    "gelu": (lambda: hw.arith.gelu.Activation(CONFIG), hw.arith.gelu.LATENCY),
    "encoder": (lambda: hw.arith.adaptivfloat.Encoder(CONFIG), hw.arith.adaptivfloat.LATENCY),
    "exponential": (Exponential, hw.arith.exponential.LATENCY),
    "reciprocal": (lambda: hw.arith.functions.Reciprocal(20), hw.arith.functions.LATENCY),
    "rsqrt": (lambda: hw.arith.functions.Rsqrt(20), hw.arith.functions.LATENCY),
    "normalize": (lambda: hw.array.normalize.Normalize(CONFIG), hw.array.normalize.LATENCY),
    "span mask": (lambda: hw.attention.span_mask.SpanMask(CONFIG), hw.attention.span_mask.LATENCY),
}


@pytest.mark.parametrize("name", PIPELINES)
def test_latency_of_a_pipeline_is_its_stages(name, stages):
    make, latency = PIPELINES[name]
    assert isinstance(make().elaborate(None), Module)
    assert stages == [latency]
