"""Brings the version that the served pointer names into service, and never leaves the chat without one for it.

Blue and green: a candidate is loaded, warmed and checked beside the version that answers, and takes over when it is
ready; see serving/states.py. A candidate that fails is tried again, then given up: the pointer goes back to the version
before it, and says why. A server that dies is started again; one that dies again and again is given up, too.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import psutil
import structlog

from bot.metrics import DEATHS, GIVEN_UP, SWAPS
from serving.backend import Backend, Server
from serving.states import State, follows
from storage.errors import ModelError, RetrainbotError
from storage.models import Models, Version
from storage.pointer import Served
from storage.servings import VersionReport
from storage.texts import Text

POLL_SECONDS = 0.5  # How often the served pointer is read.
PAUSES = (1.0, 5.0, 15.0)  # Seconds before a candidate that failed is tried again; after the last one it is given up.
LAST_PAUSE = 300.0  # Before one is tried again that cannot be given up, because there is no other.
MOST_DEATHS, DEATH_SECONDS = 3, 300.0  # So many deaths in so long, and a version is given up.
CARE_SECONDS = 10.0  # How often memory is looked at.
WORN_SECONDS = 600.0  # A server with too much memory is not replaced oftener.
LEAST_FREE_BYTES = 1 << 30  # With less free memory, no version is kept warm that nobody asks.

log = structlog.get_logger()


class NoModelYetError(ModelError):
    """No version has been published."""


@dataclass(eq=False)
class Slot:
    """A version on its way through the states. `version` and `server` are there from the state serving on."""

    number: int
    since: float  # By the monotonic clock: when its present state began.
    state: State = State.NEW
    version: Version | None = None
    server: Server | None = None
    worn: bool = False  # It takes too much memory, and shall be replaced by a fresh one.
    asked: int = 0  # Questions under way.
    memory: int | None = None  # Bytes, when it was last looked at.

    def go(self, state: State, at: float) -> None:
        """Raises ValueError where that is no way for a version to go."""
        if not follows(self.state, state):
            raise ValueError(f"A version that is {self.state} cannot be {state} next.")
        log.info("version", number=self.number, state=state.value, before=self.state.value)
        self.state, self.since = state, at

    @property
    def alive(self) -> bool:
        return self.server is not None and self.server.alive and self.state is not State.GONE

    @contextmanager
    def asking(self) -> Iterator[tuple[Version, Server]]:
        """For as long as a question to it is under way: it is not closed meanwhile."""
        if self.version is None or self.server is None:
            raise ModelError("Version {number} is not loaded; try again in a minute.", number=self.number)
        self.asked += 1
        try:
            yield self.version, self.server
        finally:
            self.asked -= 1


@dataclass(frozen=True)
class _Failure:
    reason: Text
    attempts: int
    until: float


class Rollout:
    """Use as `async with`. Times are in seconds.

    The version before stays loaded for `keep_warm`, while `free_memory` finds enough; a server that takes more than
    `memory_limit` bytes is replaced by a fresh one.
    """

    def __init__(
        self,
        models: Models,
        backend: Backend,
        *,
        keep_warm: float = 0.0,
        memory_limit: int = 1 << 40,
        free_memory: Callable[[], int] = lambda: int(psutil.virtual_memory().available),
        poll: float = POLL_SECONDS,
        pauses: tuple[float, ...] = PAUSES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._models = models
        self._backend = backend
        self._keep_warm = keep_warm
        self._memory_limit = memory_limit
        self._free_memory = free_memory
        self._poll = poll
        self._pauses = pauses
        self._clock = clock
        self._pointer: Served | None = None
        self._current: Slot | None = None
        self._last: int | None = None  # The version that answered last, which answers again where the wanted one fails.
        self._candidate: tuple[Slot, asyncio.Task[None]] | None = None
        self._retired: list[Slot] = []  # Those that no longer answer, the last one at the end.
        self._closing: set[asyncio.Task[None]] = set()
        self._failures: dict[int, _Failure] = {}
        self._deaths: deque[tuple[int, float]] = deque(maxlen=MOST_DEATHS)
        self._cared = -math.inf
        self._wake = asyncio.Event()
        self._changed = asyncio.Condition()

    async def __aenter__(self) -> Self:
        await self._read_pointer()
        self._loop = asyncio.create_task(self._converge_for_ever(), name="rollout")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.cancel()
        with suppress(asyncio.CancelledError):
            await self._loop
        await self._drop_candidate()
        for slot in self._loaded():
            self._end(slot)
        await asyncio.gather(*self._closing, return_exceptions=True)

    @property
    def answering(self) -> int | None:
        """The version that answers now."""
        return self._current.number if self._current and self._current.alive else None

    @property
    def wanted(self) -> int | None:
        """The version that shall answer."""
        return self._pointer.version if self._pointer else None

    @property
    def problem(self) -> Text | None:
        """Why the wanted version does not answer, if it has failed."""
        failure = self._failures.get(self._pointer.version) if self._pointer else None
        return failure.reason if failure else None

    def versions(self) -> tuple[VersionReport, ...]:
        """Every version that is in memory or on its way there, the one that answers first."""
        slots = [*self._loaded(), *([self._candidate[0]] if self._candidate else [])]
        return tuple(self._report(slot) for slot in slots)

    async def ready(self) -> Slot:
        """The version that answers, waited for while there is hope.

        Raises NoModelYetError before the first version, or ModelError where none can be started.
        """
        async with self._changed:
            await self._changed.wait_for(lambda: self.answering is not None or not self._hope())
        if self._current and self._current.alive:
            return self._current
        if self._pointer is None:
            raise NoModelYetError("Nothing has been learned yet. Add photos of at least two classes, then train.")
        raise ModelError(self.problem or Text("The model is being started again; try again in a minute."))

    def died(self) -> None:
        """What answered has died: somebody has just noticed."""
        self._wake.set()

    def _hope(self) -> bool:
        return self._candidate is not None or self._next() is not None

    async def _converge_for_ever(self) -> None:
        while True:
            try:
                await self._converge()
            except Exception:  # Whatever it was, the next photos still need a model.
                log.exception("rollout")
            with suppress(TimeoutError):
                async with asyncio.timeout(self._poll):
                    await self._wake.wait()
            self._wake.clear()

    async def _converge(self) -> None:
        await self._read_pointer()
        await self._bury()
        number = self._next()
        if self._candidate and self._candidate[0].number != number:
            await self._drop_candidate()
        if number is not None and not self._candidate:
            self._bring(number)
        if self._clock() - self._cared >= CARE_SECONDS:
            await self._look_at_memory()
        self._see_out()
        async with self._changed:
            self._changed.notify_all()

    async def _read_pointer(self) -> None:
        before, self._pointer = self._pointer, await asyncio.to_thread(self._models.served)
        if self._pointer and self._pointer != before:
            self._failures.pop(self._pointer.version, None)  # Somebody wants it, whatever happened before.

    async def _bury(self) -> None:
        """Take leave of what answered, if it has died."""
        slot = self._current
        if slot is None or slot.alive:
            return
        self._current = None
        self._end(slot)
        self._deaths.append((slot.number, self._clock()))
        DEATHS.inc()
        log.error("model server died", version=slot.number)
        recent = [at for number, at in self._deaths if number == slot.number and self._clock() - at < DEATH_SECONDS]
        if len(recent) >= MOST_DEATHS:
            self._deaths.clear()
            reason = Text(
                "Version {number} cannot go on: its process ended {count} times within {minutes:.0f} minutes.",
                number=slot.number,
                count=len(recent),
                minutes=DEATH_SECONDS / 60,
            )
            await self._give_up(slot.number, reason)

    def _next(self) -> int | None:
        """The version to bring now: the wanted one, else the one that answered last; None where all is well."""
        for number in (self._pointer.version if self._pointer else None, self._last):
            if number is None:
                continue
            if self._current and self._current.number == number and self._current.alive and not self._current.worn:
                return None
            failure = self._failures.get(number)
            if failure is None or self._clock() >= failure.until:
                return number
        return None

    def _bring(self, number: int) -> None:
        resting = next((slot for slot in self._retired if slot.number == number and slot.state is State.RESTING), None)
        if resting and resting.alive:
            self._retired.remove(resting)
            self._take_over(resting)
        else:
            slot = Slot(number, self._clock())
            task = asyncio.create_task(self._start(slot), name=f"start version {number}")
            self._candidate = slot, task
            task.add_done_callback(lambda _: self._wake.set())

    async def _start(self, slot: Slot) -> None:
        def told(state: State) -> None:
            if state is not slot.state:
                slot.go(state, self._clock())

        try:
            told(State.LOADING)
            with ExitStack() as stack:
                slot.version = await asyncio.to_thread(stack.enter_context, self._models.reading(slot.number))
                slot.server = await self._backend.start(slot.number, slot.version.folder, told)
            _check_fit(slot.version, slot.server)
        except RetrainbotError as error:
            await self._fail(slot, error.text)
        except OSError as error:
            await self._fail(slot, Text("Version {number} cannot be read ({error}).", number=slot.number, error=error))
        except Exception:
            log.exception("unexpected", version=slot.number)
            await self._fail(
                slot, Text("Version {number} cannot be started; the bot's log says more.", number=slot.number)
            )
        else:
            self._candidate = None
            self._take_over(slot)

    async def _fail(self, slot: Slot, reason: Text) -> None:
        self._candidate = None
        self._end(slot)
        current = self._current
        if current and current.alive and current.number == slot.number:  # It was only to be replaced by a fresh one.
            log.warning("version cannot be replaced by a fresh one", version=slot.number, reason=reason)
            current.worn, current.since = False, self._clock()
            return
        failure = self._failures.get(slot.number)
        attempts = failure.attempts + 1 if failure else 1
        if attempts > len(self._pauses):
            await self._give_up(slot.number, reason)
        else:
            pause = self._pauses[attempts - 1]
            self._failures[slot.number] = _Failure(reason, attempts, self._clock() + pause)
            log.error("version failed", version=slot.number, reason=reason, attempts=attempts, again_in=pause)

    async def _give_up(self, number: int, reason: Text) -> None:
        """Serve the version before this one; where there is none, try this one again after a long while."""
        self._failures[number] = _Failure(reason, len(self._pauses), self._clock() + LAST_PAUSE)
        back = await asyncio.to_thread(self._models.give_up, number, reason)
        GIVEN_UP.inc()
        log.error("version given up", version=number, reason=reason, back_to=back.version if back else None)

    def _take_over(self, new: Slot) -> None:
        old, self._current = self._current, new
        self._last = new.number
        self._failures.pop(new.number, None)
        new.go(State.SERVING, self._clock())
        SWAPS.inc()
        if old:
            old.go(State.DRAINING, self._clock())
            self._retired.append(old)
        self._wake.set()

    def _see_out(self) -> None:
        """Let those rest, or go, that no longer answer."""
        for slot in list(self._retired):
            rests = self._may_rest(slot)
            if slot.asked:
                continue
            if slot.state is State.DRAINING and rests:
                slot.go(State.RESTING, self._clock())
            elif not rests:
                self._retired.remove(slot)
                self._end(slot)

    def _may_rest(self, slot: Slot) -> bool:
        """Whether it may stay loaded: the last one that answered, for a while, where memory allows."""
        return (
            slot.alive
            and slot is self._retired[-1]
            and not slot.worn
            and self._clock() - slot.since < self._keep_warm
            and self._free_memory() >= LEAST_FREE_BYTES
        )

    def _end(self, slot: Slot) -> None:
        slot.go(State.GONE, self._clock())
        if slot.server:
            task = asyncio.create_task(slot.server.close(), name=f"close version {slot.number}")
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def _drop_candidate(self) -> None:
        """Nobody wants it any more."""
        if self._candidate:
            slot, task = self._candidate
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            if self._candidate:  # It was not ready at the last moment.
                self._candidate = None
                self._end(slot)

    async def _look_at_memory(self) -> None:
        self._cared = self._clock()
        for slot in self._loaded():
            if slot.server:
                slot.memory = await asyncio.to_thread(slot.server.memory)
        current = self._current
        if current and (current.memory or 0) > self._memory_limit and self._clock() - current.since > WORN_SECONDS:
            log.warning("version takes too much memory", version=current.number, bytes=current.memory)
            current.worn = True

    def _loaded(self) -> list[Slot]:
        return [*([self._current] if self._current else []), *self._retired]

    def _report(self, slot: Slot) -> VersionReport:
        return VersionReport(
            number=slot.number,
            state=slot.state,
            seconds=self._clock() - slot.since,
            memory_bytes=slot.memory,
            pid=slot.server.pid if slot.server else None,
        )


def _check_fit(version: Version, server: Server) -> None:
    """Raises ModelError where the network and what is written about it do not belong together."""
    if server.classes != len(version.classes):
        raise ModelError(
            "Version {number} is damaged: its labels do not fit its network. Train again or roll back.",
            number=version.number,
        )
    if server.input_size != version.manifest.input_size:
        raise ModelError(
            "Version {number} is damaged: its network takes photos of {size} pixels, and its manifest says"
            " {written}. Train again or roll back.",
            number=version.number,
            size=server.input_size,
            written=version.manifest.input_size,
        )
