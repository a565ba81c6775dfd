"""Room on the disk of the data folder: where little is left nothing large is begun, so nothing breaks half-way."""

import errno
import shutil
from collections.abc import Callable
from pathlib import Path

from storage.settings import Settings
from storage.texts import Text

MB = 1_000_000
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})  # What the system says of a disk that has no room.


def free_bytes(folder: Path) -> int:
    """What is left for us on the disk of a folder, which need not be there yet."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


class Reserve:
    """The room that is to stay free: `reserve_mb`; 0 for none."""

    def __init__(self, folder: Path, reserve_mb: int, free: Callable[[Path], int] = free_bytes) -> None:
        self._folder = folder
        self._reserve_mb = reserve_mb
        self._free = free

    @classmethod
    def of(cls, settings: Settings) -> "Reserve":
        return cls(settings.data, settings.disk.reserve_mb)

    def short(self) -> Text | None:
        """That there is not so much room left, and what to do; None where there is."""
        if self._free(self._folder) >= self._reserve_mb * MB:
            return None
        return Text(
            "the disk has less room left than disk.reserve_mb keeps free, {reserve} MB; make room, and it goes on by"
            " itself",
            reserve=self._reserve_mb,
        )
