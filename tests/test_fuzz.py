"""Hostile images through a decoder child; `python -m benchmarks.fuzz` does the same with a thousand."""

from collections import Counter

from benchmarks.fuzz import outcome
from benchmarks.hostile import hostile
from storage.decoder import Decoder
from storage.settings import Images

COUNT = 150


def test_hostile_images_are_taken_whole_or_refused_in_words() -> None:
    """Each becomes a plain photo that decodes, or is refused for a reason that a person can read."""
    images = Images()
    outcomes: Counter[str] = Counter()
    with Decoder(images, 1) as decoder:
        for image in hostile(COUNT, seed=3):
            became, faults = outcome(image, decoder.normalise, images.max_side)
            assert not faults
            outcomes[became] += 1
    assert outcomes["taken"] > COUNT // 10
    assert outcomes.total() - outcomes["taken"] > COUNT // 2


def test_hostile_images_come_again() -> None:
    """What was found once can be found again: the same seed makes the same images, another one makes others."""
    kinds = [[image.kind for image in hostile(60, seed)] for seed in (1, 1, 2)]
    assert kinds[0] == kinds[1] != kinds[2]
