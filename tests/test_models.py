"""Model versions and the served pointer."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pictures import write

from storage.database import Database
from storage.errors import LeaseLostError, ModelError
from storage.labels import write_lines
from storage.models import Ending, Manifest, Models, summary
from storage.runs import RunOptions, Runs, RunState
from storage.settings import Training

pytestmark = pytest.mark.both_databases

START = datetime(2030, 1, 1, tzinfo=UTC)
Publish = Callable[..., int]


def manifest(run: int) -> Manifest:
    return Manifest(
        run=run,
        snapshot="0" * 16,
        photos=20,
        backbone="tiny",
        weights_digest="0" * 16,
        input_size=32,
        mode="head",
        seed=0,
        metrics={"test_accuracy": 0.75},
        software={"python": "3"},
        created_at=START,
    )


def ending(number: int) -> Ending:
    return Ending(f"made {number}", {"version": number})


@pytest.fixture
def models(database: Database, tmp_path: Path) -> Models:
    return Models(database, tmp_path / "models", lambda: START)


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A folder as a run makes it."""
    folder = tmp_path / "models" / ".new-1"
    write(folder / "saved_model.pb", b"graph" * 1000)
    write(folder / "variables" / "variables.index", b"")
    write(folder / "labels.txt", write_lines(["daisy", "rose"]).encode())
    return folder


@pytest.fixture
def publish(models: Models, database: Database, tmp_path: Path) -> Publish:
    """Publish one more version as the end of its run, and serve it if there is a reason."""

    def publish(promote: str | None = "better") -> int:
        runs = Runs(database)
        runs.enqueue(RunOptions.from_settings(Training()), "ann")
        run = runs.claim("box", timedelta(minutes=1))
        assert run
        folder = tmp_path / "models" / f".new-run-{run.id}"
        write(folder / "saved_model.pb", b"graph" * 1000)
        write(folder / "labels.txt", write_lines(["daisy", "rose"]).encode())
        return models.publish(folder, manifest(run.id), run.token, promote=promote, ending=ending)

    return publish


def served(models: Models) -> int:
    pointer = models.served()
    assert pointer
    return pointer.version


def test_version_is_published_whole(models: Models, publish: Publish) -> None:
    """A version has a number, its labels, and a manifest with the hash of every file."""
    assert models.served() is None
    number = publish()
    version = models.verified(number)
    assert (number, models.numbers(), version.classes) == (1, [1], ("daisy", "rose"))
    assert set(version.manifest.files) == {"saved_model.pb", "labels.txt"}
    assert [path.name for path in models.folder.iterdir()] == ["1"]
    pointer = models.served()
    assert pointer
    assert (pointer.version, pointer.at, pointer.by, pointer.reason) == (1, START, "run 1", "better")


def test_run_ends_with_its_version(database: Database, publish: Publish) -> None:
    """Version, pointer and the run's end are written together, so no kill can come between them."""
    publish()
    run = Runs(database).get(1)
    assert (run.state, run.message, run.result) == (RunState.SUCCEEDED, "made 1", {"version": 1})
    assert run.finished_at == START


def test_version_without_its_runs_end_is_not_published(models: Models, database: Database, made: Path) -> None:
    """Where the end cannot be written, there is no version, no pointer, and the run goes on."""
    runs = Runs(database)
    runs.enqueue(RunOptions.from_settings(Training()), "ann")
    run = runs.claim("box", timedelta(minutes=1))
    assert run

    def broken(number: int) -> Ending:
        raise OSError(number)

    with pytest.raises(OSError, match="1"):
        models.publish(made, manifest(run.id), run.token, promote="better", ending=broken)
    assert (models.numbers(), models.served(), runs.get(run.id).state) == ([], None, RunState.RUNNING)


def test_candidate_is_kept_but_not_served(models: Models, publish: Publish) -> None:
    """A version without a reason to serve it leaves the pointer where it is."""
    publish()
    candidate = publish(None)
    assert (models.numbers(), served(models)) == ([1, 2], 1)
    lines = [summary(models.get(number), models.served()) for number in models.numbers()]
    assert [(line["version"], line["served"], line["classes"]) for line in lines] == [(1, True, 2), (2, False, 2)]
    models.promote(candidate, "ann")
    assert served(models) == 2


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["saved_model.pb", "labels.txt", "manifest.json"])
@pytest.mark.parametrize("harm", [flip, Path.unlink])
def test_damaged_version_is_not_promoted(
    models: Models, publish: Publish, name: str, harm: Callable[[Path], None]
) -> None:
    """One flipped bit or a missing file: the version is refused in words and the pointer stays."""
    publish()
    damaged = publish(None)
    harm(models.folder / str(damaged) / name)
    with pytest.raises(ModelError, match=r"[Vv]ersion 2 is damaged"):
        models.promote(damaged, "ann")
    assert served(models) == 1


