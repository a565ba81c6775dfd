"""Files of features without photos that are gone: whoever reads or appends meanwhile is not disturbed."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from smalldisk import small_disk
from test_feature_store import RECORD, _append, _hashes, _missing, _read, _rows, _store

from storage.images import INPUT_VERSION
from trainer.features.store import FeatureStore
from trainer.features.tidy import alone, drop_others, files, record_of, stale


def test_others_are_left_out(tmp_path: Path) -> None:
    """The features of the photos that are wanted stay as they were, the others are gone from the file."""
    store = _store(tmp_path)
    _append(store, *range(10))
    assert drop_others(store.path, _hashes(1, 3, 8, 99)) == 7
    assert store.path.stat().st_size == 3 * RECORD
    np.testing.assert_array_equal(_read(_store(tmp_path), 8, 1, 3), _rows(8, 1, 3))
    assert drop_others(store.path, _hashes(1, 3, 8)) == 0
    assert [path.name for path in tmp_path.iterdir()] == [store.path.name]


def test_what_counts_for_nothing_goes_too(tmp_path: Path) -> None:
    """Of several records of one photo the last stays; damaged and torn ones go."""
    store = _store(tmp_path)
    _append(store, 1, 2, 3, 4)
    store.append(_hashes(2), _rows(22))
    content = bytearray(store.path.read_bytes())
    content[2 * RECORD + 40] ^= 1
    store.path.write_bytes(content + b"torn")
    assert drop_others(store.path, _hashes(1, 2, 3, 4)) == 2
    assert store.path.stat().st_size == 3 * RECORD
    np.testing.assert_array_equal(_read(_store(tmp_path), 1, 2, 4), _rows(1, 22, 4))


def test_few_are_let_be(tmp_path: Path) -> None:
    """A file is not written anew for less than the share that is asked for, but for a photo that nobody knows."""
    store = _store(tmp_path)
    _append(store, *range(10))
    known = _hashes(*range(10))
    assert drop_others(store.path, _hashes(*range(8)), known=known, least=0.25) == 0
    assert drop_others(store.path, _hashes(*range(7)), known=known, least=0.25) == 3
    assert drop_others(store.path, _hashes(*range(6)), known=_hashes(*range(6)), least=0.25) == 1


def test_networks_that_nobody_uses_go(tmp_path: Path) -> None:
    """Of another model input; and of a network that no version uses, if they are old; of the configured one never."""
    names = ["mine-aa", "mine-bb", "used-cc", "other-dd", "fresh-ee"]
    for age, name in enumerate(names):
        for variant in ("", "-mirrored"):
            path = tmp_path / f"{name}-input{INPUT_VERSION}{variant}.features"
            path.touch()
            os.utime(path, (1000, 1000 - age if name != "fresh-ee" else 5000))
    before = tmp_path / f"mine-aa-input{INPUT_VERSION - 1}.features"
    before.touch()
    (tmp_path / "notes.txt").touch()
    gone = stale(tmp_path, "mine", {("used", "cc")}, 2000)
    assert {path.name.partition("-input")[0] for path in gone if path != before} == {"mine-bb", "other-dd"}
    assert len(gone) == 5
    assert before in gone


def test_rows_that_were_given_out_stay(tmp_path: Path) -> None:
    """Whoever reads features of a photo that goes meanwhile reads them to the end; the next reader finds none."""
    store = _store(tmp_path)
    _append(store, *range(6))
    rows = store.rows(_hashes(*range(6)))
    drop_others(store.path, _hashes(5, 4))
    np.testing.assert_array_equal(rows[:], _rows(*range(6)))
    assert _missing(store, *range(6)) == [0, 1, 2, 3]
    np.testing.assert_array_equal(_read(store, 4, 5), _rows(4, 5))
    _append(store, 0)
    np.testing.assert_array_equal(_read(store, 0, 5), _rows(0, 5))


def test_a_file_that_is_gone_is_begun_anew(tmp_path: Path) -> None:
    """A store that has read a file which somebody deleted knows nothing any more, and may append."""
    store = _store(tmp_path)
    _append(store, 1, 2)
    assert _missing(store, 1) == []
    store.path.unlink()
    assert _missing(store, 1, 2) == [1, 2]
    _append(store, 2)
    assert _missing(store, 1, 2) == [1]


ALL = {0, 1, 2, 3, 7}


@example(
    # The number of the first file is given again to the third, whose last record is the same.
    acts=[("append", ALL), ("look", set()), ("drop", ALL - {7}), ("append", {0, 1, 7}), ("drop", ALL), ("look", set())]
)
@given(acts=st.lists(st.tuples(st.sampled_from(["append", "drop", "look"]), st.sets(st.integers(0, 9))), max_size=12))
@hypothesis_settings(deadline=None)
def test_a_store_never_takes_one_photo_for_another(
    tmp_path_factory: pytest.TempPathFactory, acts: list[tuple[str, set[int]]]
) -> None:
    """Whatever is appended and dropped by others, an old store gives each photo its own features, or none."""
    folder = tmp_path_factory.mktemp("acts")
    old, kept = _store(folder), set[int]()
    for act, numbers in acts:
        if act == "append":
            _append(_store(folder), *sorted(numbers))
            kept |= numbers
        elif act == "drop" and old.path.exists():
            drop_others(old.path, _hashes(*sorted(numbers)))
            kept &= numbers
        else:
            assert set(_missing(old, *range(10))) == set(range(10)) - kept
            np.testing.assert_array_equal(_read(old, *sorted(kept)), _rows(*sorted(kept)))


def test_appends_meanwhile_are_not_lost(tmp_path: Path) -> None:
    """One thread appends while another drops again and again: every photo that is wanted has its features."""
    wanted = _hashes(*range(200))

    def append() -> None:
        for number in range(200):
            _append(_store(tmp_path), number, 1000 + number)

    with ThreadPoolExecutor(2) as pool:
        appending = pool.submit(append)
        while not appending.done():
            for path in files(tmp_path):
                drop_others(path, wanted)
        appending.result()
    np.testing.assert_array_equal(_read(_store(tmp_path), *range(200)), _rows(*range(200)))


@pytest.mark.parametrize("dimension", [1, 3, 1280, 2048])
def test_records_tell_how_long_they_are(tmp_path: Path, dimension: int) -> None:
    """The number of features is found by the check sums; of what is no such file, none is."""
    store = FeatureStore(tmp_path, "network", "abc", dimension)
    random = np.random.default_rng(1)
    store.append(_hashes(1, 2, 3), random.normal(size=(3, dimension)).astype(np.float32))
    record = record_of(store.path)
    assert record is not None
    assert record["features"].shape == (dimension,)
    strange = tmp_path / "strange.features"
    for content in (b"", b"short", random.bytes(100_000)):
        strange.write_bytes(content)
        assert record_of(strange) is None
        assert drop_others(strange, _hashes(1)) == 0
        assert strange.read_bytes() == content


KILLED = """
import os, signal, sys
from pathlib import Path
import trainer.features.tidy as tidy
from test_feature_store import _hashes
def die(*_): os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[2] == "before it is moved":
    os.fsync = die
