"""Bot API methods by which a bot introduces itself: name, descriptions, commands, and the menu's button."""

import re
from functools import partial
from typing import Any

from sandbox.call import Call, Method, Result
from sandbox.errors import BadRequestError
from sandbox.limits import COMMAND_DESCRIPTION, COMMANDS, DESCRIPTION, NAME, SHORT_DESCRIPTION
from sandbox.menu import scope_key

_COMMAND = re.compile(r"[a-z0-9_]{1,32}")
_BUTTONS = {"default", "commands", "web_app"}
_EVERYWHERE = 0  # stands for all chats without a button of their own


async def get_me(call: Call) -> Result:
    return call.bot.user() | {
        "can_join_groups": True,
        "can_read_all_group_messages": True,
        "supports_inline_queries": False,
        "can_connect_to_business": False,
        "has_main_web_app": False,
    }


async def _set_text(call: Call, *, kind: str, limit: int) -> Result:
    """Keep a text about the bot for one language; an empty one takes it back."""
    text = call.parameters.text(kind) or ""
    if len(text) > limit:
        raise BadRequestError(f"{kind} has {len(text)} characters, more than {limit}")
    call.bot.texts[kind, _language(call)] = text
    return True


async def _get_text(call: Call, *, kind: str) -> Result:
    """The text for that language, else the one for all languages."""
    texts = call.bot.texts
    return {kind: texts.get((kind, _language(call))) or texts.get((kind, "")) or ""}


async def get_my_name(call: Call) -> Result:
    name = call.bot.texts.get(("name", _language(call)))
    return {"name": name or call.bot.user()["first_name"]}


set_my_name: Method = partial(_set_text, kind="name", limit=NAME)
set_my_description: Method = partial(_set_text, kind="description", limit=DESCRIPTION)
get_my_description: Method = partial(_get_text, kind="description")
set_my_short_description: Method = partial(_set_text, kind="short_description", limit=SHORT_DESCRIPTION)
get_my_short_description: Method = partial(_get_text, kind="short_description")


async def set_my_commands(call: Call) -> Result:
    commands = [_command(item) for item in call.parameters.listing("commands")]
    if len(commands) > COMMANDS:
        raise BadRequestError("BOT_COMMANDS_TOO_MUCH")
    call.bot.commands[_command_key(call)] = commands
    return True


async def get_my_commands(call: Call) -> Result:
    return call.bot.commands.get(_command_key(call), [])


async def delete_my_commands(call: Call) -> Result:
    call.bot.commands.pop(_command_key(call), None)
    return True


def _command(item: Any) -> dict[str, str]:
    name, description = (item.get("command"), item.get("description")) if isinstance(item, dict) else ("", "")
    if not _COMMAND.fullmatch(str(name)):
        raise BadRequestError("BOT_COMMAND_INVALID")
    if not isinstance(description, str) or not 1 <= len(description) <= COMMAND_DESCRIPTION:
        raise BadRequestError("BOT_COMMAND_DESCRIPTION_INVALID")
    return {"command": str(name), "description": description}


def _command_key(call: Call) -> tuple[str, str]:
    """Which list: by scope and language."""
    return scope_key(call.parameters.mapping("scope") or {"type": "default"}), _language(call)


def _language(call: Call) -> str:
    return call.parameters.text("language_code") or ""


async def set_chat_menu_button(call: Call) -> Result:
    button = call.parameters.mapping("menu_button") or {"type": "default"}
    if button.get("type") not in _BUTTONS:
        raise BadRequestError("can't parse menu button: unknown type")
    call.bot.menus[_menu(call)] = button
    return True


async def get_chat_menu_button(call: Call) -> Result:
    menus = call.bot.menus
    return menus.get(_menu(call)) or menus.get(_EVERYWHERE) or {"type": "default"}


def _menu(call: Call) -> int:
    return int(call.chat().info["id"]) if call.parameters.has("chat_id") else _EVERYWHERE
