"""What this host's GPUs are and do: NVML's view, and TensorFlow's, which runs in a child process."""

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pynvml

from storage.gpus import Gpu, GpuReport

MIB = 1024 * 1024


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


def tensorflow_view() -> str:
    """TensorFlow's version and the devices it would train on, in words. Takes seconds: it starts TensorFlow."""
    child = subprocess.run(
        [sys.executable, "-m", "trainer.devices"],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
    )
    last = child.stdout.strip().rpartition("\n")[2]
    return last if child.returncode == 0 and last else "TensorFlow does not start; see the trainer's log."


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
