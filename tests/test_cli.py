# SPDX-License-Identifier: Apache-2.0
"""The command line on bad input and on what needs no simulator.

The checkpoint and the vocabulary are small ones, made on the spot.
"""

import dataclasses
import io
import json
import shutil
import struct
import subprocess
import sys
import types
import zipfile

import numpy as np
import pytest
from rich.console import Console

from golden_model.config import MODELS, NumberFormat
from golden_model.random_model import random_checkpoint
from terse import artefacts, catalog, report, wheel
from terse.errors import UserError, explain, visible
from terse.npz import compare
from terse.report import run_table
from terse.run import Report, SentenceReport
from terse.text import encode_texts, gather

BAD = [
    (("run", ""), "Text 1 is empty"),
    (("run", "good", "  "), "Text 2 is empty"),
    (
        ("run", "good " * 40),
        "Text 1 has 42 tokens, the longest sentence has 16; --truncate cuts it",
    ),
    (("run", "\u0301"), "Text 1 holds nothing"),
    (("run", "--pair", "one", "two", "three"), "--pair takes texts two by two, not 3"),
    (("run", "--pair"), "--pair needs texts"),
    (("run", "--sentences", 3), "--sentences must be at most 2"),
    (("run", "--sentences", 0), "--sentences must be at least 1, not 0"),
    (("run", "--slots", 3, "good"), "--slots must be in 1..2, the slots of ci, not 3"),
    (("run", "--slots", 0, "good"), "--slots must be in 1..2, the slots of ci, not 0"),
    (("run", "--jobs", 3, "one", "two"), "--jobs must be in 1..2, the number of sentences, not 3"),
    (("run", "--jobs", 0, "good"), "--jobs must be in 1..1, the number of sentences, not 0"),
    (("run", "--hw", "asic", "good"), "No hardware 'asic'; there is ci, ecp5, edgebert"),
    (
        ("run", "--trace", "x", "one", "two"),
        "--trace writes the waveform of a single sentence, not of 2",
    ),
]


@pytest.mark.parametrize("arguments, text", BAD)
def test_bad_input(terse, model, arguments, text):
    status, out, err = terse(*arguments, "--model", model)
    assert (status, out) == (2, "")
    assert text in err and err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments, text",
    [
        (("run", "--model", "gpt"), "No model 'gpt'; there is"),
        (("config", "--model", "gpt"), "No model 'gpt'; sizes are known of nano, tiny, base"),
        (("compile", "--model", "gpt", "-o", "x"), "No model 'gpt'"),
        (
            ("verilog", "--set", "T=1", "-o", "x"),
            "Hardware tokens must be in 2..64, not 1; nearest: 2",
        ),
        (
            ("verilog", "--set", "T=7", "-o", "x"),
            "Hardware rows must be a multiple of tokens (7), not 64; nearest: 70",
        ),
        (
            ("verilog", "--set", "Q=7", "-o", "x"),
            "Setting must be NAME=VALUE with NAME among T, P, tokens",
        ),
        (("verilog", "--set", "T", "-o", "x"), "Setting must be NAME=VALUE"),
        (("verilog", "--set", "T=many", "-o", "x"), "Setting tokens must be a number, not 'many'"),
        (("verilog", "--set", "units=span,fpu", "-o", "x"), "Hardware units must be among"),
        (
            ("verilog", "--set", "format=fp8", "-o", "x"),
            "Setting format must be int8 or bits,exponent",
        ),
        (("verilog", "--set", "format=9,3", "-o", "x"), "Bits must be in 4..8, not 9"),
        (("image", "show", "no such file"), "No such file"),
        (("image", "show", __file__), "Image must"),
        (("compare", __file__, __file__), "is no .npz file"),
        (("verilog", "--set", f"T={'9' * 5000}", "-o", "x"), "Setting tokens must be a number"),
        (("verilog", "--set", "format=8,9", "-o", "x"), "Exponent bits must be in 2..4, not 9"),
        (("verilog", "-o", "."), ". must be a file, not a folder"),
        (("compile", "-o", "/"), "/ must be a file, not a folder"),
        (("golden", "good", "--format", "9,3", "-o", "x"), "Bits must be in 4..8, not 9"),
        (("run", "-5 stars"), "No such option: -5; a text that begins with '-' goes behind '--'"),
        (("run", "--jobs", "two", "good"), "Invalid value for '--jobs'"),
        (("paint",), "No such command 'paint'"),
        (("compile",), "Missing option '--out'"),
    ],
)
def test_bad_names(terse, arguments, text):
    status, _, err = terse(*arguments)
    assert status == 2
    assert text in err and err.count("\n") == 1


