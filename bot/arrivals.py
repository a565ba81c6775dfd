"""What matters of an update before anybody looks into it: its chat, its album, and the lane it waits in."""

from typing import Any

from telegram.constants import MessageEntityType

from storage.inbox import Arrival, Lane

# Commands that change photos wait for the photos before them; the others only ask, and overtake.
ORDERED = frozenset({"undo", "label", "rename", "merge", "delete", "withdraw"})


def arrival(update: dict[str, Any]) -> Arrival:
    """Of an update as Telegram sends it, whatever it holds."""
    message = update.get("message") or {}
    chat = (message or update.get("callback_query", {}).get("message") or {}).get("chat", {}).get("id", 0)
    lane = Lane.PHOTOS if _brings_or_changes(message) else Lane.QUICK
    return Arrival(update["update_id"], chat, lane, message.get("media_group_id"), update)


def _brings_or_changes(message: dict[str, Any]) -> bool:
    if any(part in message for part in ("photo", "document", "media_group_id")):
        return True
    mark = (message.get("entities") or [{}])[0]
    if mark.get("type") == MessageEntityType.BOT_COMMAND and not mark["offset"]:
        return message.get("text", "")[1 : mark["length"]].partition("@")[0].lower() in ORDERED
    return "reply_to_message" in message
