"""`import` of many photos, beside what the computer can do at most: the same photos only decoded and encoded.

`python -m benchmarks.importing [PHOTOS]`. Both are measured in turns, a slice of the photos each, so that whatever else
the computer does troubles both alike. This process imports; others draw the photos and measure the limit.
"""

import os
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from storage.database import Database
from storage.decoder import Decoder
from storage.images import normalise
from storage.importing import ImportReport, import_folder
from storage.photos import Photos
from storage.settings import Settings

PHOTOS, SLICE, CLASSES = 10_000, 100, 10
SIZE, BLURRED = (1600, 1200), (200, 150)  # A phone's photo, scaled down; and how coarse its larger features are.
GRAIN = 12  # How much the finest ones vary, of 255; such a photo has about half a megabyte.
QUALITY = 90
WANTED = 0.7


@dataclass
class Figures:
    """Seconds for each slice, and this process's memory in MB after it."""

    limit: list[float]
    imported: list[float]
    memory: list[float]


def main() -> None:
    photos = int(sys.argv[1]) if len(sys.argv) > 1 else PHOTOS
    cores = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as scratch, ProcessPoolExecutor(cores) as pool:
        slices = [range(first, min(first + SLICE, photos)) for first in range(0, photos, SLICE)]
        settings = Settings(data=Path(scratch) / "data")
        with Decoder(settings.images, cores) as decoder:
            store = Photos(
                Database(settings.database_place),
                settings.photos_dir,
                settings.unlabelled_dir,
                settings.images,
                decode=decoder.normalise,
            )
            figures = _first(Path(scratch), slices, store, pool)
            _tell(photos, cores, figures)
            _second(Path(scratch), slices, store)


def _first(scratch: Path, slices: Sequence[range], store: Photos, pool: ProcessPoolExecutor) -> Figures:
    """Each slice drawn, then decoded and encoded alone, then imported; the last two in turns the other way round."""
    figures = Figures([], [], [])
    for place, numbers in enumerate(slices):
        folder = scratch / f"slice {place}"
        files = list(pool.map(_draw, [folder] * len(numbers), numbers, chunksize=10))
        if place == 0:
            list(pool.map(_decode, files[:50]))  # The processes are warm.
            store.normalise(files[0].read_bytes())
        for part in ("limit", "import") if place % 2 else ("import", "limit"):
            start = time.perf_counter()
            if part == "limit":
                list(pool.map(_decode, files, chunksize=10))
                figures.limit.append(time.perf_counter() - start)
            else:
                _check(import_folder(folder, store), added=len(files))
                figures.imported.append(time.perf_counter() - start)
        figures.memory.append(_memory())
    return figures


def _second(scratch: Path, slices: Sequence[range], store: Photos) -> None:
    start, photos = time.perf_counter(), 0
    for place, numbers in enumerate(slices):
        _check(import_folder(scratch / f"slice {place}", store), duplicates=len(numbers))
        photos += len(numbers)
    seconds = time.perf_counter() - start
    print(f"  the same folders once more   {photos / seconds:7.1f} photos/s; none added, none decoded")


def _tell(photos: int, cores: int, figures: Figures) -> None:
    limit, imported = photos / sum(figures.limit), photos / sum(figures.imported)
    tenth = figures.memory[max(0, len(figures.memory) // 10 - 1)]
    width, height = SIZE
    print(f"Import of {photos} photos of {width} × {height}, {cores} cores, in {len(figures.limit)} slices")
    print(f"  decode and encode alone      {limit:7.1f} photos/s, the limit")
    print(f"  import                       {imported:7.1f} photos/s")
    print(f"  import / limit               {imported / limit:7.2f}   (wanted: at least {WANTED})")
    print(f"  memory of this process       {tenth:.0f} MB after a tenth, {figures.memory[-1]:.0f} MB at the end")


def _draw(folder: Path, number: int) -> Path:
    """A photo of its own for each number: soft colours, shapes and grain."""
    random = np.random.default_rng(number)
    coarse = random.integers(0, 256, (BLURRED[1] // 16, BLURRED[0] // 16, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize(SIZE, Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(image)
    for _ in range(12):
        x, y, across, down = random.uniform(0, 1, 4) * (*SIZE, 500, 500)
        pen.ellipse((x, y, x + across, y + down), fill=tuple(random.integers(0, 256, 3)))
    grain = np.resize(random.integers(-GRAIN, GRAIN + 1, 99_991, dtype=np.int16), (*SIZE[::-1], 3))
    pixels = np.clip(np.asarray(image) + grain, 0, 255).astype(np.uint8)
    path = folder / f"class {number % CLASSES}" / f"{number}.jpg"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, "JPEG", quality=QUALITY)
    return path


def _decode(path: Path) -> int:
    return len(normalise(path.read_bytes()).content)


def _check(report: ImportReport, added: int = 0, duplicates: int = 0) -> None:
    if (report.added, report.duplicates, report.refused) != (added, duplicates, []):
        raise SystemExit(f"The import went wrong: {report}")


def _memory() -> float:
    """Resident memory of this process in MB, on Linux."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    main()
