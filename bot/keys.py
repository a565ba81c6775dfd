"""What names an act, so that a message or a tap that is worked twice acts once."""

from collections.abc import Callable
from hashlib import sha256

from telegram import CallbackQuery, Message

from storage import labels


def once(key: str) -> Callable[[str], str]:
    """The same key, whatever the class."""
    return lambda _class_name: key


def message_key(message: Message) -> str:
    """Message numbers count for one bot and chat."""
    return f"{message.get_bot().id}:{message.chat_id}:{message.message_id}"


def album_key(message: Message, album: str, class_name: str) -> str:
    """Of putting an album into a class: photos of it that come later join that act."""
    name = sha256(labels.key(class_name).encode()).hexdigest()[:16]
    return f"{message.get_bot().id}:{message.chat_id}:album:{album}:{name}"


def tap_key(query: CallbackQuery) -> str:
    return f"{query.get_bot().id}:tap:{query.id}"
