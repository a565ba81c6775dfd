"""Which photos train a model and which judge it: decided once for each photo, at its first label, and never changed."""

from collections.abc import Mapping
from enum import StrEnum


class Split(StrEnum):
    TRAIN = "train"  # Fits the model.
    VALIDATION = "validation"  # Chooses between fits.
    TEST = "test"  # Judges the result; no model ever learns from it.


BLOCK = 10  # Of every ten photos of a class, one validates and one tests.


def choose(sha256: str, counts: Mapping[Split, int]) -> Split:
    """The split of the next photo of a class that holds `counts` photos so far; near duplicates count as one.

    The first photo trains, and the next two fill the splits that the class lacks, so three photos reach all three. Then
    selection sampling (Knuth, The Art of Computer Programming, volume 2, algorithm 3.4.2 S) draws the photos of each
    block of ten, with the photo's hash (hexadecimal SHA-256) as its chance.
    """
    chance = int(sha256[:13], 16) / 16**13
    present = {split: counts.get(split, 0) for split in Split}
    total = sum(present.values())
    lacking = [split for split, count in present.items() if count == 0]
    if Split.TRAIN in lacking:
        return Split.TRAIN
    if total < BLOCK and lacking:
        return lacking[int(chance * len(lacking))]
    blocks = total // BLOCK + 1
    room = blocks * BLOCK - total
    tests = max(0, blocks - present[Split.TEST])
    validations = max(0, blocks - present[Split.VALIDATION])
    if chance * room < tests:
        return Split.TEST
    return Split.VALIDATION if chance * room < tests + validations else Split.TRAIN
