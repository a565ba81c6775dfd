"""852 photos of orchids in 14 uneven classes: for measuring only, they are no part of this project."""

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

VARIABLE = "RETRAINBOT_ORCHIDS"
FOLDS = 5
SEEDS = (0, 1, 2)

Labels = NDArray[np.int64]


def folder() -> Path | None:
    """Where the orchids are, or None after saying so."""
    named = os.environ.get(VARIABLE)
    if named and (Path(named) / "photos").is_dir():
        return Path(named).absolute()
    print(f"Left out: it measures on photos of orchids; set {VARIABLE} to their folder.")
    return None


def labels(names: list[str]) -> Labels:
    """Class numbers from class names, in alphabetical order."""
    return np.unique(names, return_inverse=True)[1].astype(np.int64)


def folds(y: Labels, count: int, seed: int) -> Labels:
    """A fold for every photo, each class dealt out as evenly as its size allows."""
    random = np.random.default_rng(seed)
    result = np.zeros(len(y), np.int64)
    for number in np.unique(y):
        members = random.permutation(np.flatnonzero(y == number))
        result[members] = (np.arange(len(members)) + random.integers(count)) % count
    return result
