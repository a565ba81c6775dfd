"""A person with a phone, for scripts: speaks the person's side of a running sandbox and nothing else of it."""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import httpx

_STEP = 5.0  # seconds, the longest single wait at the server
_REQUEST = 120.0  # seconds, for one request


class RefusedError(Exception):
    """The sandbox refused a request of the person's side; the message is its reason."""


class Person:
    """One person in one chat; use it in ``async with``, or call `close`.

    Messages are Bot API objects as dicts. `chat_id` is also the person's id unless `person_id` says otherwise, as
    in a group. `chat_type` makes a new chat a supergroup; without, negative ids are groups. `language` is that of the
    person's app, as an IETF tag; `thread` is the topic of a supergroup. `bot` picks a bot by id; without, the one that
    came last. `transport` replaces the network.
    """

    def __init__(
        self,
        url: str,
        chat_id: int,
        name: str = "Ada",
        *,
        person_id: int | None = None,
        chat_type: str | None = None,
        language: str | None = None,
        thread: int | None = None,
        bot: int | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.chat_id = chat_id
        self._who: dict[str, Any] = {"from_id": person_id or chat_id, "from_name": name}
        if language:
            self._who["from_language"] = language
        self._thread = thread
        self._kind = chat_type
        self._bot: dict[str, Any] = {} if bot is None else {"bot": bot}
        self._client = httpx.AsyncClient(base_url=url, timeout=_REQUEST, transport=transport, trust_env=False)
        self._heard: list[dict[str, Any]] = []
        self._last = 0
        self._noticed = 0
        self._listening = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._client.aclose()

    async def say(self, text: str, reply_to: int | None = None) -> dict[str, Any]:
        """Send text; returns the message."""
        return (await self._send([], text=text, reply_to_message_id=reply_to))[0]

    async def photo(
        self, content: bytes, caption: str | None = None, reply_to: int | None = None, album: str | None = None
    ) -> dict[str, Any]:
        """Send a photo; returns the message. `album`, a decimal string, is the album that it joins."""
        parts = [("photo", ("photo.jpg", content))]
        return (await self._send(parts, caption=caption, reply_to_message_id=reply_to, media_group_id=album))[0]

    async def album(
        self, contents: list[bytes], caption: str | None = None, captioned: int = 0
    ) -> list[dict[str, Any]]:
        """Send 2 to 10 photos as one album, the caption on that photo, counted from 0; returns the messages."""
        parts = [("photo", ("photo.jpg", content)) for content in contents]
        return await self._send(parts, caption=caption, captioned=captioned)

    async def document(self, content: bytes, filename: str, caption: str | None = None) -> dict[str, Any]:
        """Send a file as it is; returns the message."""
        return (await self._send([("document", (filename, content))], caption=caption))[0]

    async def tap(self, message_id: int, data: str) -> str:
        """Tap the button with that callback data; returns the id of the callback query."""
        body = {**self._who, **self._bot, "message_id": message_id, "data": data}
        response = await self._client.post(f"/client/chats/{self.chat_id}/callbacks", json=body)
        return str(_checked(response)["callback_query_id"])

    async def events(self, after: int = 0, wait: float = 0) -> list[dict[str, Any]]:
        """The chat's events with a number above `after`; waits up to `wait` seconds for the first."""
        query = {**self._bot, "after": after, "wait": wait}
        response = await self._client.get(f"/client/chats/{self.chat_id}/events", params=query)
        return list(_checked(response)["events"])

    async def file(self, file_id: str) -> bytes:
        """The bytes of a file in a message."""
        response = await self._client.get(f"/client/files/{file_id}")
        if response.is_error:
            _checked(response)
        return response.content

    async def wait_for(
        self,
        predicate: Callable[[dict[str, Any]], bool],
        timeout: float = 30,  # noqa: ASYNC109
    ) -> dict[str, Any]:
        """The bot's next message, new or edited, for which `predicate` is true; the next call goes on behind it.

        Raises TimeoutError after `timeout` seconds.
        """
        place, message = await self._find(predicate, self._noticed, timeout, "no message of the bot as expected")
        self._noticed = max(self._noticed, place + 1)
        return message

    async def reply_to(
        self,
        message_id: int,
        timeout: float = 30,  # noqa: ASYNC109
        where: Callable[[dict[str, Any]], bool] = lambda _: True,
    ) -> dict[str, Any]:
        """The bot's message that replies to `message_id`, in the first version for which `where` is true.

        Looks from the chat's beginning, so several may wait at once. Raises TimeoutError after `timeout` seconds.
        """

        def answers(message: dict[str, Any]) -> bool:
            return message.get("reply_to_message", {}).get("message_id") == message_id and where(message)

        _, message = await self._find(answers, 0, timeout, f"no reply of the bot to message {message_id} as expected")
        return message

    async def _find(
        self,
        predicate: Callable[[dict[str, Any]], bool],
        start: int,
        timeout: float,  # noqa: ASYNC109
        missing: str,
    ) -> tuple[int, dict[str, Any]]:
        """The first of the bot's messages from number `start` on that fits, with its number."""
        place = start
        try:
            async with asyncio.timeout(timeout):
                while True:
                    while place < len(self._heard):
                        if predicate(self._heard[place]):
                            return place, self._heard[place]
                        place += 1
                    await self._listen(min(_STEP, timeout))
        except TimeoutError as error:
            last = self._heard[-1] if self._heard else {}
            words = last.get("text") or last.get("caption") or "nothing"
            raise TimeoutError(
                f"After {timeout:g} s: {missing} in chat {self.chat_id}. Last heard: {words!r}"
            ) from error

    async def _listen(self, wait: float) -> None:
        """Take in what came since. However many wait, one asks the server and all hear."""
        known = len(self._heard)
        async with self._listening:
            if len(self._heard) > known:
                return
            for event in await self.events(self._last, wait):
                self._last = event["seq"]
                if event["type"] in {"sent", "edited"} and event["message"]["from"]["is_bot"]:
                    self._heard.append(event["message"])

    async def _send(self, files: list[tuple[str, tuple[str, bytes]]], **fields: Any) -> list[dict[str, Any]]:
        fields = {**self._who, **self._bot, "chat_type": self._kind, "message_thread_id": self._thread, **fields}
        data = {key: value for key, value in fields.items() if value is not None}
        response = await self._client.post(f"/client/chats/{self.chat_id}/messages", data=data, files=files)
        return list(_checked(response)["messages"])


def _checked(response: httpx.Response) -> dict[str, Any]:
    if response.is_error:
        body = response.json() if "json" in response.headers.get("content-type", "") else {}
        raise RefusedError(body.get("error", f"HTTP {response.status_code}"))
    return dict(response.json())
