"""1,000 hostile images through the decoder: each is refused in words or becomes a plain photo, and that is all.

`python -m benchmarks.fuzz [COUNT] [SEED]`
"""

import argparse
import collections
import io
import itertools
import logging
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from benchmarks.hostile import Hostile, hostile
from storage.decoder import Decoder
from storage.errors import ImageError
from storage.images import NormalPhoto
from storage.jpeg import is_plain
from storage.settings import Images

PROCESSES = 2
GROWTH_MB = 300
MB = 2**20
AT_ONCE = 50
INTERNAL = re.compile(r"Traceback|Error|Exception|errno|[/<>\\]|\.py|0x", re.IGNORECASE)


def outcome(image: Hostile, decode: Callable[[bytes], NormalPhoto], max_side: int) -> tuple[str, list[str]]:
    """What became of an image, "taken" or the reason, and what is wrong with that."""
    try:
        photo = decode(image.content)
    except ImageError as error:
        reason = str(error)
        return reason, [f"{image.kind}: the reason is not for people: {reason}"] if INTERNAL.search(reason) else []
    return "taken", [f"{image.kind}: {fault}" for fault in _faults(photo, max_side)]


def _faults(photo: NormalPhoto, max_side: int) -> Iterator[str]:
    with Image.open(io.BytesIO(photo.content), formats=("JPEG",)) as stored:
        stored.load()
        if stored.mode != "RGB" or stored.format != "JPEG":
            yield f"is {stored.format} {stored.mode}"
        if stored.size != (photo.width, photo.height) or max(stored.size) > max_side:
            yield f"is {stored.size} pixels"
        if stored.getexif() or stored.info.keys() & {"exif", "icc_profile", "xmp", "comment"}:
            yield "has metadata"
    if not is_plain(photo.content):
        yield "holds more than a picture"


def main() -> int:
    """1 where something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int, nargs="?", default=1000)
    parser.add_argument("seed", type=int, nargs="?", default=1)
    arguments = parser.parse_args()
    logging.basicConfig(format="%(message)s")
    outcomes: collections.Counter[str] = collections.Counter()
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TMPDIR"] = tempfile.tempdir = folder
        started, growth = time.monotonic(), 0
        for became, faults, grown in _outcomes(arguments.count, arguments.seed):
            outcomes[re.sub(r"\d+", "N", became)] += 1
            wrong += faults
            growth = max(growth, grown)
        seconds = time.monotonic() - started
        wrong += [f"{path} was left behind" for path in Path(folder).iterdir()]
    if growth > GROWTH_MB * MB:
        wrong.append("memory grew too much")
    print(f"{arguments.count} hostile images, seed {arguments.seed}, {PROCESSES} decoders: {seconds:.1f} s")
    for became, number in outcomes.most_common():
        print(f"{number:5}  {became}")
    print(f"memory of this process grew by {growth / MB:.0f} MB (limit {GROWTH_MB})")
    print("\n".join(wrong) or "nothing wrong")
    return bool(wrong)


def _outcomes(count: int, seed: int) -> Iterator[tuple[str, list[str], int]]:
    """What became of each image, what is wrong with that, and by how many bytes this process has grown."""
    images = Images()
    list(hostile(count, seed))  # Made twice, so that what Pillow loads to make them is no growth.
    with Decoder(images, PROCESSES) as decoder, ThreadPoolExecutor(PROCESSES) as pool:
        before = _memory()
        todo = hostile(count, seed)
        while batch := list(itertools.islice(todo, AT_ONCE)):
            for became, faults in pool.map(lambda image: outcome(image, decoder.normalise, images.max_side), batch):
                yield became, faults, _memory() - before


def _memory() -> int:
    """Of this process, in bytes."""
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    sys.exit(main())
