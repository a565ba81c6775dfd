"""Who may do what: the table of docs/people.md against a running bot, and /people itself."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from conftest import ADA, STRANGER, Chat, Painter, buttons, until
from sqlalchemy import func, select
from structlog.testing import capture_logs
from telegram import Update

from bot.access import CLOSED, NEEDED, Access, refused
from bot.buttons import STALE, USED, Buttons, data
from bot.replies import COMMANDS
from sandbox.client import Person
from storage.people import Role
from storage.tables import ActRow, InboxRow

PAGE = (Path(__file__).parent.parent / "docs" / "people.md").read_text("utf-8")
PRIVATE, AT_WORK, OTHER = "In a private chat", "In a group where the bot works", "In any other group"
ROLES = MappingProxyType({"stranger": STRANGER, "viewer": 3001, "labeller": 3002, "admin": 3003})
NO = re.compile(
    "|".join(re.escape(refused(7, role, act)).replace("7", r"\d+") for role in (None, *Role) for act in NEEDED)
)
MOST_ROWS = 12  # And each has a few messages to begin with.
LABEL = {"photos": [], "names": ["rose"], "ids": [None], "album": None, "settle": False, "sure": True}


@dataclass
class Room:
    """A chat in which one person sends everything. `photo` is a message with a photo there, `ours` the bot's answer."""

    bot: Chat
    person: Person
    user: int
    ours: int
    photo: int
    paint: Painter
    sent: dict[str, list[list[int] | str]] = field(default_factory=dict)  # By row: messages, or the id of a tap.

    async def say(self, row: str, *texts: str, reply_to: int | None = None) -> None:
        for text in texts:
            message = await self.person.say(text, reply_to)
            self.sent.setdefault(row, []).append([message["message_id"]])

    async def show(self, row: str, caption: str | None = None, count: int = 1) -> None:
        contents = [self.paint("red") for _ in range(count)]
        if count == 1:
            messages = [await self.person.photo(contents[0], caption)]
        else:
            messages = await self.person.album(contents, caption)
        self.sent.setdefault(row, []).append([message["message_id"] for message in messages])

    async def tap(self, row: str, text: str) -> None:
        self.sent.setdefault(row, []).append(await self.person.tap(self.ours, text))

    def offer(self, what: str, content: dict[str, Any], choice: int = 0, key: str | None = None) -> str:
        """What a button of the bot in this chat sends back; with a key, one that was used."""
        offers = self.bot.service.stores.offers
        number = offers.make(self.person.chat_id, what, content)
        if key:
            offers.use(number, key)
        return data(number, choice, self.person.chat_id, offers.secret())

    @property
    def name(self) -> str:
        return f"@{self.bot.service.application.bot.username}"

    @property
    def updates(self) -> int:
        return sum(len(item) if isinstance(item, list) else 1 for row in self.sent.values() for item in row)


def tables() -> dict[str, dict[str, dict[str, str]]]:
    """The cells of the page by place, row and role."""
    found: dict[str, dict[str, dict[str, str]]] = {}
    for part in PAGE.split("\n### ")[1:]:
        title, *lines = part.splitlines()
        cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
        found[title] = {row: dict(zip(cells[0][1:], values, strict=True)) for row, *values in cells[2:]}
    return found


def commands(row: str) -> list[str]:
    """The commands that a row of the table is about."""
    return re.findall(r"`(/[a-z]+)`", row) if row.startswith("`") and "reply" not in row else []


async def send(room: Room, row: str) -> None:
    """Send what a row of the table speaks of."""
    if commands(row):
        await room.say(row, *commands(row))
    else:
        await SENDING[row](room, row)


def tapping(
    what: str, content: dict[str, Any], choice: int = 0, key: str | None = None
) -> Callable[[Room, str], Awaitable[None]]:
    return lambda room, row: room.tap(row, room.offer(what, content, choice, key))


def mentioning(words: str = "", count: int = 1) -> Callable[[Room, str], Awaitable[None]]:
    return lambda room, row: room.show(row, f"{room.name} {words}".strip(), count)


