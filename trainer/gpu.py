"""What this host's GPUs are and do: NVML's view, and TensorFlow's, which runs in a child process."""

import os
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Literal

import psutil
import pynvml
import structlog

from storage import lifeline
from storage.gpus import Gpu, GpuProcess, GpuReport
from storage.texts import Text, read_text

MIB = 1024 * 1024
START_SECONDS = 60.0  # TensorFlow gets so long to start and to look for devices.
NO_DRIVER = Text("There is no NVIDIA driver on this computer, so training uses the CPU.")
# The module of each process of ours that uses a GPU.
OURS: Mapping[str, Literal["training", "answering"]] = {"trainer.run": "training", "serving.modest": "answering"}

log = structlog.get_logger()


def report(tensorflow: Text | None, nvml: Any = pynvml) -> GpuReport:
    """NVML's view now, beside what `tensorflow_view` said; `nvml` speaks as pynvml does."""
    try:
        nvml.nvmlInit()
    except pynvml.NVMLError as error:
        return GpuReport(problem=_in_words(error), tensorflow=tensorflow)
    try:
        gpus = tuple(_gpu(nvml, index) for index in range(nvml.nvmlDeviceGetCount()))
        problem = None if gpus else Text("The NVIDIA driver is there, but sees no GPU.")
        return GpuReport(
            gpus=gpus, driver=_told(nvml.nvmlSystemGetDriverVersion), problem=problem, tensorflow=tensorflow
        )
    except pynvml.NVMLError as error:
        return GpuReport(problem=_in_words(error), tensorflow=tensorflow)
    finally:
        with suppress(pynvml.NVMLError):
            nvml.nvmlShutdown()


def tensorflow_view(
    command: Sequence[str] = tuple(lifeline.child("trainer.devices")), timeout: float = START_SECONDS
) -> Text:
    """TensorFlow's version and the devices it would train on, in words. Takes seconds: it starts TensorFlow."""
    environment = {**os.environ, lifeline.VARIABLE: "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    try:
        with lifeline.held() as held:
            child = subprocess.run(
                command, stdin=held, env=environment, capture_output=True, text=True, timeout=timeout, check=False
            )
    except subprocess.TimeoutExpired:
        return Text(
            "TensorFlow did not start within {timeout:g} seconds. Restart the computer if that stays so.",
            timeout=timeout,
        )
    last = child.stdout.strip().rpartition("\n")[2]
    if child.returncode == 0 and last:
        return read_text(last)
    log.error("TensorFlow does not start", code=child.returncode, output=child.stderr)
    return Text("TensorFlow does not start; the log says why.")


def _gpu(nvml: Any, index: int) -> Gpu:
    """One card. Raises NVMLError where it cannot even be found."""
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    memory = _told(lambda: nvml.nvmlDeviceGetMemoryInfo(handle))
    milliwatts = _told(lambda: nvml.nvmlDeviceGetPowerUsage(handle))
    return Gpu(
        index=index,
        name=_told(lambda: nvml.nvmlDeviceGetName(handle)) or "NVIDIA",
        memory_total=memory.total // MIB if memory else None,
        memory_used=memory.used // MIB if memory else None,
        utilisation=_told(lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu),
        temperature=_told(lambda: nvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU)),
        power=milliwatts / 1000 if milliwatts is not None else None,
        slices=_slices(nvml, handle),
        processes=_ours(_told(lambda: nvml.nvmlDeviceGetComputeRunningProcesses(handle)) or []),
    )


def _slices(nvml: Any, handle: Any) -> int | None:
    """Into how many slices MIG divides the card; None where it is whole."""
    mode = _told(lambda: nvml.nvmlDeviceGetMigMode(handle)[0])
    if mode != pynvml.NVML_DEVICE_MIG_ENABLE:
        return None
    most = _told(lambda: nvml.nvmlDeviceGetMaxMigDeviceCount(handle)) or 0
    return sum(_told(partial(nvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, at)) is not None for at in range(most))


def _ours(processes: Iterable[Any]) -> tuple[GpuProcess, ...]:
    """Those of NVML's processes that are ours, by what they do."""
    found = []
    for process in processes:
        with suppress(psutil.Error):
            words = psutil.Process(process.pid).cmdline()
            does = next((does for module, does in OURS.items() if module in words), None)
            if does:
                used = process.usedGpuMemory
                found.append(GpuProcess(pid=process.pid, does=does, memory_used=used // MIB if used else None))
    return tuple(found)


def _told(ask: Callable[[], Any]) -> Any:
    """Cards differ in what they tell; what one does not is None."""
    try:
        return ask()
    except pynvml.NVMLError:
        return None


def _in_words(error: Any) -> Text:
    words = {
        pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: NO_DRIVER,
        pynvml.NVML_ERROR_DRIVER_NOT_LOADED: Text(
            "The NVIDIA driver is installed but not running; restart the computer."
        ),
        pynvml.NVML_ERROR_NO_PERMISSION: Text("This user may not use the GPU; add it to the groups video and render."),
        pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: Text("The NVIDIA driver was updated; restart the computer."),
        pynvml.NVML_ERROR_GPU_IS_LOST: Text(
            "The GPU fell off the bus: switch the computer off and on, and check that the card sits firmly."
        ),
        pynvml.NVML_ERROR_TIMEOUT: Text("The NVIDIA driver does not answer; restart the computer."),
        pynvml.NVML_ERROR_UNINITIALIZED: Text("The NVIDIA driver does not answer; restart the computer."),
        pynvml.NVML_ERROR_OPERATING_SYSTEM: Text(
            "The system does not let programs reach the GPU; in a container, pass the GPU on to it."
        ),
        pynvml.NVML_ERROR_IRQ_ISSUE: Text("The GPU's power or its slot has a fault; check its cables."),
        pynvml.NVML_ERROR_INSUFFICIENT_POWER: Text("The GPU's power or its slot has a fault; check its cables."),
    }
    return words.get(error.value, Text("The NVIDIA driver reports: {error}.", error=error))
