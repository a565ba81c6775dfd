"""What Ada says to the bot, and whether it answered rightly."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from demo import samples
from demo.transcript import Transcript
from sandbox.client import Person

FIRST, LATER = samples.CLASSES[:6], samples.CLASSES[6]
ALBUM, ALBUMS = 10, 2  # Captioned photos of each class, besides one by itself.
QUESTIONS = 5  # Unlabelled photos of each class.
STREAM = 50  # Photos at least that are asked about while the model changes.
PACE = 0.2  # Seconds between two of them.
AFTER_SWAP = 10  # Photos that the new version must answer before the stream may end.
TRAINING_SECONDS, ANSWER_SECONDS = 300.0, 60.0
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
    versions: set[int] = field(default_factory=set)

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
        """Whether nothing was lost, two versions took turns in one stream, and no wrong answer seemed sure."""
        return (
            self.unanswered == 0
            and len(self.stream) >= STREAM
            and len({answer.version for answer in self.stream}) == 2
            and self.right >= SHARE_RIGHT * len(self.everything)
            and self.surely_wrong == 0
        )


class Conversation:
    def __init__(self, ada: Person, transcript: Transcript) -> None:
        self._ada = ada
        self._transcript = transcript
        self._seed = 0
        self.score = Score()

    async def play(self) -> None:
        """The whole of it. Raises TimeoutError where the bot falls silent."""
        self._transcript.heading("Ada shows the bot some road signs")
        for name in FIRST:
            await self._teach(name)
        self._transcript.heading("She lets it learn")
        await self._train()
        self._transcript.heading("She asks about signs it has not seen")
        for name in FIRST:
            await self._quiz(name)
        self._transcript.heading(f"She adds a new class, and keeps asking while the bot learns “{LATER}”")
        await self._teach(LATER)
        await self._stream_while(self._train)
        self._transcript.heading("She asks about the new sign")
        await self._quiz(LATER)

    async def _teach(self, name: str) -> None:
        """One photo by itself and two albums, each with a caption and each with a receipt."""
        single = await self._ada.photo(self._photo(name), name)
        self._transcript.ada(f"[photo] {name}")
        self._transcript.bot((await self._ada.reply_to(single["message_id"], ANSWER_SECONDS))["text"])
        for _ in range(ALBUMS):
            album = await self._ada.album([self._photo(name) for _ in range(ALBUM)], name)
            self._transcript.ada(f"[album of {ALBUM} photos] {name}")
            self._transcript.bot((await self._reply_to_any(album))["text"])

    async def _reply_to_any(self, sent: Sequence[Message]) -> Message:
        numbers = {message["message_id"] for message in sent}
        return await self._ada.wait_for(
            lambda message: message.get("reply_to_message", {}).get("message_id") in numbers, ANSWER_SECONDS
        )

    async def _train(self) -> None:
        self._transcript.ada("/train")
        asked = await self._ada.say("/train")
        ended = await self._ada.reply_to(asked["message_id"], TRAINING_SECONDS, _is_end)
        self._transcript.bot(ended["text"])

    async def _quiz(self, name: str) -> None:
        """The bot's first answer about a class is shown as it stands, the others in short."""
        for number in range(QUESTIONS):
            answer = await self._ask(name)
            if answer:
                self.score.answers.append(answer)
                self._transcript.ada(f"[photo of a “{name}” sign]")
                self._transcript.bot(answer.text if number == 0 else answer.brief)

    async def _ask(self, name: str) -> Answer | None:
        """Send a photo that nobody labelled; None where no answer came."""
        sent = await self._ada.photo(self._photo(name))
        try:
            reply = await self._ada.reply_to(sent["message_id"], ANSWER_SECONDS)
            return read_answer(name, reply)
        except (TimeoutError, ValueError) as error:
            self._transcript.note(f"No answer about a {name}: {error}")
            self.score.unanswered += 1
            return None

    async def _stream_while(self, act: Callable[[], Awaitable[None]]) -> None:
        """Ask at a steady pace, before `act`, during it, and until its new version has answered for a while."""
        acting = asyncio.ensure_future(act())
        asked: list[asyncio.Task[Answer | None]] = []
        while len(asked) < STREAM or not (acting.done() and self._settled(asked)):
            asked.append(asyncio.create_task(self._ask(FIRST[len(asked) % len(FIRST)])))
            await asyncio.sleep(PACE)
        await acting
        answers = [answer for answer in await asyncio.gather(*asked) if answer]
        self.score.stream.extend(answers)
        self._tell_stream(len(asked), answers)

    @staticmethod
    def _settled(asked: Sequence[asyncio.Task[Answer | None]]) -> bool:
        """Whether a second version answered often enough, or the wait for it has become pointless."""
        versions = [answer.version for task in asked if task.done() and (answer := task.result())]
        newest = max(versions, default=0)
        return (len(set(versions)) > 1 and versions.count(newest) >= AFTER_SWAP) or len(asked) > 20 * STREAM

    def _tell_stream(self, asked: int, answers: Sequence[Answer]) -> None:
        self._transcript.note(f"{asked} photos were asked about meanwhile, {len(answers)} were answered.")
        for version in sorted({answer.version for answer in answers}):
            of_version = [answer for answer in answers if answer.version == version]
            right = sum(answer.right for answer in of_version)
            self._transcript.note(f"Version {version} answered {len(of_version)} of them, {right} rightly.")

    def _photo(self, name: str) -> bytes:
        self._seed += 1
        return samples.photo(name, self._seed)


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
