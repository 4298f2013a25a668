# SPDX-License-Identifier: Apache-2.0
"""Runs one block's bench: `make bench BLOCK=softmax`."""

import sys

import pytest

from sim.bench.blocks import find_bench


def main():
    """Exit status of pytest; 2 where there is no such block."""
    try:
        path = find_bench(sys.argv[1] if len(sys.argv) > 1 else "")
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    return pytest.main(["-q", str(path), *sys.argv[2:]])


if __name__ == "__main__":
    sys.exit(main())
