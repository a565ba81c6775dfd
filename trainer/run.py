"""The process of one training run: `python -m trainer.run`, a child of the worker, alone with TensorFlow and the GPU.

It starts ahead of its run, and is told which one by a line on its standard input: the run's number and its token.
"""

import os
from queue import SimpleQueue

from storage.lifeline import follow_parent
from storage.logs import configure_logs
from storage.settings import read_settings

NICENESS = 19  # Serving comes first: on a shared box the chat's answers get the cores they ask for.


def main() -> None:
    orders: SimpleQueue[str] = SimpleQueue()
    follow_parent(hear=orders.put)
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    settings = read_settings()
    configure_logs(settings.logging.level, style=settings.logging.format, process="training run")
    # TensorFlow takes seconds to import: the parent is followed by then.
    from trainer.pipeline import open_box, work  # noqa: PLC0415
    from trainer.standby import wait  # noqa: PLC0415

    box = open_box(settings)
    order = orders.get() if not orders.empty() else wait(box, orders)
    if order is not None:
        run, token = order.split()
        work(box, int(run), int(token))


if __name__ == "__main__":
    main()
