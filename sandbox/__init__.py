"""A stand-in for Telegram's servers on loopback, for demos, tests and trying a bot without an account.

It speaks the Bot API at ``/bot<token>/<method>`` and ``/file/bot<token>/<path>``, so that an unchanged bot needs
only another base URL, and offers the person's side at ``/client/...`` (see `sandbox.person`). Whatever looks like a
token is a bot of its own; its id is the number before the colon.

Supported
    getMe, getUpdates (offset, limit, timeout, allowed_updates, 409 for the older of two pollers and beside a webhook),
    setWebhook (url, secret_token, allowed_updates, drop_pending_updates, max_connections; see `sandbox.webhook`),
    deleteWebhook, getWebhookInfo, sendMessage, sendPhoto, sendDocument, sendMediaGroup, sendChatAction,
    editMessageText, editMessageCaption, editMessageMedia, editMessageReplyMarkup, deleteMessage, answerCallbackQuery,
    getFile, getChat, setMyCommands, getMyCommands, deleteMyCommands. Parameters as query, form, multipart or JSON;
    ``attach://`` uploads; HTML formatting; commands, mentions, hashtags and links found in text; replies; inline
    keyboards; albums; photo sizes; scripted faults (see `sandbox.faults`).

Deviates on purpose
    - Nobody is asked who they are: it listens on loopback, and whoever reaches it may act as any person or bot.
    - A webhook may be plain HTTP on this computer, on any port. Its updates come strictly one at a time, whatever
      max_connections says, and soon again after a failure. What the answer holds is not looked at: a method in it,
      which Telegram would carry out, is not. An own certificate is not accepted.
    - Rate limits are not modelled; script a fault of 429 instead.
    - Each bot has every chat to itself, so two bots in one group do not see each other's messages.
    - In groups a bot receives every message, as if its privacy mode were off.
    - The same bytes always have the same ``file_unique_id``; Telegram knows only forwarded files again.
    - Smaller sizes of a photo are drawn when first asked for; until then they have no ``file_size``.
    - A message sent before any bot came carries file ids that every bot may use.
    - Any data of 1-64 bytes may be tapped on any message of the bot, as a forged client can.
    - Control characters and bidirectional marks in text are kept, where Telegram drops some.
    - Everything is in memory (files: a temporary folder) and gone at the end. A chat keeps its last 10,000 messages
      and 20,000 events. Numbers of updates and messages start from the clock, so a restart does not repeat them.

Left out
    Markdown formatting (400), reply keyboards (accepted, not shown), topics, forwarding and copying, members and
    administrators, inline mode, payments, stickers, video, audio, fetching files by address, edits and reactions by
    people, logOut and close, and every method not named above (404).
    Parameters of the supported methods that are about any of this, or only about looks (link previews, silent or
    protected messages, thumbnails), are accepted and have no effect.
"""
