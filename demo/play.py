"""The main job on one computer: a sandbox in place of Telegram, the real services, and a conversation with them."""

import asyncio
import contextlib
import os
import signal
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from rich.console import Console

from demo.conversation import Conversation, Score
from demo.transcript import Transcript
from sandbox.client import Person
from sandbox.server import Sandbox, running
from storage import lifeline

ADA = 1001
TOKEN = "4242:" + "demo" * 9  # Of the usual form; it opens nothing.
CONFIG = """
data = "data"

[telegram]
token = "{token}"
base_url = "{url}"
users = [{ada}]

[training]
backbone = "efficientnet_lite0"

[schedule]
cron = ""

[logging]
format = "console"
"""
STOP_SECONDS = 30.0


def play(*, once: bool, port: int) -> int:
    """Play the conversation, and stay up afterwards unless `once`. 0 where every promise held, else 1."""
    transcript = Transcript(Console(highlight=False))
    with tempfile.TemporaryDirectory(prefix="retrainbot-demo-") as folder:
        try:
            return asyncio.run(_play(Path(folder), transcript, once=once, port=port))
        except (KeyboardInterrupt, asyncio.CancelledError):
            return int(once)  # A conversation cut short has not passed.


async def _play(folder: Path, transcript: Transcript, *, once: bool, port: int) -> int:
    _interrupt_on_terminate()
    async with running(port) as sandbox, _services(folder, sandbox) as log:
        transcript.plain(f"A stand-in for Telegram listens on {sandbox.url}; the bot and its trainer are starting.")
        async with Person(sandbox.url, ADA) as ada:
            conversation = Conversation(ada, transcript)
            try:
                await conversation.play()
            except TimeoutError as error:
                transcript.plain(f"The bot fell silent: {error}\nThe end of its log:\n{_tail(log)}")
                return 1
        _tell(conversation.score, transcript)
        if not conversation.score.passed:
            transcript.plain(f"\nThe end of the services' log:\n{_tail(log)}")
        if not once:
            transcript.plain(f"\nBot and trainer stay up on {sandbox.url} until Ctrl-C.")
            await asyncio.Event().wait()
    return 0 if conversation.score.passed else 1


@contextlib.asynccontextmanager
async def _services(folder: Path, sandbox: Sandbox) -> AsyncIterator[Path]:
    """`retrainbot run` with a configuration of its own; gives the path of its log."""
    config, log = folder / "config.toml", folder / "services.log"
    config.write_text(CONFIG.format(token=TOKEN, url=sandbox.url, ada=ADA), "utf-8")
    ours = {name: value for name, value in os.environ.items() if not name.startswith("RETRAINBOT_")}
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *lifeline.child("cli.main", "--config", str(config), "--data", str(folder / "data"), "run"),
            stdin=asyncio.subprocess.PIPE,
            stdout=output,
            stderr=output,
            env={**ours, lifeline.VARIABLE: "1"},
            start_new_session=True,
        )
    try:
        yield log
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


def _interrupt_on_terminate() -> None:
    """SIGTERM ends the demo as Ctrl-C does, services first."""
    main = asyncio.current_task()
    if main is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, main.cancel)


def _tell(score: Score, transcript: Transcript) -> None:
    total = len(score.everything)
    versions = sorted({answer.version for answer in score.everything})
    swapped = len({answer.version for answer in score.stream})
    transcript.plain(
        f"\n{score.right} of {total} photos without a caption were answered rightly,"
        f" {total - score.right - score.surely_wrong} wrongly but marked not sure, {score.surely_wrong} wrongly."
        f"\n{score.unanswered} were left unanswered. Versions {versions} answered;"
        f" {swapped} of them took turns in one stream of {len(score.stream)} photos."
        f"\n{'Every promise held.' if score.passed else 'NOT every promise held.'}"
    )


def _tail(log: Path, lines: int = 30) -> str:
    return "\n".join(log.read_text("utf-8", errors="replace").splitlines()[-lines:])
