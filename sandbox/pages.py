"""The web chat: its page, and what the page asks for beyond the person's side.

- ``GET /``: the page; ``GET /web/{path}``: its parts.
- ``GET /client/world``: ``{"world", "last", "bots": [User...], "people": [User...], "chats": [{"bot", "chat",
  "last_message", "keyboard"}...], "guide"}``. `world` names this sandbox's memory, so that a page can tell another
  one; `last` is the number of the latest event; `keyboard` is the reply keyboard shown last, or its removal; `guide`
  is `sandbox.guide.Guide`, its samples as [{"name", "files": [path...]}] or null.
- ``GET /client/stream?after=SEQ``: server-sent events. First one called ``world``, with the same `world` and how many
  `bots` have come; then every event of every chat, as `sandbox.chat.Chat` says, with `bot` and `chat_id`, its number
  being its id; and one called ``bots`` whenever another bot has come.
- ``GET /client/chats/{chat_id}/commands?bot=ID&from_id=ID&from_language=TAG``: ``{"commands": [BotCommand...]}``.
- ``GET /client/samples/{path}``: the bytes of a sample photo.
"""

import json
from collections.abc import AsyncIterator
from dataclasses import asdict
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse

from sandbox.chat import Chat
from sandbox.guide import Guide
from sandbox.menu import commands
from sandbox.parameters import Parameters
from sandbox.person import chat_id_of
from sandbox.world import NOBODY, World

FOLDER = Path(__file__).parent / "web"
HEARTBEAT = 15.0  # seconds of silence after which a stream says that it lives
NUMBER = 18  # digits that an event's number has at most
RETRY = 500  # milliseconds after which a browser connects again
SAMPLES = frozenset({".jpg", ".png", ".webp"})

# Nothing but the page's own scripts runs, and no text becomes markup (Trusted Types), whatever a chat may hold.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "media-src 'self' blob:; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}


async def index(request: Request) -> Response:
    del request
    return FileResponse(FOLDER / "index.html", headers=_HEADERS)


async def part(request: Request) -> Response:
    return FileResponse(_below(FOLDER, request.path_params["path"]), headers=_HEADERS)


async def sample(request: Request) -> Response:
    guide: Guide = request.app.state.guide
    if guide.samples is None:
        raise HTTPException(HTTPStatus.NOT_FOUND)
    path = _below(guide.samples, request.path_params["path"])
    if path.suffix not in SAMPLES:
        raise HTTPException(HTTPStatus.NOT_FOUND)
    return FileResponse(path, headers={"x-content-type-options": "nosniff"})


def _below(folder: Path, path: str) -> Path:
    """That file of the folder. Raises HTTPException for one that is not there, or not below it."""
    found = (folder / path).resolve()
    if not (found.is_relative_to(folder.resolve()) and found.is_file()):
        raise HTTPException(HTTPStatus.NOT_FOUND)
    return found


async def world(request: Request) -> Response:
    here: World = request.app.state.world
    guide: Guide = request.app.state.guide
    return JSONResponse(
        {
            "world": here.id,
            "last": here.last_event(),
            "bots": [bot.user() for bot in here.callers()],
            "people": here.people(),
            "chats": [
                {
                    "bot": bot_id,
                    "chat": chat.info,
                    "last_message": next(iter(chat.latest(1)), None),
                    "keyboard": _keyboard(chat),
                }
                for (bot_id, _), chat in here.chats.items()
                if bot_id != NOBODY
            ],
            "guide": {
                "people": [{"id": person, "first_name": name} for person, name in guide.people],
                "steps": [asdict(step) for step in guide.steps],
                "samples": _samples(guide.samples),
            },
        }
    )


def _keyboard(chat: Chat) -> dict[str, Any] | None:
    """The reply keyboard that was shown last, or its removal."""
    shown = (event["reply_markup"] for event in reversed(chat.history) if event["type"] == "keyboard")
    return next(shown, None)


def _samples(folder: Path | None) -> list[dict[str, Any]] | None:
    if folder is None:
        return None
    groups: dict[str, list[str]] = {}
    for path in sorted(folder.glob("*/*")):
        if path.suffix in SAMPLES:
            groups.setdefault(path.parent.name, []).append(f"{path.parent.name}/{path.name}")
    return [{"name": name, "files": files} for name, files in groups.items()]


async def menu(request: Request) -> Response:
    here: World = request.app.state.world
    parameters = Parameters(request.query_params, [])
    bot = here.bot(parameters.integer("bot"))
    chat_id = chat_id_of(request)
    person = parameters.integer("from_id") or chat_id
    language = (parameters.text("from_language") or "").partition("-")[0]
    return JSONResponse({"commands": commands(bot, here.chat(bot, chat_id), chat_id, person, language)})


async def stream(request: Request) -> Response:
    after = request.headers.get("last-event-id") or request.query_params.get("after") or "0"
    if not after.isdecimal() or len(after) > NUMBER:
        raise HTTPException(HTTPStatus.BAD_REQUEST, "after is the number of an event.")
    return StreamingResponse(
        _events(request.app.state.world, int(after)),
        media_type="text/event-stream",
        headers={"cache-control": "no-store"},
    )


async def _events(here: World, after: int) -> AsyncIterator[str]:
    known = len(here.callers())
    yield f"retry: {RETRY}\n" + _event({"world": here.id, "bots": known}, kind="world")
    while not here.bell.closed:
        news = await here.bell.until(partial(_news, here, after, known), HEARTBEAT)
        for event in news:
            if "seq" in event:
                after = event["seq"]
                yield _event(event, number=after)
            else:
                known = event["bots"]
                yield _event(event, kind="bots")
        if not (news or here.bell.closed):
            yield ": here\n\n"


def _news(here: World, after: int, known: int) -> list[dict[str, Any]]:
    """The events after that number; and how many bots there are, where that is more than `known`."""
    count = len(here.callers())
    return ([{"bots": count}] if count > known else []) + here.events(after)


def _event(data: dict[str, Any], *, kind: str = "", number: int | None = None) -> str:
    """One event of https://html.spec.whatwg.org/multipage/server-sent-events.html; JSON holds no line break."""
    head = (f"event: {kind}\n" if kind else "") + ("" if number is None else f"id: {number}\n")
    return f"{head}data: {json.dumps(data)}\n\n"
