"""What TensorFlow says of a GPU that it cannot use, in plain words. It has printed these texts on other computers."""

import sys
import threading
from pathlib import Path

import pytest
from nvml import Nvml, card

from cli.checks import gpu as checks
from cli.checks.finding import Finding, State
from cli.checks.trying import Trial, attempt
from storage.gpus import GpuReport
from trainer import complaints, gpu

DLOPEN = """\
W0000 00:00:1753232013.685876   24341 gpu_device.cc:2341] Cannot dlopen some GPU libraries. Please make sure the missing
 libraries mentioned above are installed properly if you would like to use GPU. Follow the guide at
 https://www.tensorflow.org/install/gpu for how to download and setup the required libraries for your platform.
Skipping registering GPU devices...
"""
SAID = {
    DLOPEN: "Libraries of CUDA",
    "Could not load dynamic library 'libcusolver.so.11'; dlerror: libnvJitLink.so.12: cannot open shared object file:"
    " No such file or directory": "Libraries of CUDA",
    "cudaGetDevice() failed. Status: CUDA driver version is insufficient for CUDA runtime version": "too old for this",
    "Failed to load PTX text as a module: CUDA_ERROR_UNSUPPORTED_PTX_VERSION: the provided PTX was compiled with an"
    " unsupported toolchain.": "driver is too old",
    "kernel version 384.130.0 does not match DSO version 375.66.0 -- cannot find working device": "was updated",
    "failed call to cuInit: CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE: forward compatibility was attempted on non"
    " supported HW": "older than its library",
    "Ignoring visible gpu device (device: 0, name: GeForce GTX 780M, pci bus id: 0000:01:00.0, compute capability: 3.0)"
    " with Cuda compute capability 3.0. The minimum required Cuda capability is 3.5.": "no code for this card",
    "CUDA runtime implicit initialization on GPU:0 failed. Status: device kernel image is invalid": "no code for this",
    "InternalError: no kernel image is available for execution on the device": "no code for this card",
    "error retrieving driver version: Permission denied: could not open driver version path for reading:"
    " /proc/driver/nvidia/version": "device files",
    "no NVIDIA GPU device is present: /dev/nvidia0 does not exist": "are not there",
    "failed to allocate 32.00M (33554432 bytes) from device: CUDA_ERROR_OUT_OF_MEMORY: out of memory": "is taken",
    "failed to create cublas handle: CUBLAS_STATUS_ALLOC_FAILED": "memory is taken",
    "Allocator (GPU_0_bfc) ran out of memory trying to allocate 2.00GiB": "memory is taken",
    "E0000 00:00:1741242567.262839  263744 cuda_dnn.cc:522] Loaded runtime CuDNN library: 9.1.0 but source was compiled"
    " with: 9.3.0.  CuDNN library needs to have matching major version and equal or higher minor version.": "cuDNN",
    "FAILED_PRECONDITION: DNN library initialization failed. Look at the errors above for more details.": "cuDNN",
    "UnimplementedError: DNN library is not found.": "cuDNN",
    "libdevice is required by this HLO module but was not found at ./libdevice.10.bc": "finds no libdevice",
    "Can't find libdevice directory ${CUDA_DIR}/nvvm/libdevice.": "finds no libdevice",
    "INTERNAL: libdevice not found at ./libdevice.10.bc": "finds no libdevice",
    "Couldn't invoke ptxas --version": "cannot run ptxas",
    "NotFoundError: ./bin/ptxas not found": "cannot run ptxas",
    "ptxas exited with non-zero error code 256, output:": "cannot run ptxas",
    "UNAVAILABLE: No PTX compilation provider is available. Neither ptxas/nvlink nor nvjtlink is available.": "ptxas",
    "kernel driver does not appear to be running on this host (joao): /proc/driver/nvidia/version does not": "run",
    "failed call to cuInit: CUDA_ERROR_NO_DEVICE: no CUDA-capable device is detected": "sees no card",
    "Could not find cuda drivers on your machine, GPU will not be used.": "sees no card",
    "failed call to cuInit: CUDA_ERROR_UNKNOWN: unknown error": "CUDA does not start",
    "INTERNAL: all CUDA-capable devices are busy or unavailable": "by one program alone",
    "CUDA_ERROR_ECC_UNCORRECTABLE: uncorrectable ECC error encountered": "has a fault",
}
HARMLESS = """\
I0000 00:00:1795645029.099975 port.cc:153] oneDNN custom operations are on. You may see slightly different results.
E0000 00:00:1738697930.2 cuda_blas.cc:1418] Unable to register cuBLAS factory: Attempting to register factory for plugin
I0000 00:00:1795645029.276544 cpu_feature_guard.cc:227] This TensorFlow binary is optimized to use available CPU
successful NUMA node read from SysFS had negative value (-1), but there must be at least one NUMA node
"""
SLOW = (
    "TensorFlow was not built with CUDA kernel binaries compatible with compute capability 12.0. CUDA kernels will be"
    " jit-compiled from PTX, which could take 30 minutes or longer."
)
BUILD = {"step": "tensorflow", "version": "2.21.0", "cuda": True, "built": {"cuda_version": "12.5.1"}, "gpus": ["H100"]}
DONE = {"device": "/job:localhost/replica:0/task:0/device:GPU:0", "right": True}


