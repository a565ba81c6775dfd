"""What Ada says to the bot, and whether it answered rightly."""

import asyncio
import re
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from demo import samples
from demo.ahead import Ahead
from demo.transcript import Transcript
from sandbox.client import Person

FIRST, LATER = samples.CLASSES[:6], samples.CLASSES[6]
ALBUMS = (8, 7)  # Captioned photos of each class, besides one by itself.
QUESTIONS = 5  # Unlabelled photos of each class.
STREAM = 50  # Photos at least that are asked about while the model changes.
PACE = 0.2  # Seconds between two of them.
AFTER_SWAP = 10  # Photos that the new version must answer before the stream may end.
TRIES = 5  # Runs that she asks for until one is hers and makes a version.
TRAINING_SECONDS, ANSWER_SECONDS, SWAP_SECONDS = 300.0, 60.0, 60.0
SHARE_RIGHT = 0.95

VERSION = re.compile(r"version (\d+)", re.IGNORECASE)

Message = dict[str, Any]


@dataclass(frozen=True)
class Answer:
    asked: str
    best: str
    sure: bool
    version: int
    text: str

    @property
    def brief(self) -> str:
        sure = "" if self.sure else "not sure, perhaps "
        return f"{'✓' if self.right else '✗'} {sure}{self.best} (version {self.version})"

    @property
    def right(self) -> bool:
        return self.asked == self.best


@dataclass
class Score:
    """Every answer, and the questions that got none."""

    answers: list[Answer] = field(default_factory=list)
    stream: list[Answer] = field(default_factory=list)
    unanswered: int = 0

    @property
    def everything(self) -> list[Answer]:
        return self.answers + self.stream

    @property
    def right(self) -> int:
        return sum(answer.right for answer in self.everything)

    @property
    def surely_wrong(self) -> int:
        return sum(answer.sure and not answer.right for answer in self.everything)

    @property
    def passed(self) -> bool:
        """Whether nothing was lost, versions took turns in one stream, and no wrong answer seemed sure."""
        return (
            self.unanswered == 0
            and len(self.stream) >= STREAM
            and len({answer.version for answer in self.stream}) > 1
            and self.right >= SHARE_RIGHT * len(self.everything)
            and self.surely_wrong == 0
        )


