"""Whether the data folder can be used, and how much room is left on its disk."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from cli.checks.finding import Finding, failed, ok, warning
from storage.settings import Settings

RIGHTS, ROOM = "data folder", "disk"
LEAST_BYTES, FEW_BYTES = 200_000_000, 2_000_000_000  # Below the first, nothing goes on; below the second, no long run.
LEAST_FILES = 1000
RUN_AS = "Change its rights, run as its owner, or name another folder with --data."


def check(settings: Settings) -> Iterator[Finding]:
    """The second finding is left out where nobody can tell."""
    folder = settings.data
    yield rights(folder)
    there = _there(folder)
    if isinstance(there, Path):
        yield room(folder, shutil.disk_usage(there).free, _files_free(there))


def rights(folder: Path) -> Finding:
    """Whether this user may read and write what is there, and make what is not."""
    there = _there(folder)
    if isinstance(there, OSError):
        return failed(RIGHTS, f"This user may not even look at {folder} ({there.strerror}).", RUN_AS)
    if there == folder and not folder.is_dir():
        return failed(RIGHTS, f"{folder} is a file.", "Name a folder as data in config.toml, or with --data.")
    barred = there if not usable(there) else None
    if barred is None and there == folder:
        barred = next((path for path in sorted(folder.iterdir()) if not usable(path)), None)
    if barred is not None:
        return failed(RIGHTS, f"This user may not write to {barred}, which belongs to {_owner(barred)}.", RUN_AS)
    return ok(RIGHTS, f"{folder} can be used." if there == folder else f"{folder} is made at the first start.")


def room(folder: Path, free: int, files: int | None) -> Finding:
    """`free` bytes on the disk of `folder`, and room for so many `files`, where that is limited."""
    found = f"{free / 1e9:.1f} GB are free for {folder}."
    more = "Make room: docs/operating.md says what may be deleted; or name a folder on a larger disk as data."
    if files is not None and files < LEAST_FILES:
        return failed(ROOM, f"The disk of {folder} can hold only {files} more files.", "Delete files there.")
    if free < LEAST_BYTES:
        return failed(ROOM, found, more)
    return warning(ROOM, found, more) if free < FEW_BYTES else ok(ROOM, found)


def usable(path: Path) -> bool:
    """Whether this user may read and write it."""
    needed = os.R_OK | os.W_OK | (os.X_OK if path.is_dir() else 0)
    return os.access(path, needed, effective_ids=os.access in os.supports_effective_ids)


def _there(folder: Path) -> Path | OSError:
    """The folder, or the nearest above it that exists; the error where this user may not look."""
    try:
        return next(path for path in (folder, *folder.parents) if path.exists())
    except OSError as error:
        return error


def _owner(path: Path) -> str:
    try:
        return path.owner()
    except (KeyError, NotImplementedError):  # A user without a name; or Windows.
        return f"user {path.stat().st_uid}"


def _files_free(path: Path) -> int | None:
    if not hasattr(os, "statvfs"):
        return None
    facts = os.statvfs(path)
    return facts.f_favail if facts.f_files else None
