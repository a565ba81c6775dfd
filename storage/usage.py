"""How much room each part of the data folder takes that is kept within bounds."""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from storage.settings import Settings
from storage.texts import Text

MB = 1_000_000


def usage(settings: Settings) -> dict[str, int]:
    """Bytes by the name of the part; photos that are in a class are not among them."""
    parts = {
        "versions": settings.models_dir,
        "runs": settings.runs_dir,
        "features": settings.features_dir,
        "records": settings.records_dir,
        "unlabelled": settings.unlabelled_dir,
        "quarantine": settings.quarantine_dir,
    }
    return {name: _bytes(folder) for name, folder in parts.items()}


def usage_line(used: Mapping[str, int]) -> Text:
    """The same for people."""
    return Text(
        "Kept for a while: versions {versions:.0f} MB, runs {runs:.0f} MB, features {features:.0f} MB, records"
        " {records:.0f} MB, unlabelled photos {unlabelled:.0f} MB, refused files {quarantine:.0f} MB",
        **{name: size / MB for name, size in used.items()},
    )


def _bytes(folder: Path) -> int:
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):  # It has just made room.
                total += (Path(path) / name).lstat().st_size
    return total
