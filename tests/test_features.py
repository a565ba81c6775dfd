"""Features are computed once, survive a kill at any byte, and damage costs only what was damaged."""

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
from networks import FEATURES, SIZE, photos, tiny_backbone
from numpy.typing import NDArray
from PIL import Image

from storage.images import model_input
from trainer.features import FeatureStore, extract

DIMENSION = 5


def _sha(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def _store(folder: Path) -> FeatureStore:
    return FeatureStore(folder, "network", "abc", DIMENSION)


def _rows(*numbers: int) -> NDArray[np.float32]:
    return np.array([np.arange(DIMENSION) + 100 * number for number in numbers], np.float32)


def _append(store: FeatureStore, *numbers: int) -> None:
    store.append([_sha(number) for number in numbers], _rows(*numbers))


def test_features_come_back_after_reopening(tmp_path: Path) -> None:
    """What was appended is read back in any order, also by the next process to open the store."""
    _append(_store(tmp_path), 1, 2, 3)
    store = _store(tmp_path)
    np.testing.assert_array_equal(store.read([_sha(3), _sha(1), _sha(3)]), _rows(3, 1, 3))
    assert store.missing([_sha(4), _sha(2), _sha(4)]) == [_sha(4)]
    assert store.read([]).shape == (0, DIMENSION)
    with pytest.raises(KeyError):
        store.read([_sha(4)])


def test_each_network_has_features_of_its_own(tmp_path: Path) -> None:
    """Another backbone, or the same with other weights, shares nothing."""
    _append(_store(tmp_path), 1)
    for name, digest in (("other", "abc"), ("network", "abd")):
        assert FeatureStore(tmp_path, name, digest, DIMENSION).missing([_sha(1)]) == [_sha(1)]


@settings(deadline=None)
@given(cut=st.integers(0, 3 * (32 + 4 * DIMENSION + 4)))
def test_file_cut_at_any_byte_keeps_its_whole_records(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    """A write cut short anywhere loses the record it was in, and later appends are not spoilt by the rest of it."""
    folder = tmp_path_factory.mktemp("cut")
    store = _store(folder)
    _append(store, 1, 2, 3)
    os.truncate(store.path, cut)
    store = _store(folder)
    whole = cut // (32 + 4 * DIMENSION + 4)
    assert store.missing([_sha(n) for n in (1, 2, 3)]) == [_sha(n) for n in (1, 2, 3)][whole:]
    _append(store, 4)
    again = _store(folder)
    np.testing.assert_array_equal(again.read([_sha(4)]), _rows(4))
    assert again.missing([_sha(n) for n in (1, 2, 3)]) == [_sha(n) for n in (1, 2, 3)][whole:]


@settings(deadline=None)
@given(place=st.integers(0, 3 * (32 + 4 * DIMENSION + 4) - 1), bit=st.integers(0, 7))
def test_flipped_bit_costs_one_photo(tmp_path_factory: pytest.TempPathFactory, place: int, bit: int) -> None:
    """A damaged record is passed over, its photo is asked for again, and the new features win."""
    folder = tmp_path_factory.mktemp("flip")
    store = _store(folder)
    _append(store, 1, 2, 3)
    content = bytearray(store.path.read_bytes())
    content[place] ^= 1 << bit
    store.path.write_bytes(content)
    store = _store(folder)
    hit = place // (32 + 4 * DIMENSION + 4) + 1
    assert store.missing([_sha(n) for n in (1, 2, 3)]) == [_sha(hit)]
    _append(store, hit)
    np.testing.assert_array_equal(_store(folder).read([_sha(n) for n in (1, 2, 3)]), _rows(1, 2, 3))


WRITER = """
import hashlib, sys
from pathlib import Path
import numpy as np
from trainer.features import FeatureStore
store = FeatureStore(Path(sys.argv[1]), "network", "abc", 5)
print("ready", flush=True)
for number in range(int(sys.argv[2]), int(sys.argv[3])):
    row = np.arange(5, dtype=np.float32)[None] + 100 * number
    store.append([hashlib.sha256(str(number).encode()).hexdigest()], row)
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
    np.testing.assert_array_equal(store.read([_sha(n) for n in range(300)]), _rows(*range(300)))
    kept = [n for n in range(1000, 3000) if not store.missing([_sha(n)])]
    assert kept == list(range(1000, 1000 + len(kept)))
    np.testing.assert_array_equal(store.read([_sha(n) for n in kept]), _rows(*kept).reshape(-1, DIMENSION))


def test_open_store_sees_what_another_wrote_when_it_appends(tmp_path: Path) -> None:
    """A store that was open while another appended takes those records in with its own next append."""
    first, second = _store(tmp_path), _store(tmp_path)
    _append(second, 1)
    _append(first, 2)
    np.testing.assert_array_equal(first.read([_sha(1), _sha(2)]), _rows(1, 2))


@pytest.fixture
def stored(tmp_path: Path) -> list[tuple[str, Path]]:
    """Seven photos on the disk, of which the third is damaged and the fifth missing."""
    result = []
    for number, pixels in enumerate(photos(7, size=64)):
        path = tmp_path / f"{number}.jpg"
        Image.fromarray(pixels).save(path)
        result.append((_sha(number), path))
    result[2][1].write_bytes(result[2][1].read_bytes()[:300])
    result[4][1].unlink()
    return result


@pytest.mark.parametrize("batch_size", [1, 2, 5, 32])
def test_extract_keeps_the_networks_own_features(
    tmp_path: Path, stored: list[tuple[str, Path]], batch_size: int
) -> None:
    """Whatever the batch size, each readable photo gets what Keras gives for it, and the others a reason."""
    backbone = tiny_backbone()
    store = FeatureStore(tmp_path / "features", backbone.name, backbone.digest, FEATURES)
    told: list[tuple[int, int]] = []
    unreadable = extract(backbone, stored, store, batch_size, lambda done, total: told.append((done, total)))
    assert [sha for sha, _ in unreadable] == [_sha(2), _sha(4)]
    assert "damaged" in unreadable[0][1]
    assert "cannot be read" in unreadable[1][1]
    good = [photo for number, photo in enumerate(stored) if number not in {2, 4}]
    pixels = np.stack([model_input(path.read_bytes(), SIZE) for _, path in good])
    expected = np.asarray(backbone.network(pixels, training=False))
    np.testing.assert_allclose(store.read([sha for sha, _ in good]), expected, atol=1e-5)
    assert told[-1] == (7, 7)
    assert told == sorted(told)


def test_extract_of_nothing_readable_ends(tmp_path: Path) -> None:
    """Photos that are all unreadable are all reported, and the progress still reaches its end."""
    backbone = tiny_backbone()
    store = FeatureStore(tmp_path / "features", backbone.name, backbone.digest, FEATURES)
    told: list[tuple[int, int]] = []
    missing = [(_sha(1), tmp_path / "none.jpg")]
    assert len(extract(backbone, missing, store, 8, lambda done, total: told.append((done, total)))) == 1
    assert told == [(1, 1)]
    assert extract(backbone, [], store) == []
