"""The bot as a process: how it starts, how it ends, and what it never writes into its log."""

import asyncio
import os
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from conftest import ADA, TOKEN, Painter

from bot.service import run
from sandbox.client import Person
from sandbox.server import running
from storage.errors import SettingsError
from storage.settings import Settings

PROGRAM = """
import sys
from bot.service import Pace, run
from storage.errors import RetrainbotError
from storage.logs import configure_logs
from storage.settings import read_settings
settings = read_settings()
configure_logs(settings.logging.level)
try:
    run(settings, Pace(reconnect=0.2))
except RetrainbotError as error:
    sys.exit(str(error))
"""


@asynccontextmanager
async def bot_process(settings: Settings, url: str, **environment: str) -> AsyncIterator[Process]:
    """The bot in a process of its own, logging all it can; killed if it is still there at the end."""
    variables = {
        "RETRAINBOT_DATA": str(settings.data),
        "RETRAINBOT_TELEGRAM__TOKEN": TOKEN,
        "RETRAINBOT_TELEGRAM__BASE_URL": url,
        "RETRAINBOT_TELEGRAM__USERS": f"[{ADA}]",
        "RETRAINBOT_LOGGING__LEVEL": "debug",
        **environment,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, stdin=PIPE, stderr=PIPE, env={**os.environ, **variables}
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_starts_before_the_network_and_keeps_the_token(settings: Settings, paint: Painter) -> None:
    """A bot started without a network works once there is one, ends at SIGTERM, and never logs its token."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    async with bot_process(settings, f"http://127.0.0.1:{port}") as bot:
        assert bot.stderr
        log = await bot.stderr.readuntil(b"cannot be reached")
        async with running(port) as sandbox, Person(sandbox.url, ADA) as person:
            async with httpx.AsyncClient(trust_env=False) as client:
                faults = [{"method": method, "error_code": 500} for method in ("download", "sendMessage", "getUpdates")]
                await client.post(f"{sandbox.url}/client/faults", json=faults)
            sent = await person.photo(paint("red"), "rose")
            await person.reply_to(sent["message_id"])
            bot.send_signal(signal.SIGTERM)
            log += (await bot.communicate())[1]
    assert bot.returncode == 0, log.decode()[-2000:]
    assert b"[token]" in log
    assert TOKEN.partition(":")[2].encode() not in log


async def test_ends_with_its_parent(settings: Settings) -> None:
    """A bot whose parent vanishes ends in order, even while it waits for the network."""
    async with bot_process(settings, "http://127.0.0.1:9", RETRAINBOT_LIFELINE="1") as bot:
        assert bot.stderr
        assert bot.stdin
        await bot.stderr.readuntil(b"cannot be reached")
        bot.stdin.close()
        await bot.communicate()
    assert bot.returncode == 0


async def test_says_that_the_token_is_wrong(settings: Settings) -> None:
    """A token that Telegram does not know ends the bot with what to do, and the token is not in the log."""
    async with running() as sandbox:
        async with httpx.AsyncClient(trust_env=False) as client:
            await client.post(f"{sandbox.url}/client/faults", json={"method": "getMe", "error_code": 401})
        async with bot_process(settings, sandbox.url) as bot:
            log = (await bot.communicate())[1]
    assert bot.returncode == 1
    assert b"Telegram does not know the bot token" in log
    assert TOKEN.partition(":")[2].encode() not in log


def test_needs_a_token(settings: Settings) -> None:
    """Without a token the error says how to get one."""
    with pytest.raises(SettingsError, match="BotFather"):
        run(settings)
