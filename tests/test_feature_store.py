"""What was kept of features survives a kill at any byte, damage costs only what was damaged, and memory stays small."""

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from trainer.features.store import FeatureStore

DIMENSION = 5
RECORD = 32 + 4 * DIMENSION + 4


def _hashes(*numbers: int) -> NDArray[np.uint8]:
    digests = b"".join(hashlib.sha256(str(number).encode()).digest() for number in numbers)
    return np.frombuffer(digests, np.uint8).reshape(-1, 32)


def _store(folder: Path, *, mirrored: bool = False) -> FeatureStore:
    return FeatureStore(folder, "network", "abc", DIMENSION, mirrored=mirrored)


def _rows(*numbers: int) -> NDArray[np.float32]:
    return np.array([np.arange(DIMENSION) + 100 * number for number in numbers], np.float32).reshape(-1, DIMENSION)


def _append(store: FeatureStore, *numbers: int) -> None:
    store.append(_hashes(*numbers), _rows(*numbers))


def _read(store: FeatureStore, *numbers: int) -> NDArray[np.float32]:
    return store.rows(_hashes(*numbers))[:]


def _missing(store: FeatureStore, *numbers: int) -> list[int]:
    return [number for number, lacks in zip(numbers, store.missing(_hashes(*numbers)), strict=True) if lacks]


def test_features_come_back_after_reopening(tmp_path: Path) -> None:
    """What was appended is read back in any order, also by the next process to open the store."""
    _append(_store(tmp_path), 1, 2, 3)
    store = _store(tmp_path)
    np.testing.assert_array_equal(_read(store, 3, 1, 3), _rows(3, 1, 3))
    assert _missing(store, 4, 2, 4) == [4, 4]
    with pytest.raises(KeyError, match=_hashes(4).tobytes().hex()):
        store.rows(_hashes(2, 4))


def test_no_photos_have_no_rows(tmp_path: Path) -> None:
    """Where nothing is asked for, nothing comes, whether or not there is a file yet."""
    store = _store(tmp_path)
    assert _read(store).shape == store.rows(_hashes()).shape == (0, DIMENSION)
    store.sync()
    _append(store)
    assert _read(store).shape == (0, DIMENSION)


@given(start=st.integers(0, 12), stop=st.integers(0, 12))
def test_slices_are_those_of_an_array(tmp_path_factory: pytest.TempPathFactory, start: int, stop: int) -> None:
    """Rows are given in slices as an array gives them, in the order of the photos and not of the file."""
    store = _store(tmp_path_factory.mktemp("slices"))
    _append(store, *range(10))
    rows, expected = store.rows(_hashes(*reversed(range(10)))), _rows(*reversed(range(10)))
    assert (len(rows), rows.shape) == (10, expected.shape)
    np.testing.assert_array_equal(rows[start:stop], expected[start:stop])


def test_each_network_and_the_mirror_have_features_of_their_own(tmp_path: Path) -> None:
    """Another backbone, the same with other weights, and mirrored photos share nothing."""
    _append(_store(tmp_path), 1)
    for name, digest in (("other", "abc"), ("network", "abd")):
        assert FeatureStore(tmp_path, name, digest, DIMENSION).missing(_hashes(1)).all()
    assert _missing(_store(tmp_path, mirrored=True), 1) == [1]


@settings(deadline=None)
@given(cut=st.integers(0, 3 * RECORD))
def test_file_cut_at_any_byte_keeps_its_whole_records(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    """A write cut short anywhere loses the record it was in, and later appends are not spoilt by the rest of it."""
    folder = tmp_path_factory.mktemp("cut")
    store = _store(folder)
    _append(store, 1, 2, 3)
    os.truncate(store.path, cut)
    store = _store(folder)
    lost = [1, 2, 3][cut // RECORD :]
    assert _missing(store, 1, 2, 3) == lost
    _append(store, 4)
    again = _store(folder)
    np.testing.assert_array_equal(_read(again, 4), _rows(4))
    assert _missing(again, 1, 2, 3) == lost


@settings(deadline=None)
@given(place=st.integers(0, 3 * RECORD - 1), bit=st.integers(0, 7))
def test_flipped_bit_costs_one_photo(tmp_path_factory: pytest.TempPathFactory, place: int, bit: int) -> None:
    """A damaged record is passed over, its photo is asked for again, and the new features win."""
    folder = tmp_path_factory.mktemp("flip")
    store = _store(folder)
    _append(store, 1, 2, 3)
    content = bytearray(store.path.read_bytes())
    content[place] ^= 1 << bit
    store.path.write_bytes(content)
    store = _store(folder)
    hit = place // RECORD + 1
    assert _missing(store, 1, 2, 3) == [hit]
    _append(store, hit)
    np.testing.assert_array_equal(_read(_store(folder), 1, 2, 3), _rows(1, 2, 3))


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, 5), max_size=4), max_size=6))
def test_last_features_of_a_photo_count(tmp_path_factory: pytest.TempPathFactory, appends: list[list[int]]) -> None:
    """Of a photo that was appended several times the last features count, to who watched and to who opens later."""
    folder = tmp_path_factory.mktemp("last")
    store, last = _store(folder), dict[int, int]()
    for turn, numbers in enumerate(appends):
        values = [10 * turn + place for place in range(len(numbers))]
        store.append(_hashes(*numbers), _rows(*values))
        last |= dict(zip(numbers, values, strict=True))
        assert _missing(store, *range(6)) == [number for number in range(6) if number not in last]
    for one in (store, _store(folder)):
        np.testing.assert_array_equal(_read(one, *last), _rows(*last.values()))


