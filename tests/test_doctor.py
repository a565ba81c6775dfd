"""`retrainbot doctor`: what it finds right and wrong, and that it changes nothing."""

import asyncio
import json
import os
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import ADA, TOKEN, PublishTiny, chatting, until
from pydantic import SecretStr
from telegram import Bot, User, WebhookInfo
from telegram.error import Conflict

from cli.checks import configuration, database, folder, telegram, weights
from cli.checks.finding import Finding, State
from sandbox.server import running
from storage import lifeline
from storage.database import Database, now
from storage.errors import BackboneError
from storage.files import sha256_of
from storage.gpus import GpuReports
from storage.settings import Settings, Training
from trainer.backbones import files

CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("RETRAINBOT_")}
ENVIRONMENT = {
    **CLEAN,
    "RETRAINBOT_TELEGRAM__TOKEN": TOKEN,
    "RETRAINBOT_TELEGRAM__USERS": f"[{ADA}]",
    "RETRAINBOT_TRAINING__BACKBONE": "efficientnet_lite0",
    "RETRAINBOT_SERVING__THREADS": "1",
}


def by_check(findings: list[dict[str, Any]]) -> dict[str, tuple[str, str]]:
    return {row["check"]: (row["state"], f"{row['found']} {row['advice']}") for row in findings}


def contents(folder: Path) -> dict[str, str]:
    return {str(path): sha256_of(path) for path in folder.rglob("*") if path.is_file()}


