"""Bot API methods that put a message into a chat, or change or remove one."""

from typing import Any

from sandbox.call import Call
from sandbox.chat import Message
from sandbox.content import attached, check_document_size, formatted, keyboard
from sandbox.errors import BadRequestError
from sandbox.limits import ALBUM
from sandbox.parameters import Parameters

_KINDS = ("photo", "document")
_ACTIONS = {
    "typing", "upload_photo", "record_video", "upload_video", "record_voice", "upload_voice", "upload_document",
    "choose_sticker", "find_location", "record_video_note", "upload_video_note",
}  # fmt: skip
_NOT_MODIFIED = (
    "message is not modified: specified new message content and reply markup are exactly the same as a current "
    "content and reply markup of the message"
)


async def send_message(call: Call) -> Message:
    call.chat()
    text = formatted(call.parameters, "text")
    if not text:
        raise BadRequestError("message text is empty")
    return call.post(text | keyboard(call.parameters))


async def send_photo(call: Call) -> Message:
    return await _send_file(call, "photo")


async def send_document(call: Call) -> Message:
    return await _send_file(call, "document")


async def _send_file(call: Call, kind: str) -> Message:
    call.chat()
    source = attached(call.parameters, kind)
    check_document_size(source)
    rest = formatted(call.parameters, "caption") | keyboard(call.parameters)
    return call.post(await call.media().field(kind, source) | rest)


async def send_media_group(call: Call) -> list[Message]:
    items = call.parameters.listing("media")
    call.chat()
    if len(items) not in ALBUM:
        raise BadRequestError(f"an album has {ALBUM[0]} to {ALBUM[-1]} items, not {len(items)}")
    if len({item.get("type") if isinstance(item, dict) else None for item in items}) != 1:
        raise BadRequestError("documents can't be mixed with other media types")
    group = {"media_group_id": call.world.new_id()}
    contents = [await _media(call, item) | group for item in items]
    return [call.post(content) for content in contents]


async def _media(call: Call, item: Any) -> Message:
    """The message fields of one InputMedia."""
    if not isinstance(item, dict):
        raise BadRequestError("can't parse InputMedia: an object is expected")
    source = attached(call.parameters, "media", item.get("media", ""))
    check_document_size(source)
    return await call.media().field(str(item.get("type")), source) | formatted(Parameters(item, []), "caption")


async def send_chat_action(call: Call) -> bool:
    action = call.parameters.text("action")
    if action not in _ACTIONS:
        raise BadRequestError("wrong parameter action in request")
    call.chat().note("chat_action", action=action)
    return True


async def edit_message_text(call: Call) -> Message:
    message = call.own_message(call.chat())
    text = formatted(call.parameters, "text")
    if "text" not in message:
        raise BadRequestError("there is no text in the message to edit")
    if not text:
        raise BadRequestError("message text is empty")
    return _replace(call, message, ("text", "entities"), text)


async def edit_message_caption(call: Call) -> Message:
    message = call.own_message(call.chat())
    if not any(kind in message for kind in _KINDS):
        raise BadRequestError("there is no caption in the message to edit")
    return _replace(call, message, ("caption", "caption_entities"), formatted(call.parameters, "caption"))


async def edit_message_media(call: Call) -> Message:
    content = await _media(call, call.parameters.structure("media"))
    message = call.own_message(call.chat())
    if not any(kind in message for kind in _KINDS):
        raise BadRequestError("there is no media in the message to edit")
    return _replace(call, message, (*_KINDS, "caption", "caption_entities"), content)


async def edit_message_reply_markup(call: Call) -> Message:
    return _replace(call, call.own_message(call.chat()), (), {})


def _replace(call: Call, message: Message, names: tuple[str, ...], content: Message) -> Message:
    """Put `content` in place of the fields `names`, and the keyboard of the call in place of the message's."""
    gone = {*names, "reply_markup"}
    body = {name: value for name, value in message.items() if name not in gone} | content | keyboard(call.parameters)
    if body == message:
        raise BadRequestError(_NOT_MODIFIED)
    return call.chat().edit(message["message_id"], body)


async def delete_message(call: Call) -> bool:
    chat = call.chat()
    message = chat.get(call.parameters.required_integer("message_id"))
    if message is None:
        raise BadRequestError("message to delete not found")
    if message["from"]["id"] != call.bot.id and chat.info["type"] != "private":
        raise BadRequestError("message can't be deleted")
    chat.delete(message["message_id"])
    return True
