"""What TensorFlow, XLA and CUDA say when a GPU cannot be used, in words for somebody who knows none of them."""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Complaint:
    """`found` says what is wrong, `advice` what to do; `signs` are patterns of what is said then."""

    found: str
    advice: str
    signs: tuple[str, ...]


_DRIVER = "Install the newest NVIDIA driver for the card and restart the computer."
_PACKAGES = "Type `make .venv/.gpu`, which brings the ones that fit; and take CUDA's folders out of LD_LIBRARY_PATH."

# The first that is found counts, so what explains stands before what merely follows from it.
_COMPLAINTS = (
    Complaint(
        "The NVIDIA driver is too old for this TensorFlow's CUDA.",
        _DRIVER,
        (
            "driver version is insufficient for CUDA runtime",
            "CUDA_ERROR_INSUFFICIENT_DRIVER",
            "CUDA_ERROR_UNSUPPORTED_PTX_VERSION",
            "PTX was compiled with an unsupported toolchain",
        ),
    ),
    Complaint(
        "The NVIDIA driver was updated, but the old one still runs.",
        "Restart the computer.",
        ("does not match DSO version", "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", "Driver/library version mismatch"),
    ),
    Complaint(
        "The NVIDIA driver that runs is older than its library.",
        "Restart the computer; in a container, take its cuda-compat package away.",
        ("CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE", "forward compatibility was attempted on non supported HW"),
    ),
    Complaint(
        "This TensorFlow has no code for this card: the card is too old for it, or too new.",
        "Use a card that it was built for, or train on the CPU: `make .venv/.cpu`.",
        (
            "minimum required Cuda capability is",
            "no kernel image is available for execution on the device",
            "device kernel image is invalid",
            "CUDA_ERROR_NO_BINARY_FOR_GPU",
            "[Uu]nsupported gpu architecture",
            "is not a recognized processor for this target",
        ),
    ),
    Complaint(
        "This user may not use the GPU's device files, /dev/nvidia*.",
        "Add the user to their group, as a rule video or render; in a container, pass the GPU on to it.",
        (
            "error retrieving driver version: Permission denied",
            r"/dev/nvidia\S*: Permission denied",
            "CUDA_ERROR_NOT_PERMITTED",
        ),
    ),
    Complaint(
        "The GPU's device files, /dev/nvidia*, are not there.",
        "In a container, pass the GPU on to it; elsewhere load the driver with `sudo modprobe nvidia-uvm`.",
        (r"no NVIDIA GPU device is present: /dev/nvidia\S* does not exist",),
    ),
    Complaint(
        "The GPU's memory is taken by something else.",
        "`nvidia-smi` says by what; end it. A run that is under way takes much of it, too.",
        (
            "CUDA_ERROR_OUT_OF_MEMORY",
            "(CUBLAS|CUDNN)_STATUS_ALLOC_FAILED",
            "ran out of memory",
            "ResourceExhaustedError|RESOURCE_EXHAUSTED",
            "OOM when allocating",
        ),
    ),
    Complaint(
        "Another version of cuDNN is found than the one that this TensorFlow needs.",
        _PACKAGES,
        ("Loaded runtime CuDNN library: .* but source was compiled with",),
    ),
    Complaint(
        "Libraries of CUDA that this TensorFlow needs are not found.",
        _PACKAGES,
        ("Cannot dlopen some GPU libraries", "Could not load dynamic library", "cannot open shared object file"),
    ),
    Complaint(
        "cuDNN, NVIDIA's library for networks, does not start.",
        f"Where the GPU's memory is full, end what uses it. Else: {_PACKAGES}",
        (
            "DNN library (is not found|initialization failed)",
            "cuDNN failed to initialize",
            "CUDNN_STATUS_NOT_INITIALIZED",
            "No DNN in stream executor",
        ),
    ),
    Complaint(
        "XLA finds no libdevice, NVIDIA's library of functions for its compiler.",
        "Type `make .venv/.gpu`, which brings it; a CUDA of your own is named by"
        " XLA_FLAGS=--xla_gpu_cuda_data_dir=/path/to/cuda.",
        ("libdevice not found", "libdevice is required by this HLO module", "Can't find libdevice directory"),
    ),
    Complaint(
        "XLA cannot run ptxas, NVIDIA's assembler.",
        "Type `make .venv/.gpu`, which brings it; where it is there, see that programs may run from its folder.",
        (
            "Couldn't invoke ptxas",
            "ptxas not found",
            "Can't find ptxas",
            "ptxas exited with non-zero",
            r"ptxas --version returned",
            "No PTX compilation provider is available",
        ),
    ),
    Complaint(
        "The GPU's memory has a fault.",
        "Restart the computer; if it comes back, the card is broken.",
        ("uncorrectable ECC error", "CUDA_ERROR_ECC_UNCORRECTABLE"),
    ),
    Complaint(
        "The card is used by one program alone.",
        "End that program, or allow several: `sudo nvidia-smi -c DEFAULT`.",
        ("CUDA_ERROR_(DEVICE_)?UNAVAILABLE", "all CUDA-capable devices are busy or unavailable"),
    ),
    Complaint(
        "The NVIDIA driver does not run.",
        "Load it with `sudo modprobe nvidia`, or restart the computer; several linked cards need nvidia-fabricmanager.",
        ("kernel driver does not appear to be running", "CUDA_ERROR_SYSTEM_NOT_READY"),
    ),
    Complaint(
        "CUDA sees no card.",
        "`retrainbot gpu` says whether the driver sees one; CUDA_VISIBLE_DEVICES must not hide it.",
        ("Could not find cuda drivers on your machine", "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"),
    ),
    Complaint(
        "CUDA does not start.",
        "Load what it needs with `sudo modprobe nvidia-uvm`, or restart the computer, which also helps after it slept.",
        ("failed call to cuInit", "CUDA_ERROR_UNKNOWN"),
    ),
)
_TRANSLATED = re.compile("not built with CUDA kernel binaries compatible with compute capability")


def read(text: str) -> Complaint | None:
    """The first thing that is known to be wrong where this is said; None where nothing is."""
    return next((known for known in _COMPLAINTS if any(re.search(sign, text) for sign in known.signs)), None)


def translates_first(text: str) -> bool:
    """Whether CUDA has to translate TensorFlow's code for this card first, which may take half an hour."""
    return _TRANSLATED.search(text) is not None
