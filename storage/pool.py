"""Files kept under the SHA-256 of their content, so that none is kept twice and none ever changes."""

import errno
import hashlib
import os
import re
from pathlib import Path
from uuid import uuid4

from storage.files import TEMPORARY, make_folder, sha256_of, sync_folder

PART_BYTES = 1 << 20
SHA256 = re.compile(r"[0-9a-f]{64}")
# What a file system says that cannot give a file a second name, at all or there.
NO_LINKS = {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EACCES}


class Pool:
    """`folder` holds `<first two digits>/<SHA-256><suffix>`. Whatever has such a name is whole."""

    def __init__(self, folder: Path, suffix: str = "") -> None:
        self.folder = folder
        self._suffix = suffix
        self._touched: set[Path] = set()

    def path(self, sha256: str) -> Path:
        return self.folder / sha256[:2] / f"{sha256}{self._suffix}"

    def holds(self, sha256: str, *, check: bool) -> bool:
        """Whether the file is there; with `check`, and every byte of it is what it was."""
        path = self.path(sha256)
        try:
            return sha256_of(path) == sha256 if check else path.stat().st_size > 0
        except FileNotFoundError:
            return False

    def put(self, source: Path, sha256: str, *, link: bool = True) -> bool | None:
        """Bring a file in, by a hard link where that can be, and else by a copy, which `sync` makes safe.

        Returns whether it was linked; None, and nothing is done, where its content is not what it should be.
        Raises FileNotFoundError where it is gone, OSError where the disk takes no more.
        """
        target = self.path(sha256)
        make_folder(target.parent)
        beside = target.parent / f"{TEMPORARY}{uuid4().hex}"
        try:
            linked = link and not source.is_symlink() and _link(source, beside)
            if (sha256_of(beside) if linked else copy(source, beside)) != sha256:
                return None
            beside.replace(target)
            self._touched.add(target.parent)
            return linked
        finally:
            beside.unlink(missing_ok=True)

    def take(self, source: Path, sha256: str) -> None:
        """Move a file in that is safe on this disk already."""
        target = self.path(sha256)
        make_folder(target.parent)
        source.replace(target)
        self._touched.add(target.parent)

    def keep(self, wanted: set[str]) -> int:
        """Remove all others, and what a kill left unfinished; how many went. Nobody may be putting anything in."""
        gone = 0
        for path in list(self.folder.glob("*/*")):
            sha256 = path.name.removesuffix(self._suffix)
            if path.name.startswith(TEMPORARY):
                path.unlink()
            elif SHA256.fullmatch(sha256) and sha256 not in wanted:
                path.unlink()
                gone += 1
        return gone

    def sync(self) -> None:
        """Make what was put here safe against a power cut."""
        for folder in self._touched:
            sync_folder(folder)
        self._touched.clear()


def copy(source: Path, target: Path) -> str:
    """Copy a file, and flush it to the disk; the SHA-256 of what was read."""
    digest = hashlib.sha256()
    with source.open("rb") as reading, target.open("wb") as writing:
        while part := reading.read(PART_BYTES):
            digest.update(part)
            writing.write(part)
        writing.flush()
        os.fsync(writing.fileno())
    return digest.hexdigest()


def _link(source: Path, target: Path) -> bool:
    try:
        target.hardlink_to(source)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        return False
    return True
