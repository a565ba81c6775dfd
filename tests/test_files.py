"""Writes that are whole or not there."""

import subprocess
import sys
from pathlib import Path

import pytest

from storage.files import make_folder, move_durably, remove_unfinished, sha256_of, sync_tree, write_durably

WRITE_FOR_EVER = """
import sys
from pathlib import Path
from storage.files import write_durably
number = 0
while True:
    write_durably(Path(sys.argv[1]), bytes([number % 256]) * 200_000)
    number += 1
    print(number, flush=True)
"""


def test_write_makes_the_folders(tmp_path: Path) -> None:
    """The folders on the way are made."""
    write_durably(tmp_path / "a" / "b" / "file", b"content")
    assert (tmp_path / "a" / "b" / "file").read_bytes() == b"content"


def test_write_replaces_and_leaves_nothing_beside(tmp_path: Path) -> None:
    """The new content takes the old one's place."""
    write_durably(tmp_path / "file", b"old")
    write_durably(tmp_path / "file", b"new")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"new"]


def test_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    """Where the target cannot be replaced, it stays and nothing unfinished is left."""
    (tmp_path / "file" / "inside").mkdir(parents=True)
    with pytest.raises(OSError, match="file"):
        write_durably(tmp_path / "file", b"content")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_killed_writer_leaves_a_whole_file(tmp_path: Path) -> None:
    """After kill -9 in the middle of writing, the file holds one whole content; leftovers can be removed."""
    for round_ in range(3):
        command = [sys.executable, "-c", WRITE_FOR_EVER, str(tmp_path / "file")]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
            assert writer.stdout
            for _ in range(5 + round_):
                writer.stdout.readline()
            writer.kill()
        content = (tmp_path / "file").read_bytes()
        assert len(content) == 200_000
        assert len(set(content)) == 1
        remove_unfinished(tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_unfinished_folders_are_removed_too(tmp_path: Path) -> None:
    """Leftovers may be folders; everything else stays."""
    make_folder(tmp_path / ".new-1" / "deep")
    make_folder(tmp_path / "kept")
    remove_unfinished(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_move_takes_files_and_folders(tmp_path: Path) -> None:
    """What is moved is there and no longer here."""
    write_durably(tmp_path / "a" / "file", b"content")
    move_durably(tmp_path / "a" / "file", tmp_path / "b" / "file")
    move_durably(tmp_path / "b", tmp_path / "c" / "d")
    sync_tree(tmp_path)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["file"]
    assert (tmp_path / "c" / "d" / "file").read_bytes() == b"content"


def test_hash_is_that_of_the_content(tmp_path: Path) -> None:
    """The digest of an empty file is the well-known one."""
    write_durably(tmp_path / "file", b"")
    assert sha256_of(tmp_path / "file").startswith("e3b0c44298fc1c14")
