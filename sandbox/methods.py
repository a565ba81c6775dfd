"""The Bot API methods of the sandbox: one visible table at the end."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

from sandbox import sending, webhook
from sandbox.call import Call, Result
from sandbox.content import own_file
from sandbox.errors import SUPERSEDED, ApiError, BadRequestError
from sandbox.files import file_id
from sandbox.limits import CALLBACK_ANSWER, COMMAND_DESCRIPTION, COMMANDS, DOWNLOAD, POLL, UPDATES

_TERMINATED = "Conflict: terminated by setWebhook request"
_WEBHOOK_ACTIVE = (
    "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first"
)
_COMMAND = re.compile(r"[a-z0-9_]{1,32}")


async def get_me(call: Call) -> Result:
    return call.bot.user() | {
        "can_join_groups": True,
        "can_read_all_group_messages": True,
        "supports_inline_queries": False,
        "can_connect_to_business": False,
        "has_main_web_app": False,
    }


async def get_updates(call: Call) -> Result:
    """The oldest updates from `offset` on, as soon as there are any, at the latest after `timeout` seconds."""
    if call.bot.webhook:
        raise ApiError(HTTPStatus.CONFLICT, _WEBHOOK_ACTIVE)
    updates = call.bot.updates
    if call.parameters.has("allowed_updates"):
        updates.allow(map(str, call.parameters.listing("allowed_updates")))
    if not (call.fault and call.fault.again):
        updates.confirm(call.parameters.integer("offset") or 0)
    limit = call.parameters.integer("limit") or UPDATES
    limit = limit if 0 < limit < UPDATES else UPDATES
    turn = updates.take_turn()
    call.world.bell.ring()
    await call.world.bell.until(
        lambda: updates.turn != turn or call.bot.webhook or len(updates) > 0,
        min(max(call.parameters.integer("timeout") or 0, 0), POLL),
    )
    if call.bot.webhook:
        raise ApiError(HTTPStatus.CONFLICT, _TERMINATED)
    if updates.turn != turn:
        raise ApiError(HTTPStatus.CONFLICT, SUPERSEDED)
    return updates.first(limit) * (call.fault.copies if call.fault else 1)


async def get_file(call: Call) -> Result:
    files = call.world.files
    unique_id = own_file(files, call.bot.id, call.parameters.text("file_id") or "")
    file = files.get(unique_id) if unique_id else None
    if file is None:
        raise BadRequestError("wrong file_id or the file is temporarily unavailable")
    size = files.size(file) or len(await asyncio.to_thread(files.read, file))
    if size > DOWNLOAD:
        raise BadRequestError("file is too big")
    known = {"file_id": file_id(call.bot.id, file.unique_id), "file_unique_id": file.unique_id}
    return known | {"file_size": size, "file_path": file.path}


async def get_chat(call: Call) -> Result:
    gifts = ("unlimited_gifts", "limited_gifts", "unique_gifts", "premium_subscription", "gifts_from_channels")
    return call.chat().info | {
        "accent_color_id": 0,
        "max_reaction_count": 11,
        "accepted_gift_types": dict.fromkeys(gifts, False),
    }


async def answer_callback_query(call: Call) -> Result:
    query_id = call.parameters.text("callback_query_id") or ""
    tap = call.bot.taps.get(query_id)
    if tap is None or tap.expires <= call.world.clock():
        raise BadRequestError("query is too old and response timeout expired or query ID is invalid")
    text = call.parameters.text("text") or ""
    if len(text) > CALLBACK_ANSWER:
        raise BadRequestError("MESSAGE_TOO_LONG")
    details = {"message_id": tap.message_id, "from_id": tap.from_id, "text": text}
    alert = call.parameters.flag("show_alert")
    tap.chat.note("callback_answered", callback_query_id=query_id, show_alert=alert, **details)
    return True


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
    """Which list: by scope (in one spelling) and language."""
    scope = call.parameters.mapping("scope") or {"type": "default"}
    return repr(sorted(scope.items())), call.parameters.text("language_code") or ""


METHODS: dict[str, Callable[[Call], Awaitable[Result]]] = {
    "getme": get_me,
    "getupdates": get_updates,
    "deletewebhook": webhook.delete_webhook,
    "setwebhook": webhook.set_webhook,
    "getwebhookinfo": webhook.get_webhook_info,
    "getfile": get_file,
    "getchat": get_chat,
    "answercallbackquery": answer_callback_query,
    "setmycommands": set_my_commands,
    "getmycommands": get_my_commands,
    "deletemycommands": delete_my_commands,
    "sendmessage": sending.send_message,
    "sendphoto": sending.send_photo,
    "senddocument": sending.send_document,
    "sendmediagroup": sending.send_media_group,
    "sendchataction": sending.send_chat_action,
    "editmessagetext": sending.edit_message_text,
    "editmessagecaption": sending.edit_message_caption,
    "editmessagemedia": sending.edit_message_media,
    "editmessagereplymarkup": sending.edit_message_reply_markup,
    "deletemessage": sending.delete_message,
}
