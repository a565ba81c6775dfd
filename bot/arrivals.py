"""What matters of an update before anybody looks into it: its chat, its album, and the lane it waits in."""

from typing import Any

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
    if "photo" in message or "document" in message:
        return True
    text = message.get("text", "")
    if text.startswith("/"):
        return text[1:].split()[0].partition("@")[0].lower() in ORDERED if text[1:].strip() else False
    return "reply_to_message" in message
