"""An ordinary bot with python-telegram-bot. Arguments: the address of the Bot API server, and a token."""

import sys
from html import escape
from typing import Any

from common import BUTTONS, COMMANDS, measured, square, whole_album
from telegram import InlineKeyboardButton, InlineKeyboardMarkup, InputMediaPhoto, Message, Update
from telegram.constants import ChatAction, ParseMode
from telegram.ext import (
    AIORateLimiter,
    Application,
    CallbackQueryHandler,
    CommandHandler,
    ContextTypes,
    MessageHandler,
    filters,
)

Context = ContextTypes.DEFAULT_TYPE


async def introduce(application: Application[Any, Any, Any, Any, Any, Any]) -> None:
    await application.bot.set_my_commands(list(COMMANDS.items()))


async def start(update: Update, _: Context) -> None:
    buttons = [InlineKeyboardButton(text, callback_data=data) for text, data in BUTTONS.items()]
    await said(update).reply_text("Yes or no?", reply_markup=InlineKeyboardMarkup([buttons]))


async def tapped(update: Update, _: Context) -> None:
    query = update.callback_query
    assert query
    await query.answer(f"You tapped {query.data}")
    again = InlineKeyboardButton("Again", callback_data="again")
    await query.edit_message_text(f"It was {query.data}", reply_markup=InlineKeyboardMarkup([[again]]))


async def caption(update: Update, _: Context) -> None:
    sent = await said(update).reply_photo(square("red"), caption="red")
    await sent.edit_caption("soon blue")
    await sent.edit_media(InputMediaPhoto(square("blue"), caption="blue"))


async def delete(update: Update, _: Context) -> None:
    sent = await said(update).reply_text("This goes away")
    await sent.delete()


async def photo(update: Update, _: Context) -> None:
    message = said(update)
    if message.media_group_id:
        await album(message, message.media_group_id)
        return
    await message.reply_chat_action(ChatAction.UPLOAD_PHOTO)
    file = await message.photo[-1].get_file()
    content = bytes(await file.download_as_bytearray())
    await message.reply_photo(content, caption=measured(content), do_quote=True)


async def album(message: Message, group: str) -> None:
    photos = await whole_album(group, message.photo[-1].file_id)
    if photos:
        await message.reply_media_group([InputMediaPhoto(photo) for photo in photos], caption=f"{len(photos)} photos")


async def document(update: Update, _: Context) -> None:
    message = said(update)
    assert message.document
    await message.reply_chat_action(ChatAction.UPLOAD_DOCUMENT)
    file = await message.document.get_file()
    content = bytes(await file.download_as_bytearray())
    await message.reply_document(content, filename=message.document.file_name, do_quote=True)


async def echo(update: Update, _: Context) -> None:
    message = said(update)
    await message.reply_text(f"<b>Echo:</b> {escape(message.text or '')}", parse_mode=ParseMode.HTML, do_quote=True)


def said(update: Update) -> Message:
    assert update.effective_message
    return update.effective_message


def main(url: str, token: str) -> None:
    builder = Application.builder().token(token).base_url(f"{url}/bot").base_file_url(f"{url}/file/bot")
    application = builder.rate_limiter(AIORateLimiter(max_retries=3)).post_init(introduce).build()
    application.add_handler(CommandHandler("start", start))
    application.add_handler(CommandHandler("caption", caption))
    application.add_handler(CommandHandler("delete", delete))
    application.add_handler(MessageHandler(filters.PHOTO, photo, block=False))
    application.add_handler(MessageHandler(filters.Document.ALL, document))
    application.add_handler(MessageHandler(filters.TEXT, echo))
    application.add_handler(CallbackQueryHandler(tapped))
    application.run_polling()


main(*sys.argv[1:])
