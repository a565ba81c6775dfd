"""The person's side: what the app in somebody's hand would do.

Every request takes an optional `bot` (a bot's id; default: the bot that came last, or the first to come).

- ``POST /client/chats/{chat_id}/messages`` (multipart or JSON): `from_id` (default: `chat_id`), and `text`, or file
  parts `photo` or `document` (repeated: an album of 2 to 10); optional `caption` (of the first, or of the file that
  `captioned` counts from 0), `media_group_id` (a decimal string: these files join that album, of which others may
  come before and after), `reply_to_message_id`, `from_name`,
  `from_language` (an IETF tag), `message_thread_id` (a topic of a supergroup), `chat_type` (private for positive chat
  ids; group or supergroup for negative ones). Answers ``{"messages": [Message...]}``.
- ``POST /client/chats/{chat_id}/callbacks``: `from_id`, `message_id`, `data`. Answers ``{"callback_query_id"}``.
- ``GET /client/chats/{chat_id}/messages?after=ID&wait=S``: ``{"messages": [Message...]}``. With ``latest=N`` instead:
  the last N, or with ``before=ID`` too the N before that one.
- ``GET /client/chats/{chat_id}/events?after=SEQ&wait=S``: ``{"events": [Event...], "last": SEQ}``, where `last` is the
  next `after`, and an event looks as `sandbox.chat.Chat` says.
- ``GET /client/files/{file_id}``: the bytes.
- ``POST /client/faults``: one fault or a list (see `sandbox.faults`); an empty list, or ``DELETE``, takes all back.
  Both and ``GET`` answer ``{"faults": [...]}``, those still to come.

What is wrong with a request is said as 400 ``{"error": "..."}``.
"""

import asyncio
import re
from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sandbox.chat import Chat, Message
from sandbox.content import Media, is_callback_data, written
from sandbox.errors import PersonError
from sandbox.files import Upload, read_file_id
from sandbox.limits import ALBUM, PERSON_WAIT
from sandbox.methods import METHODS
from sandbox.parameters import Parameters, read_parameters
from sandbox.world import Bot, World

GROUPS = ("group", "supergroup")
_ID = re.compile(r"-?\d{1,18}", re.ASCII)


async def send(request: Request) -> Response:
    world: World = request.app.state.world
    parameters = await read_parameters(request)
    bot = _bot(world, parameters)
    contents = await _contents(Media(world.files, bot.id), parameters)
    bot = _bot(world, parameters)  # The first bot may have come while the photo was read.
    chat = world.open_chat(bot, _chat_info(world, bot, chat_id_of(request), parameters))
    reply_to = _answered(chat, parameters)
    group = _group(world, parameters, contents)
    sender = _sender(chat.info, parameters)
    topic = _topic(chat.info, parameters)
    messages = [chat.post(sender, content | group | topic, reply_to) for content in contents]
    for message in messages:
        world.deliver(bot, message)
    return JSONResponse({"messages": messages})


def _group(world: World, parameters: Parameters, contents: list[Message]) -> Message:
    """The field that makes messages one album: of the number that is asked for, or a new one where they are several."""
    wanted = parameters.text("media_group_id")
    if wanted is None:
        return {"media_group_id": world.new_id()} if len(contents) > 1 else {}
    if not (wanted.isascii() and wanted.isdecimal()):
        raise PersonError("media_group_id must be a decimal number.")
    if "text" in contents[0]:
        raise PersonError("An album is made of photos or documents, not of text.")
    return {"media_group_id": wanted}


def _bot(world: World, parameters: Parameters) -> Bot:
    """The bot that is meant, at this moment."""
    wanted = parameters.integer("bot")
    if wanted is not None and wanted <= 0:
        raise PersonError("bot is a bot's id, the number before the colon of its token.")
    return world.bot(wanted)


def chat_id_of(request: Request) -> int:
    """The chat that the address names. Raises PersonError for what is no number."""
    value: str = request.path_params["chat_id"]
    if not _ID.fullmatch(value):
        raise PersonError(f"A chat id is a number, not {value!r}.")
    return int(value)


async def _contents(media: Media, parameters: Parameters) -> list[Message]:
    """What the person sends, as the fields of one message each."""
    photos, documents = parameters.uploads("photo"), parameters.uploads("document")
    text = parameters.text("text")
    if sum(map(bool, (photos, documents, text is not None))) != 1:
        raise PersonError("Send exactly one of these: text, photo files, document files.")
    if text is not None:
        return [_spoken("text", text)]
    kind, uploads = ("photo", photos) if photos else ("document", documents)
    captioned = parameters.integer("captioned") or 0
    if not 0 <= captioned < len(uploads):
        raise PersonError(f"captioned is {captioned}; it counts the files from 0, and there are {len(uploads)}.")
    contents = await _uploaded(media, kind, uploads)
    contents[captioned] |= _spoken("caption", parameters.text("caption") or "")
    return contents


async def _uploaded(media: Media, kind: str, uploads: list[Upload]) -> list[Message]:
    if len(uploads) > ALBUM[-1]:
        raise PersonError(f"An album has at most {ALBUM[-1]} items, not {len(uploads)}.")
    return [await media.field(kind, upload) for upload in uploads]


