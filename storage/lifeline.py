"""A child process ends with its parent, even when the parent is killed: the pipe between them closes."""

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

VARIABLE = "RETRAINBOT_LIFELINE"  # Set by a parent that holds the child's standard input open.


def child(module: str, *arguments: str) -> list[str]:
    """The command of one of our modules, whatever folders of the same name lie where it is started."""
    return [sys.executable, "-P", "-m", module, *arguments]


def environment() -> dict[str, str]:
    """Ours for a child that needs no settings: without them, as the bot's token may be among them."""
    return {name: value for name, value in os.environ.items() if not name.startswith("RETRAINBOT_")}


@contextmanager
def held() -> Iterator[int]:
    """What to give a child as its standard input, so that it ends with us while the parent only waits for it."""
    reading, writing = os.pipe()
    try:
        yield reading
    finally:
        os.close(writing)
        os.close(reading)


def follow_parent(stop: Callable[[], None] | None = None, hear: Callable[[str], None] | None = None) -> None:
    """When the parent is gone, call `stop`, or exit at once. Does nothing in a process that a person started.

    `hear` is told each line that the parent writes meanwhile.
    """
    if os.environ.pop(VARIABLE, None) is None:
        return

    def watch() -> None:
        heard = b""
        while new := os.read(sys.stdin.fileno(), 1024):
            *lines, heard = (heard + new).split(b"\n")
            if hear:
                for line in lines:
                    hear(line.decode())
        (stop or _exit)()

    threading.Thread(target=watch, name="lifeline", daemon=True).start()


def _exit() -> None:
    os._exit(1)