WRITER = """
import hashlib, sys
from pathlib import Path
import numpy as np
from trainer.features.store import FeatureStore
store = FeatureStore(Path(sys.argv[1]), "network", "abc", 5)
print("ready", flush=True)
for number in range(int(sys.argv[2]), int(sys.argv[3])):
    row = np.arange(5, dtype=np.float32)[None] + 100 * number
    digest = hashlib.sha256(str(number).encode()).digest()
    store.append(np.frombuffer(digest, np.uint8)[None], row)
"""


def _writer(folder: Path, first: int, end: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", WRITER, str(folder), str(first), str(end)]
    return subprocess.Popen(command, stdout=subprocess.PIPE)


def test_two_writers_and_a_kill_lose_nothing_that_was_kept(tmp_path: Path) -> None:
    """Two processes append at once and one is killed: every record in the file is whole and right."""
    with _writer(tmp_path, 0, 300) as patient, _writer(tmp_path, 1000, 10**6) as doomed:
        assert doomed.stdout is not None
        doomed.stdout.readline()
        assert patient.wait() == 0
        doomed.send_signal(signal.SIGKILL)
    store = _store(tmp_path)
    np.testing.assert_array_equal(_read(store, *range(300)), _rows(*range(300)))
    kept = (store.path.stat().st_size // RECORD) - 300
    numbers = range(1000, 1000 + kept)
    assert _missing(store, *numbers, 1000 + kept) == [1000 + kept]
    np.testing.assert_array_equal(_read(store, *numbers), _rows(*numbers))


def test_open_store_sees_what_another_wrote(tmp_path: Path) -> None:
    """A store that was open while another appended knows of it when it is asked next; older rows stay good."""
    first, second = _store(tmp_path), _store(tmp_path)
    _append(first, 2)
    rows = first.rows(_hashes(2))
    _append(second, 1)
    assert _missing(first, 1, 2) == []
    np.testing.assert_array_equal(_read(first, 1, 2), _rows(1, 2))
    np.testing.assert_array_equal(rows[:], _rows(2))


READER = """
import resource, sys
from pathlib import Path
import numpy as np
from trainer.features.store import FeatureStore
def memory():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
before = memory()
store = FeatureStore(Path(sys.argv[1]), "network", "abc", 500)
hashes = np.load(sys.argv[2], mmap_mode="r")
assert not store.missing(hashes).any()
rows = store.rows(hashes[::-1])
total = sum(float(rows[at : at + 4096][:, 0].sum()) for at in range(0, len(rows), 4096))
print(memory() - before, int(total))
"""


def test_many_photos_take_little_memory(tmp_path: Path) -> None:
    """A store of 200,000 photos and 400 MB is opened, checked and read from end to end in a quarter of that."""
    count = 200_000
    hashes = np.random.default_rng(0).integers(0, 256, (count, 32), dtype=np.uint8)
    store = FeatureStore(tmp_path, "network", "abc", 500)
    features = np.ones((10_000, 500), np.float32)
    for start in range(0, count, 10_000):
        store.append(hashes[start : start + 10_000], features)
    np.save(tmp_path / "hashes.npy", hashes)
    command = [sys.executable, "-c", READER, str(tmp_path), str(tmp_path / "hashes.npy")]
    megabytes, total = map(int, subprocess.run(command, capture_output=True, check=True).stdout.split())
    assert total == count
    assert megabytes < 100
