"""How far a fit has come, kept so that it can go on after a kill at any moment."""

import hashlib
import io
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray

from storage.files import remove_unfinished, write_durably

KEPT = 2  # A second one, should the disk spoil the first.

Arrays = Mapping[str, NDArray[Any]]

log = structlog.get_logger()


class Checkpoints:
    """Arrays by step in `folder`, for one `purpose`: hexadecimal digits that stand for all that a fit depends on.

    A checkpoint's name ends with its content's SHA-256, so a torn or changed one is known and never used. Those of
    another purpose may lie in the same folder, and are left alone. Nobody else may write for the same purpose.
    """

    def __init__(self, folder: Path, purpose: str) -> None:
        self._folder = folder
        self._purpose = purpose
        remove_unfinished(folder)

    def newest(self) -> dict[str, NDArray[Any]] | None:
        """The arrays that were written last and are whole, or None."""
        for path in reversed(self._paths()):
            arrays = _read(path)
            if arrays is not None:
                return arrays
            log.warning("checkpoint left out", path=str(path), reason="it is damaged")
        return None

    def write(self, step: int, arrays: Arrays) -> None:
        """Keep the arrays; when this returns they are on the disk, and the last but one as well."""
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **dict(arrays))
        content = buffer.getvalue()
        digest = hashlib.sha256(content).hexdigest()
        write_durably(self._folder / f"{self._purpose}-{step:010d}-{digest}.npz", content)
        for old in self._paths()[:-KEPT]:
            old.unlink()

    def clear(self) -> None:
        """Remove those of this purpose."""
        for path in self._paths():
            path.unlink()

    def _paths(self) -> list[Path]:
        """From the first step to the last."""
        name = re.compile(rf"{re.escape(self._purpose)}-\d{{10}}-[0-9a-f]{{64}}\.npz")
        return sorted(path for path in self._folder.glob(f"{self._purpose}-*.npz") if name.fullmatch(path.name))


def _read(path: Path) -> dict[str, NDArray[Any]] | None:
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != path.stem.rpartition("-")[2]:
        return None
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return dict(arrays)
    except (ValueError, EOFError, zipfile.BadZipFile):
        return None
