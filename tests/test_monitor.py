"""What programs that watch the services see: figures, health, and nobody's name."""

import asyncio
import os
import re
import socket
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import Broken, Chat, Painter, PublishTiny, chatting, until
from nvml import MIB, Nvml, card
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from bot import metrics
from bot.monitor import Monitor as BotMonitor
from storage import lifeline
from storage.database import Database
from storage.errors import SettingsError
from storage.monitor import Checks, create_app
from storage.runs import RunOptions, Runs, RunState
from storage.settings import Metrics, Settings, Training
from trainer import gpu
from trainer.monitor import LOST_SECONDS, Monitor

PAGE = Path(__file__).parent.parent / "docs" / "monitoring.md"
Figures = dict[tuple[str, ...], float]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def read(text: str) -> Figures:
    """Each figure by its name and the values of its labels, in the order of the labels' names."""
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {(one.name, *(value for _, value in sorted(one.labels.items()))): one.value for one in samples}


def inside(registry: CollectorRegistry, health: Checks, ready: Checks) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(create_app(registry, health, ready))
    return httpx.AsyncClient(transport=transport, base_url="http://monitor")


def at(port: int) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False)


async def figures(client: httpx.AsyncClient) -> Figures:
    return read((await client.get("/metrics")).text)


async def test_a_bot_tells_what_it_did(settings: Settings, publish_tiny: PublishTiny, paint: Painter) -> None:
    """Photos by what became of them, answers by version, times, the inbox, the served version; and nobody's name."""
    number = publish_tiny()
    port = free_port()
    settings = settings.model_copy(update={"metrics": Metrics(bot_port=port)})
    async with chatting(settings) as chat, at(port) as client:
        await until(lambda: chat.service.rollout.answering == number)
        before = await figures(client)
        await said(chat, paint("red"))
        await said(chat, paint("green"), "A secret rose")
        sent = await chat.person.document(b"no photo at all", "photo.jpg")
        await chat.person.reply_to(sent["message_id"])
        await until_worked(client, before[("retrainbot_update_seconds_count", "photos")] + 3)
        text = (await client.get("/metrics")).text
        after = read(text)
        for figure in [
            ("retrainbot_photos_total", "not decoded"),
            ("retrainbot_photos_labelled_total", "added"),
            ("retrainbot_model_seconds_count",),
        ]:
            assert after[figure] - before.get(figure, 0) == 1, figure
        assert after["retrainbot_photos_total", "kept"] - before.get(("retrainbot_photos_total", "kept"), 0) == 2
        answers = sum(after["retrainbot_answers_total", sure, str(number)] for sure in ("yes", "no"))
        assert answers >= 1
        assert (after["retrainbot_served_version",], after["retrainbot_wanted_version",]) == (number, number)
        assert (after["retrainbot_inbox_waiting",], after["retrainbot_inbox_oldest_seconds",]) == (0, 0)
        assert after["retrainbot_updates_come",] == 1
        assert not re.search(r"\b(rose|secret|Ada|1001|red|green)\b", text)
        assert (await client.get("/healthz")).json() == {"ok": True, "checks": {}}
        ready = await client.get("/readyz")
        assert ready.json() == {"ok": True, "checks": {"database": "ok", "updates": "ok", "version": "ok"}}
        await chat.fault(method="getUpdates", times=50, error_code=401)
        await chat.person.say("/help")
        while (ready := await client.get("/readyz")).status_code == httpx.codes.OK:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        assert ready.status_code == httpx.codes.SERVICE_UNAVAILABLE
        assert "BotFather" in ready.json()["checks"]["updates"]
        assert (await figures(client))["retrainbot_updates_come",] == 0


async def said(chat: Chat, photo: bytes, caption: str | None = None) -> None:
    sent = await chat.person.photo(photo, caption)
    await chat.person.reply_to(sent["message_id"])


async def until_worked(client: httpx.AsyncClient, count: float) -> None:
    """A letter is counted only when its answer was sent."""
    async with asyncio.timeout(30):
        while (await figures(client))["retrainbot_update_seconds_count", "photos"] < count:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_a_version_that_cannot_be_loaded_is_told(settings: Settings, publish_tiny: PublishTiny) -> None:
    """The bot is not ready, and says why; the figures name the version that shall answer."""
    number = publish_tiny()
    (settings.models_dir / str(number) / "labels.txt").write_text("changed")
    async with chatting(settings) as chat:
        service = chat.service
        await until(lambda: service.rollout.problem is not None)
        monitor = BotMonitor(service.vitals, service.stores.database, settings.data)
        async with inside(monitor.registry(), {}, monitor.ready()) as client:
            ready = await client.get("/readyz")
            assert "labels.txt" in ready.json()["checks"]["version"]
            told = await figures(client)
    assert (told["retrainbot_served_version",], told["retrainbot_wanted_version",]) == (0, number)


