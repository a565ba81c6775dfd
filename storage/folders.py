"""Folders that people fill: what lies in them, and its photos read and decoded on every core."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from storage.disk import FULL
from storage.errors import ImageError, PhotoError
from storage.photos import Photos, Prepared

MAX_BYTES = 200 * 2**20  # No camera makes a larger file in these formats; a film does.
THREADS = 2 * (os.cpu_count() or 1)  # While some wait for the disk, the others decode outside Python's lock.
AHEAD = 16 + THREADS  # Files made ready while the ones before them are stored.
Result = TypeVar("Result")
CLUTTER = frozenset({"thumbs.db", "desktop.ini"})  # Put there by Windows, as .DS_Store is by macOS.


@dataclass(frozen=True)
class Refusal:
    """A file that was left alone, and why."""

    path: str
    reason: str


def entries(folder: Path) -> list[os.DirEntry[str]]:
    """What a person sees in a folder, by name: nothing hidden. Raises PhotoError where it cannot be read."""
    try:
        with os.scandir(folder) as found:
            seen = [entry for entry in found if not entry.name.startswith(".") and entry.name.lower() not in CLUTTER]
    except OSError as error:
        raise PhotoError(
            "The folder {folder} cannot be read ({strerror}). Check its name and rights.",
            folder=folder,
            strerror=error.strerror,
        ) from error
    return sorted(seen, key=lambda entry: entry.name)


def unfit(entry: os.DirEntry[str], *, folder: bool = False) -> str | None:
    """Why this is not the file (or the folder) that is wanted here; None where it is. Links are never followed."""
    if entry.is_symlink():
        return "It is a link; copy the photos themselves here."
    if folder:
        return None if entry.is_dir() else "It is in no class folder; move it into one."
    if entry.is_dir():
        return "It is a folder inside a class folder; only photos belong there, so move it one level up."
    return None if entry.is_file() else "It is not a file."


def prepare_each(
    photos: Photos, paths: Iterable[Path], *, staged: deque[Path] | None = None
) -> Generator[tuple[Path, Prepared | Refusal]]:
    """Each file made ready for the store, or the reason why not, in order.

    With `staged` it is on the disk already, and noted there. Raises OSError where the disk is full.
    """

    def prepare(path: Path) -> Prepared | Refusal:
        ready = _prepare(photos, path, stage=staged is not None)
        if staged is not None and isinstance(ready, Prepared) and ready.staged:
            staged.append(ready.staged)
        return ready

    return in_order(prepare, paths)


def in_order(work: Callable[[Path], Result], paths: Iterable[Path]) -> Generator[tuple[Path, Result]]:
    """Each path with its result, made in threads. Only a few results are in memory at a time."""
    with ThreadPoolExecutor(THREADS, "prepare") as pool:
        ahead: deque[tuple[Path, Future[Result]]] = deque()
        for path in paths:
            ahead.append((path, pool.submit(work, path)))
            if len(ahead) > AHEAD:
                first, future = ahead.popleft()
                yield first, future.result()
        for path, future in ahead:
            yield path, future.result()


def _prepare(photos: Photos, path: Path, *, stage: bool) -> Prepared | Refusal:
    try:
        if path.stat().st_size > MAX_BYTES:
            return Refusal(str(path), f"The file is larger than {MAX_BYTES // 2**20} MiB.")
        prepared = photos.prepare(path.read_bytes())
        return photos.stage(prepared) if stage else prepared
    except ImageError as error:
        return Refusal(str(path), error.text)
    except ChildProcessError:  # It is not the file that is at fault.
        raise
    except OSError as error:
        if error.errno in FULL:  # Nor here.
            raise
        return Refusal(str(path), f"The file cannot be read ({error.strerror}).")