@pytest.mark.parametrize(("text", "words"), SAID.items(), ids=range(len(SAID)))
def test_what_tensorflow_says_is_read(text: str, words: str) -> None:
    """Each has words that say what is wrong, and what to do, whatever harmless things were said before."""
    known = complaints.read(HARMLESS + text)
    assert known
    assert words in known.found
    assert known.advice.endswith(".") or "=" in known.advice


def test_what_is_harmless_is_no_complaint() -> None:
    """TensorFlow says much at each start."""
    assert complaints.read(HARMLESS) is None
    assert not complaints.translates_first(HARMLESS)


def tried(said: str = "", code: int | None = 0, **steps: object) -> list[Finding]:
    """What is found where a card is there and these steps were done."""
    return list(checks.tensorflow(Trial(steps, said, code, 180.0), card=True))


def test_a_card_that_works() -> None:
    """Both findings name it."""
    found = tried(tensorflow=BUILD, matmul=DONE, convolution=DONE, xla=DONE)
    assert [(finding.state, "H100" in finding.found) for finding in found] == [(State.OK, True)] * 2


def test_a_card_that_is_not_used() -> None:
    """The reason is told, and what was computed on the CPU instead."""
    cpu = {"device": "/device:CPU:0", "right": True}
    unused, computing = tried(DLOPEN, tensorflow={**BUILD, "gpus": []}, matmul=cpu, convolution=cpu, xla=cpu)
    assert unused.state is State.FAILED
    assert "Libraries of CUDA" in unused.found
    assert "make .venv/.gpu" in unused.advice
    assert "on the CPU" in computing.found


def test_the_wrong_build() -> None:
    """A card beside the CPU build is a pity, not a fault."""
    found = tried(tensorflow={**BUILD, "cuda": False, "gpus": []}, matmul=DONE, convolution=DONE, xla=DONE)
    assert found[0].state is State.WARNING
    assert "make .venv/.gpu" in found[0].advice


def test_a_step_that_fails() -> None:
    """The step is named, and its error in plain words; an unknown one as it is."""
    error = {"error": "UnknownError: FAILED_PRECONDITION: DNN library initialization failed. Look above."}
    assert "a convolution. cuDNN" in tried(tensorflow=BUILD, matmul=DONE, convolution=error)[1].found
    assert "ZeroError: odd" in tried(tensorflow=BUILD, matmul={"error": "ZeroError: odd\nmore"})[1].found


def test_a_card_that_computes_wrongly() -> None:
    """A result that is not exact is told."""
    found = tried(tensorflow=BUILD, matmul={**DONE, "right": False})[1]
    assert found.state is State.FAILED
    assert "a matrix product on H100 is wrong" in found.found


def test_a_card_that_is_too_new() -> None:
    """Half an hour at the first run is announced; any other step that does not end is a fault."""
    assert tried(SLOW, None, tensorflow=BUILD)[1].state is State.WARNING
    stuck = tried("", None, tensorflow=BUILD, matmul=DONE)[1]
    assert stuck.state is State.FAILED
    assert "A convolution is not done" in stuck.found


@pytest.mark.parametrize(
    ("code", "words"), [(None, "did not start"), (-4, "AVX"), (-9, "was killed"), (1, "No module named 'tensorflow'")]
)
def test_tensorflow_that_does_not_start(code: int | None, words: str) -> None:
    """It hangs, the processor is too old, memory ran out, or it is not there."""
    (found,) = tried("ModuleNotFoundError: No module named 'tensorflow'", code)
    assert found.state is State.FAILED
    assert words in found.found


def test_a_trial_that_hangs_is_given_up() -> None:
    """What was done before that is kept."""
    program = """import json, time; print(json.dumps({"step": "matmul"}), flush=True); time.sleep(60)"""
    trial = attempt([sys.executable, "-c", program], timeout=5)
    assert (trial.code, list(trial.steps)) == (None, ["matmul"])


def test_a_driver_that_never_answers() -> None:
    """It is given up, and TensorFlow is not even tried."""
    never = threading.Event()

    def hang() -> GpuReport:
        never.wait()
        return GpuReport()

    assert checks.ask(hang, timeout=0.05) is None
    assert checks.ask(GpuReport) == GpuReport()
    assert checks.silent().state is State.FAILED
    never.set()


def test_the_driver_is_told(tmp_path: Path) -> None:
    """Cards with their memory; no driver is no fault, unless there is a card; errors keep their words."""
    assert "NVIDIA H100 with 81920 MiB" in checks.driver(gpu.report(None, Nvml([card()])), tmp_path).found
    none = gpu.report(None, Nvml(init=12))
    assert checks.driver(none, tmp_path).state is State.OK
    (tmp_path / "nvidia0").touch()
    assert "libnvidia-ml" in checks.driver(none, tmp_path).found
    lost = checks.driver(gpu.report(None, Nvml(init=15)), tmp_path)
    assert lost.state is State.FAILED
    assert "sits firmly" in lost.line()