async def tap_own(room: Room, row: str) -> None:
    await room.tap(row, room.offer("withdraw", {"withdraw": f"telegram:{room.user}"}, choice=1))


async def tap_of_another_chat(room: Room, row: str) -> None:
    offers = room.bot.service.stores.offers
    number = offers.make(999, "label", LABEL)
    await room.tap(row, data(number, 0, 999, offers.secret()))


async def tap_made_up(room: Room, row: str) -> None:
    number = room.bot.service.stores.offers.make(
        room.person.chat_id, "people", {"person": room.user, "does": ["admin"]}
    )
    for text in (data(number, 0, room.person.chat_id, bytes(32)), "people:1:admin", "undo:1", "A" * 32, "🌼" * 16):
        await room.tap(row, text)


SENDING: dict[str, Callable[[Room, str], Awaitable[None]]] = {
    "other words": lambda room, row: room.say(row, "hello"),
    "an unknown command": lambda room, row: room.say(row, "/nonsense"),
    "a command to another bot": lambda room, row: room.say(row, "/status@other_bot"),
    "a photo": lambda room, row: room.show(row),
    "a photo with a question": lambda room, row: room.show(row, "what is this?"),
    "an album": lambda room, row: room.show(row, count=2),
    "a photo with a class": lambda room, row: room.show(row, "rose"),
    "an album with a class": lambda room, row: room.show(row, "rose", count=2),
    "a photo with a #class": lambda room, row: room.show(row, "#rose"),
    "an album with a #class": lambda room, row: room.show(row, "#rose", count=2),
    "a photo with a mention of the bot": mentioning(),
    "an album with a mention of the bot": mentioning(count=2),
    "a photo with a mention and a question": mentioning("what is this?"),
    "a photo with a mention and a class": mentioning("rose"),
    "a question with a mention, in reply to a photo": lambda room, row: room.say(
        row, f"{room.name} what is this?", reply_to=room.photo
    ),
    "a class, in reply to a photo": lambda room, row: room.say(row, "rose", reply_to=room.photo),
    "a class, in reply to a message of the bot": lambda room, row: room.say(row, "rose", reply_to=room.ours),
    "a class, in reply to a message of somebody else": lambda room, row: room.say(row, "rose", reply_to=room.photo),
    "`/label` in reply to a photo": lambda room, row: room.say(row, "/label rose", reply_to=room.photo),
    "a tap on a class": tapping("label", LABEL),
    "a tap on “Undo”": tapping("undo", {"act": 1}),
    "a tap on “Undo” of what only admins do": tapping("undo", {"act": 1, "needs": "rename"}),
    "a tap on “Yes” to `/withdraw`": tap_own,
    "a tap on “Yes” to somebody else's `/withdraw`": tapping("withdraw", {"withdraw": "telegram:1"}, choice=1),
    "a tap on “Yes” to `/delete`": tapping("delete", {"delete": "rose"}, choice=1),
    "a tap on a button of `/people`": tapping("people", {"person": 77, "does": ["leave"]}),
    "a tap that came before": tapping("label", LABEL, key="another tap"),
    "a button of another chat": tap_of_another_chat,
    "a button that somebody made up": tap_made_up,
}


async def open_room(stack: AsyncExitStack, bot: Chat, place: str, role: str, number: int, paint: Painter) -> Room:
    """A chat with a photo in it and the bot's answer to it."""
    user = ROLES[role]
    chat = user if place == PRIVATE else -1000 - number
    person = await stack.enter_async_context(Person(bot.url, chat, role, person_id=user))
    host = person if place == PRIVATE else await stack.enter_async_context(Person(bot.url, chat, person_id=ADA))
    if place != PRIVATE:
        await host.reply_to((await host.say("/people here"))["message_id"])
    photo = await host.photo(paint("blue"), None if place == PRIVATE else f"@{bot.service.application.bot.username}")
    ours = await host.reply_to(photo["message_id"])
    if place == OTHER:
        await host.reply_to((await host.say("/people not here"))["message_id"])
    return Room(bot, person, user, ours["message_id"], photo["message_id"], paint)


