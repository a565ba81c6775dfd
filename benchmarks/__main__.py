"""`make bench`: every benchmark in turn, each in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

from trainer.worker import DEFAULTS

NAMES = sorted(path.stem for path in Path(__file__).parent.glob("*.py") if "\ndef main(" in path.read_text("utf-8"))
NAMES.remove("__main__")


def main() -> int:
    """The number of benchmarks that failed."""
    failed = 0
    environment = {**DEFAULTS, **os.environ}  # As a training run has it.
    for name in NAMES:
        command = [sys.executable, "-m", f"benchmarks.{name}"]
        failed += bool(subprocess.run(command, env=environment, check=False).returncode)
    return failed


if __name__ == "__main__":
    sys.exit(main())
