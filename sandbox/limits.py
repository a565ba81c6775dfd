"""Telegram's limits, as https://core.telegram.org/bots/api states them, and this server's own."""

TEXT = 4096  # characters, after entities are parsed
CAPTION = 1024  # characters, after entities are parsed
CALLBACK_DATA = 64  # bytes
CALLBACK_ANSWER = 200  # characters
ALBUM = range(2, 11)  # items
PHOTO_UPLOAD = 10 * 2**20  # bytes
PHOTO_SIDES = 10_000  # pixels, width and height together
PHOTO_RATIO = 20  # longer side to shorter side
DOCUMENT_UPLOAD = 50 * 2**20  # bytes, by a bot
DOWNLOAD = 20 * 2**20  # bytes, by a bot
PHOTO_SIZES = (100, 320, 800, 1280)  # pixels, longest side
UPDATES = 100  # in one answer of getUpdates
POLL = 50  # seconds, the longest wait of getUpdates
UPDATE_LIFE = 24 * 3600  # seconds an update waits for its bot
CALLBACK_LIFE = 150  # seconds a tap waits for its bot, and for an answer
CONNECTIONS, DEFAULT_CONNECTIONS = 100, 40  # of a webhook
WEBHOOK_ANSWER = 60  # seconds that a bot's server may take for an answer
PLACEHOLDER = 64  # characters in the field where a person types
BATCH = range(1, 101)  # messages that one call forwards, copies or deletes
REACTIONS = 1  # of a bot to one message
COMMANDS = 100  # in one list
COMMAND_DESCRIPTION = 256  # characters
NAME, DESCRIPTION, SHORT_DESCRIPTION = 64, 512, 120  # characters, of a bot

MESSAGES_KEPT = 10_000  # in one chat
EVENTS_KEPT = 20_000  # in one chat
PERSON_WAIT = 60  # seconds, the longest wait of the person's side
