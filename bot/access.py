"""Who may use the bot: the people whose ids are in the configuration, and nobody else."""

from collections.abc import Collection

import structlog
from telegram import Update, User
from telegram.constants import ChatType
from telegram.ext import BaseHandler, ContextTypes

from bot import replies

log = structlog.get_logger()


class Strangers(BaseHandler[Update, ContextTypes.DEFAULT_TYPE, None]):
    """Matches every update of a person who is not in `users`, and refuses it."""

    def __init__(self, users: Collection[int]) -> None:
        super().__init__(refuse)
        self._users = frozenset(users)

    def check_update(self, update: object) -> bool:
        return isinstance(update, Update) and not allowed(update.effective_user, self._users)


def allowed(user: User | None, users: Collection[int]) -> bool:
    return user is not None and user.id in users


def by(user: User | None) -> str:
    """How the history names a person."""
    return f"telegram:{user.id}" if user else "telegram"


async def refuse(update: Update, _context: ContextTypes.DEFAULT_TYPE) -> None:
    """Say no politely. A group's strangers do not talk to us, so there nothing is said."""
    user, chat = update.effective_user, update.effective_chat
    log.info("refused", user=user.id if user else None, chat=chat.id if chat else None)
    if user is None:
        return
    if update.callback_query:
        await update.callback_query.answer(replies.refusal(user.id), show_alert=True)
    elif update.message and update.message.chat.type == ChatType.PRIVATE:
        await update.message.reply_text(replies.refusal(user.id))
