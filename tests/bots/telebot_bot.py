"""An ordinary bot with pyTelegramBotAPI. Arguments: the address of the Bot API server, and a token."""

import asyncio
import signal
import sys
from html import escape
from io import BytesIO

from common import BUTTONS, COMMANDS, measured, square, whole_album
from telebot import asyncio_helper
from telebot.async_telebot import AsyncTeleBot
from telebot.types import (
    BotCommand,
    CallbackQuery,
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    InputFile,
    InputMediaPhoto,
    Message,
    ReplyParameters,
)
from telebot.util import async_antiflood

URL, TOKEN = sys.argv[1:]
asyncio_helper.API_URL = f"{URL}/bot{{0}}/{{1}}"
asyncio_helper.FILE_URL = f"{URL}/file/bot{{0}}/{{1}}"  # type: ignore[assignment]  # It is None at first.
bot = AsyncTeleBot(TOKEN)


async def introduce() -> None:
    await bot.set_my_commands([BotCommand(name, text) for name, text in COMMANDS.items()])


async def start(message: Message) -> None:
    buttons = [InlineKeyboardButton(text, callback_data=data) for text, data in BUTTONS.items()]
    await bot.send_message(message.chat.id, "Yes or no?", reply_markup=InlineKeyboardMarkup([buttons]))


async def tapped(query: CallbackQuery) -> None:
    assert query.message
    await bot.answer_callback_query(query.id, f"You tapped {query.data}")
    again = InlineKeyboardMarkup([[InlineKeyboardButton("Again", callback_data="again")]])
    place = query.message.chat.id, query.message.message_id
    await bot.edit_message_text(f"It was {query.data}", *place, reply_markup=again)


async def caption(message: Message) -> None:
    sent = await bot.send_photo(message.chat.id, square("red"), caption="red")
    await bot.edit_message_caption("soon blue", sent.chat.id, sent.message_id)
    blue = InputMediaPhoto(InputFile(BytesIO(square("blue"))), caption="blue")
    await bot.edit_message_media(blue, sent.chat.id, sent.message_id)


async def delete(message: Message) -> None:
    sent = await bot.send_message(message.chat.id, "This goes away")
    await bot.delete_message(sent.chat.id, sent.message_id)


async def photo(message: Message) -> None:
    assert message.photo
    if message.media_group_id:
        await album(message, message.media_group_id, message.photo[-1].file_id)
        return
    await bot.send_chat_action(message.chat.id, "upload_photo")
    content = await downloaded(message.photo[-1].file_id)
    await bot.send_photo(message.chat.id, content, measured(content), reply_parameters=answering(message))


async def album(message: Message, group: str, file_id: str) -> None:
    photos = await whole_album(group, file_id)
    if photos:
        first, *rest = photos
        media = [InputMediaPhoto(first, f"{len(photos)} photos"), *map(InputMediaPhoto, rest)]
        await bot.send_media_group(message.chat.id, [*media])


async def document(message: Message) -> None:
    assert message.document
    await bot.send_chat_action(message.chat.id, "upload_document")
    content = await downloaded(message.document.file_id)
    file = InputFile(BytesIO(content), message.document.file_name)
    await bot.send_document(message.chat.id, file, reply_parameters=answering(message))


async def echo(message: Message) -> None:
    text = f"<b>Echo:</b> {escape(message.text or '')}"
    await async_antiflood(bot.reply_to, message, text, parse_mode="HTML")


async def downloaded(file_id: str) -> bytes:
    file = await bot.get_file(file_id)
    return await bot.download_file(file.file_path)


def answering(message: Message) -> ReplyParameters:
    return ReplyParameters(message.message_id)


async def main() -> None:
    bot.register_message_handler(start, commands=["start"])
    bot.register_message_handler(caption, commands=["caption"])
    bot.register_message_handler(delete, commands=["delete"])
    bot.register_message_handler(photo, ["photo"])
    bot.register_message_handler(document, ["document"])
    bot.register_message_handler(echo, ["text"])
    bot.register_callback_query_handler(tapped, lambda _: True)
    await introduce()
    polling = asyncio.create_task(bot.infinity_polling())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, polling.cancel)
    await polling


asyncio.run(main())
