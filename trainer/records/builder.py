"""TFRecords of snapshots, readable by plain TensorFlow and by the slim scripts; a new snapshot costs what changed."""

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import structlog

from storage.database import open_database
from storage.errors import RecordsError, RetrainbotError
from storage.lifeline import follow_parent
from storage.logs import configure_logs
from storage.photos import Photos
from storage.settings import read_settings
from trainer.records import tutorial
from trainer.records.folders import alone, folders
from trainer.records.layout import SHARD_BYTES, Cut, plan
from trainer.records.manifest import Places, Records, faults, load
from trainer.records.shards import BuiltRecords, Read, Source, Told, publish
from trainer.snapshot import Snapshot, take

SAMPLE = 32  # Photos that tell how large the others are.

log = structlog.get_logger()


def build(
    snapshot: Snapshot,
    folder: Path,
    *,
    progress: Told = lambda *_: None,
    read: Read = Path.read_bytes,
    check: bool = False,
    shard_bytes: int = SHARD_BYTES,
) -> BuiltRecords:
    """Write the snapshot's records to `folder`/<snapshot id>/, with the shards of the newest ones there used again.

    A shard that is missing or has another size is written anew; with `check`, one with any other byte is, too.
    `progress` hears how many photos are written, and how many are to be; `read` gives the bytes of the photo at a path.
    Raises RecordsError naming a photo that is missing or was changed by hand.
    """
    source, target = Source(snapshot, read, progress), folder / snapshot.id
    with alone(folder):
        base, mended = _base(folder, target)
        damaged = faults(base, check=check) if base else []
        mended += [f"{name} was missing or damaged, or did not belong there." for name in damaged]
        for words in mended:
            log.warning("records are mended", reason=words)
        if base and base.folder == target and not damaged:
            shards = len(base.manifest.shards)
            return BuiltRecords(target, shards, len(snapshot), 0, shards)
        parts = plan(snapshot, base, set(damaged), Cut(partial(_mean_bytes, source), shard_bytes))
        return publish(source, parts, target, base, mended)


def _base(folder: Path, target: Path) -> tuple[Records | None, list[str]]:
    """The records to start from, the snapshot's own before the newest; and those that cannot be used, in words."""
    damaged: list[str] = []
    newest = sorted(folders(folder), key=lambda path: (path == target, path.stat().st_mtime_ns), reverse=True)
    for candidate in newest:
        try:
            return load(candidate), damaged
        except RecordsError:
            damaged.append(f"The list of shards in {candidate} was missing or damaged, so none of them was used.")
    return None, damaged


def _mean_bytes(source: Source, rows: Places) -> float:
    """About how many bytes each of the photos takes."""
    sample = rows[:: max(1, len(rows) // SAMPLE)]
    return sum(len(source.content(row)) for row in sample.tolist()) / len(sample)


def main() -> None:
    """Print how far it is, then what `retrainbot records build` is to say: each a line of JSON.

    Arguments: none, or the number of shards, of test photos, the seed and the folder of the tutorial's layout.
    """
    follow_parent()
    settings = read_settings()
    configure_logs("error")  # What was mended is in the document.
    photos = Photos(open_database(settings), settings.photos_dir, settings.unlabelled_dir, settings.images)
    start = time.monotonic()
    try:
        built = _build(take(photos), photos, settings.records_dir, sys.argv[1:])
    except RetrainbotError as error:
        document: dict[str, object] = {"error": str(error)}
    except OSError as error:
        document = {"error": f"The records cannot be written: {error}. Check that the disk has room."}
    else:
        document = {**asdict(built), "seconds": round(time.monotonic() - start, 3)}
    _print(document)


def _build(snapshot: Snapshot, photos: Photos, folder: Path, arguments: Sequence[str]) -> BuiltRecords:
    if not arguments:
        return build(snapshot, folder, progress=_tell, read=photos.read, check=True)
    shards, test, seed = map(int, arguments[:3])
    out = Path(arguments[3])
    return tutorial.build(snapshot, out, shards=shards, test=test, seed=seed, progress=_tell, read=photos.read)


def _tell(done: int, total: int) -> None:
    if done * 100 // total > (done - 1) * 100 // total:  # Once for each of a hundred parts.
        _print({"done": done, "total": total})


def _print(document: dict[str, object]) -> None:
    print(json.dumps(document, default=str), flush=True)  # noqa: T201  The parent reads it.


if __name__ == "__main__":
    main()
