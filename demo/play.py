"""The main job on one computer: a sandbox in place of Telegram, the real services, and a conversation with them."""

import asyncio
import contextlib
import os
import signal
import tempfile
import time
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console

from demo import home, tour
from demo.ahead import Ahead
from demo.conversation import Conversation, Score
from demo.home import Home
from demo.people import ADA, PEOPLE
from demo.services import services, tail
from demo.transcript import Transcript
from sandbox.client import Person
from sandbox.errors import ListenError
from sandbox.guide import Guide
from sandbox.memory import MemoryFolderError
from sandbox.server import Sandbox, running
from storage.errors import RetrainbotError

FOLDER = Path("demo-data")
PORT = 8081
ANSWER_SECONDS = 60.0
ENDINGS = [signal.SIGINT, signal.SIGTERM]
if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # As nohup has it.
    ENDINGS.append(signal.SIGHUP)


def play(*, once: bool, fresh: bool, port: int | None) -> int:
    """Play the conversation, and stay up afterwards unless `once`. 0 where every promise held, else 1.

    Without `once` all is kept in ./demo-data, and a later demo goes on from there unless `fresh`. Raises
    RetrainbotError where that folder or the port cannot be used.
    """
    for number in ENDINGS:
        signal.signal(number, signal.default_int_handler)
    transcript = Transcript(Console(highlight=False), _elapsed)
    if port is None:
        port = 0 if once else PORT
    try:
        with _passing() if once else home.opened(FOLDER.absolute()) as here:
            if once or fresh or not here.ended():
                _begin(here, transcript, fresh=fresh)
            return _run(_Demo(here, transcript, once=once).play(port))
    except (KeyboardInterrupt, asyncio.CancelledError):
        return int(once)  # A conversation cut short has not passed.
    except ListenError as error:
        raise RetrainbotError("{error} With make: `make demo PORT=8090`.", error=str(error)) from error
    except MemoryFolderError as error:
        raise RetrainbotError("{error} Or start over with --fresh.", error=str(error)) from error


def _run(demo: Coroutine[Any, Any, int]) -> int:
    try:
        return asyncio.run(demo)
    finally:
        for number in ENDINGS:
            signal.signal(number, signal.SIG_IGN)  # All has ended; to tidy up takes no time.


def _elapsed() -> float:
    """Seconds since this process was started."""
    return time.time() - psutil.Process(os.getpid()).create_time()


@contextlib.contextmanager
def _passing() -> Iterator[Home]:
    """A home that is gone at the end."""
    with tempfile.TemporaryDirectory(prefix="retrainbot-demo-") as folder, home.opened(Path(folder)) as here:
        yield here


def _begin(here: Home, transcript: Transcript, *, fresh: bool) -> None:
    if here.used:
        why = "You want to start over" if fresh else "The last demo was interrupted in the middle of its conversation"
        transcript.plain(f"{why}: what it left in {here.folder} is removed.")
    here.begin()


class _Demo:
    def __init__(self, here: Home, transcript: Transcript, *, once: bool) -> None:
        self._home = here
        self._transcript = transcript
        self._once = once

    async def play(self, port: int) -> int:
        """The exit status. What ends the demo is CancelledError."""
        _end_on_signals(self._transcript)
        guide = None if self._once else Guide(self._home.samples, PEOPLE, tour.STEPS)
        self._home.samples.mkdir(exist_ok=True)
        async with (
            running(port, folder=self._home.sandbox, guide=guide) as sandbox,
            services(self._home, sandbox.url),
            Ahead() as ahead,
            Person(sandbox.url, ADA) as ada,
        ):
            self._transcript.plain(
                f"A stand-in for Telegram listens on {sandbox.url}, which is also a web chat for your browser;"
                " the bot and its trainer are starting."
            )
            try:
                passed = await (self._resume(ada, ahead) if self._home.ended() else self._begin(ada, ahead))
            except TimeoutError as error:
                self._transcript.plain(f"The bot fell silent: {error}\nThe end of its log:\n{tail(self._home.log)}")
                return 1
            if not self._once:
                self._stay(sandbox)
                await asyncio.Event().wait()
        return 0 if passed else 1

    async def _begin(self, ada: Person, ahead: Ahead) -> bool:
        """The conversation; whether every promise held."""
        conversation = Conversation(ada, self._transcript, ahead)
        if not self._once:
            tour.draw(self._home.samples, ahead)
        await conversation.play()
        _tell(conversation.score, self._transcript)
        if not conversation.score.passed:
            self._transcript.plain(f"\nThe end of the services' log:\n{tail(self._home.log)}")
        self._home.end()
        return conversation.score.passed

    async def _resume(self, ada: Person, ahead: Ahead) -> bool:
        """What is there from the last time, in the bot's own words."""
        self._transcript.heading("The conversation was played before; this is what is there")
        tour.draw(self._home.samples, ahead)
        asked = await ada.say("/status")
        self._transcript.ada("/status")
        self._transcript.bot((await ada.reply_to(asked["message_id"], ANSWER_SECONDS))["text"])
        return True

    def _stay(self, sandbox: Sandbox) -> None:
        self._transcript.plain(
            f"\nYour turn: the web chat is at {sandbox.url} until Ctrl-C. Everything is kept in {self._home.folder};"
            " the next demo goes on from there, or starts over with --fresh (make demo FRESH=1)."
        )


def _end_on_signals(transcript: Transcript) -> None:
    """Ctrl-C, SIGTERM and a closed terminal end the demo, services first. Once is enough: more would interrupt that."""
    loop, main = asyncio.get_running_loop(), asyncio.current_task()

    def end() -> None:
        for number in ENDINGS:
            loop.add_signal_handler(number, lambda: None)
        if main:
            main.cancel()
        with contextlib.suppress(OSError):  # The terminal may be gone.
            transcript.plain("\nThe bot and its trainer are being stopped.")

    for number in ENDINGS:
        loop.add_signal_handler(number, end)


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
