"""What a person learns about the GPUs, also where there is little to learn."""

import sys

import pytest
from structlog.testing import capture_logs

from cli.output import Output
from cli.training import show_gpus
from storage.gpus import Gpu, GpuReport
from trainer.gpu import tensorflow_view


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
