"""A stand-in for Telegram's servers on loopback, for demos, tests and trying a bot without an account.

It speaks the Bot API at ``/bot<token>/<method>`` and ``/file/bot<token>/<path>``, so that an unchanged bot needs
only another base URL, and offers the person's side at ``/client/...`` (see `sandbox.person`). Whatever looks like a
token is a bot of its own; its id is the number before the colon.

`sandbox.methods.METHODS` is what it supports. ``docs/sandbox.md`` says how bots and people use it, in what it deviates
from Telegram on purpose, and what it leaves out.
"""
