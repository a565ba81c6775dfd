"""What names an act, so that a message or a tap that is worked twice acts once."""

from telegram import CallbackQuery, Message


def message_key(message: Message, album: str | None = None) -> str:
    """Of a message, or of the whole album that it belongs to. Message numbers count for one bot and chat."""
    place = f"album:{album}" if album else str(message.message_id)
    return f"{message.get_bot().id}:{message.chat_id}:{place}"


def tap_key(query: CallbackQuery) -> str:
    return f"{query.get_bot().id}:tap:{query.id}"
