"""Which photos train and which judge."""

import hashlib
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from storage.splits import Split, choose

SEEDS = st.integers(0, 10**6)


def drawn(seed: int, photos: int) -> list[Split]:
    """The splits of one class as it grows."""
    counts: Counter[Split] = Counter()
    splits = []
    for number in range(photos):
        split = choose(hashlib.sha256(f"{seed} {number}".encode()).hexdigest(), counts)
        counts[split] += 1
        splits.append(split)
    return splits


@given(SEEDS, st.integers(3, 40))
def test_three_photos_reach_every_split(seed: int, photos: int) -> None:
    """A class with at least three photos can be learnt, chosen by and judged."""
    assert set(drawn(seed, photos)) == set(Split)


@given(SEEDS)
def test_first_photo_trains(seed: int) -> None:
    """A class with one photo can be learnt at all."""
    assert drawn(seed, 1) == [Split.TRAIN]


@given(SEEDS)
@settings(max_examples=30)
def test_hundred_photos_split_80_10_10(seed: int) -> None:
    """One photo of ten validates and one tests, within one."""
    counts = Counter(drawn(seed, 100))
    assert abs(counts[Split.VALIDATION] - 10) <= 1
    assert abs(counts[Split.TEST] - 10) <= 1


@given(SEEDS)
def test_same_photos_get_the_same_splits(seed: int) -> None:
    """Nothing but the hashes and their order decides."""
    assert drawn(seed, 20) == drawn(seed, 20)


@given(st.integers(0, 2**256 - 1), st.dictionaries(st.sampled_from(list(Split)), st.integers(0, 1000)))
def test_any_counts_give_a_split(number: int, counts: dict[Split, int]) -> None:
    """Classes that photos were moved in and out of still grow."""
    assert choose(f"{number:064x}", counts) in set(Split)


def test_place_in_the_class_does_not_decide() -> None:
    """Over many classes the test photos are spread over the first and the later ones alike."""
    places = Counter(place for seed in range(300) for place, split in enumerate(drawn(seed, 30)) if split == Split.TEST)
    later = [places[place] for place in range(10, 30)]
    assert min(later) > 10
    assert max(later) < 60
