"""Signs of life: what services tell systemd, and `retrainbot run`, which kills what gives none."""

import asyncio
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from conftest import TOKEN, until
from test_supervisor import gone, started, supervising

from cli.ear import Ear
from storage import lifeline
from storage.notify import ALIVE, READY, STOPPING, Notifier
from storage.settings import Settings

CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("RETRAINBOT_")}


@dataclass(frozen=True)
class Systemd:
    """The other end, as systemd has it."""

    socket: socket.socket
    address: str
    words: list[str] = field(default_factory=list)

    def heard(self) -> list[str]:
        """Each datagram so far."""
        try:
            while True:
                self.words.append(self.socket.recv(4096).decode())
        except BlockingIOError:
            return self.words

    def lives(self) -> bool:
        """Whether it has been ready, and has given some signs of life."""
        return self.heard().count(ALIVE) > 2 and READY in self.words


@pytest.fixture(params=["path", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Systemd]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        address = str(tmp_path / "notify") if request.param == "path" else f"@retrainbot-{os.getpid()}"
        listener.bind(address.replace("@", "\0", 1))
        listener.setblocking(False)
        yield Systemd(listener, address)


def test_words_are_those_of_the_protocol(systemd: Systemd) -> None:
    """Ready with a status, alive no oftener than is needed, stopping."""
    time = [100.0]
    notifier = Notifier(systemd.address, 20.0, lambda: time[0])
    notifier.ready("waiting for the network")
    for seconds in (0, 1, 4, 1, 4):
        time[0] += seconds
        notifier.alive()
    notifier.stopping()
    assert systemd.heard() == ["READY=1\nSTATUS=waiting for the network", ALIVE, ALIVE, ALIVE, STOPPING]
    assert notifier.every == 5.0


def test_the_environment_is_for_this_process_alone() -> None:
    """Its children do not see it; a watchdog of another process is not ours."""
    variables = {"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "40000000", "WATCHDOG_PID": str(os.getpid()), "HOME": "/"}
    assert Notifier.from_environment(variables).every == 10.0
    assert variables == {"HOME": "/"}
    others = {"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "40000000", "WATCHDOG_PID": "1"}
    assert Notifier.from_environment(others).every is None
    assert Notifier.from_environment({}).every is None


def test_nobody_who_listens_is_no_trouble(tmp_path: Path) -> None:
    """Neither where there never was anybody, nor where whoever it was is gone, or busy."""
    for notifier in (Notifier(None, 1.0), Notifier(str(tmp_path / "gone"), 1.0)):
        notifier.ready()
        notifier.alive()
        notifier.stopping()
    ear = Ear(1.0)
    busy = Notifier(ear.environment["NOTIFY_SOCKET"])
    for _ in range(10_000):
        busy.ready()
    assert ear.heard() == {READY}
    ear.close()


TELLING = """
import os, pathlib, sys, time
from storage.lifeline import follow_parent
from storage.notify import Notifier
notifier = Notifier.from_environment()
follow_parent()
notifier.ready()
with pathlib.Path(sys.argv[1]).open("a") as file:
    file.write(f"{os.getpid()}\\n")
while True:
    notifier.alive()
    time.sleep(0.05)
"""


async def test_a_service_that_hangs_is_started_again(tmp_path: Path) -> None:
    """One that is stopped in its tracks gives no sign of life; it is killed, and the other is left alone."""
    one, two = tmp_path / "one", tmp_path / "two"
    with supervising(TELLING, one, two, patience=2.0):
        await until(lambda: len(started(one)) == 1 and len(started(two)) == 1)
        os.kill(started(one)[0], signal.SIGSTOP)
        await until(lambda: len(started(one)) == 2)
        assert gone(started(one)[0])
        assert len(started(two)) == 1


async def test_the_supervisor_tells_systemd(tmp_path: Path, systemd: Systemd, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is ready when its services are, gives signs of life, and says when it stops; they speak to it alone."""
    monkeypatch.setenv("NOTIFY_SOCKET", systemd.address)
    monkeypatch.setenv("WATCHDOG_USEC", "1000000")
    with supervising(TELLING, tmp_path / "one", tmp_path / "two") as supervisor:
        await until(systemd.lives)
        supervisor.terminate()
        assert await asyncio.to_thread(supervisor.wait, 30) == 0
    assert systemd.heard().count(READY) == 1
    assert systemd.words[-1] == STOPPING


@pytest.mark.parametrize("service", ["bot", "trainer"])
async def test_services_tell_systemd(settings: Settings, systemd: Systemd, service: str) -> None:
    """Ready, though Telegram cannot be reached; alive again and again; stopping."""
    variables = {
        "NOTIFY_SOCKET": systemd.address,
        "WATCHDOG_USEC": "2000000",
        "RETRAINBOT_DATA": str(settings.data),
        "RETRAINBOT_TELEGRAM__TOKEN": TOKEN,
        "RETRAINBOT_TELEGRAM__BASE_URL": "http://127.0.0.1:9",
        "RETRAINBOT_SERVING__STANDBY": "false",
        "RETRAINBOT_TRAINING__STANDBY": "false",
    }
    process = await asyncio.create_subprocess_exec(
        *lifeline.child("cli.main", service), env={**CLEAN, **variables}, stderr=subprocess.DEVNULL
    )
    await until(systemd.lives)
    process.terminate()
    assert await process.wait() == 0
    assert systemd.heard().count(READY) == 1
    assert STOPPING in systemd.words
