"""An ordinary bot with aiogram. Arguments: the address of the Bot API server, a token, and maybe a webhook's port."""

import asyncio
import sys
from functools import partial
from html import escape
from io import BytesIO

from aiogram import Bot, Dispatcher, F
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.session.middlewares.base import BaseRequestMiddleware, NextRequestMiddlewareType
from aiogram.client.telegram import TelegramAPIServer
from aiogram.enums import ChatAction, ParseMode
from aiogram.exceptions import TelegramRetryAfter
from aiogram.filters import Command
from aiogram.methods import Response, SendMessage, TelegramMethod
from aiogram.methods.base import TelegramType
from aiogram.types import (
    BotCommand,
    BufferedInputFile,
    CallbackQuery,
    Document,
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    InputMediaPhoto,
    Message,
    PhotoSize,
)
from aiogram.webhook.aiohttp_server import SimpleRequestHandler, setup_application
from aiohttp import web
from common import BUTTONS, COMMANDS, measured, square, whole_album

SECRET = "only-the-server-knows"
dispatcher = Dispatcher()


@dispatcher.startup()
async def introduce(bot: Bot) -> None:
    await bot.set_my_commands([BotCommand(command=name, description=text) for name, text in COMMANDS.items()])


@dispatcher.message(Command("start"))
async def start(message: Message) -> None:
    buttons = [InlineKeyboardButton(text=text, callback_data=data) for text, data in BUTTONS.items()]
    await message.answer("Yes or no?", reply_markup=InlineKeyboardMarkup(inline_keyboard=[buttons]))


@dispatcher.callback_query()
async def tapped(query: CallbackQuery) -> None:
    assert isinstance(query.message, Message)
    await query.answer(f"You tapped {query.data}")
    again = InlineKeyboardMarkup(inline_keyboard=[[InlineKeyboardButton(text="Again", callback_data="again")]])
    await query.message.edit_text(f"It was {query.data}", reply_markup=again)


@dispatcher.message(Command("caption"))
async def caption(message: Message) -> None:
    sent = await message.answer_photo(BufferedInputFile(square("red"), "red.jpg"), caption="red")
    await sent.edit_caption(caption="soon blue")
    await sent.edit_media(InputMediaPhoto(media=BufferedInputFile(square("blue"), "blue.jpg"), caption="blue"))


@dispatcher.message(Command("delete"))
async def delete(message: Message) -> None:
    sent = await message.answer("This goes away")
    await sent.delete()


@dispatcher.message(F.media_group_id.as_("group"), F.photo[-1].as_("largest"))
async def album(message: Message, group: str, largest: PhotoSize) -> None:
    photos = await whole_album(group, largest.file_id)
    if photos:
        first, *rest = photos
        media = [InputMediaPhoto(media=first, caption=f"{len(photos)} photos")]
        await message.answer_media_group([*media, *(InputMediaPhoto(media=photo) for photo in rest)])


@dispatcher.message(F.photo[-1].as_("largest"))
async def photo(message: Message, bot: Bot, largest: PhotoSize) -> None:
    await bot.send_chat_action(message.chat.id, ChatAction.UPLOAD_PHOTO)
    content = await downloaded(bot, largest)
    await message.reply_photo(BufferedInputFile(content, "photo.jpg"), caption=measured(content))


@dispatcher.message(F.document.as_("document"))
async def document(message: Message, bot: Bot, document: Document) -> None:
    await bot.send_chat_action(message.chat.id, ChatAction.UPLOAD_DOCUMENT)
    content = await downloaded(bot, document)
    await message.reply_document(BufferedInputFile(content, document.file_name or "file"))


@dispatcher.message(F.text.as_("text"))
async def echo(message: Message, text: str) -> SendMessage:
    return message.reply(f"<b>Echo:</b> {escape(text)}", parse_mode=ParseMode.HTML)


async def downloaded(bot: Bot, file: PhotoSize | Document) -> bytes:
    content = await bot.download(file, BytesIO())
    assert content
    return content.read()


class Patience(BaseRequestMiddleware):
    """Asks again when it was told to wait."""

    async def __call__(
        self,
        make_request: NextRequestMiddlewareType[TelegramType],
        bot: Bot,
        method: TelegramMethod[TelegramType],
    ) -> Response[TelegramType]:
        try:
            return await make_request(bot, method)
        except TelegramRetryAfter as error:
            await asyncio.sleep(error.retry_after)
            return await make_request(bot, method)


def main(url: str, token: str, port: str = "") -> None:
    session = AiohttpSession(api=TelegramAPIServer.from_base(url))
    session.middleware(Patience())
    bot = Bot(token, session)
    if port:
        serve(bot, int(port))
    else:
        dispatcher.run_polling(bot)


def serve(bot: Bot, port: int) -> None:
    """Take updates by webhook instead; a message that a handler returns is then part of the answer."""
    address = f"http://127.0.0.1:{port}/hook"
    dispatcher.startup.register(partial(bot.set_webhook, address, secret_token=SECRET))
    application = web.Application()
    SimpleRequestHandler(dispatcher, bot, handle_in_background=False, secret_token=SECRET).register(
        application, "/hook"
    )
    setup_application(application, dispatcher, bot=bot)
    web.run_app(application, host="127.0.0.1", port=port, print=None)


main(*sys.argv[1:])