def test_eval_without_data(terse, model):
    missing = terse("eval", "--model", model, "--data", "x", "--task", "weather")[2]
    assert "No task 'weather': looked for x/weather/train.tsv" in missing


def test_usage_error(terse):
    assert terse("run", "--nonsense")[0] == 2


@pytest.mark.parametrize("count", [0, 65])
def test_wheel_without_sentences(monkeypatch, capsys, count):
    monkeypatch.setattr(sys, "argv", ["terse.wheel", "--sentences", str(count)])
    with pytest.raises(SystemExit) as stop:
        wheel.main()
    assert stop.value.code == 2 and "--sentences must be at " in capsys.readouterr().err


def test_wheel_tells_the_cycles(monkeypatch, capsys, tmp_path):
    """What the bench wrote into its log."""

    def bench(component, module, name, **options):
        log = tmp_path / name / "simulation.log"
        log.parent.mkdir()
        log.write_text(f"begins\n  {len(options['sentences'])} sentences, 1,234 cycles, golden\n")

    monkeypatch.setattr(wheel.harness, "run_bench", bench)
    monkeypatch.setattr(wheel, "BUILD", tmp_path)
    monkeypatch.setattr(sys, "argv", ["terse.wheel", "--hw", "ci", "--sentences", "3"])
    assert wheel.main() == 0
    assert "3 sentences, 1,234 cycles, golden\n3 sentences as golden" in capsys.readouterr().out


def test_text_behind_a_dash(terse, model, tmp_path):
    out = tmp_path / "g.npz"
    assert terse("golden", "--model", model, "-o", out, "--", "-5 good")[0] == 0


def test_special_tokens_in_a_text(model):
    """They are taken as transformers takes them, and it is said."""
    (one,) = encode_texts(
        catalog.tokenizer(model, 16), gather(model, ["good [SEP] film [CLS]"]), 16
    )
    assert one.pieces.count("[SEP]") == 2 and one.special == ("[SEP]", "[CLS]")
    assert one.remarks[-1] == "taken as special tokens, as transformers does: [SEP] [CLS]"
    (plain,) = encode_texts(catalog.tokenizer(model, 16), gather(model, ["good film"]), 16)
    assert plain.special == () and plain.remarks == []


def test_text_that_is_no_unicode(terse, model, tmp_path):
    """Bytes of the command line that are no UTF-8, as Python hands them over."""
    status, _, err = terse("golden", "caf\udce9", "--model", model, "-o", tmp_path / "g.npz")
    assert (status, err) == (2, "terse: Text 1 must be UTF-8\n")


def test_control_characters_are_escaped(terse, model, tmp_path):
    text = "good \x1b[31m\u202e\x9b\u2028 film"
    status, out, err = terse("golden", text, "--model", model, "-o", tmp_path / "g.npz")
    assert status == 0 and not {"\x1b", "\u202e", "\x9b", "\u2028"} & set(out + err)
    assert visible(text) == r"good \x1b[31m\u202e\x9b\u2028 film"
    assert visible("caf\xe9 \U0001f3ac\n") == "caf\xe9 \U0001f3ac\n"


@pytest.mark.parametrize(
    "error, text",
    [
        (UserError("what"), "what"),
        (FileNotFoundError(2, "No such file or directory", "x"), "No such file or directory: x"),
        (MemoryError(), "Not enough memory for this input"),
        (json.JSONDecodeError("bad", "x", 0), "Input cannot be read: bad: line 1 column 1"),
        (struct.error("short"), "Input cannot be read: short"),
        (zipfile.BadZipFile("cut"), "Input cannot be read: cut"),
        (Exception("a library's\nown"), "Input cannot be read: a library's own"),
        (UnicodeDecodeError("utf-8", b"\xe9", 0, 1, "bad"), "Input cannot be read: 'utf-8'"),
    ],
)
def test_explained(error, text):
    assert explain(error).startswith(text)


