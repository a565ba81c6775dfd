"""The exact photos, labels and splits that one run uses."""

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from storage.errors import RunError
from storage.photos import Photo, Photos
from storage.splits import Split


@dataclass(frozen=True)
class Snapshot:
    """`classes` in the order of a network's outputs; `photos` by hash."""

    classes: tuple[str, ...]
    photos: tuple[Photo, ...]

    @cached_property
    def id(self) -> str:
        """16 hexadecimal digits that change with any photo, label or split."""
        lines = [f"{photo.sha256} {photo.class_name} {photo.split}\n" for photo in self.photos]
        return hashlib.sha256("".join(lines).encode()).hexdigest()[:16]

    def split(self, split: Split) -> tuple[Photo, ...]:
        return tuple(photo for photo in self.photos if photo.split == split)

    def labels(self, photos: tuple[Photo, ...]) -> NDArray[np.int64]:
        """The index of each photo's class, shape (n,)."""
        index = {name: number for number, name in enumerate(self.classes)}
        return np.array([index[photo.class_name] for photo in photos], dtype=np.int64)

    def without(self, hashes: set[str]) -> "Snapshot":
        """The snapshot less some photos. Raises RunError where too little is left."""
        return _snapshot([photo for photo in self.photos if photo.sha256 not in hashes])


def take(photos: Photos) -> Snapshot:
    """The catalogue as it is now. Raises RunError where it holds fewer than two classes to learn."""
    return _snapshot(photos.all())


def _snapshot(photos: list[Photo]) -> Snapshot:
    # A class whose every photo is kept for judging cannot be learnt.
    classes = sorted({photo.class_name for photo in photos if photo.split == Split.TRAIN})
    if len(classes) < 2:
        raise RunError(
            "Training needs photos of at least two classes. Send some with the class name as their caption,"
            " or run `retrainbot import` on a folder of class folders."
        )
    return Snapshot(tuple(classes), tuple(photo for photo in photos if photo.class_name in classes))