async def outcomes(room: Room) -> dict[str, set[str]]:
    """What came of each row."""
    replies: dict[Any, str] = {}
    for event in await room.person.events():
        message = event.get("message", {})
        if event["type"] == "sent" and message["from"]["is_bot"] and "reply_to_message" in message:
            replies[message["reply_to_message"]["message_id"]] = message.get("text", "")
        if event["type"] == "callback_answered":
            replies[event["callback_query_id"]] = event["text"] or ""
    return {row: {_outcome(item, replies) for item in items} for row, items in room.sent.items()}


def _outcome(item: list[int] | str, replies: dict[Any, str]) -> str:
    said = [replies[one] for one in ([item] if isinstance(item, str) else item) if one in replies]
    if not said:
        return "–"
    words: dict[str, str] = {STALE: "old", USED: "used", CLOSED: "no"}
    return words.get(said[0], "no" if NO.fullmatch(said[0]) else "yes")


def inbox(chat: Chat) -> tuple[int, int]:
    """How many updates have come, and how many of them were worked."""
    with chat.service.stores.database.read() as session:
        came, worked = session.execute(select(func.count(InboxRow.chat), func.count(InboxRow.done_at))).one()
    return came, worked


def test_the_table_is_complete() -> None:
    """The page has a row for every command, for every act that needs a role, and for every kind of button."""
    assert list(tables()) == [PRIVATE, AT_WORK, OTHER]
    named = {name for table in tables().values() for row in table for name in commands(row)}
    for table in tables().values():
        assert set(COMMANDS) <= {name.removeprefix("/") for row in table for name in re.findall(r"/[a-z]+", row)}
        assert {row for row in table if not commands(row)} <= set(SENDING)
        assert all(list(cells) == list(ROLES) for cells in table.values())
    assert {name.removeprefix("/") for name in named} - {"start"} == set(COMMANDS) - {"label"}
    assert set(COMMANDS) <= set(NEEDED)


async def test_the_table_is_what_happens(chat: Chat, paint: Painter) -> None:
    """Whoever sends whatever in whichever chat, what comes of it is what the page says; refusals are logged."""
    people, expected = chat.service.stores.people, tables()
    for given in Role:
        people.let_in(ROLES[given], given, given, "test")
    everybody = people.all()
    async with AsyncExitStack() as stack:
        parts = [
            (place, role, rows) for place, table in expected.items() for role in ROLES for rows in split(place, table)
        ]
        rooms = await asyncio.gather(
            *(open_room(stack, chat, place, role, number, paint) for number, (place, role, _) in enumerate(parts))
        )
        before, _ = inbox(chat)
        with capture_logs() as logs:
            await asyncio.gather(*(send_all(room, rows) for room, (_, _, rows) in zip(rooms, parts, strict=True)))
            total = before + sum(room.updates for room in rooms)
            await until(lambda: inbox(chat) == (total, total))
        for room, (place, role, rows) in zip(rooms, parts, strict=True):
            assert await outcomes(room) == {row: {expected[place][row][role]} for row in rows}, (place, role)
    refusals = [entry for entry in logs if entry["event"] == "refused"]
    assert {entry["user"] for entry in refusals} == set(ROLES.values())
    assert all(entry["act"] in NEEDED and entry["chat"] for entry in refusals)
    assert people.all() == everybody
    assert acting(chat) == {f"telegram:{ROLES[role]}" for role in ("labeller", "admin")}


def split(place: str, rows: Iterable[str]) -> list[list[str]]:
    """Rows for one room each: Telegram takes only so many messages a minute in one group."""
    if place != AT_WORK:
        return [list(rows)]
    rooms: list[list[str]] = [[]]
    for row in rows:
        if sum(max(1, len(commands(other))) for other in [*rooms[-1], row]) > MOST_ROWS:
            rooms.append([])
        rooms[-1].append(row)
    return rooms


