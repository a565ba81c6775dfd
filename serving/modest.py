"""`python -m serving.modest`: the model server, whose start makes way for whatever answers meanwhile."""

import importlib
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

NICENESS = 15


def modestly(work: Callable[[], T]) -> T:
    """Do it in a thread that makes way for others, where the system knows such threads."""

    def do() -> T:
        if sys.platform == "linux":  # Elsewhere niceness is the process's, and cannot be taken back.
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        return work()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(do).result()


if __name__ == "__main__":
    modestly(lambda: importlib.import_module("serving.server")).main()
