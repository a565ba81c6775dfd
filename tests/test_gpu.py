"""What a person learns about the GPUs, also where there is little to learn."""

import io
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pynvml
import pytest
from nvml import MIB, Failure, Nvml, card
from PIL import Image
from structlog.testing import capture_logs

from bot import chart, reports
from cli.output import Output
from cli.training import show_gpus
from storage.database import Database
from storage.gpus import Gpu, GpuReport, GpuReports
from storage.texts import Text
from trainer import gpu
from trainer.gpu import tensorflow_view

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)


def test_tensorflow_that_does_not_start_is_logged() -> None:
    """The answer is a sentence, and the log has what TensorFlow said."""
    with capture_logs() as logs:
        assert "does not start" in tensorflow_view([sys.executable, "-c", "import sys; sys.exit('no such library')"])
    assert "no such library" in logs[0]["output"]


def test_tensorflow_that_hangs_is_given_up() -> None:
    """A driver that never answers does not keep a person waiting for ever."""
    view = tensorflow_view([sys.executable, "-c", "import time; time.sleep(60)"], timeout=0.2)
    assert "did not start" in view


def test_what_a_card_does_not_tell_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    """A card without figures has its name in the list, and no word such as None."""
    cards = (Gpu(index=0, name="Old", utilisation=None), Gpu(index=1, name="New", memory_total=8192, memory_used=512))
    show_gpus(Output(), GpuReport(gpus=cards, driver="570"))
    printed = capsys.readouterr().out
    assert "Old" in printed
    assert "512 of 8192 MiB" in printed
    assert "None" not in printed


def words(report: GpuReport) -> str:
    return reports.gpu([("box", NOW, report)], NOW)


def test_a_card_tells_everything() -> None:
    """Name, memory, how busy, temperature, power, driver, and TensorFlow's view."""
    report = gpu.report(
        Text("TensorFlow {version} is the CPU build, so it would train on the CPU.", version="2.21"), Nvml([card()])
    )
    assert words(report) == (
        "<b>box</b>, seen 0 s ago\nGPU 0: NVIDIA H100\n1.0 of 80.0 GB memory, 93% busy, 61 °C, 350 W\n"
        "Driver 570.86.15\n"
        "TensorFlow 2.21 is the CPU build, so it would train on the CPU."
    )


def test_several_cards_are_told_one_after_the_other() -> None:
    """Each card has its number; one that tells nothing but its name says so."""
    text = words(gpu.report(None, Nvml([card(), {"nvmlDeviceGetName": "Quiet"}])))
    assert "GPU 0: NVIDIA H100\n" in text
    assert "GPU 1: Quiet\nIt tells nothing about itself." in text


@pytest.mark.parametrize("field", [name for name in card() if name != "nvmlDeviceGetName"])
@pytest.mark.parametrize(
    "error", [pynvml.NVML_ERROR_NOT_SUPPORTED, pynvml.NVML_ERROR_UNKNOWN, pynvml.NVML_ERROR_NO_PERMISSION]
)
def test_one_thing_that_is_not_told_hides_nothing_else(field: str, error: int) -> None:
    """Laptops, slices and virtual cards each leave something out."""
    whole, part = (
        words(gpu.report(None, Nvml([card()]))),
        words(gpu.report(None, Nvml([card(**{field: Failure(error)})]))),
    )
    left_out = set(whole.replace("\n", ", ").split(", ")) - set(part.replace("\n", ", ").split(", "))
    assert len(left_out) <= 1
    assert "None" not in part


def test_slices_are_told_in_plain_words() -> None:
    """With MIG a run uses one slice, whatever the card has."""
    sliced = card(nvmlDeviceGetMigMode=[1, 1], nvmlDeviceGetMaxMigDeviceCount=7, nvmlDeviceGetMigDeviceHandleByIndex={})
    assert "divided by MIG into 7 slices; a run uses one of them" in words(gpu.report(None, Nvml([sliced])))


def test_our_processes_are_told() -> None:
    """Training and answering are named, with what they take; what others run is their own business."""
    command = [sys.executable, "-c", "import time; print(flush=True); time.sleep(60)", "trainer.run"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as ours:
        assert ours.stdout
        ours.stdout.readline()  # Only now does the system surely know it by its own command line.
        using = [
            SimpleNamespace(pid=ours.pid, usedGpuMemory=2048 * MIB),
            SimpleNamespace(pid=os.getpid(), usedGpuMemory=1),
        ]
        text = words(gpu.report(None, Nvml([card(nvmlDeviceGetComputeRunningProcesses=using)])))
        ours.kill()
    assert f"training (process {ours.pid}), 2.0 GB" in text
    assert str(os.getpid()) not in text


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, "There is no NVIDIA driver"),
        (pynvml.NVML_ERROR_DRIVER_NOT_LOADED, "installed but not running"),
        (pynvml.NVML_ERROR_NO_PERMISSION, "groups video and render"),
        (pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH, "was updated; restart"),
        (pynvml.NVML_ERROR_GPU_IS_LOST, "fell off the bus"),
        (pynvml.NVML_ERROR_TIMEOUT, "does not answer"),
        (pynvml.NVML_ERROR_UNINITIALIZED, "does not answer"),
        (pynvml.NVML_ERROR_OPERATING_SYSTEM, "in a container"),
        (pynvml.NVML_ERROR_IRQ_ISSUE, "power or its slot"),
        (pynvml.NVML_ERROR_INSUFFICIENT_POWER, "power or its slot"),
        (pynvml.NVML_ERROR_UNKNOWN, "The NVIDIA driver reports: Unknown Error"),
    ],
)
def test_every_error_has_words_that_say_what_to_do(number: int, said: str) -> None:
    """Whether it comes at the start or later."""
    for nvml in (Nvml(init=number), Nvml(count=number)):
        text = words(gpu.report(None, nvml))
        assert "No GPU. " in text
        assert said in text


def test_a_driver_without_a_card_says_so() -> None:
    """A card that is not seated, or not passed on to a virtual machine."""
    assert "sees no GPU" in words(gpu.report(None, Nvml()))


@pytest.mark.both_databases
async def test_the_last_hours_are_drawn(database: Database) -> None:
    """A sample a minute at most is kept for a day, and becomes a picture; without samples there is none."""
    reports_ = GpuReports(database)
    for second in range(0, 3600, 15):
        report = GpuReport(gpus=(Gpu(index=0, name="A", memory_total=100, memory_used=second // 60, utilisation=50),))
        reports_.write("box", NOW + timedelta(seconds=second), report)
    samples = reports_.samples("box", NOW)
    assert len(samples[0]) == 60
    picture = await chart.draw(samples, {0: 100})
    assert picture
    assert Image.open(io.BytesIO(picture)).width == 1080
    assert await chart.draw({}, {}) is None
    reports_.write("box", NOW + timedelta(days=2), GpuReport(gpus=(Gpu(index=0, name="A"),)))
    assert len(reports_.samples("box", NOW)[0]) == 1
