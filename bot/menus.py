"""The lists of commands that Telegram's apps show: by who may use them, and in each language."""

import structlog
from telegram import Bot, BotCommand, BotCommandScopeAllGroupChats, BotCommandScopeChat, BotCommandScopeDefault
from telegram.error import TelegramError

from bot import replies
from bot.access import may
from bot.language import ENGLISH, LANGUAGES, say, speaking
from storage.people import People, Role

IN_GROUPS = ("help", "label", "status", "listen", "people")  # More would hide what a group needs.

log = structlog.get_logger()


async def publish_commands(bot: Bot, people: People) -> None:
    """For everybody what a viewer may do, and for each person who was let in what their role may."""
    try:
        await _publish(bot, BotCommandScopeDefault(), _allowed(Role.VIEWER))
        await _publish(bot, BotCommandScopeAllGroupChats(), IN_GROUPS)
    except TelegramError as error:
        log.warning("the list of commands was not published", reason=str(error))
        return
    for person in people.all():
        await publish_for(bot, person.id, person.role)


async def publish_for(bot: Bot, person: int, role: Role | None) -> None:
    """In the private chat of one person; without a role what everybody sees."""
    scope = BotCommandScopeChat(person)
    try:
        if role:
            await _publish(bot, scope, _allowed(role))
        else:
            for language in LANGUAGES:
                await bot.delete_my_commands(scope, _code(language))
    except TelegramError as error:  # Somebody who has never talked to the bot has no chat yet.
        log.info("the list of commands of one chat was not published", chat=person, reason=str(error))


def _allowed(role: Role) -> tuple[str, ...]:
    return tuple(name for name in replies.COMMANDS if may(role, name))


async def _publish(
    bot: Bot, scope: BotCommandScopeDefault | BotCommandScopeAllGroupChats | BotCommandScopeChat, names: tuple[str, ...]
) -> None:
    for language in LANGUAGES:
        with speaking(language):
            commands = [BotCommand(name, say(replies.COMMANDS[name])) for name in names]
        await bot.set_my_commands(commands, scope, _code(language))


def _code(language: str) -> str | None:
    """English is for everybody whose language has no list of its own."""
    return None if language == ENGLISH else language
