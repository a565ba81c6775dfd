"""Writes that survive a power cut: beside, fsync, rename, fsync the folder."""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

TEMPORARY = ".new-"  # Names that start so are unfinished; readers pass them over.


def write_durably(path: Path, content: bytes) -> None:
    """Put `content` at `path` whole or not at all; what was there stays until the new file is safe."""
    make_folder(path.parent)
    beside = path.parent / f"{TEMPORARY}{uuid4().hex}"
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def move_durably(source: Path, target: Path) -> None:
    """Rename a file or folder within one file system and make the rename safe."""
    make_folder(target.parent)
    source.rename(target)
    sync_folder(target.parent)
    if source.parent != target.parent:
        sync_folder(source.parent)


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, so that a power cut does not take them away with what is put there."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def sync_tree(folder: Path) -> None:
    """Flush every file and folder below `folder` to the disk."""
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir():
            sync_folder(path)
        else:
            with path.open("rb") as file:
                os.fsync(file.fileno())
    sync_folder(folder)


def sync_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows cannot open a folder; its renames are journalled.
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of the file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remove_unfinished(folder: Path) -> None:
    """Remove what a killed write left in `folder`; nothing may be writing there."""
    for path in folder.glob(f"{TEMPORARY}*"):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


@contextmanager
def locked(folder: Path, how: int = fcntl.LOCK_SH) -> Iterator[bool]:
    """Hold a folder against being removed (LOCK_SH), or to remove it (LOCK_EX | LOCK_NB).

    Yields whether it is held: not where it is gone, or where somebody else holds it.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        yield False
        return
    try:
        yield _flock(descriptor, how)
    finally:
        os.close(descriptor)  # Gives it back, as a kill does.


def _flock(descriptor: int, how: int) -> bool:
    try:
        fcntl.flock(descriptor, how)
    except BlockingIOError:
        return False
    return True
