"""Photos are decoded in children, and what happens to a child happens to nobody else."""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from pictures import encoded, noise, photo

from storage.decoder import Decoder
from storage.decoding import BYTES_A_PIXEL, BYTES_BESIDE, LONGEST
from storage.errors import ImageError
from storage.images import check_heic, model_input, normalise
from storage.settings import Images

# In a child, before anything else: photos that end so make Pillow do what no library should.
FAULTY = """
import os, sys, time
import PIL.Image
sound = PIL.Image.open
def faulty(file, *arguments, **options):
    content = file.getvalue()
    if content.endswith(b"crash"):
        os.abort()
    if content.endswith(b"hang"):
        open(f"{os.path.dirname(__file__)}/hanging-{os.getpid()}", "w").close()
        time.sleep(600)
    if content.endswith(b"hog"):
        bytearray(10**10)
    if content.endswith(b"talk"):
        print("a line", flush=True)
        os.write(1, b"bytes")
    return sound(file, *arguments, **options)
PIL.Image.open = faulty
"""
PARENT = """
import sys
from storage.decoder import Decoder
from storage.settings import Images
decoder = Decoder(Images())
decoder.normalise(sys.stdin.buffer.read())
print("ready", flush=True)
sys.stdin = open(0)
import time; time.sleep(60)
"""


@pytest.fixture
def decoder() -> Iterator[Decoder]:
    with Decoder(Images(decode_seconds=60)) as running:
        yield running


@pytest.fixture
def faulty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], Decoder]:
    """A decoder whose children break on purpose; of so many seconds."""
    (tmp_path / "sitecustomize.py").write_text(FAULTY)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return lambda seconds: Decoder(Images(decode_seconds=seconds), 1)


def children(parent: int | None = None) -> list[int]:
    """The process ids of a process's decoders, of this one's by default."""
    lists = Path(f"/proc/{parent or os.getpid()}/task").glob("*/children")
    pids = [int(pid) for path in lists for pid in path.read_text().split()]
    return [pid for pid in pids if b"storage.decoding" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def test_child_makes_what_we_would(decoder: Decoder) -> None:
    """The stored photo and the network's pixels are the same as in this process."""
    content = encoded(noise(1, (1500, 900)), "PNG")
    made = decoder.normalise(content)
    assert made == normalise(content)
    assert np.array_equal(decoder.model_input(made.content, 64), model_input(made.content, 64))


def test_settings_reach_the_child() -> None:
    """Size, quality and the pixel cap are those of the settings."""
    images = Images(max_side=64, quality=60, max_megapixels=1)
    with Decoder(images, 1) as decoder:
        content = encoded(noise(1, (300, 200)), "PNG")
        assert decoder.normalise(content) == normalise(content, 64, quality=60)
        with pytest.raises(ImageError, match="at most 1 megapixels"):
            decoder.normalise(encoded(noise(1, (1500, 900)), "PNG"))


def test_child_reads_heic_where_it_is_wanted() -> None:
    """The child loads what that takes."""
    check_heic()
    content = encoded(noise(1), "HEIF")
    with Decoder(Images(heic=True), 1) as decoder:
        assert decoder.normalise(content) == normalise(content, heic=True)


@pytest.mark.parametrize("content", [b"", b"GIF89a", photo(1)[:300]])
def test_refusals_are_the_same_words(decoder: Decoder, content: bytes) -> None:
    """Whoever sent the photo reads the same, wherever it was decoded."""
    with pytest.raises(ImageError) as here:
        normalise(content)
    with pytest.raises(ImageError) as there:
        decoder.normalise(content)
    assert str(here.value) == str(there.value)


def test_damaged_stored_photo_is_told(decoder: Decoder) -> None:
    """A stored photo that cannot be read any more gives the words of `model_input`."""
    with pytest.raises(ImageError, match="retrainbot reindex"):
        decoder.model_input(b"no photo", 32)


def test_huge_file_is_refused_at_once(decoder: Decoder) -> None:
    """It is not even sent to a child."""
    with pytest.raises(ImageError, match="over 100 MB"):
        decoder.normalise(bytes(LONGEST + 1))
    assert children() == []


def test_many_threads_share_few_children(decoder: Decoder) -> None:
    """Each thread gets the answer to its own photo, and no more children run than were asked for."""
    contents = [photo(seed) for seed in range(40)]
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(decoder.normalise, contents))
    assert made == [normalise(content) for content in contents]
    assert len(children()) <= 2


def test_children_start_when_they_are_needed() -> None:
    """None before the first photo, one for photos one after the other, none after the end."""
    with Decoder(Images(), 4) as decoder:
        assert children() == []
        for seed in range(3):
            decoder.normalise(photo(seed))
        assert len(children()) == 1
    assert children() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_child_leaves_signals_to_its_parent(decoder: Decoder, number: signal.Signals) -> None:
    """Ctrl-C reaches a whole group of processes; the photo in work is not refused for it."""
    decoder.normalise(photo(1))
    (pid,) = children()
    os.kill(pid, number)
    assert decoder.normalise(photo(2)) == normalise(photo(2))
    assert children() == [pid]


def test_killed_child_is_replaced(decoder: Decoder) -> None:
    """What kills a child between two photos is not the fault of the second."""
    decoder.normalise(photo(1))
    (pid,) = children()
    os.kill(pid, signal.SIGKILL)
    assert decoder.normalise(photo(2)) == normalise(photo(2))
    assert pid not in children()


