"""Bot API methods that put a new message into a chat."""

from typing import Any

from sandbox.call import Call, Result
from sandbox.chat import Message
from sandbox.content import attached, check_document_size, looks
from sandbox.errors import BadRequestError
from sandbox.limits import ALBUM
from sandbox.parameters import Parameters

_ACTIONS = {
    "typing", "upload_photo", "record_video", "upload_video", "record_voice", "upload_voice", "upload_document",
    "choose_sticker", "find_location", "record_video_note", "upload_video_note",
}  # fmt: skip


async def send_message(call: Call) -> Result:
    text = call.formatted("text")
    if not text:
        raise BadRequestError("message text is empty")
    return call.post(text)


async def send_photo(call: Call) -> Result:
    return await _send_file(call, "photo")


async def send_document(call: Call) -> Result:
    return await _send_file(call, "document")


async def _send_file(call: Call, kind: str) -> Message:
    caption = call.formatted("caption")
    source = attached(call.parameters, kind)
    check_document_size(source)
    return call.post(await call.media().field(kind, source) | caption)


async def send_media_group(call: Call) -> Result:
    items = call.parameters.listing("media")
    call.chat()
    if len(items) not in ALBUM:
        raise BadRequestError(f"an album has {ALBUM[0]} to {ALBUM[-1]} items, not {len(items)}")
    if len({item.get("type") if isinstance(item, dict) else None for item in items}) != 1:
        raise BadRequestError("documents can't be mixed with other media types")
    group = {"media_group_id": call.world.new_id()}
    contents = [await nested_media(call, item) | group for item in items]
    return [call.post(content) for content in contents]


async def nested_media(call: Call, item: Any) -> Message:
    """The message fields of one InputMedia. Raises BadRequestError."""
    if not isinstance(item, dict):
        raise BadRequestError("can't parse InputMedia: an object is expected")
    source = attached(call.parameters, "media", item.get("media", ""))
    check_document_size(source)
    own = Parameters(item, [])
    return await call.media().field(str(item.get("type")), source) | call.formatted("caption", own) | looks(own)


async def send_chat_action(call: Call) -> Result:
    action = call.parameters.text("action")
    if action not in _ACTIONS:
        raise BadRequestError("wrong parameter action in request")
    call.chat().note("chat_action", action=action)
    return True
