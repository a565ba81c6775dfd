"""`python -m serving.modest`: the model server, whose start makes way for whatever answers meanwhile.

It imports next to nothing itself, because what it does before it steps aside holds others up.
"""

import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress

NICENESS, LAST = 15, 19


def modestly(work: Callable[[], object]) -> None:
    """Do it in a thread that makes way for others, where the system knows such threads; raises what it raises."""
    raised: list[BaseException] = []

    def do() -> None:
        if sys.platform == "linux":  # Elsewhere niceness is the process's, and cannot be taken back.
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        try:
            work()
        except BaseException as error:  # noqa: BLE001  It is raised again below.
            raised.append(error)

    thread = threading.Thread(target=do, name="modest")
    thread.start()
    thread.join()
    if raised:
        raise raised[0]


def step_aside() -> None:
    """Let everybody else go first: giving back the memory of a large process keeps a core busy for a while."""
    if sys.platform == "linux":
        for thread in os.listdir("/proc/self/task"):  # noqa: PTH208  See above.
            with suppress(OSError):  # It has just ended.
                os.setpriority(os.PRIO_PROCESS, int(thread), LAST)


def _import() -> None:
    import serving.server  # noqa: F401, PLC0415


if __name__ == "__main__":
    modestly(_import)
    from serving.server import main

    main()
