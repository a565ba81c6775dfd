"""A version's golden inputs: photos, and what it answered for them when it was made."""

import zipfile
from pathlib import Path

import numpy as np

from serving.backend import Probabilities
from storage.errors import ModelError
from storage.images import Pixels

GOLDEN = "golden.npz"
GOLDEN_TOLERANCE = 1e-3


def read(folder: Path) -> tuple[Pixels, Probabilities] | None:
    """Pixels, uint8 (n, size, size, 3), and probabilities, float32 (n, classes); None for a candidate without any.

    Raises ModelError where the file is damaged.
    """
    path = folder / GOLDEN
    try:
        with path.open("rb") as file:  # Opened here, because np.load leaves its own open where the file is damaged.
            arrays = np.load(file, allow_pickle=False)
            return arrays["pixels"], arrays["probabilities"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ModelError("{path} is damaged ({error}); train again or roll back.", path=path, error=error) from error


def compare(got: Probabilities, expected: Probabilities, folder: Path) -> None:
    """Raises ModelError where a probability is off by more than 1e-3, or another class is best."""
    if got.shape != expected.shape:
        raise ModelError(
            "{file} has answers for another number of classes; train again or roll back.", file=folder / GOLDEN
        )
    off = float(np.abs(got - expected).max())
    if not off <= GOLDEN_TOLERANCE or (got.argmax(axis=1) != expected.argmax(axis=1)).any():
        raise ModelError(
            "The model in {folder} does not answer as it did when it was made (off by {off:.2g}); train again"
            " or roll back.",
            folder=folder,
            off=off,
        )
