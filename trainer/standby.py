"""What a training process does until it has a run: it looks at new photos, so that the run only has to fit."""

import importlib
import queue
from collections.abc import Callable, Sequence

import structlog
import tensorflow as tf

from storage.disk import Reserve
from trainer import snapshot
from trainer.faults import in_plain_words
from trainer.features.store import FeatureStore
from trainer.fitting import Box
from trainer.snapshot import Snapshot

SETTLE_SECONDS = 5.0  # Photos come in bunches; they are looked at when none has come for so long.

log = structlog.get_logger()


def wait(box: Box, orders: "queue.SimpleQueue[str]", settle: float = SETTLE_SECONDS) -> str | None:
    """The order for a run. Until it comes, the features of new photos are extracted, where the settings want that.

    None where the process should make way for another: what it took of a GPU's memory is given back only by its end.
    """
    looked, before = None, None
    reserve = Reserve.of(box.settings)
    importlib.import_module("trainer.report.report")  # What draws takes a while to import, too.
    while True:
        try:
            return orders.get(timeout=settle)
        except queue.Empty:
            now = box.photos.last_change()
        if box.settings.training.idle_features and now == before != looked and not reserve.short():
            looked = now
            if _look(box, lambda: not orders.empty()) and tf.config.list_physical_devices("GPU") and orders.empty():
                return None
        before = now


def _look(box: Box, stop: Callable[[], bool]) -> bool:
    """Extract what is missing, and say whether anything came of it."""
    training = box.settings.training
    try:
        data = snapshot.take(box.photos)
        extractor = box.extractor(training.backbone, training.weights, training.batch_size)
        stores = box.stores(extractor.backbone)
        missing = _missing(stores, data)
        if missing:
            with in_plain_words():
                extractor.extract(data, stores, stop=stop)
    except Exception as error:  # noqa: BLE001  The run will say it to a person, if it is still so.
        log.info("new photos are not looked at", reason=str(error))
        return False
    return _missing(stores, data) < missing  # A photo that cannot be read stays missing.


def _missing(stores: Sequence[FeatureStore], data: Snapshot) -> int:
    return sum(int(store.missing(data.hashes).sum()) for store in stores)
