"""Refused files are kept for a while, within bounds, and never get in the way."""

import hashlib
import json
import logging
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.files import TEMPORARY
from storage.quarantine import BLOCK, Quarantine

START = datetime(2026, 5, 1, 12, tzinfo=UTC)


def quarantine(folder: Path, max_bytes: int = 1_000_000) -> Quarantine:
    """One whose clock goes on by a second each time."""
    seconds = count()
    return Quarantine(folder, max_bytes, lambda: START + timedelta(seconds=next(seconds)))


def kept(folder: Path) -> list[bytes]:
    """Oldest first."""
    return [path.read_bytes() for path in sorted(folder.glob("*.bin"))]


def test_file_is_kept_with_its_reason(tmp_path: Path) -> None:
    """The bytes lie there under a name that says when, and beside them why and from whom."""
    quarantine(tmp_path / "q").put(b"no photo", "This is not a photo × 1.", "telegram:5")
    sha256 = hashlib.sha256(b"no photo").hexdigest()
    name = f"20260501T120000.000000Z-{sha256[:12]}"
    assert {path.name for path in (tmp_path / "q").iterdir()} == {f"{name}.bin", f"{name}.json"}
    assert kept(tmp_path / "q") == [b"no photo"]
    assert json.loads((tmp_path / "q" / f"{name}.json").read_text("utf-8")) == {
        "reason": "This is not a photo × 1.",
        "by": "telegram:5",
        "sha256": sha256,
        "size": 8,
        "time": START.isoformat(),
    }


def test_same_file_is_kept_once(tmp_path: Path) -> None:
    """However often it is sent, also after a restart."""
    first = quarantine(tmp_path)
    first.put(b"again", "no", "a")
    first.put(b"again", "no", "b")
    quarantine(tmp_path).put(b"again", "no", "c")
    assert kept(tmp_path) == [b"again"]


def test_oldest_goes_first(tmp_path: Path) -> None:
    """Where room is short the newest stay, whoever put the older ones there."""
    room = 3 * 2 * BLOCK
    for first in (0, 3):
        one = quarantine(tmp_path, room)
        for number in range(first, first + 3):
            one.put(bytes([number]), "no", "a")
    assert {content[0] for content in kept(tmp_path)} == {3, 4, 5}
    assert len(list(tmp_path.iterdir())) == 6


def test_file_larger_than_all_is_not_kept(tmp_path: Path) -> None:
    """It does not drive the others out."""
    one = quarantine(tmp_path, 4 * BLOCK)
    one.put(b"small", "no", "a")
    one.put(b"x" * 4 * BLOCK, "no", "a")
    assert kept(tmp_path) == [b"small"]


@given(st.lists(st.integers(0, 5 * BLOCK), max_size=12), st.integers(0, 8 * BLOCK))
def test_bound_holds(tmp_path_factory: pytest.TempPathFactory, sizes: list[int], bound: int) -> None:
    """Whatever comes, files and notes together take no more than they may."""
    folder = tmp_path_factory.mktemp("q")
    one = quarantine(folder, bound)
    for number, size in enumerate(sizes):
        one.put(bytes([number]) * size, "no", "a")
        assert sum(path.stat().st_size for path in folder.iterdir()) <= bound


def test_what_a_kill_left_is_removed(tmp_path: Path) -> None:
    """Half a file, and a note without its file, are gone with the next one."""
    (tmp_path / f"{TEMPORARY}1").write_bytes(b"half")
    (tmp_path / "20260101T000000.000000Z-0123456789ab.json").write_text("{}")
    quarantine(tmp_path).put(b"whole", "no", "a")
    assert kept(tmp_path) == [b"whole"]
    assert len(list(tmp_path.iterdir())) == 2


def test_failure_is_only_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A disk that takes nothing hurts nobody; and when it does again, files are kept again."""
    (tmp_path / "q").write_text("a file where the folder should be")
    one = quarantine(tmp_path / "q")
    with caplog.at_level(logging.WARNING):
        one.put(b"first", "no", "a")
    assert "could not be put into" in caplog.text
    (tmp_path / "q").unlink()
    one.put(b"second", "no", "a")
    assert kept(tmp_path / "q") == [b"second"]