async def send_all(room: Room, rows: Iterable[str]) -> None:
    for row in rows:
        await send(room, row)


def acting(chat: Chat) -> set[str]:
    """Whoever changed anything about photos."""
    with chat.service.stores.database.read() as session:
        return set(session.scalars(select(ActRow.by)))


async def answer(person: Person, text: str, reply_to: int | None = None) -> dict[str, Any]:
    """The bot's reply to these words."""
    return await person.reply_to((await person.say(text, reply_to))["message_id"])


async def test_people_are_let_in_by_command(chat: Chat) -> None:
    """/people lets in, changes and puts out; the list shows everybody, however their names are written."""
    ada = chat.person
    text = (await answer(ada, "/people add 2002 Labeller <b>Eve</b> &amp; co"))["text"]
    assert text == "<b>Eve</b> &amp; co (2002): labeller from now on."
    assert (await answer(ada, "/people add 2002 viewer"))["text"].startswith("<b>Eve</b> &amp; co (2002): viewer")
    lines = (await answer(ada, "/people"))["text"].splitlines()
    assert lines[:2] == [f"{ADA}: owner, gave 0 photos", "<b>Eve</b> &amp; co (2002): viewer, gave 0 photos"]
    assert (await answer(ada, "/people remove 2002"))["text"] == "2002 is not let in, gave 0 photos"
    assert chat.service.stores.people.role(2002) is None


async def test_people_explains_itself(chat: Chat) -> None:
    """What cannot be done is said in words, and changes nothing."""
    for text, words in {
        "/people add 2002 king": "“king” is not a role.",
        "/people add bob viewer": "“bob” is not a person's id.",
        "/people add -5 viewer": "“-5” is not a person's id.",
        "/people add 99999999999999999999 viewer": "is not a person's id.",
        f"/people add {ADA} viewer": "is an owner",
        f"/people remove {ADA}": "is an owner",
        "/people remove 2002": "Nobody with the id 2002",
        "/people here": "in a group only",
        "/people what is this": "To let somebody in",
        "/people <b>": "“<b>” is not a person's id.",
    }.items():
        assert words in (await answer(chat.person, text))["text"]
    assert [person.id for person in chat.service.stores.people.all()] == [ADA]


async def test_people_are_let_in_where_they_speak(chat: Chat) -> None:
    """In a group an admin answers somebody's message with a role; the group is in the list then. Bots stay out."""
    group = -77
    async with Person(chat.url, group, person_id=ADA) as ada, Person(chat.url, group, "Bob", person_id=3001) as bob:
        opened = await answer(ada, "/people here")
        said = await bob.say("hello everybody")
        text = (await answer(ada, "/people labeller", reply_to=said["message_id"]))["text"]
        assert text == "Bob (3001): labeller from now on."
        assert "only people" in (await answer(ada, "/people admin", reply_to=opened["message_id"]))["text"]
        assert (await answer(bob, "/status"))["text"]
    assert "Group 77 (-77)" in (await answer(chat.person, "/people"))["text"]


async def test_one_person_is_changed_by_buttons(chat: Chat, paint: Painter) -> None:
    """The card of a person has a button for whatever can be changed, and shows what has been."""
    people, ada = chat.service.stores.people, chat.person
    people.let_in(3001, "Bob", Role.VIEWER, "test")
    card = await answer(ada, "/people 3001")
    assert list(buttons(card)) == ["Labeller", "Admin", "Put out"]
    await ada.tap(card["message_id"], buttons(card)["Labeller"])
    card = await ada.wait_for(lambda message: "labeller" in message["text"])
    await ada.tap(card["message_id"], buttons(card)["Put out"])
    card = await ada.wait_for(lambda message: "not let in" in message["text"])
    assert list(buttons(card)) == ["Viewer", "Labeller", "Admin"]
    assert people.role(3001) is None
    assert buttons(await answer(ada, f"/people {ADA}")) == {}


