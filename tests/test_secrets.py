"""No token, password or key gets out: not into a log, not into the database, not into a reply, whatever goes wrong."""

import asyncio
import hmac
import json
import os
import sqlite3
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
from conftest import ADA, TOKEN, Painter, PublishTiny, until

from sandbox.client import Person
from sandbox.server import running
from storage import lifeline
from storage.database import Database
from storage.runs import Runs, RunState
from storage.settings import Settings

PROXY = "proxy-password-0123456789"
DIED = {"answering": "serving.modest", "decoding": "storage.decoding", "training": "trainer.run"}


@asynccontextmanager
async def services(settings: Settings, url: str, log: Path, **more: str) -> AsyncIterator[Process]:
    """`retrainbot run`, logging all it can."""
    variables = {
        "RETRAINBOT_TELEGRAM__TOKEN": TOKEN,
        "RETRAINBOT_TELEGRAM__BASE_URL": url,
        "RETRAINBOT_TELEGRAM__USERS": f"[{ADA}]",
        "RETRAINBOT_TRAINING__BACKBONE": "efficientnet_lite0",
        "RETRAINBOT_SCHEDULE__CRON": "",
        "RETRAINBOT_LOGGING__LEVEL": "debug",
        "NO_PROXY": "127.0.0.1",
        "HTTPS_PROXY": f"http://me:{PROXY}@127.0.0.1:9",
        **more,
    }
    command = lifeline.child("cli.main", "--data", str(settings.data), "run")
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=PIPE, stdout=output, stderr=output, cwd=settings.data, env={**os.environ, **variables}
        )
    try:
        yield process
        process.terminate()
        assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def kill(process: Process, module: str) -> int:
    """End every process below that runs this module, without a warning; returns how many those were."""
    doomed = []
    for child in psutil.Process(process.pid).children(recursive=True):
        with suppress(psutil.Error):
            if module in child.cmdline():
                child.kill()
                doomed.append(child.pid)
    return len(doomed)


def trains(database: Database) -> bool:
    run = Runs(database).active()
    return run is not None and run.state is RunState.RUNNING


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def rows(database: Path) -> tuple[str, list[str]]:
    """The key that seals buttons, and everything else that the database holds, as text."""
    with closing(sqlite3.connect(database)) as connection:
        (key,) = connection.execute("SELECT value FROM secrets").fetchone()
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        rows = [repr(row) for name in names if name != "secrets" for row in connection.execute(f"SELECT * FROM {name}")]  # noqa: S608
    return key, rows


def shown(secrets: Iterable[str], content: bytes) -> list[str]:
    return [secret for secret in secrets if secret.encode() in content]


async def test_no_secret_gets_out(
    settings: Settings, tmp_path: Path, publish_tiny: PublishTiny, paint: Painter
) -> None:
    """Every process is made to fail, in every way that is at hand, by polling and by webhook; then everything that was
    written or said is searched.
    """
    publish_tiny()
    database = Database(settings.database_file)
    log = tmp_path / "services.log"
    said: list[Any] = []
    async with running() as sandbox, httpx.AsyncClient(base_url=sandbox.url, trust_env=False) as client:
        faults = [
            {"method": "getUpdates", "error_code": 401},
            {"method": "getUpdates", "error_code": 409},
            {"method": "getUpdates", "drop": True},
            {"method": "getFile", "error_code": 500},
            {"method": "download", "error_code": 404},
            {"method": "sendMessage", "error_code": 500, "description": f"unknown token {TOKEN}"},
            {"method": "setWebhook", "error_code": 400, "description": "Bad Request: bad webhook"},
            {"method": "setWebhook", "drop": True},
        ]
        await client.post("/client/faults", json=faults)
        async with services(settings, sandbox.url, log) as process, Person(sandbox.url, ADA) as ada:
            await ada.reply_to((await ada.photo(paint("red")))["message_id"], 60)
            await ada.reply_to((await ada.photo(paint("red"), "rose"))["message_id"])
            await ada.reply_to((await ada.document(b"\xff\xd8 no photo", "photo.jpg", "rose"))["message_id"])
            await until(lambda: kill(process, DIED["answering"]) > 0)
            await ada.reply_to((await ada.photo(paint("green")))["message_id"], 60)
            kill(process, DIED["decoding"])
            await ada.reply_to((await ada.photo(paint("blue"), "tulip"))["message_id"], 60)
            asked = await ada.say("/train")
            await until(lambda: trains(database) and kill(process, DIED["training"]) > 0)
            await ada.reply_to(asked["message_id"], 60, lambda message: "failed" in message["text"])
            await ada.reply_to((await ada.say("/status"))["message_id"])
            said += await ada.events()
        hook = "RETRAINBOT_TELEGRAM__WEBHOOK"
        there = {f"{hook}_URL": "http://127.0.0.1:9/x", f"{hook}_LISTEN": "127.0.0.1:0"}
        async with services(settings, sandbox.url, log, **there):
            await until(lambda: b"took the webhook" in log.read_bytes())
    database.close()
    key, texts = rows(settings.database_file)
    secret = hmac.new(bytes.fromhex(key), b"webhook", "sha256").hexdigest()
    secrets = {TOKEN, TOKEN.partition(":")[2], PROXY, secret}
    written = {"log": log.read_bytes(), **files_below(settings.data)}
    assert {name: shown(secrets, content) for name, content in written.items() if shown(secrets, content)} == {}
    # The key itself has its place in the database, and no other.
    everywhere = [content for name, content in written.items() if "retrainbot.db" not in name]
    everywhere += [text.encode() for text in texts] + [json.dumps(said).encode()]
    assert [shown({key, *secrets}, content) for content in everywhere if shown({key, *secrets}, content)] == []
    assert b"[token]" in written["log"]
    assert all(json.loads(line)["event"] for line in written["log"].splitlines())
    assert {json.loads(line).get("process") for line in written["log"].splitlines()} >= {
        *("supervisor", "bot", "trainer", "training run"),
    }
