from dataclasses import dataclass
from typing import Any

from sandbox.chat import Chat, Message
from sandbox.content import Media
from sandbox.errors import BadRequestError
from sandbox.faults import Fault
from sandbox.parameters import Parameters
from sandbox.world import Bot, World

Result = dict[str, Any] | list[Any] | bool


@dataclass(frozen=True)
class Call:
    """One call of a Bot API method, and the scripted fault that it meets, if any."""

    world: World
    bot: Bot
    parameters: Parameters
    fault: Fault | None = None

    def chat(self) -> Chat:
        """The chat the call names. Raises BadRequestError for one that no person has opened with this bot."""
        if self.parameters.has("inline_message_id"):
            raise BadRequestError("this sandbox has no inline mode")
        chat_id = self.parameters.text("chat_id")
        if not chat_id:
            raise BadRequestError("chat_id is empty")
        number = int(chat_id) if chat_id.removeprefix("-").isdecimal() else 0
        chat = self.world.chat(self.bot, number)
        if chat is None:
            raise BadRequestError("chat not found")
        return chat

    def media(self) -> Media:
        return Media(self.world.files, self.bot.id)

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
        """Add a message of the bot to the chat."""
        chat = self.chat()
        thread = self.parameters.integer("message_thread_id")
        topic = {} if thread is None else {"message_thread_id": thread, "is_topic_message": True}
        return chat.post(self.bot.user(), content | topic, self.reply_to(chat))

    def own_message(self, chat: Chat) -> Message:
        """The bot's message that the call wants to edit. Raises BadRequestError."""
        message = chat.get(self.parameters.required_integer("message_id"))
        if message is None:
            raise BadRequestError("message to edit not found")
        if message["from"]["id"] != self.bot.id:
            raise BadRequestError("message can't be edited")
        return message
