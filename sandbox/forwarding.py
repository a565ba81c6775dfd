"""Bot API methods that bring a message into a chat once more: forwarded, with its origin, or copied, without."""

from typing import Any

from sandbox.call import Call, Result
from sandbox.chat import Message
from sandbox.content import KINDS
from sandbox.errors import BadRequestError

_CONTENT = ("text", "entities", "caption", "caption_entities", "has_media_spoiler", "show_caption_above_media", *KINDS)
_CAPTION = ("caption", "caption_entities", "show_caption_above_media")


async def forward_message(call: Call) -> Result:
    return call.post(_forwarded(_source(call, "forward")))


async def forward_messages(call: Call) -> Result:
    return [_numbered(call.post(content)) for content in _contents(call, "forward")]


async def copy_message(call: Call) -> Result:
    """Copy one message, with another caption where the call has one."""
    content = _copied(_source(call, "copy"))
    if call.parameters.has("caption") and "text" not in content:
        content = _without(content, _CAPTION) | call.formatted("caption")
    return _numbered(call.post(content))


async def copy_messages(call: Call) -> Result:
    bare = _CAPTION if call.parameters.flag("remove_caption") else ()
    return [_numbered(call.post(_without(content, bare))) for content in _contents(call, "copy")]


def _source(call: Call, verb: str) -> Message:
    """The message that is to be forwarded or copied. Raises BadRequestError where it may not be."""
    message = call.message(call.chat("from_chat_id"), verb)
    if not _movable(message):
        raise BadRequestError(f"message can't be {_done(verb)}")
    return message


def _contents(call: Call, verb: str) -> list[Message]:
    """What is to be brought, without what is gone or may not be; albums stay albums."""
    chat = call.chat("from_chat_id")
    messages = [message for number in call.messages() if (message := chat.get(number)) and _movable(message)]
    if not messages:
        raise BadRequestError(f"there are no messages to {verb}")
    old = {message["media_group_id"] for message in messages if "media_group_id" in message}
    groups = {group: {"media_group_id": call.world.new_id()} for group in old}
    change = _forwarded if verb == "forward" else _copied
    return [change(message) | groups.get(message.get("media_group_id"), {}) for message in messages]


def _movable(message: Message) -> bool:
    """Whether it has content, and nobody protected it."""
    return any(name in message for name in _CONTENT) and "has_protected_content" not in message


def _done(verb: str) -> str:
    return {"forward": "forwarded", "copy": "copied"}[verb]


def _copied(message: Message) -> Message:
    return {name: message[name] for name in (*_CONTENT, "link_preview_options") if name in message}


def _forwarded(message: Message) -> Message:
    origin = {"type": "user", "sender_user": message["from"], "date": message["date"]}
    return _copied(message) | {"forward_origin": message.get("forward_origin", origin)}


def _without(message: Message, names: tuple[str, ...]) -> Message:
    return {name: value for name, value in message.items() if name not in names}


def _numbered(message: Message) -> dict[str, Any]:
    """The Bot API's MessageId."""
    return {"message_id": message["message_id"]}