@pytest.mark.parametrize("error", [ValueError("x"), KeyError("x"), TypeError("x"), IndexError("x")])
def test_bug_keeps_its_traceback(terse, monkeypatch, error):
    def broken(path):
        raise error

    monkeypatch.setattr(artefacts, "show_image", broken)
    assert explain(error) is None
    with pytest.raises(type(error)):
        terse("image", "show", "x")


# The number format and the labels of a model.


@pytest.fixture(scope="module")
def coarse(model, tmp_path_factory):
    """The same folder for a model that was made for <6,2> and knows its classes' names."""
    folder = tmp_path_factory.mktemp("coarse") / "model"
    shutil.copytree(model, folder)
    names = ("bad", "fair", "good")
    made = random_checkpoint(MODELS["nano"])
    dataclasses.replace(made, format=NumberFormat(6, 2), labels=names).save(folder)
    (folder / "samples.tsv").write_text("a good film .\tgood\nno good\t0\n")
    return str(folder)


def test_format_of_the_model(terse, coarse, tmp_path):
    own, plain = tmp_path / "own.npz", tmp_path / "plain.npz"
    assert terse("golden", "--model", coarse, "-o", own)[0] == 0
    assert "AdaptivFloat<6,2>" in str(np.load(own)["0/layer0.numerator.format"])
    assert terse("golden", "--model", coarse, "--format", "8,3", "-o", plain)[0] == 0
    assert "AdaptivFloat<8,3>" in str(np.load(plain)["0/layer0.numerator.format"])


def test_hardware_takes_the_format(terse, coarse, tmp_path):
    image = tmp_path / "image"
    status, _, err = terse("compile", "--model", coarse, "-o", image)
    assert status == 0 and err == (
        "Hardware ci is taken with the model's number format, AdaptivFloat<6,2>: "
        "terse verilog --hw ci --set format=6,2\n"
    )
    assert "(ci with AdaptivFloat<6,2>)" in terse("image", "show", image)[1]
    assert "does not fit" not in terse("config", "--model", coarse)[1]
    _, out, _ = terse("config", "--model", coarse, "--set", "format=8,3")
    assert "format must be AdaptivFloat<8,3>, not AdaptivFloat<6,2>" in out


def test_labels_of_samples(coarse):
    assert catalog.samples(coarse) == [(("a good film .",), 2), (("no good",), 0)]


def test_eval(terse, coarse, tmp_path):
    """Counts what it cuts, takes the model's format, names the classes."""
    (tmp_path / "dev.tsv").write_text("sentence\tlabel\na good film\t1\n" + "good " * 40 + "\t0\n")
    out = tmp_path / "result.json"
    status, text, err = terse("eval", "--model", coarse, "--data", tmp_path, "--json", out)
    assert status == 0, err
    result = json.loads(out.read_text())
    assert (result["truncated"], result["count"], result["positions"]) == (1, 2, 16)
    assert result["format"] == "AdaptivFloat<6,2>" and result["labels"] == ["bad", "fair", "good"]
    assert "cut to the model's 16 tokens" in text and "0 bad, 1 fair, 2 good" in text
    assert "lost, float to golden (paired)" in text


def test_eval_against_another_model(terse, coarse, tmp_path):
    """Accuracy in float, and what is lost, are then the other model's."""
    (tmp_path / "dev.tsv").write_text("sentence\tlabel\na good film\t1\nno good\t0\n")
    other, out = tmp_path / "other", tmp_path / "result.json"
    shutil.copytree(coarse, other)
    random_checkpoint(MODELS["nano"], seed=9).save(other)
    asked = ("--data", tmp_path, "--json", out)
    found = {}
    for model in (coarse, other):
        assert terse("eval", "--model", model, *asked)[0] == 0
        found[model] = json.loads(out.read_text())
    assert terse("eval", "--model", coarse, "--against", other, *asked)[0] == 0
    against = json.loads(out.read_text())
    assert against["float"] == found[other]["float"]
    assert against["golden"] == found[coarse]["golden"]
    lost = against["float"]["accuracy"] - against["golden"]["accuracy"]
    assert against["lost"]["accuracy"] == pytest.approx(lost)