def test_photo_that_crashes_a_child_is_refused(faulty: Callable[[float], Decoder]) -> None:
    """It is tried twice and refused in words, and the next photo is taken."""
    with faulty(60) as decoder:
        with pytest.raises(ImageError, match="cannot be decoded; save it anew"):
            decoder.normalise(photo(1) + b"crash")
        assert decoder.normalise(photo(2)) == normalise(photo(2))


def test_photo_that_hangs_is_refused(faulty: Callable[[float], Decoder]) -> None:
    """After the time that the settings give it, and only its own child ends for it."""
    with faulty(0.5) as decoder:
        with pytest.raises(ImageError, match=r"longer than 0\.5 seconds"):
            decoder.normalise(photo(1) + b"hang")
        assert decoder.normalise(photo(2)) == normalise(photo(2))


def test_photo_that_takes_too_much_memory_is_refused(faulty: Callable[[float], Decoder]) -> None:
    """The child's limit holds, and the same child goes on."""
    with faulty(60) as decoder:
        decoder.normalise(photo(1))
        before = children()
        with pytest.raises(ImageError, match="too much memory"):
            decoder.normalise(photo(1) + b"hog")
        assert decoder.normalise(photo(2)) == normalise(photo(2))
        assert children() == before


def test_library_that_talks_is_not_mistaken_for_an_answer(faulty: Callable[[float], Decoder]) -> None:
    """What is printed in a child goes where errors go."""
    with faulty(60) as decoder:
        assert decoder.normalise(photo(3) + b"talk") == normalise(photo(3))


def test_memory_limit_follows_the_settings() -> None:
    """Enough for a photo of as many pixels as are taken, and no more."""
    with Decoder(Images(max_megapixels=10), 1) as decoder:
        decoder.normalise(photo(1))
        (line,) = [line for line in _proc("limits").decode().splitlines() if line.startswith("Max data size")]
        assert line.split()[3] == str(BYTES_BESIDE + 10_000_000 * BYTES_A_PIXEL)


def test_child_knows_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """What decodes strangers' files has no token in its environment."""
    monkeypatch.setenv("RETRAINBOT_TELEGRAM__TOKEN", "4711:hidden")
    with Decoder(Images(), 1) as decoder:
        decoder.normalise(photo(1))
        assert b"4711:hidden" not in _proc("environ")


def test_child_is_light() -> None:
    """It loads neither the database nor TensorFlow, nor what reads the settings."""
    code = "import sys, storage.decoding; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert {"sqlalchemy", "tensorflow", "keras", "pydantic", "telegram"} & set(done.stdout.split()) == set()


def test_children_end_with_their_parent() -> None:
    """Even where it is killed."""
    command = [sys.executable, "-P", "-c", PARENT]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdin
        assert parent.stdout
        parent.stdin.write(photo(1))
        parent.stdin.close()
        assert parent.stdout.readline() == b"ready\n"
        (pid,) = children(parent.pid)
        watched = os.pidfd_open(pid)
        parent.kill()
    readable, _, _ = select.select([watched], [], [], 30)
    os.close(watched)
    assert readable


def test_child_that_cannot_start_is_no_photos_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The photo is not refused; whoever sent it can be answered later."""
    (tmp_path / "sitecustomize.py").write_text("import os; os._exit(3)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with Decoder(Images()) as decoder, pytest.raises(ChildProcessError, match="does not start"):
        decoder.normalise(photo(1))


def test_closed_decoder_takes_nothing() -> None:
    """Closing twice is fine; a photo that comes too late is not refused but an error of ours."""
    decoder = Decoder(Images())
    decoder.close()
    decoder.close()
    with pytest.raises(ChildProcessError, match="closed"):
        decoder.normalise(photo(1))


def test_closing_waits_for_no_photo(faulty: Callable[[float], Decoder], tmp_path: Path) -> None:
    """Photos in work, and those that wait for a child, are not refused but an error of ours; no child stays."""
    with faulty(600) as decoder, ThreadPoolExecutor(3) as pool:
        answers = [pool.submit(decoder.normalise, photo(seed) + b"hang") for seed in range(3)]
        wait_for_hanging(tmp_path, 1)
        decoder.close()
        for answer in answers:
            with pytest.raises(ChildProcessError, match="closed"):
                answer.result(60)
    assert children() == []


def test_closing_refuses_no_photo_that_is_tried_again(faulty: Callable[[float], Decoder], tmp_path: Path) -> None:
    """Two children that end under a photo are no fault of its own, where the second was ended by us."""
    with faulty(600) as decoder, ThreadPoolExecutor(1) as pool:
        answer = pool.submit(decoder.normalise, photo(1) + b"hang")
        wait_for_hanging(tmp_path, 1)
        (pid,) = children()
        os.kill(pid, signal.SIGKILL)
        wait_for_hanging(tmp_path, 2)
        decoder.close()
        with pytest.raises(ChildProcessError, match="closed"):
            answer.result(60)


def wait_for_hanging(folder: Path, times: int) -> None:
    """Until so many children have begun a photo that hangs."""
    while len(list(folder.glob("hanging-*"))) < times:
        time.sleep(0.01)


def _proc(name: str) -> bytes:
    (pid,) = children()
    return Path(f"/proc/{pid}/{name}").read_bytes()
