"""A child process ends with its parent, even when the parent is killed: the pipe between them closes."""

import os
import sys
import threading
from collections.abc import Callable

VARIABLE = "RETRAINBOT_LIFELINE"  # Set by a parent that holds the child's standard input open.


def child(module: str, *arguments: str) -> list[str]:
    """The command of one of our modules, whatever folders of the same name lie where it is started."""
    return [sys.executable, "-P", "-m", module, *arguments]


def follow_parent(stop: Callable[[], None] | None = None) -> None:
    """When the parent is gone, call `stop`, or exit at once. Does nothing in a process that a person started."""
    if os.environ.pop(VARIABLE, None) is None:
        return

    def watch() -> None:
        while os.read(sys.stdin.fileno(), 1024):
            pass
        (stop or _exit)()

    threading.Thread(target=watch, name="lifeline", daemon=True).start()


def _exit() -> None:
    os._exit(1)