@pytest.mark.parametrize(
    "pieces", [["\u2581the", "\u2581fil", "ms", "[SEP]"], ["the", "fil", "##ms", "[SEP]"]]
)
def test_words_of_both_vocabularies(pieces):
    """ALBERT marks where a word begins, BERT where it goes on; a word's layer stands behind it."""
    one = types.SimpleNamespace(tokens=pieces, dropped_at_layer=[None, 2, 2, None])
    assert report._words(one).plain == "the films\u2082"


def test_table_names_the_labels():
    """The table names both labels, and shows control characters escaped."""
    sentence = SentenceReport(
        "a \x1b film",
        0,
        "bad",
        2,
        "good",
        0.5,
        [0.0],
        1,
        ["\u2581a", "\x1b"],
        [None] * 2,
        [2],
        [0.1],
        10,
        True,
    )
    given = dict.fromkeys(Report.__dataclass_fields__, 0) | {"model": "m", "hw": "ci"}
    given |= {"sentences": [sentence], "failures": []}
    console = Console(width=150, record=True, file=io.StringIO())
    console.print(run_table(Report(**given)))
    text = console.export_text()
    assert "0 bad" in text and "2 good" in text and r"a\x1b" in text and "\x1b" not in text
    assert Report(**given).to_json()["sentences"][0]["prediction_name"] == "good"


def test_a_class_whose_name_is_its_number():
    """It is shown once."""
    assert [report._class(*one) for one in ((1, "1"), (1, None), (None, None))] == ["1", "1", ""]


def test_unknown_characters_and_truncation(model):
    tokenizer = catalog.tokenizer(model, 16)
    (one,) = encode_texts(tokenizer, gather(model, ["good 鯨 film"]), 16)
    assert any("鯨" in piece for piece in one.unknown) and not one.truncated
    (cut,) = encode_texts(tokenizer, gather(model, ["good " * 40]), 16, truncate=True)
    assert len(cut.ids) == 16 and cut.truncated


def test_pair_has_segments(model):
    (pair,) = encode_texts(
        catalog.tokenizer(model, 16), gather(model, ["good film", "no"], pair=True), 16
    )
    assert set(pair.segments) == {0, 1} and list(pair.segments) == sorted(pair.segments)


def test_golden_and_compare(terse, model, tmp_path):
    """`golden` saves tensors with formats; `compare` names a changed and a missing one."""
    first, second = tmp_path / "a.npz", tmp_path / "b.npz"
    status, out, err = terse("golden", "good 鯨", "--model", model, "-o", first)
    assert status == 0 and "taken as unknown" in err
    arrays = dict(np.load(first))
    assert (
        str(arrays["0/layer0.q.format"]).startswith("ACT, ")
        and arrays["0/layer0.q"].dtype == np.int64
    )
    assert terse("compare", first, first)[:2] == (0, f"{len(arrays)} arrays are equal\n")
    arrays["0/layer0.q"][0, 1, 2] += 1
    del arrays["0/layer1.k"]
    np.savez(second, **arrays)
    status, out, _ = terse("compare", first, second)
    assert (
        status == 1
        and "0/layer0.q[0, 1, 2] is " in out
        and "0/layer1.k is only in the first file" in out
    )


def npz(path, **arrays):
    """Writes an .npz file -> its path."""
    with open(path, "wb") as file:
        np.savez(file, **arrays)
    return path


