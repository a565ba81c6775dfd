"""Reads tensors out of a PyTorch checkpoint without PyTorch, and without running anything that the file asks for.

The format is the one `torch.save` wrote before version 1.6: five pickles (a magic number, the protocol, sizes of types,
the tensors by name, the keys of their storages), then each storage as an int64 count and its raw values.
"""

import pickle
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from storage.errors import BackboneError

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001


class _Tensor(NamedTuple):
    storage: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _tensor(storage: str, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_unused: object) -> _Tensor:
    return _Tensor(storage, offset, shape, strides)


# All that a checkpoint may name. A storage type stands as NumPy's name for it: a string can do nothing.
_ALLOWED: dict[tuple[str, str], str | Callable[..., Any]] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch", "FloatStorage"): "<f4",
    ("torch", "LongStorage"): "<i8",
}


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: BinaryIO, types: dict[str, str]) -> None:
        super().__init__(file)
        self._types = types

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no tensor needs") from None

    def persistent_load(self, pid: Any) -> str:
        _kind, dtype, key, *_unused = pid
        self._types[key] = dtype
        return str(key)


def read_checkpoint(path: Path) -> dict[str, NDArray[Any]]:
    """Every tensor in the file by its name, float32 or int64.

    Raises BackboneError where the file cannot be read, is not of this format, or asks for anything but tensors.
    """
    try:
        with path.open("rb") as file:
            return _read(file)
    except (OSError, pickle.UnpicklingError, ValueError, TypeError, KeyError, EOFError, LookupError) as error:
        raise BackboneError(
            "{path}: cannot be read as network weights ({error}). Install its package again.", path=path, error=error
        ) from error


def _read(file: BinaryIO) -> dict[str, NDArray[Any]]:
    types: dict[str, str] = {}
    magic, protocol, _sizes, tensors, keys = (_Unpickler(file, types).load() for _ in range(5))
    if (magic, protocol) != (_MAGIC, _PROTOCOL):
        raise ValueError("it is not a PyTorch checkpoint")
    storages = {key: _read_storage(file, np.dtype(types[key])) for key in keys}
    return {name: _view(storages[tensor.storage], tensor) for name, tensor in tensors.items()}


def _read_storage(file: BinaryIO, dtype: np.dtype[Any]) -> NDArray[Any]:
    count = int.from_bytes(file.read(8), "little")
    content = file.read(count * dtype.itemsize)
    if len(content) < count * dtype.itemsize:
        raise ValueError("it ends too early")
    return np.frombuffer(content, dtype)


def _view(storage: NDArray[Any], tensor: _Tensor) -> NDArray[Any]:
    """The tensor as a copy, made only after checking that it stays inside its storage."""
    last = tensor.offset + sum((n - 1) * s for n, s in zip(tensor.shape, tensor.strides, strict=True))
    if tensor.offset < 0 or min(tensor.strides, default=0) < 0 or last >= storage.size:
        raise ValueError("a tensor reaches beyond its storage")
    strides = [stride * storage.itemsize for stride in tensor.strides]
    return np.lib.stride_tricks.as_strided(storage[tensor.offset :], tensor.shape, strides).copy()
