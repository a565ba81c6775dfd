"""A stand-in for the driver's side of pynvml: cards with what they tell, and errors where they tell nothing.

It has the calls that we use and pynvml's own constants and errors; nothing of it was compared with a real driver.
"""

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pynvml

MIB = 1024 * 1024


class Nvml:
    """`cards` have a value for each call, or its `Failure`; `init` and `count` are the errors of these two calls."""

    def __init__(self, cards: Sequence[Mapping[str, Any]] = (), *, init: int = 0, count: int = 0) -> None:
        self._cards = cards
        self._init = init
        self._count = count

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("nvmlDevice"):
            return getattr(pynvml, name)

        def ask(handle: Mapping[str, Any], *_: Any) -> Any:
            answer = handle.get(name, Failure(pynvml.NVML_ERROR_NOT_SUPPORTED))
            if isinstance(answer, Failure):
                raise pynvml.NVMLError(answer.number)
            return answer

        return ask

    def nvmlInit(self) -> None:  # noqa: N802  The names are pynvml's, here and below.
        if self._init:
            raise pynvml.NVMLError(self._init)

    def nvmlShutdown(self) -> None:  # noqa: N802
        return None

    def nvmlSystemGetDriverVersion(self) -> str:  # noqa: N802
        return "570.86.15"

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        if self._count:
            raise pynvml.NVMLError(self._count)
        return len(self._cards)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Mapping[str, Any]:  # noqa: N802
        return self._cards[index]


class Failure:
    def __init__(self, number: int) -> None:
        self.number = number


def card(**more: Any) -> dict[str, Any]:
    """A card that tells everything, in NVML's units: bytes, percent, milliwatts."""
    return {
        "nvmlDeviceGetName": "NVIDIA H100",
        "nvmlDeviceGetMemoryInfo": SimpleNamespace(total=81_920 * MIB, used=1_024 * MIB),
        "nvmlDeviceGetUtilizationRates": SimpleNamespace(gpu=93),
        "nvmlDeviceGetTemperature": 61,
        "nvmlDeviceGetPowerUsage": 350_400,
        "nvmlDeviceGetMigMode": [0, 0],
        "nvmlDeviceGetComputeRunningProcesses": [],
        **more,
    }
