import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

# A service that writes its process id, and ends when its parent is gone.
SERVICE = """
import os, pathlib, sys, time
from storage.lifeline import follow_parent
follow_parent()
with pathlib.Path(sys.argv[1]).open("a") as file:
    file.write(f"{os.getpid()}\\n")
time.sleep(120)
"""
SUPERVISOR = """
import sys
from cli.supervisor import supervise
sys.exit(supervise({name: [sys.executable, "-c", sys.argv[2], name] for name in sys.argv[3:]}, float(sys.argv[1])))
"""


def until(true: Callable[[], bool], seconds: float = 30) -> None:
    """Wait for another process. Raises TimeoutError."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(0.02)


@contextmanager
def supervising(service: str, *names: Path, patience: float = 60.0) -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen([sys.executable, "-c", SUPERVISOR, str(patience), service, *map(str, names)])
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def started(file: Path) -> list[int]:
    return [int(line) for line in file.read_text().split()] if file.exists() else []


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_a_killed_service_is_started_again(tmp_path: Path) -> None:
    """A kill -9 of one service brings a new one, and leaves the other alone."""
    one, two = tmp_path / "one", tmp_path / "two"
    with supervising(SERVICE, one, two):
        until(lambda: len(started(one)) == 1 and len(started(two)) == 1)
        os.kill(started(one)[0], signal.SIGKILL)
        until(lambda: len(started(one)) == 2)
        assert len(started(two)) == 1
        assert not gone(started(two)[0])


def test_the_services_end_with_the_supervisor(tmp_path: Path) -> None:
    """SIGTERM ends the services first and then the supervisor, with status 0."""
    one = tmp_path / "one"
    with supervising(SERVICE, one) as supervisor:
        until(lambda: len(started(one)) == 1)
        supervisor.terminate()
        assert supervisor.wait(30) == 0
        assert gone(started(one)[0])


def test_no_service_outlives_a_killed_supervisor(tmp_path: Path) -> None:
    """A kill -9 of the supervisor closes the lifeline, and its services end by themselves."""
    one = tmp_path / "one"
    with supervising(SERVICE, one) as supervisor:
        until(lambda: len(started(one)) == 1)
        supervisor.kill()
        supervisor.wait()
        until(lambda: gone(started(one)[0]))


def test_a_wrong_configuration_ends_everything(tmp_path: Path) -> None:
    """A service that exits with status 2 would do so for ever, so the supervisor gives up with that status."""
    with supervising("import sys; sys.exit(2)", tmp_path / "one") as supervisor:
        assert supervisor.wait(30) == 2