def test_compare_kinds(tmp_path):
    """Shapes, kinds and values beyond 2^53 are told apart; types of one value are not."""
    for one, two, text in (
        (np.zeros(3, int), np.zeros(4, int), "x has shape (3,) in the first file, (4,) in the"),
        (np.array("1"), np.array(1), "x holds text in the first file, integers in the second"),
        (np.array([2**53]), np.array([2**53 + 1]), "x[0] is 9007199254740992 in the first"),
        (np.array(-1), np.array(2**64 - 1, np.uint64), "x is -1 in the first file, 18446744073"),
        (np.array([1, 2], np.int8), np.array([1, 2], np.uint64), None),
    ):
        lines, count = compare(npz(tmp_path / "a", x=one), npz(tmp_path / "b", x=two))
        assert count == 1 and [line[: len(text)] for line in lines] == ([text] if text else [])


@pytest.mark.parametrize(
    "array, kind",
    [
        (np.array([1.0, np.nan]), "float64"),
        (np.zeros(2, complex), "complex128"),
        (np.zeros(2, "M8[s]"), r"datetime64\[s\]"),
        (np.zeros(2, [("a", int)]), "\\["),
        (np.zeros(2, "S3"), r"\|S3"),
    ],
)
def test_compare_refuses(tmp_path, array, kind):
    good = npz(tmp_path / "good", x=np.zeros(2, int))
    for pair in ((npz(tmp_path / "bad", x=array), good), (good, npz(tmp_path / "bad", x=array))):
        with pytest.raises(UserError, match=f"bad: x must hold integers or text, not {kind}"):
            compare(*pair)


def test_compare_damaged(terse, tmp_path):
    """No .npz, a cut one, one of objects, a member that is no array, one with a damaged CRC."""
    whole = npz(tmp_path / "whole", x=np.arange(100)).read_bytes()
    np.save(tmp_path / "one.npy", np.zeros(3, int))
    with zipfile.ZipFile(tmp_path / "text.zip", "w") as file:
        file.writestr("x.txt", "text")
    cases = {
        "one.npy": (tmp_path / "one.npy").read_bytes(),
        "text.zip": (tmp_path / "text.zip").read_bytes(),
        "objects": npz(tmp_path / "objects", x=np.array([{}, 1], object)).read_bytes(),
        "flipped": whole[:200] + b"\xff" + whole[201:],
        "empty": b"",
        "header": whole.replace(b"NUMPY", b"NUMPX"),
        **{f"cut{size}": whole[:size] for size in (3, 100, len(whole) - 30)},
    }
    for name, data in cases.items():
        (tmp_path / name).write_bytes(data)
        status, _, err = terse("compare", tmp_path / name, tmp_path / "whole")
        assert status == 2 and err.count("\n") == 1 and name in err, (name, err)


def test_broken_checkpoint(tmp_path, model):
    (tmp_path / "config.json").write_text(json.dumps({"model": {}}))
    with pytest.raises(UserError, match="cannot be read"):
        catalog.checkpoint(str(tmp_path))


def test_flops_count_survivors(model):
    from terse.evaluate import flops

    checkpoint = catalog.checkpoint(model)
    full = flops(checkpoint, [10, 10, 10], 10, plain=True)
    layer = flops(checkpoint, [10, 10], 10) - flops(checkpoint, [10], 10)
    sizes = checkpoint.model
    encoder = 4 * sizes.hidden**2 + 2 * sizes.hidden * sizes.feed_forward
    predictor = 10 * sizes.predictor * (sizes.hidden + 1)
    ramp = sizes.hidden**2 + sizes.hidden * sizes.classes
    assert layer == 2 * (10 * encoder + 2 * 100 * sizes.hidden + predictor + ramp)
    assert full == 2 * (
        10 * sizes.embedding * sizes.hidden + 3 * (10 * encoder + 2 * 100 * sizes.hidden) + ramp
    )
    assert flops(checkpoint, [10, 10], 10, nonzero=True) < flops(checkpoint, [10, 10], 10)


def test_console_script():
    done = subprocess.run(
        [sys.executable, "-m", "terse.cli", "--help"], capture_output=True, text=True
    )
    assert done.returncode == 0 and all(
        name in done.stdout
        for name in ("run", "golden", "compare", "eval", "verilog", "config", "compress")
    )