async def doctor(settings: Settings, url: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """The command in a process of its own, with --json, on a data folder and a sandbox."""
    variables = {**ENVIRONMENT, "RETRAINBOT_TELEGRAM__BASE_URL": url, **environment}
    command = lifeline.child("cli.main", "doctor", "--json", "--data", str(settings.data))
    return await started(command, variables)


async def started(command: list[str], variables: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
    return await asyncio.to_thread(
        subprocess.run, command, env=variables, cwd="/", capture_output=True, text=True, check=False
    )


async def test_all_is_well(settings: Settings, publish_tiny: PublishTiny) -> None:
    """With a token, a served version and no card, every check is good, and not a byte has changed."""
    publish_tiny()
    before = contents(settings.data)
    async with running() as sandbox:
        done = await doctor(settings, sandbox.url)
    findings = json.loads(done.stdout)
    assert [finding for finding in findings if finding["state"] != "ok"] == []
    assert done.returncode == 0
    assert by_check(findings).keys() == {
        *("configuration", "token", "data folder", "disk", "database", "weights", "served version"),
        *("GPU", "TensorFlow", "computing", "Telegram", "updates", "groups"),
    }
    assert contents(settings.data) == before
    assert TOKEN not in done.stdout + done.stderr


BROKEN = """
mount -t tmpfs -o size=1024k tmpfs {mount} && cp -r {data} {mount}/data && mount -o remount,ro {mount} &&
exec {python} -P -m cli.main doctor --data {mount}/data
"""


async def test_everything_is_wrong(settings: Settings, tmp_path: Path, publish_tiny: PublishTiny) -> None:
    """A small disk that is read-only, a damaged database, no weights, no TensorFlow server, a revoked token: each has
    its line that says what to do, and the exit status is 1.
    """
    publish_tiny()
    settings.database_file.write_bytes(b"no database" * 1000)
    mount = tmp_path / "mount"
    mount.mkdir()
    python = lifeline.child("cli.main")[0]
    script = BROKEN.format(mount=mount, data=settings.data, python=python)
    command = ["unshare", "--mount", *([] if os.getuid() == 0 else ["--user", "--map-root-user"]), "sh", "-c", script]
    more = {"RETRAINBOT_TRAINING__BACKBONE": "inception_v3", "RETRAINBOT_TRAINING__WEIGHTS": "/missing.h5"}
    async with running() as sandbox:
        async with httpx.AsyncClient(trust_env=False) as client:
            await client.post(f"{sandbox.url}/client/faults", json={"method": "getMe", "error_code": 401})
        done = await started(command, {**ENVIRONMENT, **more, "RETRAINBOT_TELEGRAM__BASE_URL": sandbox.url})
    lines = {line.partition(":")[0]: line for line in done.stdout.splitlines()}
    for check, words in {
        "✗ data folder": "may not write",
        "✗ disk": "Make room",
        "✗ database": "restore it from a backup",
        "✗ weights": "there is no file /missing.h5",
        "✗ served version": "said of the database",
        "✗ Telegram": "Copy it from @BotFather",
    }.items():
        assert words in lines[check]
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stdout + done.stderr


async def test_a_wrong_configuration_is_the_first_thing_to_mend(settings: Settings) -> None:
    """Every wrong key is named, with what is allowed, and nothing else is tried."""
    wrong = {"RETRAINBOT_SERVING__TOP_K": "none", "RETRAINBOT_TRAINING__SEED": "-1"}
    done = await doctor(settings, "http://127.0.0.1:9", **wrong)
    (finding,) = json.loads(done.stdout)
    assert finding["state"] == "failed"
    assert all(name in finding["found"] for name in wrong)
    assert done.returncode == 1


async def test_a_damaged_version_is_told(settings: Settings, publish_tiny: PublishTiny) -> None:
    """One changed byte in the served version fails its check; a database in use is looked at all the same."""
    number = publish_tiny()
    (settings.models_dir / str(number) / "variables" / "variables.index").write_bytes(b"changed")
    used = Database(settings.database_file)
    with used.write():
        done = await doctor(settings, "http://127.0.0.1:9")
    used.close()
    found = by_check(json.loads(done.stdout))
    assert found["served version"][0] == "failed"
    assert "variables.index is missing or changed" in found["served version"][1]
    assert found["database"][0] == "ok"
    assert "cannot be reached" in found["Telegram"][1]


def one(found: Finding, state: State, words: str) -> None:
    assert (found.state, words in found.line()) == (state, True), found


def test_what_the_configuration_lacks(tmp_path: Path) -> None:
    """A variable with a slip, a token that others can read, no token, and no owner."""
    file = tmp_path / "config.toml"
    file.write_text(f'[telegram]\ntoken = "{TOKEN}"\n')
    file.chmod(0o644)
    with_token = Settings.model_validate({"telegram": {"token": TOKEN}})
    slip, token, owners = configuration.check(
        with_token, file, {"RETRAINBOT_TELEGRAM__TOKN": "x", "RETRAINBOT_DATA": "d"}
    )
    one(slip, State.WARNING, "RETRAINBOT_TELEGRAM__TOKN")
    one(token, State.WARNING, "chmod 600")
    one(owners, State.WARNING, "/start")
    file.chmod(0o600)
    read, token, _ = configuration.check(with_token, file, {"RETRAINBOT_SERVING__TOP_K": "3", "HOME": "/"})
    one(read, State.OK, str(file))
    one(token, State.OK, "one")
    defaults, token, _ = configuration.check(Settings(), tmp_path / "none.toml", {})
    one(defaults, State.OK, "defaults hold")
    one(token, State.FAILED, "/newbot")


@contextmanager
def somebody_else() -> Iterator[None]:
    """As a user without rights, where the tests are run by root; others have few enough."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def test_rights_on_the_data_folder() -> None:
    """A folder, a file in it, or the folder above it that this user may not write to is named, with its owner."""
    with tempfile.TemporaryDirectory() as name:
        above = Path(name)
        above.chmod(0o755)
        data = above / "data"
        data.mkdir()
        (data / "photos").mkdir()
        one(folder.rights(data), State.OK, "can be used")
        one(folder.rights(above / "new"), State.OK, "is made at the first start")
        above.chmod(0o555)
        with somebody_else():
            one(folder.rights(above / "new"), State.FAILED, f"may not write to {above}")
            data_was_barred = folder.rights(data)
        above.chmod(0o700)
        if os.geteuid() == 0:
            one(data_was_barred, State.FAILED, f"may not write to {data}, which belongs to root")
            with somebody_else():
                one(folder.rights(data), State.FAILED, "may not even look")
            data.chmod(0o777)
            above.chmod(0o755)
            with somebody_else():
                one(folder.rights(data), State.FAILED, f"may not write to {data / 'photos'}")
        (above / "file").touch()
        one(folder.rights(above / "file"), State.FAILED, "is a file")


def test_room_on_the_disk(tmp_path: Path) -> None:
    """Much, little, next to none; and a disk that has no place for more files."""
    one(folder.room(tmp_path, 50_000_000_000, None), State.OK, "50.0 GB")
    one(folder.room(tmp_path, 1_000_000_000, 10_000), State.WARNING, "larger disk")
    one(folder.room(tmp_path, 1_000_000, 10_000), State.FAILED, "0.0 GB")
    one(folder.room(tmp_path, 50_000_000_000, 3), State.FAILED, "3 more files")


def test_the_state_of_the_database(tmp_path: Path) -> None:
    """None yet, present, older, newer, broken in the middle; it is never changed."""
    file = tmp_path / "data.db"
    one(database.check(file), State.OK, "none yet")
    GpuReports(made := Database(file)).read()
    made.close()
    one(database.check(file), State.OK, "up to date")
    for schema, state, words in (("0001", State.WARNING, "older"), ("9999", State.FAILED, "newer")):
        with sqlite3.connect(file) as connection:
            connection.execute("UPDATE alembic_version SET version_num = ?", (schema,))
        connection.close()
        before = contents(tmp_path)
        one(database.check(file), state, words)
        assert contents(tmp_path) == before
    content = bytearray(file.read_bytes())
    content[4096 * 3 : 4096 * 8] = os.urandom(4096 * 5)
    file.write_bytes(content)
    one(database.check(file), State.FAILED, "backup")


def test_weights_that_are_missing(tmp_path: Path) -> None:
    """A download that is to come is announced, one that cannot come is a fault, a damaged one is fetched again."""
    training = Training(backbone="inception_v3")

    def offline() -> None:
        raise files.no_weights(OSError("no network"))

    one(weights.check(training, tmp_path, lambda: None), State.WARNING, "88 MB")
    one(weights.check(training, tmp_path, offline), State.FAILED, "Either fetch https://")
    kept = tmp_path / "models" / files.INCEPTION
    kept.parent.mkdir()
    kept.write_bytes(b"cut short")
    one(weights.check(training, tmp_path, lambda: None), State.WARNING, "damaged")
    one(weights.check(training.model_copy(update={"weights": str(kept)}), tmp_path, offline), State.OK, str(kept))
    one(weights.check(training.model_copy(update={"mode": "scratch"}), tmp_path, offline), State.OK, "needs none")
    with pytest.raises(BackboneError):
        offline()


def at(settings: Settings, url: str, **telegram_: Any) -> Settings:
    section = settings.telegram.model_copy(update={"token": SecretStr(TOKEN), "base_url": url, **telegram_})
    return settings.model_copy(update={"telegram": section})


async def look(settings: Settings) -> dict[str, Finding]:
    return {finding.check: finding for finding in await asyncio.to_thread(telegram.check, settings, now())}


async def ask_again_and_again(url: str) -> None:
    """What any program does that works for a bot."""
    async with Bot(TOKEN, base_url=f"{url}/bot") as bot:
        while True:
            with suppress(Conflict):
                await bot.get_updates(timeout=1)


async def test_another_program_with_the_same_token_is_noticed(settings: Settings) -> None:
    """Who asks for updates, too, ends our question."""
    async with running() as sandbox:
        other = asyncio.create_task(ask_again_and_again(sandbox.url))
        one((await look(at(settings, sandbox.url)))["updates"], State.FAILED, "Another program asks")
        other.cancel()
        await asyncio.wait([other])


async def test_a_bot_that_runs_is_asked_instead(settings: Settings) -> None:
    """What keeps its updates away is told; and it is not disturbed."""
    async with chatting(settings) as chat:
        await chat.person.reply_to((await chat.person.say("/help"))["message_id"])
        one((await look(chat.settings))["updates"], State.OK, "the bot that runs")
        await chat.fault(method="getUpdates", times=100, error_code=409)

        def noted() -> bool:
            report = telegram.running(chat.settings, now())
            return report is not None and report.updates is not None

        await chat.person.say("/help")  # Ends the question that is under way.
        await until(noted)
        one((await look(chat.settings))["updates"], State.FAILED, "Another program uses this bot token")
        assert telegram.running(chat.settings, now() + timedelta(minutes=1)) is None


async def test_webhooks(settings: Settings) -> None:
    """One that somebody else set is told before the bot takes it away; trouble with ours is told."""
    here, there = "https://here.example.org/x", "https://there.example.org/x"
    async with running() as sandbox, httpx.AsyncClient(trust_env=False) as client:
        await client.post(f"{sandbox.url}/bot{TOKEN}/setWebhook", json={"url": there})
        one((await look(at(settings, sandbox.url)))["updates"], State.WARNING, there)
    info = WebhookInfo(here, False, 3, last_error_message="Connection refused")
    one(telegram.webhook(info, here), State.WARNING, "3 wait")
    one(telegram.webhook(WebhookInfo(there, False, 0), here), State.WARNING, there)
    one(telegram.webhook(WebhookInfo("", False, 0), here), State.OK, "once the bot runs")


def test_privacy_in_groups() -> None:
    """A bot that sees only commands in groups is no fault, but its owner should know."""
    one(telegram.privacy(User(1, "Bot", True, can_read_all_group_messages=True)), State.OK, "every message")
    one(telegram.privacy(User(1, "Bot", True, can_read_all_group_messages=False)), State.OK, "/setprivacy")
