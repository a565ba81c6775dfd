"""What this host's GPUs are and do: NVML's view, and TensorFlow's, which runs in a child process."""

import os
import subprocess
from collections.abc import Callable, Sequence
from typing import Any

import pynvml
import structlog

from storage import lifeline
from storage.gpus import Gpu, GpuReport

MIB = 1024 * 1024
START_SECONDS = 60.0  # TensorFlow gets so long to start and to look for devices.

log = structlog.get_logger()


def report(tensorflow: str | None) -> GpuReport:
    """NVML's view now, beside what `tensorflow_view` said."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return GpuReport(problem=_in_words(error), tensorflow=tensorflow)
    try:
        gpus = tuple(_gpu(index) for index in range(pynvml.nvmlDeviceGetCount()))
        problem = None if gpus else "The NVIDIA driver is there, but sees no GPU."
        return GpuReport(gpus=gpus, driver=pynvml.nvmlSystemGetDriverVersion(), problem=problem, tensorflow=tensorflow)
    except pynvml.NVMLError as error:
        return GpuReport(problem=_in_words(error), tensorflow=tensorflow)
    finally:
        pynvml.nvmlShutdown()


def tensorflow_view(
    command: Sequence[str] = tuple(lifeline.child("trainer.devices")), timeout: float = START_SECONDS
) -> str:
    """TensorFlow's version and the devices it would train on, in words. Takes seconds: it starts TensorFlow."""
    environment = {**os.environ, lifeline.VARIABLE: "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    try:
        with lifeline.held() as held:
            child = subprocess.run(
                command, stdin=held, env=environment, capture_output=True, text=True, timeout=timeout, check=False
            )
    except subprocess.TimeoutExpired:
        return f"TensorFlow did not start within {timeout:.0f} seconds. Restart the computer if that stays so."
    last = child.stdout.strip().rpartition("\n")[2]
    if child.returncode == 0 and last:
        return last
    log.error("TensorFlow does not start", code=child.returncode, output=child.stderr)
    return "TensorFlow does not start; the log says why."


def _gpu(index: int) -> Gpu:
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    memory = _told(lambda: pynvml.nvmlDeviceGetMemoryInfo(handle))
    utilisation = _told(lambda: pynvml.nvmlDeviceGetUtilizationRates(handle).gpu)
    milliwatts = _told(lambda: pynvml.nvmlDeviceGetPowerUsage(handle))
    return Gpu(
        index=index,
        name=pynvml.nvmlDeviceGetName(handle),
        memory_total=memory.total // MIB if memory else None,
        memory_used=memory.used // MIB if memory else None,
        utilisation=utilisation,
        temperature=_told(lambda: pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU)),
        power=milliwatts / 1000 if milliwatts is not None else None,
    )


def _told(ask: Callable[[], Any]) -> Any:
    """Cards differ in what they tell; what one does not is None."""
    try:
        return ask()
    except pynvml.NVMLError:
        return None


def _in_words(error: Any) -> str:
    words = {
        pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: "There is no NVIDIA driver on this computer, so training uses the CPU.",
        pynvml.NVML_ERROR_DRIVER_NOT_LOADED: "The NVIDIA driver is installed but not running; restart the computer.",
        pynvml.NVML_ERROR_NO_PERMISSION: "This user may not use the GPU; add it to the groups video and render.",
        pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: "The NVIDIA driver was updated; restart the computer.",
    }
    return words.get(error.value, f"The NVIDIA driver reports: {error}.")
