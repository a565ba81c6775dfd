"""The demo's own folder: what lies in it, that one demo at a time uses it, and how far the conversation came."""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from storage.errors import RetrainbotError
from storage.files import TEMPORARY, make_folder, write_durably

MARKER = "made-by-retrainbot-demo.txt"
BEGUN, ENDED = "The conversation has begun.\n", "The conversation has ended.\n"


@dataclass(frozen=True)
class Home:
    """`lock` is the descriptor of a file that is locked for as long as any process holds it open."""

    folder: Path
    lock: int

    @property
    def config(self) -> Path:
        return self.folder / "config.toml"

    @property
    def log(self) -> Path:
        return self.folder / "services.log"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def sandbox(self) -> Path:
        return self.folder / "sandbox"

    @property
    def samples(self) -> Path:
        return self.folder / "samples"

    @property
    def used(self) -> bool:
        """Whether an earlier demo has left something here."""
        return self.data.exists()

    def ended(self) -> bool:
        """Whether the conversation was played to its end."""
        return (self.folder / MARKER).read_text("utf-8") == ENDED

    def begin(self) -> None:
        """Remove what an earlier demo left, and nothing else."""
        write_durably(self.folder / MARKER, BEGUN.encode())
        for path in (self.config, self.log, self.data, self.sandbox, self.samples):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def end(self) -> None:
        write_durably(self.folder / MARKER, ENDED.encode())


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[Home]:
    """Make the folder if need be, and hold it alone.

    Raises RetrainbotError for one that another demo uses, or that was not made by a demo.
    """
    if not folder.exists():
        make_folder(folder)
    if not folder.is_dir() or not ((folder / MARKER).is_file() or _empty(folder)):
        raise RetrainbotError(
            "{folder} was not made by the demo, so the demo leaves it alone. Move it away, or start the demo in another"
            " folder.",
            folder=folder,
        )
    lock = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RetrainbotError(
                "A demo is running in {folder}, or still ending. Use that one, or stop it with Ctrl-C first;"
                " `make demo ONCE=1` plays another beside it.",
                folder=folder,
            ) from None
        if not (folder / MARKER).is_file():
            write_durably(folder / MARKER, BEGUN.encode())
        yield Home(folder, lock)
    finally:
        os.close(lock)


def _empty(folder: Path) -> bool:
    """But for what a kill left of a marker."""
    return all(path.name.startswith(TEMPORARY) for path in folder.iterdir())