def test_added_file_is_damage_too(models: Models, publish: Publish) -> None:
    """A version holds what was published and nothing else."""
    number = publish()
    write(models.folder / str(number) / "extra", b"")
    with pytest.raises(ModelError, match="extra"):
        models.verified(number)


@pytest.mark.parametrize("found", [0, 2])
def test_version_of_another_format_is_to_be_trained_again(models: Models, publish: Publish, found: int) -> None:
    """What an older or newer Retrainbot made, and this one cannot read, is not called damaged, nor is it served."""
    number = publish(None)
    content = {"format": found, "layers": ["unknown"], "run": "seven"}
    (models.folder / str(number) / "manifest.json").write_text(json.dumps(content))
    for ask in (models.get, models.verified, lambda number: models.promote(number, "ann")):
        with pytest.raises(ModelError, match=rf"format is {found}.*Train again"):
            ask(number)
    assert models.served() is None


def test_manifest_without_a_format_is_of_the_first(models: Models, publish: Publish) -> None:
    """Versions from before formats were counted can be used."""
    folder = models.folder / str(publish())
    old = json.loads((folder / "manifest.json").read_text())
    assert old.pop("format") == 1
    (folder / "manifest.json").write_text(json.dumps(old))
    assert models.get(1).manifest.photos == 20


@pytest.mark.parametrize("number", [7, 10**30])
def test_unknown_version_is_told(models: Models, number: int) -> None:
    """A number that no version has, however large, gets an answer that says where to look."""
    for ask in (models.get, models.verified, lambda number: models.promote(number, "ann")):
        with pytest.raises(ModelError, match="retrainbot models"):
            ask(number)


def test_rollback_steps_back_along_the_way(models: Models, publish: Publish) -> None:
    """Each rollback goes one step further back, also over versions that were never served, until the first."""
    publish()
    publish(None)
    publish()
    publish()
    assert [models.rollback("ann").number for _ in range(2)] == [3, 1]
    assert served(models) == 1
    with pytest.raises(ModelError, match="no earlier version"):
        models.rollback("ann")
    models.promote(4, "ann")
    assert models.rollback("ann").number == 1


def test_rollback_without_history_is_told(models: Models) -> None:
    """Before the second version there is nothing to go back to."""
    with pytest.raises(ModelError, match="no earlier version"):
        models.rollback("ann")


def test_stale_worker_publishes_nothing(models: Models, database: Database, made: Path) -> None:
    """A run that was given to another worker leaves no version, no number and no pointer."""
    clock = [START]
    runs = Runs(database, lambda: clock[0])
    runs.enqueue(RunOptions.from_settings(Training()), "ann")
    stale = runs.claim("box", timedelta(seconds=10))
    clock[0] += timedelta(seconds=11)
    assert stale
    assert runs.claim("other box", timedelta(seconds=10))
    with pytest.raises(LeaseLostError):
        models.publish(made, manifest(stale.id), stale.token, promote="better")
    assert (models.numbers(), models.served()) == ([], None)
    assert [path.name for path in models.folder.iterdir()] == [".new-1"]


def test_folder_without_a_row_is_left_alone(models: Models, publish: Publish) -> None:
    """After a kill, or with an older database brought back, no version is removed and no number given twice."""
    publish()
    kept = write(models.folder / "2" / "saved_model.pb", b"graph")
    assert publish() == 3
    assert kept.read_bytes() == b"graph"


@pytest.mark.parametrize("name", ["manifest.json", "labels.txt"])
def test_damage_is_told_in_plain_words(models: Models, publish: Publish, name: str) -> None:
    """The message names the file and says what to do, and nothing of how the file is read."""
    number = publish()
    (models.folder / str(number) / name).write_bytes(b"\xff{")
    with pytest.raises(ModelError) as told:
        models.get(number)
    assert str(told.value) == f"Version 1 is damaged: its {name} cannot be read. Train again or roll back."
