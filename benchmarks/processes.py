"""Programs that a benchmark starts beside itself."""

import contextlib
import re
import subprocess
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def sandbox() -> Iterator[tuple[str, int]]:
    """The stand-in for Telegram: its address, and its process id."""
    command = [sys.executable, "-m", "cli.main", "sandbox", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout  # noqa: S101  It was asked for.
            found = re.search(r"http://\S+", process.stdout.readline())
            assert found  # noqa: S101  The sandbox prints its address first.
            yield found[0], process.pid
        finally:
            process.terminate()
