"""Each person is spoken to in the language of their app."""

import re

from conftest import ADA, Painter, PublishTiny, chatting
from telegram import BotCommandScopeAllGroupChats, BotCommandScopeChat, BotCommandScopeDefault

from bot.access import may
from bot.replies import COMMANDS
from sandbox.client import Person
from storage.people import Role
from storage.settings import Settings

# Words that stay as they are in any language: names of classes, commands, options and things.
NAMES = re.compile(
    r"</?\w+>|/\w+( (not here|\w+))?|\b(daisy|daisies|rose|red|green|blue|ox-eye|head|full|scratch"
    r"|viewer|labeller|admin|ID|ROLE|NAME|epochs|time_budget|backbone|batch_size|init_version|learning_rate|seed|steps|force"
    r"|retrainbot run|GB|MB|UTC|Ada|JPEG|PNG|WebP|Telegram|GPU|people add)\b"
)


async def test_a_whole_conversation_in_chinese(settings: Settings, publish_tiny: PublishTiny, paint: Painter) -> None:
    """No English word is left in what somebody reads whose app is in Chinese; buttons included."""
    publish_tiny()
    async with chatting(settings) as chat, Person(chat.url, ADA, language="zh-hans") as person:
        sent = [await person.photo(paint("red"), "rose"), await person.photo(paint("red"))]
        sent.append(await person.photo(paint("red"), "what is it?"))
        sent.append(await person.photo(paint("red"), "rose!"))
        sent.append(await person.document(b"no photo", "photo.jpg"))
        commands = (
            "/help", "/classes", "/status", "/gpu", "/train", "/train ?", "/train x", "/cancel", "/undo", "/rename",
            "/merge", "/delete", "/schedule", "/people", "/show", "/show x", "/models", "/promote", "/compare",
            "/mistakes", "/rollback", "/notify", "/notify off", "/listen", "/label", "hello", "/withdraw",
        )  # fmt: skip
        sent += [await person.say(words) for words in commands]
        for message in sent:
            answer = await person.reply_to(message["message_id"])
            words = [answer.get("text", ""), answer.get("caption", "")]
            words += [key["text"] for row in answer.get("reply_markup", {}).get("inline_keyboard", []) for key in row]
            for text in words:
                left = list(re.findall(r"[A-Za-z]{3,}", NAMES.sub("", text)))
                assert left == [] or "您写的是" in text, text


async def test_two_people_are_answered_in_their_own_languages(settings: Settings) -> None:
    """What one person speaks changes nothing for another."""
    async with chatting(settings) as chat, Person(chat.url, ADA, language="zh") as chinese:
        said = await chinese.say("/cancel")
        assert (await chinese.reply_to(said["message_id"]))["text"] == "没有正在进行的训练。"
        said = await chat.person.say("/cancel")
        assert (await chat.person.reply_to(said["message_id"]))["text"] == "No run is under way."


async def test_the_menu_shows_what_a_person_may_do(settings: Settings) -> None:
    """Telegram's list of commands agrees with what is allowed, for each role and in each language."""
    async with chatting(settings) as chat:
        bot = chat.service.application.bot
        allowed = [name for name in COMMANDS if may(Role.VIEWER, name)]
        assert [item.command for item in await bot.get_my_commands(BotCommandScopeDefault())] == allowed
        chinese = await bot.get_my_commands(BotCommandScopeDefault(), "zh")
        assert [item.command for item in chinese] == allowed
        assert not re.search("[a-z]{4}", NAMES.sub("", chinese[0].description))
        owner = await bot.get_my_commands(BotCommandScopeChat(ADA))
        assert [item.command for item in owner] == [name for name in COMMANDS if may(Role.ADMIN, name)]
        assert len(await bot.get_my_commands(BotCommandScopeAllGroupChats())) == 5
        said = await chat.person.say("/people add 77 labeller Bo")
        await chat.person.reply_to(said["message_id"])
        labeller = await bot.get_my_commands(BotCommandScopeChat(77))
        assert [item.command for item in labeller] == [name for name in COMMANDS if may(Role.LABELLER, name)]
