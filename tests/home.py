"""A data folder for tests, with all that a used one has."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path

from pictures import photo, write

from storage.database import Database, open_database
from storage.history import History
from storage.labels import write_lines
from storage.models import Manifest, Models
from storage.photos import Photos
from storage.runs import Run, RunOptions, Runs, RunState
from storage.settings import Settings, Training
from trainer import snapshot


@dataclass
class Home:
    settings: Settings
    opened: list[Database] = field(default_factory=list)

    @cached_property
    def database(self) -> Database:
        self.opened.append(open_database(self.settings))
        return self.opened[-1]

    @cached_property
    def photos(self) -> Photos:
        settings = self.settings
        return Photos(self.database, settings.photos_dir, settings.unlabelled_dir, settings.images)

    @cached_property
    def history(self) -> History:
        return History(self.photos)

    @cached_property
    def models(self) -> Models:
        return Models(self.database, self.settings.models_dir)

    @cached_property
    def runs(self) -> Runs:
        return Runs(self.database)

    def close(self) -> None:
        for database in self.opened:
            database.close()

    def add(self, number: int, name: str, by: str = "ann") -> str:
        """The SHA-256 of a photo, each number's its own, that was put into a class."""
        return self.photos.add(photo(number), name, by).receipts[0].sha256

    def keep(self, number: int, by: str = "ann") -> str:
        """The SHA-256 of a photo without a class."""
        return self.photos.keep(self.photos.prepare(photo(number)), by)

    def path(self, sha256: str) -> Path:
        """Where the photo lies now."""
        with self.photos.held(sha256) as path:
            assert path
            return path

    def claim(self, by: str = "ann") -> Run:
        """A run that is under way."""
        self.runs.enqueue(RunOptions.from_settings(Training()), by, join=False)
        run = self.runs.claim("box", timedelta(minutes=1))
        assert run
        return run

    def publish(self, *, promote: bool = True, by: str = "ann", size: int = 0) -> int:
        """A version of the photos as they are now, with the report of its run; it answers nothing.

        `size` is how many bytes it has at least.
        """
        run = self.claim(by)
        data = snapshot.take(self.photos)
        data.write(self.settings.snapshots_dir)
        made = self.settings.models_dir / f".new-run-{run.id}"
        write(made / "saved_model.pb", f"graph of run {run.id}".encode() * 100)
        write(made / "variables" / "index", bytes(size))
        write(made / "labels.txt", write_lines(data.classes).encode())
        for name in ("report.json", "report.md", "mistakes.jpg"):
            write(self.settings.runs_dir / str(run.id) / name, f"{name} of run {run.id}".encode())
        manifest = manifest_of(run.id, data.id, len(data))
        number = self.models.publish(made, manifest, run.token, promote="better" if promote else None)
        self.runs.finish(run.id, run.token, RunState.SUCCEEDED, "done")
        return number


def manifest_of(run: int, snapshot_id: str = "0" * 16, photos: int = 20) -> Manifest:
    return Manifest(
        run=run,
        snapshot=snapshot_id,
        photos=photos,
        backbone="tiny",
        weights_digest="0" * 16,
        input_size=32,
        mode="head",
        seed=0,
        metrics={},
        software={},
        created_at=datetime(2030, 1, 1, tzinfo=UTC),
    )


def content(folder: Path, leaving_out: Sequence[str] = ()) -> dict[str, bytes]:
    """Every file below a folder."""
    files = (path for path in folder.rglob("*") if path.is_file())
    names = {path.relative_to(folder).as_posix(): path for path in files}
    return {name: path.read_bytes() for name, path in names.items() if not name.startswith(tuple(leaving_out))}
