# SPDX-License-Identifier: Apache-2.0
"""The documentation: its commands run, what it cites exists, what is drawn or listed is so."""

import os
import pathlib
import re
import shlex
import subprocess
import sys

import pytest

from golden_model import formats
from sim.pictures.__main__ import STILL

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGES = sorted(
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
    + [*(ROOT / "docs").glob("*.md"), *(ROOT / "examples").glob("*/README.md")]
)
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
LONGEST = 200  # characters of a table's cell
FENCE = re.compile(r"^ *```sh\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)|(?:src|srcset)=\"([^\"]+)\"")
CITED = re.compile(r"`((?:[\w.-]+/)+[\w.-]+\.(?:py|md|c|h|cpp|json|tsv|svg|vlt|toml|yml))`")
OUTSIDE = ("system.md", "prior-art", "toolchain.md", "compression.md", "issue 3", "shared/spec")
MINUTES = 40  # that a slow command may take

# What a reader puts in place of the words in capitals.
STANDS_FOR = {"OUT": "tiny", "FOLDER": "data", "SHA": "HEAD"}
# Commands that only stand for others: with what the reader must have, or that CI runs as they are.
ELSEWHERE = {
    "make": ".ci/run",
    "make setup": ".ci/run",
    "make test": ".ci/run",
    "make regress": ".ci/run",
    "make synth": ".github/workflows/weekly.yml",
    "make synth-array": ".github/workflows/weekly.yml",
    "terse import": "tests/test_import.py",
    "terse compress": "tests/test_compress_run.py",
    "terse eval": "tests/test_cli.py",
    "terse build": "sim/synthesis/test_bitstream.py",
    "terse flash": "tests/test_board.py",
    "terse board run": "sim/proof/test_board.py",
    "pip install": "the workflow of types",
    "pre-commit": "the workflow of lint",
}
QUICK = ("terse config", "terse compile", "terse image", "terse golden", "terse compare")


def commands():
    """(page, command) of each line of a shell fence, without its comment."""
    for page in PAGES:
        for fence in FENCE.findall(page.read_text()):
            for line in fence.replace("\\\n", " ").splitlines():
                words = " ".join(shlex.split(line, comments=True, posix=False))
                if words:
                    yield str(page.relative_to(ROOT)), words.replace(".venv/bin/", "")


COMMANDS = sorted(set(commands()))


def _elsewhere(command):
    return any(
        command.split(" ")[:2] == words.split() if "make" in words else command.startswith(words)
        for words in ELSEWHERE
    )


def _run(command, folder, minutes):
    """Run it as it stands, but for what it writes, which goes to `folder`."""
    words = [STANDS_FOR.get(word, word) for word in shlex.split(command)]
    words = [word.replace("build/", f"{folder}/") for word in words]
    variables = {}
    while "=" in words[0]:
        name, _, variables[name] = words.pop(0).partition("=")
    start = {"terse": [sys.executable, "-m", "terse.cli"], "python": [sys.executable]}
    words = [*start.get(words[0], words[:1]), *words[1:]]
    done = subprocess.run(
        words,
        cwd=ROOT,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=60 * minutes,
    )
    assert not done.returncode, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


def test_there_are_commands():
    assert len(COMMANDS) > 10 and any("terse run" in command for _, command in COMMANDS)


@pytest.mark.parametrize("page, command", [one for one in COMMANDS if one[1].startswith(QUICK)])
def test_quick_commands(page, command, tmp_path):
    _run(command, tmp_path, 5)


@pytest.mark.parametrize("page, command", [one for one in COMMANDS if one[1].startswith("make")])
def test_targets_exist(page, command):
    """Of every `make` that is shown: the target is there, and so is what its recipe expands."""
    subprocess.run(["make", "-n", *shlex.split(command)[1:]], cwd=ROOT, check=True, timeout=60)


@pytest.mark.slow
@pytest.mark.parametrize(
    "page, command",
    [one for one in COMMANDS if not one[1].startswith(QUICK) and not _elsewhere(one[1])],
)
def test_slow_commands(page, command, tmp_path):
    _run(command, tmp_path, MINUTES)


def test_what_runs_elsewhere():
    """The files that run the other commands are there."""
    for place in ELSEWHERE.values():
        assert " " in place or (ROOT / place).is_file(), place


def _anchors(page):
    """Names that a link into a page may have behind its #."""
    text = page.read_text()
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    slugs = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in headings}
    return slugs | set(re.findall(r'<a id="([^"]+)"', text))


@pytest.mark.parametrize("name", NAMES)
def test_links(name):
    """Every relative link leads to a file, and to a place in it."""
    page = ROOT / name
    for link in (found for pair in LINK.findall(page.read_text()) for found in pair if found):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{name}: {link}"
        assert not anchor or anchor in _anchors(target), f"{name}: {link}"


@pytest.mark.parametrize("name", NAMES)
def test_cited_files(name):
    """Files that are named as code are there."""
    for path in CITED.findall((ROOT / name).read_text()):
        if not path.startswith(("build/", "sst2/", "vocab/")) and "NAME" not in path:
            assert any(ROOT.glob(path)), f"{name}: {path}"


@pytest.mark.parametrize("name", NAMES)
def test_cells(name):
    """No cell of a table is longer than a glance."""
    for line in (ROOT / name).read_text().splitlines():
        if line.startswith("|"):
            longest = max(line.split("|"), key=len).strip()
            assert len(longest) <= LONGEST, f"{name}: {longest}"


def test_nothing_cites_what_is_not_here():
    """No file names a document that is not in the tree."""
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout
    for name in files.splitlines():
        path = ROOT / name
        if (
            path.suffix in (".py", ".md", ".toml", ".h", ".c", ".cpp", ".yml")
            and name != "tests/test_docs.py"
        ):
            text = path.read_text()
            assert not [words for words in OUTSIDE if words in text], name


@pytest.mark.parametrize("name", STILL)
def test_pictures(name):
    """`python -m sim.pictures` would draw them again as they are."""
    assert (ROOT / "docs" / f"{name}.svg").read_text() == STILL[name]()


def test_formats():
    """docs/numerics.md lists golden_model/formats.py."""
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \|", (ROOT / "docs" / "numerics.md").read_text(), re.M)
    assert {name: int(value) for name, value in rows} == {
        name: value for name, value in vars(formats).items() if name.isupper()
    }
