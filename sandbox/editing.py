"""Bot API methods that change or remove a message."""

from sandbox.call import Call, Result
from sandbox.chat import Chat, Message
from sandbox.content import KINDS, looks
from sandbox.errors import BadRequestError
from sandbox.keyboards import inline_keyboard, reply_keyboard
from sandbox.sending import nested_media

_NOT_MODIFIED = (
    "message is not modified: specified new message content and reply markup are exactly the same as a current "
    "content and reply markup of the message"
)
_TEXT = ("text", "entities", "link_preview_options")
_CAPTION = ("caption", "caption_entities", "show_caption_above_media")


async def edit_message_text(call: Call) -> Result:
    message = call.own_message(call.chat())
    text = call.formatted("text")
    if "text" not in message:
        raise BadRequestError("there is no text in the message to edit")
    if not text:
        raise BadRequestError("message text is empty")
    return _replace(call, message, _TEXT, text | looks(call.parameters))


async def edit_message_caption(call: Call) -> Result:
    message = call.own_message(call.chat())
    if not any(kind in message for kind in KINDS):
        raise BadRequestError("there is no caption in the message to edit")
    return _replace(call, message, _CAPTION, call.formatted("caption") | looks(call.parameters))


async def edit_message_media(call: Call) -> Result:
    """Another photo or document, with its caption, in place of the one before, or of a text."""
    content = await nested_media(call, call.parameters.structure("media"))
    message = call.own_message(call.chat())
    if not any(kind in message for kind in (*KINDS, "text")):
        raise BadRequestError("there is no media in the message to edit")
    return _replace(call, message, (*KINDS, *_CAPTION, *_TEXT, "has_media_spoiler"), content)


async def edit_message_reply_markup(call: Call) -> Result:
    return _replace(call, call.own_message(call.chat()), (), {})


def _replace(call: Call, message: Message, names: tuple[str, ...], content: Message) -> Message:
    """Put `content` in place of the fields `names`, and the keyboard of the call in place of the message's."""
    if reply_keyboard(call.parameters):
        raise BadRequestError("inline keyboard expected")
    gone = {*names, "reply_markup"}
    kept = {name: value for name, value in message.items() if name not in gone}
    body = kept | content | inline_keyboard(call.parameters)
    if body == message:
        raise BadRequestError(_NOT_MODIFIED)
    return call.chat().edit(message["message_id"], body)


async def delete_message(call: Call) -> Result:
    chat = call.chat()
    message = call.message(chat, "delete")
    if not _deletable(call, chat, message):
        raise BadRequestError("message can't be deleted")
    chat.delete(message["message_id"])
    return True


async def delete_messages(call: Call) -> Result:
    """Delete those of them that are there and can be deleted."""
    chat = call.chat()
    for message_id in call.messages():
        message = chat.get(message_id)
        if message and _deletable(call, chat, message):
            chat.delete(message_id)
    return True


def _deletable(call: Call, chat: Chat, message: Message) -> bool:
    return bool(message["from"]["id"] == call.bot.id or chat.info["type"] == "private")