async def test_a_trainer_tells_runs_and_cards(settings: Settings, database: Database) -> None:
    """Runs by their end, those that wait, how long they took, and what each card tells; the rest is left out."""
    runs = Runs(database)
    for _ in "ab":
        runs.enqueue(RunOptions.from_settings(Training()), "ann", join=False)
    first, _ = runs.enqueue(RunOptions.from_settings(Training()), "ann", join=False)
    runs.cancel(first.id, "ann")
    monitor = Monitor(database, settings.data)
    monitor.ended(RunState.CANCELLED, 30)
    monitor.gpus = gpu.report(None, Nvml([card(), {"nvmlDeviceGetName": "Quiet"}]))
    async with inside(monitor.registry, monitor.health(), monitor.ready()) as client:
        told = await figures(client)
        assert (await client.get("/readyz")).json()["ok"] is True
    assert (told["retrainbot_runs_total", "cancelled"], told["retrainbot_runs_total", "failed"]) == (1, 0)
    assert (told["retrainbot_runs_open", "queued"], told["retrainbot_runs_open", "running"]) == (2, 0)
    assert told["retrainbot_run_seconds_bucket", "cancelled", "60.0"] == 1
    assert told["retrainbot_gpu_memory_used_bytes", "0"] == 1024 * MIB
    assert told["retrainbot_gpu_utilisation_ratio", "0"] == 0.93
    assert told["retrainbot_gpu_power_watts", "0"] == 350.4
    assert [figure for figure in told if figure[0].startswith("retrainbot_gpu") and figure[1:] == ("1",)] == []
    assert told["process_resident_memory_bytes",] > 1_000_000


@pytest.mark.both_databases
async def test_a_trainer_that_hangs_is_told(settings: Settings, database: Database, broken: Broken) -> None:
    """A loop that does not come round is unhealthy; a schedule that is not looked at, or a database, unready."""
    time = [0.0]
    monitor = Monitor(database, settings.data, lambda: time[0])
    async with inside(monitor.registry, monitor.health(), monitor.ready()) as client:
        assert (await client.get("/healthz")).status_code == httpx.codes.OK
        time[0] = LOST_SECONDS + 1
        assert "121 seconds ago" in (await client.get("/healthz")).json()["checks"]["runs"]
        monitor.beat.here()
        assert (await client.get("/healthz")).status_code == httpx.codes.OK
        monitor.looks = lambda: False
        with broken():
            checks: dict[str, Any] = (await client.get("/readyz")).json()["checks"]
            assert "not looked at" in checks["schedule"]
            assert "cannot be used" in checks["database"]
            assert ("retrainbot_runs_total", "failed") not in await figures(client)


async def test_a_trainer_listens(settings: Settings) -> None:
    """The process answers while it works, and ends in order."""
    port = free_port()
    environment = {**os.environ, "RETRAINBOT_METRICS__TRAINER_PORT": str(port), "RETRAINBOT_SCHEDULE__CRON": ""}
    environment |= {"RETRAINBOT_TRAINING__STANDBY": "false", "RETRAINBOT_DATA": str(settings.data)}
    process = await asyncio.create_subprocess_exec(
        *lifeline.child("cli.main", "trainer"), env=environment, stderr=subprocess.PIPE
    )
    assert process.stderr
    await process.stderr.readuntil(b"trainer ready")
    async with at(port) as client:
        assert (await client.get("/healthz")).status_code == httpx.codes.OK
        assert (await client.get("/readyz")).json()["checks"]["schedule"] == "ok"
        assert (await figures(client))["retrainbot_runs_total", "failed"] == 0
    process.terminate()
    await process.communicate()
    assert process.returncode == 0


async def test_a_port_that_is_taken_is_told(settings: Settings) -> None:
    """The setting is named, by both services."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        both = Metrics(bot_port=port, trainer_port=port)
        with pytest.raises(SettingsError, match=r"metrics\.bot_port"):
            async with chatting(settings.model_copy(update={"metrics": both})):
                pass
        database = Database(settings.database_file)
        monitor = Monitor(database, settings.data)
        with pytest.raises(SettingsError, match=r"metrics\.trainer_port"), monitor.listening(both):
            pass
        database.close()


def test_old_versions_lose_their_line() -> None:
    """However many versions a bot lives through, the figures do not grow for ever."""
    for version in range(1000, 1050):
        metrics.answered(version, sure=True)
    told = {
        sample.labels["version"]
        for family in metrics.ANSWERS.collect()
        for sample in family.samples
        if int(sample.labels["version"]) >= 1000
    }
    assert told == {str(version) for version in range(1050 - metrics.MOST_VERSIONS, 1050)}


async def test_every_figure_is_explained(settings: Settings, database: Database) -> None:
    """docs/monitoring.md has each figure of the code, and no other."""
    trainer = Monitor(database, settings.data)
    trainer.ended(RunState.FAILED, 1)
    trainer.gpus = gpu.report(None, Nvml([card()]))
    async with chatting(settings) as chat:
        bot = BotMonitor(chat.service.vitals, chat.service.stores.database, settings.data)
        bot.inbox = chat.service.inbox
        families = [*bot.registry().collect(), *trainer.registry.collect()]
    names = {f"{family.name}_total" if family.type == "counter" else family.name for family in families}
    written = set(re.findall(r"`(retrainbot_[a-z_]+)`", PAGE.read_text("utf-8")))
    assert written == {name for name in names if name.startswith("retrainbot_")}