def _spoken(name: str, source: str) -> Message:
    content = written(name, source.replace("\r\n", "\n"), [])  # So a browser's form ends lines.
    if name == "text" and not content:
        raise PersonError("The text is empty.")
    return content


def _chat_info(world: World, bot: Bot, chat_id: int, parameters: Parameters) -> dict[str, Any]:
    known = world.chat(bot, chat_id)
    kind = parameters.text("chat_type") or (known.info["type"] if known else None)
    kind = kind or ("private" if chat_id > 0 else "group")
    if kind not in {"private", *GROUPS}:
        raise PersonError(f"chat_type is {kind!r}; it can be private, group or supergroup.")
    if chat_id == 0 or (kind == "private") != (chat_id > 0):
        raise PersonError("A private chat has a positive chat id, a group a negative one.")
    if kind == "private":
        return {"id": chat_id, "type": kind, "first_name": _name(parameters)}
    return {"id": chat_id, "type": kind, "title": f"Group {-chat_id}"}


def _sender(chat: dict[str, Any], parameters: Parameters) -> dict[str, Any]:
    """The Bot API's User."""
    from_id = parameters.integer("from_id")
    if from_id is None:
        if chat["type"] != "private":
            raise PersonError("Say who speaks in the group: from_id is missing.")
        from_id = int(chat["id"])
    if from_id <= 0:
        raise PersonError("from_id must be a positive number.")
    language = parameters.text("from_language")
    spoken = {"language_code": language} if language else {}
    return {"id": from_id, "is_bot": False, "first_name": _name(parameters), **spoken}


def _topic(chat: dict[str, Any], parameters: Parameters) -> Message:
    thread = parameters.integer("message_thread_id")
    if thread is None:
        return {}
    if chat["type"] != "supergroup":
        raise PersonError("Only supergroups have topics.")
    return {"message_thread_id": thread, "is_topic_message": True}


def _name(parameters: Parameters) -> str:
    return parameters.text("from_name") or "Person"


def _answered(chat: Chat, parameters: Parameters) -> int | None:
    wanted = parameters.integer("reply_to_message_id")
    if wanted is not None and chat.get(wanted) is None:
        raise PersonError(f"There is no message {wanted} in this chat to reply to.")
    return wanted


async def tap(request: Request) -> Response:
    world: World = request.app.state.world
    parameters = await read_parameters(request)
    bot = _bot(world, parameters)
    chat = world.chat(bot, chat_id_of(request))
    message_id = parameters.required_integer("message_id")
    message = chat.get(message_id) if chat else None
    if chat is None or message is None or not message["from"]["is_bot"]:
        raise PersonError(f"There is no message {message_id} of the bot in this chat.")
    data = parameters.text("data")
    if not is_callback_data(data):
        raise PersonError("data must be text of 1 to 64 bytes.")
    query_id = world.tap(bot, chat, message_id, _sender(chat.info, parameters), str(data))
    return JSONResponse({"callback_query_id": query_id})


async def messages(request: Request) -> Response:
    latest = Parameters(request.query_params, []).integer("latest")
    found = (await _newer(request, Chat.messages))[0] if latest is None else _latest(request, latest)
    return JSONResponse({"messages": found})


def _latest(request: Request, count: int) -> list[Message]:
    world: World = request.app.state.world
    parameters = Parameters(request.query_params, [])
    chat = world.chat(_bot(world, parameters), chat_id_of(request))
    return chat.latest(max(count, 0), parameters.integer("before")) if chat else []


async def events(request: Request) -> Response:
    found, after = await _newer(request, Chat.events)
    return JSONResponse({"events": found, "last": found[-1]["seq"] if found else after})


async def _newer(
    request: Request, look: Callable[[Chat, int], list[dict[str, Any]]]
) -> tuple[list[dict[str, Any]], int]:
    """What `look` finds in the chat after the asked number, waiting as long as asked; and that number."""
    world: World = request.app.state.world
    parameters = Parameters(request.query_params, [])
    after = parameters.integer("after") or 0
    chat_id = chat_id_of(request)

    def found() -> list[dict[str, Any]]:
        chat = world.chat(_bot(world, parameters), chat_id)
        return look(chat, after) if chat else []

    wait = parameters.number("wait") or 0
    return await world.bell.until(found, min(max(wait, 0), PERSON_WAIT)), after


async def file(request: Request) -> Response:
    """A file of any bot. A browser is told to run nothing in it."""
    world: World = request.app.state.world
    parts = read_file_id(request.path_params["file_id"])
    stored = world.files.get(parts[1]) if parts else None
    if stored is None:
        raise PersonError("There is no file of that id.")
    content = await asyncio.to_thread(world.files.read, stored)
    safe = {"x-content-type-options": "nosniff", "content-security-policy": "default-src 'none'; sandbox"}
    kept = {"cache-control": "private, max-age=86400, immutable"}  # An id names its bytes.
    return Response(content, media_type=stored.mime_type, headers=safe | kept)


async def faults(request: Request) -> Response:
    coming = request.app.state.world.faults
    if request.method == "DELETE":
        coming.clear()
    elif request.method == "POST":
        coming.script(await _json(request), frozenset(METHODS))
    return JSONResponse({"faults": coming.coming()})


async def _json(request: Request) -> Any:
    try:
        return await request.json()
    except ValueError as error:
        raise PersonError("The body is not JSON.") from error
