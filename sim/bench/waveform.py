# SPDX-License-Identifier: Apache-2.0
"""A file that is compressed while it is written.

A simulator writes a waveform to a pipe, and a thread compresses what comes out.
"""

import gzip
import os
import pathlib
import select
import tempfile
import threading

__all__ = ["Compressor"]

LEVEL = 3  # of gzip: the simulator waits for the compression
CHUNK = 1 << 20  # bytes


class Compressor:
    """Compresses what is written to `pipe` into `path`; GTKWave opens .vcd.gz as it is.

    `close` comes after the writer has closed the pipe.
    """

    def __init__(self, path):
        self._folder = tempfile.TemporaryDirectory()
        self.pipe = pathlib.Path(self._folder.name) / "pipe"
        os.mkfifo(self.pipe)
        # Does not wait for the writer.
        self._input = os.open(self.pipe, os.O_RDONLY | os.O_NONBLOCK)
        self._output = gzip.open(path, "wb", compresslevel=LEVEL)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self):
        os.close(os.open(self.pipe, os.O_WRONLY))  # hangs up also where nobody has written
        self._thread.join()
        self._output.close()
        os.close(self._input)
        self._folder.cleanup()

    def _run(self):
        """Until the writer hangs up."""
        poll = select.poll()
        poll.register(self._input, select.POLLIN)
        while poll.poll()[0][1] & select.POLLIN:
            self._output.write(os.read(self._input, CHUNK))
