"""A small disk of its own for a test: it can be filled, and emptied again."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

KIB = 1024


@dataclass(frozen=True)
class SmallDisk:
    """A tmpfs that is mounted at `folder`."""

    folder: Path

    def fill(self, left_kib: int) -> None:
        """Leave so much room, and no more, also where somebody else is writing."""
        self.empty()
        with self._filler.open("wb") as file:
            taken = 0
            while (size := shutil.disk_usage(self.folder).free - left_kib * KIB) > 0:
                with suppress(OSError):  # Somebody was faster.
                    os.posix_fallocate(file.fileno(), taken, size)
                    taken += size

    def empty(self) -> None:
        """Give the room back that `fill` took."""
        self._filler.unlink(missing_ok=True)

    def read_only(self, on: bool = True) -> None:
        _run("mount", "-o", f"remount,{'ro' if on else 'rw'}", str(self.folder))

    @property
    def _filler(self) -> Path:
        return self.folder / "filler"


@contextmanager
def small_disk(folder: Path, kib: int) -> Iterator[SmallDisk]:
    """Skips the test where nobody may mount; where CI is set, that fails it."""
    folder.mkdir(parents=True)
    done = _run("mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(folder))
    if done.returncode:
        reason = f"NOT TESTED: a small disk cannot be mounted here ({done.stderr.strip()}); run the tests as root"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    try:
        yield SmallDisk(folder)
    finally:
        _run("umount", "--lazy", str(folder))


def _run(*command: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, capture_output=True, text=True, check=False)