class Conversation:
    """Somebody else may teach and train the bot meanwhile."""

    def __init__(self, ada: Person, transcript: Transcript, ahead: Ahead) -> None:
        self._ada = ada
        self._transcript = transcript
        self._ahead = ahead
        self.score = Score()
        self._order_lessons(FIRST)

    async def play(self) -> None:
        """The whole of it. Raises TimeoutError where the bot falls silent."""
        self._transcript.heading("Ada shows the bot some road signs")
        await self._teach(FIRST)
        self._transcript.heading("She lets it learn")
        self._order_questions(FIRST)
        await self.train()
        self._order_lessons([LATER])
        self._order_questions([LATER])
        self._transcript.heading("She asks about signs it has not seen")
        for name in FIRST:
            await self._quiz(name)
        self._transcript.heading(f"She adds a new class, and keeps asking while the bot learns “{LATER}”")
        await self._stream_while(self._add)
        self._transcript.heading("She asks about the new sign")
        await self._quiz(LATER)

    def _order_lessons(self, names: Sequence[str]) -> None:
        for name in names:
            self._ahead.order(name, 1 + sum(ALBUMS))

    def _order_questions(self, names: Sequence[str]) -> None:
        for name in names:
            self._ahead.order(name, QUESTIONS)

    async def _add(self) -> None:
        await self._teach([LATER])
        await self.train()

    async def _teach(self, names: Sequence[str]) -> None:
        """Of each class one photo by itself, and albums, with captions; each of them gets a receipt.

        She waits for the first receipt, and sends the rest while the bot writes the others.
        """
        async with _Together() as receipts:
            for name in names:
                single = await self._ada.photo(await self._ahead.photo(name), name)
                self._transcript.ada(f"[photo] {name}")
                await self._receipt(single)
                for size in ALBUMS:
                    album = await self._ada.album([await self._ahead.photo(name) for _ in range(size)], name)
                    self._transcript.ada(f"[album of {size} photos] {name}")
                    receipts.start(self._receipt(album[0]))
            await receipts.results()

    async def _receipt(self, sent: Message) -> None:
        """The bot's answer to a captioned photo, or to the first of an album."""
        self._transcript.bot((await self._ada.reply_to(sent["message_id"], ANSWER_SECONDS))["text"])

    async def train(self) -> None:
        """Ask for a run until one is hers, not somebody's that was under way, and has made a version."""
        for _ in range(TRIES):
            self._transcript.ada("/train")
            asked = (await self._ada.say("/train"))["message_id"]
            first = await self._ada.reply_to(asked, ANSWER_SECONDS)
            ended = await self._ada.reply_to(asked, TRAINING_SECONDS, _is_end)
            self._transcript.bot(ended["text"])
            if first["text"].startswith("Run ") and " made " in ended["text"]:
                return
            self._transcript.note("That run was not hers, or made no version; she asks again.")

    async def _quiz(self, name: str) -> None:
        """The bot's first answer about a class is shown as it stands, the others in short."""
        for number in range(QUESTIONS):
            answer = await self._ask(name)
            if answer:
                self._transcript.ada(f"[photo of a “{name}” sign]")
                self._transcript.bot(answer.text if number == 0 else answer.brief)
                if not self.score.everything:
                    self._transcript.timed("The first answer")
                self.score.answers.append(answer)

    async def _ask(self, name: str) -> Answer | None:
        """Send a photo that nobody labelled; None where no answer came."""
        sent = await self._ada.photo(await self._ahead.photo(name))
        try:
            reply = await self._ada.reply_to(sent["message_id"], ANSWER_SECONDS)
            return read_answer(name, reply)
        except (TimeoutError, ValueError) as error:
            self._transcript.note(f"No answer about a {name}: {error}")
            self.score.unanswered += 1
            return None

    async def _stream_while(self, act: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Ask at a steady pace, before `act`, during it, and until its new version has answered for a while."""
        async with _Together() as asked, _Together() as acting:
            acting.start(act())
            ended: float | None = None
            while len(asked.tasks) < STREAM or not (ended and self._settled(asked.tasks, time.monotonic() - ended)):
                asked.start(self._ask(FIRST[len(asked.tasks) % len(FIRST)]))
                await asyncio.sleep(PACE)
                if ended is None and all(task.done() for task in acting.tasks):
                    await acting.results()
                    ended = time.monotonic()
            answers = [answer for answer in await asked.results() if answer]
        self.score.stream.extend(answers)
        self._tell_stream(len(asked.tasks), answers)

    @staticmethod
    def _settled(asked: "Sequence[asyncio.Task[Answer | None]]", waited: float) -> bool:
        """Whether a second version answered often enough, or the wait for it has become pointless."""
        versions = [answer.version for task in asked if task.done() and (answer := task.result())]
        newest = max(versions, default=0)
        return (len(set(versions)) > 1 and versions.count(newest) >= AFTER_SWAP) or waited > SWAP_SECONDS

    def _tell_stream(self, asked: int, answers: Sequence[Answer]) -> None:
        self._transcript.note(f"{asked} photos were asked about meanwhile, {len(answers)} were answered.")
        for version in sorted({answer.version for answer in answers}):
            of_version = [answer for answer in answers if answer.version == version]
            right = sum(answer.right for answer in of_version)
            self._transcript.note(f"Version {version} answered {len(of_version)} of them, {right} rightly.")


class _Together:
    """Tasks that end with the block: what is not done by then is cancelled."""

    def __init__(self) -> None:
        self.tasks: list[asyncio.Task[Any]] = []

    def start(self, work: Coroutine[Any, Any, Any]) -> None:
        self.tasks.append(asyncio.create_task(work))

    async def results(self) -> list[Any]:
        return await asyncio.gather(*self.tasks)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


def read_answer(asked: str, reply: Message) -> Answer:
    """The bot's answer as Ada reads it: its best class is on the first button. Raises ValueError if it is none."""
    version = VERSION.search(reply["text"])
    buttons = [button for row in reply.get("reply_markup", {}).get("inline_keyboard", []) for button in row]
    if not version or not buttons:
        raise ValueError(f"The bot said: {reply['text']}")
    best = buttons[0]["text"].removeprefix("✓").strip()
    return Answer(asked, best, not reply["text"].startswith("Not sure"), int(version[1]), reply["text"])


def _is_end(message: Message) -> bool:
    """Whether a run's message is in its last form."""
    return re.search(r"^Run \d+ (made|failed|was cancelled)", message["text"]) is not None
