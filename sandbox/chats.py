"""Bot API methods about a chat: who is there, what is pinned, and how the bot reacts to a message."""

from typing import Any

from sandbox.call import Call, Result
from sandbox.chat import Chat
from sandbox.errors import BadRequestError
from sandbox.limits import REACTIONS
from sandbox.people import known_people

_SELECTOR = "\N{VARIATION SELECTOR-16}"
_REACTIONS = """
❤ 👍 👎 🔥 🥰 👏 😁 🤔 🤯 😱 🤬 😢 🎉 🤩 🤮 💩 🙏 👌 🕊 🤡 🥱 🥴 😍 🐳 ❤‍🔥 🌚 🌭 💯 🤣 ⚡ 🍌
🏆 💔 🤨 😐 🍓 🍾 💋 🖕 😈 😴 😭 🤓 👻 👨‍💻 👀 🎃 🙈 😇 😨 🤝 ✍ 🤗 🫡 🎅 🎄 ☃ 💅 🤪 🗿 🆒 💘
🙉 🦄 😘 💊 🙊 😎 👾 🤷‍♂ 🤷 🤷‍♀ 😡
"""
_EMOJI = frozenset(_REACTIONS.split())


async def get_chat(call: Call) -> Result:
    gifts = ("unlimited_gifts", "limited_gifts", "unique_gifts", "premium_subscription", "gifts_from_channels")
    chat = call.chat()
    pins = _pins(chat)
    return (
        chat.info
        | {"accent_color_id": 0, "max_reaction_count": 11, "accepted_gift_types": dict.fromkeys(gifts, False)}
        | ({"pinned_message": chat.get(pins[-1])} if pins else {})
    )


async def get_chat_member(call: Call) -> Result:
    chat = call.chat()
    user_id = call.parameters.required_integer("user_id")
    if user_id not in (people := _members(call, chat)):
        raise BadRequestError("user not found")
    return _membership(chat, people[user_id])


async def get_chat_member_count(call: Call) -> Result:
    return len(_members(call, call.chat()))


async def get_chat_administrators(call: Call) -> Result:
    chat = call.chat()
    if chat.info["type"] == "private":
        raise BadRequestError("there are no administrators in the private chat")
    members = [_membership(chat, user) for user in _members(call, chat).values()]
    return [member for member in members if member["status"] == "creator"]


def _members(call: Call, chat: Chat) -> dict[int, dict[str, Any]]:
    """Whoever has written there, and the bot."""
    return known_people(chat) | {call.bot.id: call.bot.user()}


def _membership(chat: Chat, user: dict[str, Any]) -> dict[str, Any]:
    """The Bot API's ChatMember. A group belongs to the person who was the first to write in it."""
    people = [person["id"] for person in known_people(chat).values() if not person["is_bot"]]
    if chat.info["type"] != "private" and people[:1] == [user["id"]]:
        return {"status": "creator", "user": user, "is_anonymous": False}
    return {"status": "member", "user": user}


async def get_user_profile_photos(call: Call) -> Result:
    """None: nobody here has a photo."""
    call.parameters.required_integer("user_id")
    return {"total_count": 0, "photos": []}


async def pin_chat_message(call: Call) -> Result:
    """Pin a message, and say so in the chat as Telegram does."""
    chat = call.chat()
    message = call.message(chat, "pin")
    chat.note("pinned", message_id=message["message_id"])
    chat.post(call.bot.user(), {"pinned_message": message})
    return True


async def unpin_chat_message(call: Call) -> Result:
    """Unpin that message, or the one pinned last."""
    chat = call.chat()
    pins = _pins(chat)
    wanted = call.parameters.integer("message_id") or (pins[-1] if pins else None)
    if wanted not in pins:
        raise BadRequestError("message to unpin not found")
    chat.note("unpinned", message_id=wanted)
    return True


async def unpin_all_chat_messages(call: Call) -> Result:
    chat = call.chat()
    for message_id in _pins(chat):
        chat.note("unpinned", message_id=message_id)
    return True


def _pins(chat: Chat) -> list[int]:
    """The numbers of the messages that are pinned, in the order in which they were."""
    pins: dict[int, None] = {}
    for event in chat.history:
        if event["type"] in {"pinned", "unpinned"}:
            pins.pop(event["message_id"], None)
        if event["type"] == "pinned":
            pins[event["message_id"]] = None
    return [message_id for message_id in pins if chat.get(message_id)]


async def set_message_reaction(call: Call) -> Result:
    """React with one emoji of Telegram's list, in place of any before, or with none."""
    chat = call.chat()
    message = call.message(chat, "react")
    reaction = [_reaction(item) for item in call.parameters.listing("reaction")]
    if len(reaction) > REACTIONS:
        raise BadRequestError("REACTIONS_TOO_MANY")
    chat.note("reacted", message_id=message["message_id"], from_id=call.bot.id, reaction=reaction)
    return True


def _reaction(item: Any) -> dict[str, str]:
    emoji = str(item.get("emoji", "")).replace(_SELECTOR, "") if isinstance(item, dict) else ""
    if emoji not in _EMOJI or item.get("type") != "emoji":
        raise BadRequestError("REACTION_INVALID")
    return {"type": "emoji", "emoji": emoji}
