"""The command line, as a person or a script uses it: each command in a process of its own, on one data folder."""

import asyncio
import errno
import json
import os
import re
import signal
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from conftest import until
from postgresql import PASSWORD, Server

from bot.predictor import Predictor
from bot.rollout import Rollout
from bot.stores import open_stores
from cli.main import explain
from demo import samples
from serving.local import Local
from storage import lifeline
from storage.images import model_input
from storage.runs import Run, RunOptions
from storage.settings import Settings

CLASSES = samples.CLASSES[:3]
PER_CLASS = 10
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("RETRAINBOT_")}
ENVIRONMENT |= {"RETRAINBOT_TRAINING__BACKBONE": "efficientnet_lite0", "RETRAINBOT_SERVING__THREADS": "2"}


def command(*arguments: object) -> list[str]:
    return lifeline.child("cli.main", *map(str, arguments))


def call(*arguments: object, cwd: Path | None = None) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command(*arguments), env=ENVIRONMENT, cwd=cwd, capture_output=True, text=True, check=False)


def document(*arguments: object, cwd: Path | None = None) -> Any:
    """What a command prints with --json; it must succeed and print nothing else on stdout."""
    done = call("--json", *arguments, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders of drawn photos, with one file that is none."""
    folder = tmp_path_factory.mktemp("folders")
    for place, name in enumerate(CLASSES):
        (folder / name).mkdir()
        for number in range(PER_CLASS):
            (folder / name / f"{number}.jpg").write_bytes(samples.photo(name, 100 * place + number))
    (folder / CLASSES[0] / "notes.txt").write_text("not a photo")
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def imported(data: Path, folders: Path) -> dict[str, Any]:
    report: dict[str, Any] = document("--data", data, "import", folders)
    return report


@pytest.fixture(scope="module")
def trained(data: Path, imported: dict[str, Any]) -> dict[str, Any]:
    run: dict[str, Any] = document("--data", data, "train", "--backbone", "efficientnet_lite0")
    return run


@pytest.fixture(scope="module")
def second(data: Path, trained: dict[str, Any]) -> dict[str, Any]:
    """Another run over the same photos; it is forced, for it cannot be better."""
    run: dict[str, Any] = document("--data", data, "train", "--backbone", "efficientnet_lite0", "--force")
    return run


@pytest.fixture(scope="module")
def evaluated(data: Path, trained: dict[str, Any]) -> dict[str, Any]:
    """The first version's answers on the test photos."""
    number = trained["version"]
    evaluation: dict[str, Any] = document("--data", data, "evaluate", "--version", number, "--split", "test")
    return evaluation


def test_import_accounts_for_every_file(imported: dict[str, Any]) -> None:
    """Thirty photos came in, and the file that is no photo was refused with a reason."""
    assert imported["added"] == 3 * PER_CLASS
    assert imported["duplicates"] == 0
    assert [Path(refusal["path"]).name for refusal in imported["refused"]] == ["notes.txt"]
    assert "JPEG" in imported["refused"][0]["reason"]


def test_a_second_import_adds_nothing(data: Path, folders: Path, imported: dict[str, Any]) -> None:
    """The same folder again is all duplicates."""
    again = document("--data", data, "import", folders)
    assert (again["added"], again["duplicates"]) == (0, imported["added"])


def test_classes_are_listed_with_their_splits(data: Path, imported: dict[str, Any]) -> None:
    """Of ten photos of a class, one validates and one tests."""
    listed = document("--data", data, "classes")
    assert {row["name"]: (row["photos"], row["train"], row["validation"], row["test"]) for row in listed} == {
        name.replace(" ", "_"): (10, 8, 1, 1) for name in CLASSES
    }


def test_training_makes_a_version_that_is_served(trained: dict[str, Any], data: Path) -> None:
    """The first version is promoted, says what it was made of, and how long each step took."""
    assert trained["status"] == "succeeded"
    assert trained["promoted"] is True
    assert (trained["photos"], trained["classes"]) == (30, 3)
    assert trained["metrics"]["test_accuracy"] == 1.0
    assert {"records", "features", "head", "export", "evaluate", "publish"} <= trained["seconds"].keys()
    status = document("--data", data, "status")
    assert status["served"]["version"] == trained["version"]
    assert status["schedule"]["next"]
    assert status["schedule"]["last"] is None


def test_classify_prints_every_class_best_first(trained: dict[str, Any], data: Path, folders: Path) -> None:
    """People get the tutorial's lines: the path, then each class with its score."""
    path = folders / CLASSES[1] / "3.jpg"
    lines = call("--data", data, "classify", path).stdout.splitlines()
    assert lines[0] == str(path)
    assert re.fullmatch(rf"{CLASSES[1].replace(' ', '_')} \(score = [01]\.\d{{5}}\)", lines[1])
    assert len(lines) == 1 + len(CLASSES)


def test_classify_answers_for_each_file_of_a_folder(trained: dict[str, Any], data: Path, folders: Path) -> None:
    """A file that is no photo gets an error of its own and spoils nothing."""
    answers = document("--data", data, "classify", folders / CLASSES[0], "--top", "2")
    assert len(answers) == PER_CLASS + 1
    assert [Path(answer["path"]).name for answer in answers if "error" in answer] == ["notes.txt"]
    good = [answer for answer in answers if "error" not in answer]
    assert all(len(answer["predictions"]) == 2 and answer["version"] == trained["version"] for answer in good)
    assert {answer["predictions"][0]["class"] for answer in good} == {CLASSES[0]}


async def test_chat_and_evaluate_agree_about_every_test_photo(evaluated: dict[str, Any], data: Path) -> None:
    """The probabilities behind the chat's answer equal those of `evaluate` within 1e-5."""
    assert evaluated["accuracy"] == 1.0
    settings = Settings(data=data)
    stores = open_stores(settings)
    async with Rollout(stores.models, Local(threads=2, standby=False)) as rollout:
        predictor = Predictor(rollout, model_input)
        for photo in evaluated["photos"]:
            path = stores.photos.path(photo["class"], photo["sha256"])
            answer = await predictor.predict(path.read_bytes())
            assert answer.probabilities.tolist() == pytest.approx(photo["probabilities"], abs=1e-5)


def test_records_are_those_of_the_training(data: Path, trained: dict[str, Any]) -> None:
    """The records of the present snapshot stand in the data folder; the training wrote them, so none is written."""
    built = document("--data", data, "records", "build")
    assert (built["photos"], built["written"]) == (3 * PER_CLASS, 0)
    assert (Path(built["dir"]) / "labels.txt").read_text("utf-8").splitlines()[0].startswith("0:")


def test_the_same_seed_gives_the_same_model(trained: dict[str, Any], second: dict[str, Any], data: Path) -> None:
    """Two runs over the same photos answer alike, but for the order in which a network adds up."""
    folders = [data / "models" / str(run["version"]) for run in (trained, second)]
    first, again = (np.load(folder / "golden.npz") for folder in folders)
    assert (first["pixels"] == again["pixels"]).all()
    assert again["probabilities"] == pytest.approx(first["probabilities"], abs=1e-5)


def test_a_second_version_can_be_promoted_and_rolled_back(
    trained: dict[str, Any], second: dict[str, Any], data: Path
) -> None:
    """Training again gives the next number; the pointer goes back and forth, and the list marks it."""
    assert second["version"] == trained["version"] + 1
    assert document("--data", data, "rollback")["version"] == trained["version"]
    assert [row["served"] for row in document("--data", data, "models")] == [True, False]
    assert document("--data", data, "promote", second["version"])["served"] is True
    assert [run["state"] for run in document("--data", data, "runs")] == ["succeeded", "succeeded"]


def test_a_damaged_version_does_not_hide_the_others(
    trained: dict[str, Any], second: dict[str, Any], data: Path
) -> None:
    """The list has every version, and says which of them is damaged."""
    manifest = data / "models" / str(trained["version"]) / "manifest.json"
    aside = manifest.rename(data / "manifest.json")
    try:
        listed = document("--data", data, "models")
        printed = call("--data", data, "models")
    finally:
        aside.rename(manifest)
    assert [(row["version"], row["served"]) for row in listed] == [(1, False), (2, True)]
    assert "damaged" in listed[0]["error"]
    assert listed[1]["metrics"]["test_accuracy"] == second["metrics"]["test_accuracy"]
    assert "Version 1 is damaged" in printed.stdout
    assert printed.returncode == 0


def test_gpu_says_plainly_what_there_is(data: Path, tmp_path: Path) -> None:
    """With or without a card, TensorFlow's view is told in a sentence; it matters not where the command is typed."""
    for package in ("storage", "trainer"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("raise SystemExit('not ours')")
    assert document("--data", data, "gpu", cwd=tmp_path)["tensorflow"].startswith("TensorFlow 2.")


def test_inception_without_its_weights_says_what_to_do(data: Path, imported: dict[str, Any], tmp_path: Path) -> None:
    """A weights file that is not there fails the run in words, and the exit status is 1."""
    config = tmp_path / "config.toml"
    config.write_text(f'[training]\nweights = "{tmp_path / "missing.h5"}"\n')
    done = call("--config", config, "--data", data, "train", "--backbone", "inception_v3")
    assert done.returncode == 1
    assert "missing.h5" in done.stderr
    assert "Traceback" not in done.stderr


def test_database_is_copied_into_postgresql(
    data: Path, imported: dict[str, Any], postgresql: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The photos of a data folder are the same when its database has moved; a second copy is refused."""
    classes = document("--data", data, "classes")
    address = postgresql.database()
    monkeypatch.setitem(ENVIRONMENT, "RETRAINBOT_DATABASE", address)
    assert document("--data", data, "database", "copy", data / "retrainbot.db")["rows"] >= 4 * imported["added"]
    assert document("--data", data, "classes") == classes
    again = call("--data", data, "database", "copy", data / "retrainbot.db")
    assert (again.returncode, "only an empty one" in again.stderr) == (1, True)
    monkeypatch.setitem(ENVIRONMENT, "RETRAINBOT_DATABASE", address.replace(quote(PASSWORD, safe=""), "wrong"))
    refused = call("--data", data, "--debug", "classes")
    assert "RETRAINBOT_DATABASE_PASSWORD" in refused.stderr
    assert "wrong" not in refused.stderr
    postgresql.drop(address)


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["train", "--backbone", "vgg"], 2, "'vgg' is not one of 'inception_v3', 'efficientnet_lite0'"),
        (["no-such-command"], 2, "no-such-command"),
        (["promote"], 2, "see `retrainbot promote --help`"),
        (["promote", "x"], 2, "a whole number"),
        (["promote", "77"], 1, "no version 77"),
        (["rollback"], 1, "no earlier version"),
        (["classify", "x.jpg"], 1, "retrainbot train"),
        (["import", "no-such-folder"], 1, "no-such-folder"),
        (["run"], 2, "BotFather"),
        (["--config", "no-such-file.toml", "status"], 2, "config.example.toml"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_errors_say_what_to_do(tmp_path: Path, arguments: list[str], status: int, words: str) -> None:
    """Failure exits with 1, wrong use with 2; a line or two on stderr help, and no traceback shows."""
    done = call("--data", tmp_path, *arguments)
    assert done.returncode == status
    assert words.lower() in done.stderr.lower()
    assert len(done.stderr.splitlines()) <= 2
    assert not any(jargon in done.stderr for jargon in ("Traceback", "Value error", "Input should"))


def test_no_command_shows_the_commands() -> None:
    """Whoever types the name alone learns what there is."""
    done = call()
    assert done.returncode == 2
    assert "classify" in done.stderr


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.ENOSPC, "no room"), (errno.EACCES, "no right"), (errno.EROFS, "no right"), (errno.EIO, "cannot be used")],
)
def test_faults_of_the_disk_are_told_in_words(number: int, words: str) -> None:
    """A full disk or a missing right names the file and what to do."""
    said = explain(OSError(number, os.strerror(number), "/data/photos"))
    assert words in said
    assert "/data/photos" in said
    assert "unexpected" not in said


def test_ctrl_c_cancels_a_training_in_the_foreground(data: Path, imported: dict[str, Any]) -> None:
    """The run ends as cancelled, its child with it, and the command exits with 1."""
    train = command("--data", data, "train", "--backbone", "efficientnet_lite0")
    with subprocess.Popen(train, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        steps = (line for line in process.stderr if line.split()[0] in {"records", "backbone", "features", "head"})
        next(steps)
        process.send_signal(signal.SIGINT)
        list(steps)
        assert process.wait(60) == 1
    assert document("--data", data, "runs")[0]["state"] == "cancelled"


def test_ctrl_c_leaves_a_run_that_a_trainer_took(tmp_path: Path) -> None:
    """The command says that the run goes on, and it does."""
    stores = open_stores(Settings(data=tmp_path))
    runs, lease = stores.runs, timedelta(minutes=5)

    def take() -> Run:
        run = runs.claim("trainer", lease)
        assert run
        return run

    runs.enqueue(RunOptions.from_settings(Settings().training), "test")
    first = take()
    train = command("--data", tmp_path, "train")
    with subprocess.Popen(train, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True) as process:
        asyncio.run(until(lambda: len(runs.newest()) == 2))
        with stores.database.write():  # So the stopped process holds no lock.
            process.send_signal(signal.SIGSTOP)
        runs.release(first.id, first.token)
        runs.cancel(first.id, "test")
        second = take()
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGCONT)
        assert process.stderr
        assert f"Run {second.id} goes on in the trainer" in process.stderr.read()
    assert process.returncode == 1
    assert runs.get(second.id).state == "running"


def test_whole_networks_are_trained_by_command(tmp_path: Path, folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network from nothing becomes a version, and another one starts from what that one has learnt."""
    monkeypatch.setitem(ENVIRONMENT, "RETRAINBOT_NETWORK__INPUT_SIZE", "32")
    document("--data", tmp_path, "import", folders)
    options = ("--batch-size", 4, "--steps", 2, "--force")
    first = document("--data", tmp_path, "train", "--mode", "scratch", *options)
    again = document("--data", tmp_path, "train", "--mode", "full", "--init-version", first["version"], *options)
    assert [(run["status"], run["promoted"], run["photos"]) for run in (first, again)] == [("succeeded", True, 30)] * 2
    assert again["metrics"]["steps"] == 2
    rows = document("--data", tmp_path, "models")
    assert [(row["mode"], row["served"]) for row in rows] == [("scratch", False), ("full", True)]
    for run in (first, again):
        report = json.loads((tmp_path / "runs" / str(run["run"]) / "report.json").read_text("utf-8"))
        assert (report["version"], report["snapshot"]) == (run["version"], run["snapshot"])