async def test_the_photos_of_one_person_are_taken_out(chat: Chat, paint: Painter) -> None:
    """All that somebody gave is taken out together after a question, and comes back together."""
    photos, ada = chat.service.stores.photos, chat.person
    chat.service.stores.people.let_in(3001, "Bob", Role.LABELLER, "test")
    async with Person(chat.url, 3001, "Bob") as bob:
        for caption in ("rose", "rose", "tulip"):
            await bob.reply_to((await bob.photo(paint("red"), caption))["message_id"])
    await ada.reply_to((await ada.photo(paint("red"), "rose"))["message_id"])
    card = await answer(ada, "/people 3001")
    assert card["text"].splitlines() == ["Bob (3001): labeller, gave 3 photos", "rose: 2 photos", "tulip: 1 photo"]
    await ada.tap(card["message_id"], buttons(card)["Take out their photos"])
    asked = await ada.wait_for(lambda message: "3 photos?" in message["text"])
    await ada.tap(asked["message_id"], buttons(asked)["Yes"])
    done = await ada.wait_for(lambda message: "taken out" in message["text"])
    assert {item.name: item.photos for item in photos.classes()} == {"rose": 1}
    await ada.tap(done["message_id"], buttons(done)["↩ Undo"])
    await ada.wait_for(lambda message: "back in" in message["text"])
    assert {item.name: item.photos for item in photos.classes()} == {"rose": 3, "tulip": 1}


async def test_long_lists_of_people_are_whole(chat: Chat) -> None:
    """Everybody is listed, on as many pages as it takes."""
    people = chat.service.stores.people
    for number in range(2000, 2100):
        people.let_in(number, f"Somebody with quite a long name, and a number {number}", Role.VIEWER, "test")
    said = await chat.person.say("/people")
    await chat.person.reply_to(said["message_id"], where=lambda message: "To let somebody in" in message["text"])
    texts = [event["message"].get("text", "") for event in await chat.person.events() if event["type"] == "sent"]
    assert all(any(f"a number {number} ({number}): viewer" in text for text in texts) for number in range(2000, 2100))


async def test_a_command_is_what_the_handlers_take_for_one(chat: Chat, paint: Painter) -> None:
    """However a command is written, whoever may not use it is refused; what only looks like one is a class."""
    people = chat.service.stores.people
    people.let_in(3001, "Vi", Role.VIEWER, "test")
    async with Person(chat.url, 3001, "Vi") as viewer:
        for text in ("/people, add 3001 admin", "/people! add 3001 admin", "/PEOPLE@ add 3001 admin"):
            await answer(viewer, text)
        photo = await viewer.photo(paint("red"))
        for text in ("/été #rose", "/été, rose"):
            assert NO.fullmatch((await answer(viewer, text, reply_to=photo["message_id"]))["text"])
    assert people.role(3001) is Role.VIEWER
    assert chat.service.stores.photos.classes() == []


async def test_a_film_opens_no_door(chat: Chat, paint: Painter) -> None:
    """An album that begins with something else than a photo is judged by its photos."""
    chat.service.stores.people.let_in(3001, "Vi", Role.VIEWER, "test")
    film = {
        "message_id": 1,
        "date": 1,
        "chat": {"id": 3001, "type": "private"},
        "from": {"id": 3001, "is_bot": False, "first_name": "Vi"},
    }
    kind = {"file_id": "f", "file_unique_id": "u", "width": 9, "height": 9, "duration": 1}
    size = {"file_id": "p", "file_unique_id": "q", "width": 9, "height": 9}
    updates = [
        Update.de_json({"update_id": 1, "message": {**film, "media_group_id": "5", "video": kind}}, None),
        Update.de_json(
            {"update_id": 2, "message": {**film, "media_group_id": "5", "photo": [size], "caption": "rose"}}, None
        ),
    ]
    access = Access(chat.service.stores.people, chat.service.stores.chats, Buttons(chat.service.stores.offers))
    assert await access.refusal(updates)
