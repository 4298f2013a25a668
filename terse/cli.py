# SPDX-License-Identifier: Apache-2.0
"""The command line: every command is a call of a function of this package.

Exit status 2 says bad input, in one line on standard error; 1 says that something differs.
"""

import io
import sys

import typer
from typer.exceptions import TyperException

from terse.commands import bench, board, compress, hardware, models, sentences, timing
from terse.commands.options import say
from terse.errors import explain

__all__ = ["app", "main"]

BAD_INPUT = 2  # exit statuses
INTERRUPTED = 130

app = typer.Typer(
    help="ALBERT that drops tokens and exits early, on hardware that you can simulate bit for bit.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for part in (sentences, compress, models, hardware, bench, timing, board):
    app.add_typer(part.app)


def main():
    """Entry point of the console script `terse`."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal may lack a letter
    try:
        status = app(standalone_mode=False)
    except typer.Abort:
        say("terse: interrupted")
        status = INTERRUPTED
    except TyperException as error:
        status = _usage(error)
    except Exception as error:
        text = explain(error)
        if text is None:  # a bug of ours: its traceback says more
            raise
        say(f"terse: {text}")
        status = BAD_INPUT
    sys.exit(status or 0)


def _usage(error):
    """Say what is wrong with the arguments; the exit status."""
    text = getattr(error, "format_message", lambda: "")()
    if text:
        hint = ""
        if type(error).__name__ == "NoSuchOption":
            hint = "; a text that begins with '-' goes behind '--'"
        say(f"terse: {text}{hint}")
    return getattr(error, "exit_code", BAD_INPUT)


if __name__ == "__main__":
    main()
