"""What a training process does until it is told which run to work."""

import queue
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import until

from demo import samples
from storage.database import Database
from storage.settings import Settings, Training
from trainer import snapshot
from trainer.fitting import Box
from trainer.standby import wait


@pytest.fixture
def box(settings: Settings) -> Iterator[Box]:
    database = Database(settings.database_place)
    training = Training(backbone="efficientnet_lite0", batch_size=4)
    yield Box(settings.model_copy(update={"training": training}), database)
    database.close()


def missing(box: Box) -> int:
    (store,) = box.stores(box.extractor("efficientnet_lite0", "imagenet", 4).backbone)
    return int(store.missing(snapshot.take(box.photos).hashes).sum())


async def test_photos_that_come_while_nothing_is_trained_are_looked_at(box: Box) -> None:
    """New photos, also later ones, have features before anybody asks for a run; then the order comes."""
    orders: queue.SimpleQueue[str] = queue.SimpleQueue()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(wait, box, orders, 0.05)
        try:
            for number in range(4):
                box.photos.add(samples.photo(samples.CLASSES[number % 2], number), samples.CLASSES[number % 2], "ann")
            await until(lambda: missing(box) == 0)
            box.photos.add(samples.photo(samples.CLASSES[0], 9), samples.CLASSES[0], "ann")
            await until(lambda: missing(box) == 0)
        finally:
            orders.put("7 1")
        assert waiting.result() == "7 1"


async def test_what_cannot_be_looked_at_does_not_end_the_waiting(box: Box) -> None:
    """A damaged photo, or photos of one class only, leave the process ready for its order."""
    orders: queue.SimpleQueue[str] = queue.SimpleQueue()
    box.photos.add(samples.photo(samples.CLASSES[0], 1), samples.CLASSES[0], "ann")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(wait, box, orders, 0.05)
        try:
            box.photos.add(samples.photo(samples.CLASSES[1], 2), samples.CLASSES[1], "ann")
            next(iter(box.photos.all())).path.write_bytes(b"not a photo any more")
            await until(lambda: missing(box) <= 1)
        finally:
            orders.put("7 1")
        assert waiting.result() == "7 1"
