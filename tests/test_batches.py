"""The row of photos that a network learns from: each as often as the others, and the same from whatever step on."""

from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import pytest
from fitting import CLASSES, Painted
from networks import SIZE
from numpy.typing import NDArray

from storage.images import model_input
from storage.settings import Augmentation
from trainer.network.batches import Feed, Samples, plain_batches, targets_of

PLAIN = Augmentation(flip=False, crop=0, scale=0, brightness=0, contrast=0, colour=0)


@dataclass(frozen=True)
class Gone(Painted):
    """Some of the photos have no file any more."""

    gone: frozenset[int] = field(default_factory=frozenset)

    def jpeg(self, place: int) -> bytes:
        if place in self.gone:
            raise FileNotFoundError(place)
        return super().jpeg(place)


def _feed(samples: Samples, batch_size: int = 4, seed: int = 1, how: Augmentation | None = None) -> Feed:
    targets = targets_of(samples.labels, CLASSES, 0.1, balanced=True)
    return Feed(samples, targets, SIZE, batch_size, seed, how or Augmentation())


def test_every_photo_is_seen_once_in_each_round() -> None:
    """Rounds of 10 photos in batches of 4 hold each photo once, in another order each time and for each seed."""
    feed = _feed(Painted(10))
    rounds = [[feed.place(at) for at in range(start, start + 10)] for start in (0, 10, 20)]
    assert all(sorted(order) == list(range(10)) for order in rounds)
    assert len({tuple(order) for order in rounds}) == 3
    assert rounds[0] != [_feed(Painted(10), seed=2).place(at) for at in range(10)]


@pytest.mark.parametrize("how", [Augmentation(), Augmentation(erase=0.5, rotation=20, mixup=0.4)])
def test_batches_are_the_same_from_any_step(how: Augmentation) -> None:
    """Started at step 3, the batches are to the last bit those that follow the first three."""
    feed = _feed(Painted(10), how=how)
    whole = list(islice(feed.batches(0), 6))
    for (pixels, targets), (later_pixels, later_targets) in zip(whole[3:], feed.batches(3), strict=False):
        np.testing.assert_array_equal(pixels, later_pixels)
        np.testing.assert_array_equal(targets, later_targets)
    assert not np.array_equal(whole[0][0], whole[1][0])


def test_unvaried_batches_are_plain_model_input() -> None:
    """With nothing to vary, what is learnt from is what the chat's model gets."""
    samples = Painted(5)
    feed = _feed(samples, how=PLAIN)
    pixels, targets = next(feed.batches(2))
    for row, at in enumerate(range(8, 12)):
        np.testing.assert_array_equal(pixels[row], model_input(samples.jpeg(feed.place(at)), SIZE))
        assert targets[row].argmax() == feed.place(at) % CLASSES


def test_plain_batches_hold_every_photo_once() -> None:
    """Validation sees each photo once, plain, with its label, the last batch being smaller."""
    batches = list(plain_batches(Painted(10), SIZE, 4))
    assert [len(labels) for _, labels in batches] == [4, 4, 2]
    assert np.concatenate([labels for _, labels in batches]).tolist() == [place % CLASSES for place in range(10)]
    np.testing.assert_array_equal(batches[2][0][1], model_input(Painted(10).jpeg(9), SIZE))


def test_photo_that_is_gone_counts_for_nothing() -> None:
    """A photo whose file went away is worth nothing to learn from, and is left out of validation."""
    samples = Gone(6, gone=frozenset({2}))
    feed = _feed(samples, batch_size=6)
    _, targets = next(feed.batches(0))
    missing = [feed.place(at) for at in range(6)].index(2)
    assert (targets.sum(axis=1) == 0).tolist() == [row == missing for row in range(6)]
    (_, labels), = plain_batches(samples, SIZE, 6)  # fmt: skip
    assert labels.tolist() == [0, 1, 0, 1, 2]


def test_mixed_photos_have_mixed_labels() -> None:
    """A photo blended with another has a part of either label, and what all are worth stays the same."""
    samples = Painted(12)
    plain, mixed = (_feed(samples, 12, how=PLAIN.model_copy(update={"mixup": part})) for part in (0.0, 1.0))
    (pixels, targets), (blended, shared) = next(plain.batches(0)), next(mixed.batches(0))
    part = (shared[0] - targets[-1])[targets[0].argmax()] / (targets[0] - targets[-1])[targets[0].argmax()]
    np.testing.assert_allclose(shared, part * targets + (1 - part) * targets[::-1], rtol=1e-4)
    np.testing.assert_allclose(blended, part * pixels + (1 - part) * pixels[::-1].astype(float), atol=1)


def _weights(counts: list[int], *, balanced: bool) -> NDArray[np.float32]:
    labels = np.repeat(np.arange(len(counts)), counts)
    weights: NDArray[np.float32] = targets_of(labels, len(counts), 0.1, balanced=balanced).sum(axis=1)
    return weights


def test_balanced_classes_weigh_the_same() -> None:
    """However many photos a class has, all together they weigh as much as another's; a photo weighs 1 in the mean."""
    counts = np.array([2, 10, 88])
    weights = _weights([2, 10, 88], balanced=True)
    np.testing.assert_allclose(weights * counts, 100 / 3, rtol=1e-6)
    np.testing.assert_allclose(_weights([2, 10, 88], balanced=False), 1, rtol=1e-6)


def test_smoothing_shares_out_a_part_of_the_label() -> None:
    """A tenth of each label is shared out to all four classes."""
    targets = targets_of(np.arange(4), 4, 0.1, balanced=False)
    np.testing.assert_allclose(targets, 0.9 * np.eye(4) + 0.025, rtol=1e-6)
