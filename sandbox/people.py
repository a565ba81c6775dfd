from typing import Any

from sandbox.chat import Chat


def known_people(chat: Chat) -> dict[int, dict[str, Any]]:
    """Who has written in the chat, the bot included, as Bot API Users by their ids; the first to write comes first."""
    events = (event["message"]["from"] for event in chat.history if event["type"] == "sent")
    stored = (message.body["from"] for message in chat.stored.values())
    return {user["id"]: user for user in (*events, *stored)}
