"""Judging a version on photos it has not learnt from, through the same path the chat uses."""

import asyncio
import io
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import structlog
from numpy.typing import NDArray

from storage.errors import ImageError
from storage.files import write_durably
from storage.images import Pixels, model_input
from storage.photos import Photo

BATCH = 32
KEPT = "evaluation.npz"  # In a version's folder: what it answered for the test photos when it was made.

Probabilities = NDArray[np.float32]

log = structlog.get_logger()


@dataclass(frozen=True)
class Evaluation:
    """`probabilities` has shape (photos, classes), `truth` (photos,): indices into `classes`."""

    classes: tuple[str, ...]
    photos: tuple[Photo, ...]
    truth: NDArray[np.int64]
    probabilities: Probabilities

    @property
    def accuracy(self) -> float:
        """The share of photos whose best class is right, 0 to 1; nan without photos."""
        return self.top(1)

    def top(self, k: int) -> float:
        """The share of photos whose class is among the k best."""
        if not len(self.truth):
            return float("nan")
        right = self.probabilities[np.arange(len(self.truth)), self.truth][:, None]
        before = np.arange(len(self.classes)) < self.truth[:, None]
        ahead = (self.probabilities > right) | ((self.probabilities == right) & before)
        return float((ahead.sum(axis=1) < k).mean())

    def confusion(self) -> NDArray[np.int64]:
        """Counts, shape (classes, classes): a row for each true class, a column for each answer."""
        counts = np.zeros((len(self.classes), len(self.classes)), dtype=np.int64)
        np.add.at(counts, (self.truth, self.probabilities.argmax(axis=1)), 1)
        return counts

    def document(self) -> dict[str, Any]:
        """The evaluation as JSON; accuracies are None where there are no photos."""
        counts = self.confusion()
        totals = counts.sum(axis=1)
        return {
            "accuracy": None if not len(self.truth) else self.accuracy,
            "top5_accuracy": None if not len(self.truth) else self.top(5),
            "per_class": {
                name: {"photos": int(total), "accuracy": int(counts[i, i]) / int(total) if total else None}
                for i, (name, total) in enumerate(zip(self.classes, totals, strict=True))
            },
            "confusion": counts.tolist(),
            "labels": list(self.classes),
            "photos": [
                {"sha256": photo.sha256, "class": photo.class_name, "probabilities": row.tolist()}
                for photo, row in zip(self.photos, self.probabilities, strict=True)
            ],
        }


class Answers(Protocol):
    """What answers pixels, uint8 (n, input_size, input_size, 3), with probabilities, float32 (n, classes)."""

    @property
    def input_size(self) -> int: ...

    async def predict(self, pixels: Pixels, /) -> Probabilities: ...


def merged(parts: Sequence[Evaluation]) -> Evaluation:
    """Evaluations of one version on different photos as one."""
    photos = tuple(photo for part in parts for photo in part.photos)
    truth = np.concatenate([part.truth for part in parts])
    return Evaluation(parts[0].classes, photos, truth, np.concatenate([part.probabilities for part in parts]))


def keep(evaluation: Evaluation, folder: Path) -> None:
    """Write the answers into a version's folder, so that they need not be asked again."""
    hashes = np.frombuffer(bytes.fromhex("".join(photo.sha256 for photo in evaluation.photos)), np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, sha256=hashes.reshape(-1, 32), probabilities=evaluation.probabilities)
    write_durably(folder / KEPT, buffer.getvalue())


def kept(folder: Path, classes: Sequence[str], photos: Sequence[Photo]) -> tuple[Evaluation, list[Photo]]:
    """What a version answered for those of the photos whose class it knows, and those it was not asked about."""
    index = {name: number for number, name in enumerate(classes)}
    rows = _read(folder / KEPT)
    asked = [photo for photo in photos if photo.class_name in index and photo.sha256 in rows]
    truth = np.array([index[photo.class_name] for photo in asked], dtype=np.int64)
    answers = np.array([rows[photo.sha256] for photo in asked], np.float32).reshape(-1, len(classes))
    others = [photo for photo in photos if photo.class_name in index and photo.sha256 not in rows]
    return Evaluation(tuple(classes), tuple(asked), truth, answers), others


def _read(path: Path) -> dict[str, Probabilities]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            names = [row.tobytes().hex() for row in arrays["sha256"]]
            return dict(zip(names, arrays["probabilities"], strict=True))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):  # Of an older version, or damaged.
        return {}


async def evaluate(
    server: Answers,
    classes: Sequence[str],
    photos: Sequence[Photo],
    progress: Callable[[int, int], None] | None = None,
    read: Callable[[Path], bytes] = Path.read_bytes,
) -> Evaluation:
    """Ask the server about every photo whose class it knows. `read` gives the bytes of the photo at a path.

    A photo whose file is gone or damaged is left out.
    """
    index = {name: number for number, name in enumerate(classes)}
    known = tuple(photo for photo in photos if photo.class_name in index)
    judged: list[Photo] = []
    rows: list[Probabilities] = [np.zeros((0, len(classes)), np.float32)]
    with ThreadPoolExecutor(2) as decoders:
        for start in range(0, len(known), BATCH):
            batch = known[start : start + BATCH]
            decoding = [decoders.submit(_pixels, photo, server.input_size, read) for photo in batch]
            decoded = await asyncio.gather(*map(asyncio.wrap_future, decoding))
            found = [(photo, pixels) for photo, pixels in zip(batch, decoded, strict=True) if pixels is not None]
            if found:
                judged += [photo for photo, _ in found]
                rows.append(await server.predict(np.stack([pixels for _, pixels in found])))
            if progress:
                progress(start + len(batch), len(known))
    truth = np.array([index[photo.class_name] for photo in judged], dtype=np.int64)
    return Evaluation(tuple(classes), tuple(judged), truth, np.concatenate(rows))


def _pixels(photo: Photo, size: int, read: Callable[[Path], bytes]) -> Pixels | None:
    try:
        return model_input(read(photo.path), size)
    except (ImageError, OSError) as error:
        log.warning("photo left out", photo=photo.sha256, reason=str(error))
        return None
