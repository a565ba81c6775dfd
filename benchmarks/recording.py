"""What TFRecords cost: a first build beside copying the photos, what changes write, and damage and kills.

`python -m benchmarks.recording [PHOTOS]`. Bytes are told in parts of all bytes of the records. The made-up photos have
2 KB instead of the usual 100 or more, and the shards 2 MB instead of 150, so that there are as many shards as with real
photos.
"""

import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.context import ForkServerContext
from pathlib import Path

import numpy as np

from benchmarks import orchids
from benchmarks.gallery import Gallery
from storage.database import Database
from storage.errors import RecordsError
from storage.importing import import_folder
from storage.logs import configure_logs
from storage.photos import Photos
from storage.settings import Settings
from trainer.records import builder, folders, manifest
from trainer.records.shards import BuiltRecords
from trainer.snapshot import Snapshot, take

PHOTOS, SIZES, SHARD_BYTES = 100_000, (1_500, 2_500), 2_000_000
ROUNDS = 5
GROWTHS, HARMED, KILLED = 32, 100, 30
WANTED, WANTED_GROWTH = 0.5, 0.05


def main() -> None:
    photos = int(sys.argv[1]) if len(sys.argv) > 1 else PHOTOS
    source = orchids.folder()
    configure_logs("error")
    with tempfile.TemporaryDirectory() as scratch:
        if source:
            _first(source / "photos", Path(scratch) / "first")
        for classes in (1_000, 14):
            _changes(photos, classes, Path(scratch) / f"changes{classes}")
        refused, mended = harm(Path(scratch) / "harm", HARMED)
        print(f"Flips, cuts and losses: {HARMED}; refused with the shard's name: {refused}; mended: {mended}")
        killed, torn = kill(Path(scratch) / "kill", KILLED)
        print(f"Builds: {KILLED}; killed: {killed}; torn, lost or left behind: {torn}")


def _first(source: Path, scratch: Path) -> None:
    """Both in turns, to the disk and not only to its cache."""
    settings = Settings(data=scratch / "data")
    photos = Photos(Database(settings.database_place), settings.photos_dir, settings.unlabelled_dir, settings.images)
    import_folder(source, photos)
    data, copied, built = take(photos), list[float](), list[float]()
    builder.build(data, scratch / "warm")
    for number in range(ROUNDS):
        copied.append(_seconds(lambda: _copy(data, scratch / f"copied{number}")))  # noqa: B023  Called at once.
        built.append(_seconds(lambda: builder.build(data, scratch / f"built{number}")))  # noqa: B023
    megabytes = sum(photo.path.stat().st_size for photo in data.photos()) / 1e6
    copy, build = (ROUNDS * megabytes / sum(seconds) for seconds in (copied, built))
    print(f"Records of {len(data)} photos, {megabytes:.0f} MB, the mean of {ROUNDS}")
    print(f"  copying the files            {copy:7.0f} MB/s, the limit")
    print(f"  first build                  {build:7.0f} MB/s")
    print(f"  first build / copying        {build / copy:7.2f}   (wanted: at least {WANTED})")


def _copy(data: Snapshot, target: Path) -> None:
    target.mkdir()
    for photo in data.photos():
        shutil.copyfile(photo.path, target / photo.path.name)
    os.sync()  # Faster than to flush each.


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


@dataclass(frozen=True)
class Shelf:
    """A gallery and its records."""

    gallery: Gallery
    folder: Path

    def build(self, *, check: bool = False) -> BuiltRecords:
        built = builder.build(
            self.gallery.snapshot(), self.folder, read=self.gallery.read, check=check, shard_bytes=SHARD_BYTES
        )
        folders.remove_others(self.folder, built.dir.name)
        return built


