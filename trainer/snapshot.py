"""The exact photos, labels and splits that one run uses."""

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storage.errors import RunError
from storage.files import write_durably
from storage.photos import Photo, Photos
from storage.splits import Split

SPLITS = tuple(Split)
# A photo: its SHA-256, the place of its class in `classes`, the place of its split in SPLITS, and its size.
ROW = np.dtype([("sha256", "u1", 32), ("label", "<i4"), ("split", "u1"), ("width", "<u2"), ("height", "<u2")])
_PART = 10_000  # Rows that are turned at a time.

Rows = NDArray[Any]  # Of ROW.
Hashes = NDArray[np.uint8]  # Shape (n, 32).


@dataclass(frozen=True, eq=False)
class Snapshot:
    """`classes` in the order of a network's outputs; `rows` of ROW, by hash; `folder` holds the class folders.

    Classes stand in the order in which they were made, so that a new one leaves the numbers of the others alone. A
    million photos take 41 MB.
    """

    classes: tuple[str, ...]
    rows: Rows
    folder: Path

    @cached_property
    def id(self) -> str:
        """16 hexadecimal digits that change with any photo, label or split."""
        digest = hashlib.sha256(json.dumps(self.classes).encode())
        digest.update(np.ascontiguousarray(self.rows[["sha256", "label", "split"]].astype(_NAMED)).data)
        return digest.hexdigest()[:16]

    def __len__(self) -> int:
        return len(self.rows)

    def of(self, split: Split) -> "Snapshot":
        """The photos of one split, with the same classes."""
        return Snapshot(self.classes, self.rows[self.rows["split"] == SPLITS.index(split)], self.folder)

    def photos(self) -> Iterator[Photo]:
        """Each photo, by hash."""
        return map(self.photo, range(len(self)))

    def photo(self, place: int) -> Photo:
        row = self.rows[place]
        sha256, name = row["sha256"].tobytes().hex(), self.classes[row["label"]]
        return Photo(sha256, name, SPLITS[row["split"]], self.folder / name / f"{sha256}.jpg")

    @property
    def hashes(self) -> Hashes:
        """The photos' SHA-256, uint8 (n, 32)."""
        hashes: Hashes = self.rows["sha256"]
        return hashes

    @property
    def labels(self) -> NDArray[np.int64]:
        """The place of each photo's class, shape (n,)."""
        return self.rows["label"].astype(np.int64)

    def counts(self) -> NDArray[np.int64]:
        """How many photos each class has, shape (classes,)."""
        return np.bincount(self.labels, minlength=len(self.classes))

    def without(self, hashes: set[str]) -> "Snapshot":
        """The snapshot less some photos, by their hexadecimal SHA-256. Raises RunError where too little is left."""
        kept = [bytes(row).hex() not in hashes for row in self.hashes]
        return _learnable(self.classes, self.rows[np.array(kept, bool)], self.folder)

    def write(self, folder: Path) -> None:
        """Keep it in `folder` under its id, for `read`."""
        buffer = io.BytesIO()
        np.savez(buffer, classes=np.array(json.dumps(self.classes)), rows=self.rows)
        write_durably(folder / f"{self.id}.npz", buffer.getvalue())


@dataclass(frozen=True)
class Changes:
    """How many photos came, went, or got another class, and which classes did."""

    added: int
    removed: int
    relabelled: int
    classes_added: tuple[str, ...]
    classes_removed: tuple[str, ...]

    @property
    def photos(self) -> int:
        return self.added + self.removed + self.relabelled


_NAMED = np.dtype([("sha256", "u1", 32), ("label", "<i4"), ("split", "u1")])


def take(photos: Photos) -> Snapshot:
    """The catalogue as it is now. Raises RunError where it holds fewer than two classes to learn."""
    parts, names = [np.zeros(0, ROW)], dict[int, str]()
    for part in photos.labelled(_PART):
        rows = np.zeros(len(part), ROW)
        hexadecimal, classes, splits, rows["width"], rows["height"] = zip(*part, strict=True)
        rows["sha256"] = np.frombuffer(bytes.fromhex("".join(hexadecimal)), np.uint8).reshape(-1, 32)
        rows["label"] = classes
        rows["split"] = [SPLITS.index(split) for split in splits]
        parts.append(rows)
    names = photos.names_by_id()
    rows = np.concatenate(parts)
    ids, rows["label"] = np.unique(rows["label"], return_inverse=True)
    return _learnable(tuple(names[int(number)] for number in ids), rows, photos.folder)


def read(folder: Path, identity: str, photos: Path) -> Snapshot | None:
    """A snapshot that was written to `folder`, or None where it is not there any more or damaged."""
    try:
        with (folder / f"{identity}.npz").open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return Snapshot(tuple(json.loads(str(arrays["classes"]))), arrays["rows"], photos)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def changes(before: Snapshot, after: Snapshot) -> Changes:
    """What became of one snapshot; a class is known by its name."""
    _, old, new = np.intersect1d(_keys(before), _keys(after), assume_unique=True, return_indices=True)
    names = np.array([*before.classes, ""]), np.array([*after.classes, ""])
    other = names[0][before.rows["label"][old]] != names[1][after.rows["label"][new]]
    return Changes(
        added=len(after) - len(new),
        removed=len(before) - len(old),
        relabelled=int(np.count_nonzero(other)),
        classes_added=tuple(name for name in after.classes if name not in set(before.classes)),
        classes_removed=tuple(name for name in before.classes if name not in set(after.classes)),
    )


def _keys(snapshot: Snapshot) -> NDArray[Any]:
    """The hashes as values that sort and compare; S drops zeros at the end, which no two hashes differ by."""
    return np.ascontiguousarray(snapshot.hashes).view("S32").ravel()


def _learnable(classes: tuple[str, ...], rows: Rows, folder: Path) -> Snapshot:
    # A class whose every photo is kept for judging cannot be learnt.
    learnt = np.unique(rows["label"][rows["split"] == SPLITS.index(Split.TRAIN)])
    if len(learnt) < 2:
        raise RunError(
            "Training needs photos of at least two classes. Send some with the class name as their caption,"
            " or run `retrainbot import` on a folder of class folders."
        )
    kept = rows[np.isin(rows["label"], learnt)]
    kept["label"] = np.searchsorted(learnt, kept["label"])
    return Snapshot(tuple(classes[number] for number in learnt), kept, folder)
