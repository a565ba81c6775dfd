"""Made-up photos that are only bytes, as many as wanted, in classes that change."""

from dataclasses import dataclass, field
from hashlib import sha256, shake_128
from pathlib import Path

import numpy as np

from trainer.snapshot import ROW, Snapshot

FOLDER = Path("photos")
SPLIT_OF = (0, 0, 0, 0, 0, 0, 0, 0, 1, 2)  # Train, validation or test, by the last digit of a photo's number.


@dataclass
class Gallery:
    """`sizes` are the fewest and most bytes of a photo; `photos` has number and class of each, by SHA-256."""

    sizes: tuple[int, int] = (100, 400)
    classes: list[str] = field(default_factory=list)
    photos: dict[str, tuple[int, str]] = field(default_factory=dict)
    made: int = 0

    def add(self, count: int, *names: str) -> None:
        """New photos, in turn of each of these classes."""
        self.classes += [name for name in names if name not in self.classes]
        for number in range(self.made, self.made + count):
            self.photos[sha256(self.content(number)).hexdigest()] = number, names[number % len(names)]
        self.made += count

    def of(self, name: str) -> list[str]:
        """The photos of a class."""
        return [photo for photo, (_, class_name) in self.photos.items() if class_name == name]

    def label(self, photos: list[str], name: str) -> None:
        self.classes += [] if name in self.classes else [name]
        for photo in photos:
            self.photos[photo] = self.photos[photo][0], name

    def delete(self, photos: list[str]) -> None:
        for photo in photos:
            del self.photos[photo]

    def rename(self, name: str, new: str) -> None:
        """Give a class another name; nothing happens where there is no such class."""
        if name not in self.classes:
            return
        self.label(self.of(name), new)
        self.classes = [new if known == name else known for known in self.classes if known != new]

    def read(self, path: Path) -> bytes:
        return self.content(self.photos[path.stem][0])

    def content(self, number: int) -> bytes:
        fewest, most = self.sizes
        return shake_128(number.to_bytes(8)).digest(fewest + number * 7919 % (most - fewest + 1))

    def snapshot(self) -> Snapshot:
        """As the catalogue would give it: classes without photos are left out."""
        used = {name for _, name in self.photos.values()}
        classes = tuple(name for name in self.classes if name in used)
        labels = {name: label for label, name in enumerate(classes)}
        rows = np.zeros(len(self.photos), ROW)
        for row, (photo, (number, name)) in zip(rows, sorted(self.photos.items()), strict=True):
            row["sha256"] = np.frombuffer(bytes.fromhex(photo), np.uint8)
            row["label"], row["split"] = labels[name], SPLIT_OF[number % len(SPLIT_OF)]
            row["width"], row["height"] = 640, 480
        return Snapshot(classes, rows, FOLDER)