else:
    tidy.sync_folder = die
tidy.drop_others(Path(sys.argv[1]), _hashes(1, 2))
"""


@pytest.mark.parametrize("moment", ["before it is moved", "after it is moved"])
def test_a_kill_does_no_harm(tmp_path: Path, moment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """After kill -9 the file is the old one or the new one, and what is left of the other goes the next time."""
    store = _store(tmp_path)
    _append(store, 1, 2, 3)
    monkeypatch.setenv("PYTHONPATH", ":".join(sys.path))
    killed = subprocess.run([sys.executable, "-c", KILLED, str(store.path), moment], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert _missing(_store(tmp_path), 1, 2, 3) == ([] if moment == "before it is moved" else [3])
    with alone(tmp_path) as held:
        assert held
        drop_others(store.path, _hashes(1, 2))
    np.testing.assert_array_equal(_read(store, 1, 2), _rows(1, 2))
    assert list(tmp_path.glob(".new-*")) == []


def test_a_full_disk_leaves_the_file(tmp_path: Path) -> None:
    """Where the disk has no room for what is to stay, nothing changes; with room it works."""
    with small_disk(tmp_path / "disk", 2000) as disk:
        store = FeatureStore(disk.folder, "network", "abc", 1000)
        store.append(_hashes(*range(100)), np.ones((100, 1000), np.float32))
        disk.fill(100)
        with pytest.raises(OSError, match="No space left"):
            drop_others(store.path, _hashes(*range(90)))
        assert not store.missing(_hashes(*range(100))).any()
        assert list(disk.folder.glob(".new-*")) == []
        disk.empty()
        assert drop_others(store.path, _hashes(*range(90))) == 10


def test_only_one_tidies(tmp_path: Path) -> None:
    """While somebody tidies a folder nobody else does; where there is no folder, there is nothing to do."""
    with alone(tmp_path) as first, alone(tmp_path) as second:
        assert (first, second) == (True, False)
    with alone(tmp_path / "nowhere") as held:
        assert not held
