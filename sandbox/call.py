from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sandbox.chat import Chat, Message
from sandbox.content import Media, formatted, looks
from sandbox.errors import BadRequestError
from sandbox.faults import Fault
from sandbox.keyboards import inline_keyboard, reply_keyboard
from sandbox.limits import BATCH
from sandbox.parameters import Parameters
from sandbox.people import known_people
from sandbox.world import Bot, World

Result = dict[str, Any] | list[Any] | bool | int


@dataclass(frozen=True)
class Call:
    """One call of a Bot API method, and the scripted fault that it meets, if any."""

    world: World
    bot: Bot
    parameters: Parameters
    fault: Fault | None = None

    def chat(self, name: str = "chat_id") -> Chat:
        """The chat that parameter names. Raises BadRequestError for one that no person has opened with this bot."""
        if self.parameters.has("inline_message_id"):
            raise BadRequestError("this sandbox has no inline mode")
        chat_id = self.parameters.text(name)
        if not chat_id:
            raise BadRequestError(f"{name} is empty")
        number = int(chat_id) if chat_id.removeprefix("-").isdecimal() else 0
        chat = self.world.chat(self.bot, number)
        if chat is None:
            raise BadRequestError("chat not found")
        return chat

    def media(self) -> Media:
        return Media(self.world.files, self.bot.id)

    def formatted(self, name: str, parameters: Parameters | None = None) -> dict[str, Any]:
        """The message fields of `name` (text or caption), of the call or of `parameters` nested in it."""
        chat = self.chat()
        return formatted(
            parameters or self.parameters, name, lambda: known_people(chat) | {self.bot.id: self.bot.user()}
        )

    def message(self, chat: Chat, what: str) -> Message:
        """The message of that chat that is meant. Raises BadRequestError where there is none to `what` (a verb)."""
        message = chat.get(self.parameters.required_integer("message_id"))
        if message is None:
            raise BadRequestError(f"message to {what} not found")
        return message

    def messages(self) -> list[int]:
        """The numbers of the messages that are meant. Raises BadRequestError for none, and for too many."""
        numbers = self.parameters.listing("message_ids")
        if len(numbers) not in BATCH:
            raise BadRequestError(f"message_ids must name {BATCH[0]} to {BATCH[-1]} messages, not {len(numbers)}")
        if not all(isinstance(number, int) for number in numbers):
            raise BadRequestError("message_ids must be numbers")
        return numbers

    def reply_to(self, chat: Chat) -> int | None:
        """The id of the message that is answered, if any. Raises BadRequestError for one that is gone."""
        reply = self.parameters.mapping("reply_parameters")
        wanted = reply.get("message_id") or self.parameters.integer("reply_to_message_id")
        if not wanted:
            return None
        if isinstance(wanted, int) and chat.get(wanted):
            return wanted
        if reply.get("allow_sending_without_reply") or self.parameters.flag("allow_sending_without_reply"):
            return None
        raise BadRequestError("message to be replied not found")

    def post(self, content: Message) -> Message:
        """Add a message of the bot to the chat, with the keyboard of the call, if any."""
        chat = self.chat()
        thread = self.parameters.integer("message_thread_id")
        topic = {} if thread is None else {"message_thread_id": thread, "is_topic_message": True}
        shown = looks(self.parameters) | inline_keyboard(self.parameters)
        keyboard = reply_keyboard(self.parameters)
        message = chat.post(self.bot.user(), content | shown | topic, self.reply_to(chat))
        if keyboard:
            chat.note("keyboard", message_id=message["message_id"], reply_markup=keyboard)
        return message

    def own_message(self, chat: Chat) -> Message:
        """The bot's message that the call wants to edit. Raises BadRequestError."""
        message = self.message(chat, "edit")
        if message["from"]["id"] != self.bot.id:
            raise BadRequestError("message can't be edited")
        return message


Method = Callable[[Call], Awaitable[Result]]
Methods = Mapping[str, Method]  # by their names in lower case