def _changes(photos: int, classes: int, scratch: Path) -> None:
    names = [f"class{number:04d}" for number in range(classes)]
    shelf = Shelf(Gallery(SIZES), scratch)
    shelf.gallery.add(photos, *names)
    start = time.perf_counter()
    first = shelf.build()
    seconds = time.perf_counter() - start
    print(f"Records of {photos} made-up photos of {classes} classes in {first.shards} shards, {seconds:.0f} s")
    gallery, last, middle = shelf.gallery, names[-1], names[classes // 2]
    tell = partial(_tell, shelf, first.bytes)
    tell(f"1 % more photos (wanted: at most {WANTED_GROWTH:.0%})", lambda: gallery.add(photos // 100, *names))
    tell("one photo under another class", lambda: gallery.label(gallery.of(last)[:1], middle))
    tell("half of a class under another", lambda: gallery.label(_half(gallery, last), middle))
    tell("half of a class deleted", lambda: gallery.delete(_half(gallery, middle)))
    tell("the newest class deleted", lambda: gallery.delete(gallery.of(last)))
    tell("a class renamed", lambda: gallery.rename(middle, "renamed"))
    tell("the class in the middle deleted", lambda: gallery.delete(gallery.of("renamed")))
    growth = [_growth(shelf, photos // 100, names) / first.bytes for _ in range(GROWTHS)]
    print(f"  1 % more photos, {GROWTHS} times{np.mean(growth):22.2%} each, {max(growth):.2%} once")


def _growth(shelf: Shelf, count: int, names: Sequence[str]) -> int:
    shelf.gallery.add(count, *names)
    return shelf.build().bytes


def _half(gallery: Gallery, name: str) -> list[str]:
    return gallery.of(name)[::2]


def _tell(shelf: Shelf, all_bytes: int, words: str, change: Callable[[], None]) -> None:
    change()
    start = time.perf_counter()
    built = shelf.build()
    seconds = time.perf_counter() - start
    written = built.bytes / all_bytes
    print(f"  {words:<38} {written:8.2%} written, {built.reused} shards linked, {seconds:.1f} s")


def harm(scratch: Path, times: int) -> tuple[int, int]:
    """Flip a bit, cut off the end, or take away a shard. How often it was refused by name, and how often mended."""
    shelf, random = Shelf(Gallery(SIZES), scratch), np.random.default_rng(0)
    shelf.gallery.add(5_000, "daisy", "rose", "tulip")
    folder, refused, mended = shelf.build().dir, 0, 0
    whole = manifest.verify(folder).manifest
    for number in range(times):
        shard = whole.shards[random.integers(len(whole.shards))]
        _spoil(folder / shard.file, number, random)
        try:
            manifest.verify(folder)
        except RecordsError as error:
            refused += shard.file in str(error)
        built = shelf.build(check=True)
        mended += shard.file in built.mended[0] and manifest.verify(folder).manifest == whole
    return refused, mended


def _spoil(path: Path, number: int, random: np.random.Generator) -> None:
    content = bytearray(path.read_bytes())
    at = int(random.integers(len(content)))
    content[at] ^= 1 << random.integers(8)
    path.unlink()
    if number % 10:
        path.write_bytes(content if number % 2 else content[:at])


def kill(scratch: Path, times: int) -> tuple[int, int]:
    """Kill builds at any moment.

    How many were killed, and how often neither the records before nor those after were whole, or the next build left
    anything lying about.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["trainer.records.builder"])
    shelf, random, torn, killed = Shelf(Gallery(SIZES), scratch), np.random.default_rng(0), 0, 0
    shelf.gallery.add(3_000, *"abc")
    shelf.build()
    _work_killed(context, shelf, None)  # Now the server from which children are forked is there.
    shelf.gallery.add(600, *"abc")
    whole = _seconds(lambda: _work_killed(context, shelf, None))
    for _ in range(times):
        before = shelf.gallery.snapshot().id
        shelf.gallery.add(600, *"abc")
        after = shelf.gallery.snapshot().id
        killed += _work_killed(context, shelf, random.uniform(0.1, 0.9) * whole)
        torn += not _is_whole(scratch / before) and not _is_whole(scratch / after)
        shelf.build()
        torn += {path.name for path in scratch.iterdir()} != {folders.LOCK, after}
    return killed, torn


def _work_killed(context: ForkServerContext, shelf: Shelf, seconds: float | None) -> bool:
    """Build in a process of its own, killed after so many seconds; whether it was still at it."""
    child = context.Process(target=shelf.build)
    child.start()
    child.join(seconds)
    under_way = child.exitcode is None
    child.kill()
    child.join()
    return under_way


def _is_whole(folder: Path) -> bool:
    try:
        return bool(manifest.verify(folder))
    except RecordsError:
        return False


if __name__ == "__main__":
    main()
