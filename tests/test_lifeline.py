"""Children end with their parent, also when it is killed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from storage import lifeline
from storage.lifeline import VARIABLE

CHILD = """
import sys, time
from storage.lifeline import follow_parent
follow_parent({stop})
print("alive", flush=True)
time.sleep(60)
"""
PARENT = """
import os, subprocess, sys, time
environment = {**os.environ, sys.argv[1]: "1"}
child = subprocess.Popen([sys.executable, "-c", sys.argv[2]], stdin=subprocess.PIPE, env=environment)
time.sleep(60)
"""


def child(stop: str = "", *, lifeline: bool) -> subprocess.Popen[str]:
    environment = {**os.environ, VARIABLE: "1"} if lifeline else dict(os.environ)
    return subprocess.Popen(
        [sys.executable, "-c", CHILD.format(stop=stop)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )


@pytest.mark.parametrize("stop", ["", "lambda: print('stopping', flush=True) or __import__('os')._exit(7)"])
def test_child_ends_when_its_input_closes(stop: str) -> None:
    """The pipe closes, and the child stops in its own way or at once."""
    with child(stop, lifeline=True) as process:
        assert process.stdout
        assert process.stdin
        assert process.stdout.readline() == "alive\n"
        process.stdin.close()
        assert process.wait(30) == (7 if stop else 1)


def test_process_started_by_a_person_stays() -> None:
    """Without the variable a closed input means nothing."""
    with child(lifeline=False) as process:
        assert process.stdout
        assert process.stdin
        assert process.stdout.readline() == "alive\n"
        process.stdin.close()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        process.kill()


def test_child_of_a_killed_parent_ends() -> None:
    """After kill -9 of the parent the child goes too: the pipe that both print to reaches its end."""
    command = [sys.executable, "-c", PARENT, VARIABLE, CHILD.format(stop="")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        assert parent.stdout.readline() == "alive\n"
        parent.kill()
        assert parent.stdout.read() == ""


def test_child_is_ours_wherever_it_is_started(tmp_path: Path) -> None:
    """A folder called as one of our packages, where a person happens to be, is not run."""
    (tmp_path / "storage").mkdir()
    (tmp_path / "storage" / "__init__.py").write_text("raise SystemExit('not ours')")
    assert subprocess.run(lifeline.child("storage.lifeline"), cwd=tmp_path, check=False).returncode == 0
