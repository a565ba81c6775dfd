"""The real services, in a process of their own: `retrainbot run` with a configuration of the demo's."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

from demo.home import Home
from demo.people import ADA, YOU
from storage import lifeline

TOKEN = "4242:" + "demo" * 9  # Of the usual form; it opens nothing.
CONFIG = """# The demo writes this file at each start.
data = "data"

[telegram]
token = "{token}"
base_url = "{url}"
users = [{users}]

[intake]
album_seconds = 0.3  # The sandbox hands out all photos of an album at once.

[training]
backbone = "efficientnet_lite0"

[schedule]
cron = ""

[logging]
format = "console"
"""
STOP_SECONDS = 30.0


@contextlib.asynccontextmanager
async def services(home: Home, url: str) -> AsyncIterator[None]:
    """Bot and trainer for the sandbox at `url`, within the block. They hold the home for as long as they live."""
    home.config.write_text(CONFIG.format(token=TOKEN, url=url, users=f"{ADA}, {YOU}"), "utf-8")
    ours = {name: value for name, value in os.environ.items() if not name.startswith("RETRAINBOT_")}
    with home.log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *lifeline.child("cli.main", "--config", str(home.config), "--data", str(home.data), "run"),
            stdin=asyncio.subprocess.PIPE,
            stdout=output,
            stderr=output,
            env={**ours, lifeline.VARIABLE: "1"},
            start_new_session=True,  # Ctrl-C reaches us alone; we stop them in order.
            pass_fds=[home.lock],
        )
    try:
        yield
    finally:
        await _stop(process)


async def _stop(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), STOP_SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()


def tail(log: Path, lines: int = 30) -> str:
    """The end of the services' log."""
    return "\n".join(log.read_text("utf-8", errors="replace").splitlines()[-lines:])
