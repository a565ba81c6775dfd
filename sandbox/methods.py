"""The Bot API methods of the sandbox: one visible table at the end."""

import asyncio
from http import HTTPStatus

from sandbox import chats, editing, forwarding, introducing, sending, webhook
from sandbox.call import Call, Method, Result
from sandbox.content import own_file
from sandbox.errors import SUPERSEDED, ApiError, BadRequestError
from sandbox.files import file_id
from sandbox.limits import CALLBACK_ANSWER, DOWNLOAD, POLL, UPDATES

_TERMINATED = "Conflict: terminated by setWebhook request"
_WEBHOOK_ACTIVE = (
    "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first"
)


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


async def set_webhook(call: Call) -> Result:
    return await webhook.set_webhook(call, METHODS)


METHODS: dict[str, Method] = {
    # Getting updates
    "getupdates": get_updates,
    "setwebhook": set_webhook,
    "deletewebhook": webhook.delete_webhook,
    "getwebhookinfo": webhook.get_webhook_info,
    "answercallbackquery": answer_callback_query,
    "getfile": get_file,
    # Sending
    "sendmessage": sending.send_message,
    "sendphoto": sending.send_photo,
    "senddocument": sending.send_document,
    "sendmediagroup": sending.send_media_group,
    "sendchataction": sending.send_chat_action,
    "forwardmessage": forwarding.forward_message,
    "forwardmessages": forwarding.forward_messages,
    "copymessage": forwarding.copy_message,
    "copymessages": forwarding.copy_messages,
    # Editing
    "editmessagetext": editing.edit_message_text,
    "editmessagecaption": editing.edit_message_caption,
    "editmessagemedia": editing.edit_message_media,
    "editmessagereplymarkup": editing.edit_message_reply_markup,
    "deletemessage": editing.delete_message,
    "deletemessages": editing.delete_messages,
    # Chats
    "getchat": chats.get_chat,
    "getchatmember": chats.get_chat_member,
    "getchatmembercount": chats.get_chat_member_count,
    "getchatadministrators": chats.get_chat_administrators,
    "getuserprofilephotos": chats.get_user_profile_photos,
    "pinchatmessage": chats.pin_chat_message,
    "unpinchatmessage": chats.unpin_chat_message,
    "unpinallchatmessages": chats.unpin_all_chat_messages,
    "setmessagereaction": chats.set_message_reaction,
    # The bot itself
    "getme": introducing.get_me,
    "setmyname": introducing.set_my_name,
    "getmyname": introducing.get_my_name,
    "setmydescription": introducing.set_my_description,
    "getmydescription": introducing.get_my_description,
    "setmyshortdescription": introducing.set_my_short_description,
    "getmyshortdescription": introducing.get_my_short_description,
    "setmycommands": introducing.set_my_commands,
    "getmycommands": introducing.get_my_commands,
    "deletemycommands": introducing.delete_my_commands,
    "setchatmenubutton": introducing.set_chat_menu_button,
    "getchatmenubutton": introducing.get_chat_menu_button,
}
