# SPDX-License-Identifier: Apache-2.0
"""Licences of all that `make setup` installs, as their own metadata state them.

python -m terse.packaging.licences > docs/licences.md
"""

import re
from importlib.metadata import PackageNotFoundError, distribution

from sim.cosim.build import ROOT

__all__ = ["LOCK", "is_copyleft", "licence_of", "licence_page", "locked"]

LOCK = ROOT / "requirements.lock"
# PyTorch is not in the lock file: which build it is depends on the computer.
UNLOCKED = ("torch",)
# Where the metadata are empty: the licence that the source states, and where it does.
STATED = {
    "pythondata-cpu-picorv32": "ISC (its file picorv32.v)",
    "pythondata-software-compiler-rt": "NCSA or MIT (its LICENSE.TXT)",
    "pythondata-software-picolibc": "BSD-3-Clause (its COPYING.picolibc)",
}
HEAD = """# Licences

What `make setup` installs, and under which licence, as each distribution's metadata say. Generated
by `python -m terse.packaging.licences > docs/licences.md` from `requirements.lock`, which has the
hashes of all files; `make lock` writes that anew. Nothing of it is part of the Verilog, the drivers
or the package `terse` themselves, which are under the Apache License 2.0.

| distribution | version | licence |
| --- | --- | --- |
"""


def locked() -> dict[str, str]:
    """{distribution: version} of the lock file."""
    return dict(re.findall(r"^([\w.-]+)==([\w.+-]+)", LOCK.read_text(), re.MULTILINE))


def licence_of(name: str) -> str | None:
    """The licence of a distribution; "" where none is stated, None where it is not installed."""
    try:
        metadata = distribution(name).metadata
    except PackageNotFoundError:
        return None
    if stated := STATED.get(name) or _field(metadata, "License-Expression"):
        return stated
    classes = [
        line.rpartition(" :: ")[2]
        for line in metadata.get_all("Classifier", [])
        if line.startswith("License ::") and not line.endswith("OSI Approved")
    ]
    # Some put the whole text there.
    text = _field(metadata, "License").strip().splitlines()
    return ", ".join(classes) or (text[0] if text else "")


def _field(metadata, name):
    return (metadata.get_all(name) or [""])[0]


def is_copyleft(licence: str) -> bool:
    """Whether it asks that what is distributed with it has the same licence, GPL and AGPL alone."""
    return bool(re.search(r"(?<!L)(?<!Lesser )\bA?GPL|(?<!Lesser )General Public License", licence))


def licence_page() -> str:
    """The table, of what is installed here."""
    names = sorted({*locked(), *UNLOCKED})
    rows = [(name, locked().get(name), licence_of(name)) for name in names]
    return HEAD + "".join(
        f"| {name} | {number or distribution(name).version.partition('+')[0]} | {licence} |\n"
        for name, number, licence in rows
        if licence is not None
    )


if __name__ == "__main__":
    print(licence_page(), end="")
