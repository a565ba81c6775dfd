"""From photos to features: decoded on other cores ahead of the network, which is folded and sees fixed batches."""

import hashlib
import os
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from serving.graph import run
from storage.errors import ImageError
from storage.images import Pixels, model_input
from storage.photos import Photo
from trainer.backbones.zoo import Backbone
from trainer.features.store import Features, FeatureStore, Places
from trainer.snapshot import Snapshot

DECODERS = min(16, os.cpu_count() or 1)
AHEAD_BYTES = 128 << 20  # So much that the decoders need not wait while the network is built.
SYNC_BATCHES = 16  # A power cut costs the work of so many at most.


class Extractor:
    """Computes features. The folded network is built when it is first needed, and kept."""

    def __init__(
        self,
        backbone: Backbone,
        batch_size: int = 32,
        read: Callable[[Path], bytes] = Path.read_bytes,
        ahead_bytes: int = AHEAD_BYTES,
    ) -> None:
        """`read` gives the bytes of the photo at a path; `ahead_bytes` of decoded photos may wait for the network."""
        self.backbone = backbone
        self._batch_size = batch_size
        self._read = read
        self._ahead_bytes = ahead_bytes

    def warm(self) -> None:
        """Build the network and pay for its slow first call now."""
        size = self.backbone.input_size
        self.features(np.zeros((1, size, size, 3), np.uint8))

    def features(self, pixels: Pixels) -> Features:
        """float32 (n, features) for uint8 pixels (n, input_size, input_size, 3)."""
        return run(self._network, pixels, (self._batch_size,))

    def extract(
        self,
        data: Snapshot,
        stores: Sequence[FeatureStore],
        progress: Callable[[int, int], None] = lambda *_: None,
        stop: Callable[[], bool] = lambda: False,
    ) -> dict[str, str]:
        """See to it that each of the stores has features of every photo; a mirrored store, of its mirror image.

        `progress` is told photos done and in all. Before each batch `stop` is asked whether to end early. Either way,
        what was computed is kept. Returns the photos that cannot be read, by hexadecimal SHA-256, each with the reason.
        """
        lacking = np.stack([store.missing(data.hashes) for store in stores], axis=1)
        unreadable: dict[str, str] = {}
        done, total = 0, int(lacking.any(axis=1).sum())
        with closing(self._decoding(data, lacking)) as batches:
            for number, batch in enumerate(batches, 1):
                if stop():
                    break
                _ = self._network  # Built while the decoders work ahead, not after they were waited for.
                unreadable |= self._keep(batch, data, stores, lacking)
                done += len(batch.places)
                if number % SYNC_BATCHES == 0:
                    _sync(stores)
                progress(done, total)
        _sync(stores)
        return unreadable

    @cached_property
    def _network(self) -> Any:
        """Pixels (batch_size, size, size, 3) to features, traced with the weights as constants, so that they fold."""
        network, size = self.backbone.network, self.backbone.input_size
        learnt = [variable.numpy() for variable in network.trainable_variables]
        fixed = [variable.numpy() for variable in network.non_trainable_variables]

        def features(pixels: Any) -> list[Any]:
            weights = [tf.constant(array) for array in learnt], [tf.constant(array) for array in fixed]
            return [network.stateless_call(*weights, pixels, training=False)[0]]

        pixels = tf.TensorSpec((self._batch_size, size, size, 3), tf.uint8)
        return tf.function(features, autograph=False).get_concrete_function(pixels)

    def _keep(
        self, batch: "_Batch", data: Snapshot, stores: Sequence[FeatureStore], lacking: NDArray[np.bool_]
    ) -> dict[str, str]:
        """Append the features of a batch to the stores that lack them. Returns the photos that cannot be read."""
        reasons = batch.reasons()
        readable = np.array([reason is None for reason in reasons])
        for number, store in enumerate(stores):
            wanted = readable & lacking[batch.places, number]
            if wanted.any():
                pixels = batch.pixels[:, :, ::-1] if store.mirrored else batch.pixels
                rows = self.features(pixels)[: len(wanted)]
                store.append(data.hashes[batch.places[wanted]], rows[wanted])
        hashes = data.hashes[batch.places]
        return {row.tobytes().hex(): reason for row, reason in zip(hashes, reasons, strict=True) if reason}

    def _decoding(self, data: Snapshot, lacking: NDArray[np.bool_]) -> Generator["_Batch"]:
        """The photos that any store lacks, in batches which are being decoded, and others after them."""
        places = np.flatnonzero(lacking.any(axis=1))
        places = places[np.lexsort(lacking[places].T)]  # No batch has a few photos for one store and a few for another.
        waiting: deque[_Batch] = deque()
        pool = ThreadPoolExecutor(DECODERS, thread_name_prefix="decoder")
        try:
            for start in range(0, len(places), self._batch_size):
                waiting.append(self._submit(pool, data, places[start : start + self._batch_size]))
                if len(waiting) * waiting[0].pixels.nbytes > self._ahead_bytes and len(waiting) > 1:
                    yield waiting.popleft()
            while waiting:
                yield waiting.popleft()
        finally:
            pool.shutdown(cancel_futures=True)

    def _submit(self, pool: ThreadPoolExecutor, data: Snapshot, places: Places) -> "_Batch":
        size = self.backbone.input_size
        pixels = np.zeros((self._batch_size, size, size, 3), np.uint8)
        photos = (data.photo(int(place)) for place in places)
        decoding = [pool.submit(self._decode, photo, into) for photo, into in zip(photos, pixels, strict=False)]
        return _Batch(places, pixels, decoding)

    def _decode(self, photo: Photo, into: Pixels) -> str | None:
        """Decode a photo, or say why it cannot be read."""
        try:
            content = self._read(photo.path)
            if hashlib.sha256(content).hexdigest() != photo.sha256:
                return "It is damaged or was edited: it is not the photo that was stored. Run `retrainbot reindex`."
            into[:] = model_input(content, len(into))
        except ImageError as error:
            return str(error)
        except OSError as error:
            return f"The file cannot be read: {error.strerror}."
        return None


@dataclass(frozen=True, eq=False)
class _Batch:
    """Photos by their places in the snapshot, and their pixels; these are as many as the network takes, or zeros."""

    places: Places
    pixels: Pixels
    decoding: list["Future[str | None]"]

    def reasons(self) -> list[str | None]:
        """Wait until all are decoded. Why each photo cannot be read; None where it can."""
        return [future.result() for future in self.decoding]


def _sync(stores: Sequence[FeatureStore]) -> None:
    for store in stores:
        store.sync()
