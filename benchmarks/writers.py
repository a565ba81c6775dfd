"""Eight processes that write to one database and read it, as fast as they can: no write may fail or be lost.

`python -m benchmarks.writers [SECONDS] [PLACE]`, where PLACE is a file or the address of a PostgreSQL database with
nothing in it.
"""

import argparse
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.synchronize import Barrier
from pathlib import Path

from sqlalchemy import func, select

from storage.database import Database
from storage.tables import ClassRow

PROCESSES = 8


@dataclass
class Result:
    """What one process did; times in seconds."""

    times: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def write(place: str, name: str, seconds: float, begin: Barrier, results: "multiprocessing.Queue[Result]") -> None:
    """Write a row, and read it, again and again."""
    database, result = Database(place), Result()
    begin.wait()
    end = time.monotonic() + seconds
    while (start := time.monotonic()) < end:
        key = f"{name} {len(result.times)} {len(result.errors)}"
        try:
            with database.write() as session:
                session.add(ClassRow(name=key, key=key))
            result.times.append(time.monotonic() - start)
            with database.read() as session:
                if session.scalar(select(ClassRow.key).where(ClassRow.key == key)) != key:
                    result.errors.append(f"{key} is not there")
        except Exception as error:  # noqa: BLE001  Each is counted.
            result.errors.append(f"{type(error).__name__}: {error}")
    database.close()
    results.put(result)


def run(place: str, seconds: float) -> list[Result]:
    context = multiprocessing.get_context("spawn")
    begin, results = context.Barrier(PROCESSES), context.Queue()
    processes = [
        context.Process(target=write, args=(place, f"p{number}", seconds, begin, results))
        for number in range(PROCESSES)
    ]
    for process in processes:
        process.start()
    done = [results.get() for _ in processes]
    for process in processes:
        process.join()
    return done


def rows(place: str) -> int:
    database = Database(place)
    with database.read() as session:
        return session.scalar(select(func.count()).select_from(ClassRow)) or 0


def tell(results: Sequence[Result], seconds: float, lost: int) -> None:
    times = sorted(each for result in results for each in result.times)
    errors = [error for result in results for error in result.errors]
    print(f"{len(times)} writes in {seconds:g} s by {PROCESSES} processes: {len(times) / seconds:.0f} a second")
    print(f"a write and its wait: median {times[len(times) // 2] * 1000:.1f} ms, longest {times[-1] * 1000:.0f} ms")
    print(f"writes of each process: {min(len(r.times) for r in results)} to {max(len(r.times) for r in results)}")
    print(f"errors: {len(errors)}; lost: {lost}", *errors[:5], sep="\n")


def main() -> int:
    """1 where a write failed or is not there."""
    parser = argparse.ArgumentParser()
    parser.add_argument("seconds", type=float, nargs="?", default=60.0)
    parser.add_argument("place", nargs="?")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = options.place or str(Path(folder) / "busy.db")
        before = rows(place)
        results = run(place, options.seconds)
        lost = sum(len(result.times) for result in results) - (rows(place) - before)
    tell(results, options.seconds, lost)
    return int(lost != 0 or any(result.errors for result in results))


if __name__ == "__main__":
    sys.exit(main())
