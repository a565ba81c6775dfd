"""Builds of records that are killed; `python -m benchmarks.recording` kills more of them."""

from pathlib import Path

from benchmarks.recording import kill


def test_killed_builds_leave_whole_records(tmp_path: Path) -> None:
    """Killed at any moment, a build leaves whole records, old or new, and the next one tidies up."""
    killed, torn = kill(tmp_path, 6)
    assert killed > 0
    assert torn == 0
