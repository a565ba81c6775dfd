"""Whether there is a card, whether TensorFlow uses it, and whether it computes."""

import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Empty, SimpleQueue

from cli.checks.finding import Finding, blame, failed, ok, warning
from cli.checks.folder import usable
from cli.checks.trying import Trial
from storage.gpus import GpuReport
from trainer import complaints
from trainer.gpu import NO_DRIVER

DRIVER, TENSORFLOW, COMPUTING = "GPU", "TensorFlow", "computing"
DRIVER_SECONDS = 20.0
INSTALL = "Type `make .venv/.gpu`."
WORDS = {"matmul": "a matrix product", "convolution": "a convolution", "xla": "an operation that XLA compiles"}


def ask(report: Callable[[], GpuReport], timeout: float = DRIVER_SECONDS) -> GpuReport | None:
    """What the driver reports; None where it does not answer, which nothing can make it do."""
    answers: SimpleQueue[GpuReport] = SimpleQueue()
    threading.Thread(target=lambda: answers.put(report()), name="driver", daemon=True).start()
    try:
        return answers.get(timeout=timeout)
    except Empty:
        return None


def silent() -> Finding:
    """What to say where it does not answer; TensorFlow would hang, too."""
    return failed(
        DRIVER, f"The NVIDIA driver does not answer within {DRIVER_SECONDS:g} seconds.", "Restart the computer."
    )


def driver(report: GpuReport, devices: Path = Path("/dev")) -> Finding:
    """What NVML says; `devices` is where the card's device files are."""
    files = sorted(path for path in devices.glob("nvidia*") if not path.is_dir())
    barred = next((path for path in files if not usable(path)), None)
    if barred is not None:
        return failed(
            DRIVER,
            f"This user may not use {barred}.",
            f"Add the user to its group, {barred.group()}, and log in again; in a container, pass the GPU on to it.",
        )
    if report.gpus:
        cards = ", ".join(f"{gpu.name} with {gpu.memory_total or '?'} MiB" for gpu in report.gpus)
        return ok(DRIVER, f"NVIDIA driver {report.driver}: {cards}.")
    if report.problem != NO_DRIVER:
        return blame(DRIVER, report.problem)
    if files:
        return failed(
            DRIVER,
            f"There is a card ({files[0]}), but not the driver's library libnvidia-ml.so.1.",
            "Install the NVIDIA driver whole; in a container, pass the GPU on with the NVIDIA Container Toolkit.",
        )
    return ok(DRIVER, str(report.problem))


def tensorflow(trial: Trial, *, card: bool) -> Iterator[Finding]:
    """What TensorFlow says of itself and of the card, where the driver sees one, and what came of computing."""
    build = trial.steps.get("tensorflow")
    if build is None:
        yield _no_start(trial)
        return
    version, gpus = f"TensorFlow {build['version']}", build["gpus"]
    if gpus:
        yield ok(
            TENSORFLOW, f"{version}, built for CUDA {build['built'].get('cuda_version', '?')}, uses {_list(gpus)}."
        )
    elif card and not build["cuda"]:
        yield warning(TENSORFLOW, f"{version} is the CPU build, so the card is not used.", INSTALL)
    elif card:
        yield _unused(trial, version)
    else:
        kind = "built for GPUs" if build["cuda"] else "the CPU build"
        yield ok(TENSORFLOW, f"{version}, {kind}, trains on the CPU.")
    yield _computing(trial, gpus)


def _computing(trial: Trial, gpus: list[str]) -> Finding:
    place = f"on {gpus[0]}" if gpus else "on the CPU, as no card is used"
    for step, words in WORDS.items():
        done = trial.steps.get(step)
        if done is None:
            return _stuck(trial, words)
        if "error" in done:
            return _error(trial, words, done["error"])
        if not done["right"]:
            return failed(
                COMPUTING,
                f"The result of {words} {place} is wrong.",
                "Take back any overclocking and restart the computer; if it stays so, the card is broken.",
            )
        if gpus and "GPU" not in done["device"]:
            return failed(COMPUTING, f"TensorFlow computes {words} on {done['device']}, not on the card.", INSTALL)
    return ok(COMPUTING, f"{_first_capital(_list(list(WORDS.values())))} came out right, {place}.")


def _no_start(trial: Trial) -> Finding:
    if trial.code is None:
        return failed(
            TENSORFLOW,
            f"TensorFlow did not start within {trial.seconds:g} seconds.",
            "Try again when the computer is less busy; a driver that hangs needs a restart of the computer.",
        )
    if trial.code == -signal.SIGILL:
        return failed(
            TENSORFLOW,
            "This processor lacks instructions (AVX) that TensorFlow needs.",
            "Use another computer; a virtual machine must pass the processor's own model on.",
        )
    if trial.code == -signal.SIGKILL:
        return failed(TENSORFLOW, "TensorFlow was killed as it started.", "Free some memory: it needs 1 GB.")
    return failed(
        TENSORFLOW, f"TensorFlow does not start: {trial.last_words()}", "Type `make clean`, then set up anew."
    )


def _unused(trial: Trial, version: str) -> Finding:
    known = complaints.read(trial.said)
    if known is None:
        return failed(
            TENSORFLOW, f"{version} does not use the card, and does not say why.", "Restart the computer. " + INSTALL
        )
    return failed(TENSORFLOW, f"{version} does not use the card. {known.found}", known.advice)


def _error(trial: Trial, words: str, error: str) -> Finding:
    # The error itself comes first: what was written before it may be harmless.
    known = complaints.read(error) or complaints.read(trial.said)
    if known is None:
        return failed(COMPUTING, f"TensorFlow fails at {words}: {error.splitlines()[0]}", "Restart the computer.")
    return failed(COMPUTING, f"TensorFlow fails at {words}. {known.found}", known.advice)


def _stuck(trial: Trial, words: str) -> Finding:
    if trial.code is None and complaints.translates_first(trial.said):
        return warning(
            COMPUTING,
            "CUDA has to translate TensorFlow's code for this card first, because the card is newer than it.",
            "The first run takes up to half an hour more, once; then it is kept.",
        )
    known = complaints.read(trial.said)
    if known is not None:
        return failed(COMPUTING, f"TensorFlow fails at {words}. {known.found}", known.advice)
    if trial.code is None:
        return failed(
            COMPUTING, f"{_first_capital(words)} is not done after {trial.seconds:g} s.", "Restart the computer."
        )
    return failed(COMPUTING, f"TensorFlow ended at {words}: {trial.last_words()}", "Restart the computer.")


def _list(words: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _first_capital(words: str) -> str:
    return words[:1].upper() + words[1:]
