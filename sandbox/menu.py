"""The commands that a bot offers to one person in one chat."""

from typing import Any

from sandbox.chat import Chat
from sandbox.world import Bot


def commands(bot: Bot, chat: Chat | None, chat_id: int, person: int, language: str) -> list[dict[str, str]]:
    """The list of the narrowest scope that has one, in the person's language before the one for all languages.

    The order is that of https://core.telegram.org/bots/api#determining-list-of-commands, without administrators,
    of whom this server knows none.
    """
    private = chat.info["type"] == "private" if chat else chat_id > 0
    for scope in _private(chat_id) if private else _group(chat_id, person):
        for spoken in (language, ""):
            found = bot.commands.get((scope_key(scope), spoken))
            if found:
                return found
    return []


def scope_key(scope: dict[str, Any]) -> str:
    """A BotCommandScope in one spelling."""
    return repr(sorted(scope.items()))


def _private(chat_id: int) -> list[dict[str, Any]]:
    return [{"type": "chat", "chat_id": chat_id}, {"type": "all_private_chats"}, {"type": "default"}]


def _group(chat_id: int, person: int) -> list[dict[str, Any]]:
    return [
        {"type": "chat_member", "chat_id": chat_id, "user_id": person},
        {"type": "chat", "chat_id": chat_id},
        {"type": "all_group_chats"},
        {"type": "default"},
    ]
