"""Forgetting a person: nothing that is theirs is left, nothing that is others' is lost."""

import asyncio
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from conftest import ADA, Chat, Painter, buttons, until
from home import Home
from pictures import encoded, noise, write
from sqlalchemy import select
from test_cli import ENVIRONMENT, call, command, document

from sandbox.client import Person as Sender
from storage.database import Database
from storage.errors import ForgetError, ModelError
from storage.forgetting import FORGOTTEN, Forgetting, Person
from storage.inbox import Inbox
from storage.people import People, Role
from storage.received import Arrived, Origin, Received
from storage.reindex import reindex
from storage.retention import Retention
from storage.settings import Settings
from storage.tables import ActRow, ChangeRow, PhotoRow, Table
from trainer import forgetting as training
from trainer import snapshot
from trainer.features.store import FeatureStore
from trainer.records.folders import Cleaned
from trainer.tidying import hashes_of

BOB, EVE = 2002777, 3003888
NAME = "Bobby Tables"

both = pytest.mark.both_databases


@pytest.fixture
def home(settings: Settings) -> Iterator[Home]:
    home = Home(settings)
    yield home
    home.close()


def forgetting(home: Home) -> Forgetting:
    return Forgetting(home.database, home.settings)


def sent(home: Home, sha256: str, person: int, message: int) -> None:
    """A message of a person's brought this photo."""
    origin = Origin(chat=person, message=message, person=person, album=None, file_unique_id=f"file{message}")
    Received(home.database, 4711).put(origin, Arrived(sha256))


def by(person: int) -> str:
    return f"telegram:{person}"


def rows(database: Database) -> str:
    """All that the database says."""
    with database.read() as session:
        tables = Table.metadata.sorted_tables
        return "\n".join(repr(row) for table in tables for row in session.execute(table.select()))


async def answered(person: Sender, message: dict[str, Any]) -> dict[str, Any]:
    return await person.reply_to(message["message_id"])


async def busy(chat: Chat, paint: Painter, ada: Sender, bob: Sender, group: tuple[Sender, Sender]) -> None:
    """Two people teach, ask, send what cannot be used, answer each other, and tap."""
    for person in (ada, bob):
        await answered(person, await person.photo(paint("red"), "rose"))
        await answered(person, await person.photo(paint("blue")))
        await answered(person, await person.document(f"no photo of {person.chat_id}".encode(), "x.jpg", "rose"))
        receipt = await answered(person, (await person.album([paint("green"), paint("green")], "leaf"))[0])
        await answered(person, await person.say("/withdraw"))
        await answered(person, await person.say("/status"))
        await person.tap(receipt["message_id"], buttons(receipt)["↩ Undo"])
    ours, theirs = group
    mine = await theirs.photo(paint("blue"), "#sky")
    receipt = await theirs.reply_to(mine["message_id"])
    await answered(ours, await ours.say("/label sea", reply_to=mine["message_id"]))
    await answered(ours, await ours.photo(paint("red"), "#rose"))
    del receipt, chat


@both
async def test_nothing_of_a_person_is_left_while_the_bot_runs(chat: Chat, paint: Painter) -> None:
    """Of all that somebody sent, in private and in a group, no photo, file or name is left; others keep theirs."""
    stores, settings = chat.service.stores, chat.settings
    stores.people.let_in(BOB, NAME, Role.LABELLER, by(ADA))
    stores.people.allow_group(-77, "Garden", by(ADA))
    async with (
        Sender(chat.url, BOB, NAME) as bob,
        Sender(chat.url, -77, person_id=ADA) as ours,
        Sender(chat.url, -77, NAME, person_id=BOB) as theirs,
    ):
        await busy(chat, paint, chat.person, bob, (ours, theirs))
        inbox = Inbox(stores.database, chat.service.application.bot.id)
        await until(lambda: not inbox.lanes())
        kept = {item.sha256 for item in stores.photos.all()}
        person = Forgetting(stores.database, settings).find(NAME.upper())
        trace = await asyncio.to_thread(Forgetting(stores.database, settings).forget, person)
        await asyncio.to_thread(stores.database.scrub)
        assert len(trace.photos) == 5
        said, file = rows(stores.database), stores.database.file
        raw = file.read_bytes() if file else b""
        for word in (str(BOB), NAME, *trace.photos):
            assert word not in said
            assert word.encode() not in raw
        files = [path for path in settings.data.rglob("*") if path.is_file()]
        assert not [path for path in files if path.stem in trace.photos]
        assert not [path for path in files if str(BOB).encode() in path.read_bytes()]
        assert len(list(settings.quarantine_dir.glob("*.json"))) == 1
        assert {item.sha256 for item in stores.photos.all()} == kept - set(trace.photos)
        assert not reindex(stores.photos).changed
        assert stores.history.given_by(by(ADA)) == {"rose": 2}
        # The bot goes on: for the others as before, and for them as for a stranger.
        again = await chat.person.photo(paint("red"), "rose")
        assert "3 photos" in (await answered(chat.person, again))["text"]
        refusal = await answered(bob, await bob.photo(paint("red"), "rose"))
        assert "I do not know you yet" in refusal["text"]


@both
def test_a_photo_that_two_gave_stays_with_the_other(home: Home) -> None:
    """Whoever sent the same photo, or had imported it, has it from now on; its label stays."""
    mine, imported, alone = (home.add(number, "daisy", by(BOB)) for number in range(3))
    home.photos.label([imported], "rose", "import")
    for message, (sha256, person) in enumerate([(mine, BOB), (mine, EVE), (alone, BOB)]):
        sent(home, sha256, person, message)
    trace = forgetting(home).forget(Person(BOB))
    assert (trace.photos, trace.shared) == ((alone,), {mine: by(EVE), imported: "import"})
    assert {item.sha256: item.class_name for item in home.photos.all()} == {mine: "daisy", imported: "rose"}
    assert home.history.given_by(by(EVE)) == {"daisy": 1}
    with pytest.raises(ForgetError, match="Nothing is known"):
        forgetting(home).look(Person(BOB))
    assert forgetting(home).forget(Person(EVE)).photos == (mine,)


@both
def test_labels_of_others_photos_stay_without_a_name(home: Home) -> None:
    """What they said of photos that others gave still holds, nobody is named for it, and others' undo still works."""
    theirs = home.add(1, "daisy", by(EVE))
    home.photos.label([theirs], "rose", by(BOB), key=f"4711:{BOB}:9")
    home.photos.label([theirs], "tulip", by(EVE))
    assert forgetting(home).look(Person(BOB)).acts == 1
    forgetting(home).forget(Person(BOB))
    with home.database.read() as session:
        assert session.scalars(select(ChangeRow.by).order_by(ChangeRow.id)).all() == [by(EVE), FORGOTTEN, by(EVE)]
        assert session.scalars(select(ActRow.key)).all() == [None, None, None]
    assert home.history.undo_last(by(EVE)).back == {"rose": 1}


@both
def test_near_duplicates_stay_together(home: Home) -> None:
    """Photos that look like one that is gone keep their split and their group."""
    picture = noise(5, (200, 200))
    for quality, person in ((95, BOB), (80, EVE), (60, EVE)):
        home.photos.add(encoded(picture, quality=quality), "daisy", by(person))
    forgetting(home).forget(Person(BOB))
    with home.database.read() as session:
        left = session.execute(select(PhotoRow.sha256, PhotoRow.duplicates, PhotoRow.split)).all()
    assert len(left) == 2
    assert len({(group, split) for _, group, split in left}) == 1
    assert left[0][1] in {sha256 for sha256, _, _ in left}


def test_fingerprints_in_memory_are_read_anew(home: Home) -> None:
    """A store that has read the fingerprints before compares new photos with those that are still there."""
    picture = noise(5, (200, 200))
    for number in range(300):
        home.add(1000 + number, "rose", by(EVE))
    home.photos.add(encoded(picture, quality=95), "daisy", by(BOB))
    forgetting(home).forget(Person(BOB))
    other = home.photos.add(encoded(picture, quality=80), "daisy", by(EVE)).receipts[0].sha256
    again = home.photos.add(encoded(picture, quality=60), "daisy", by(EVE)).receipts[0].sha256
    with home.database.read() as session:
        assert session.get_one(PhotoRow, again).duplicates == session.get_one(PhotoRow, other).duplicates == other


def test_reports_name_and_show_nobody(home: Home) -> None:
    """Who asked for a run is taken out of its report, and the sheet of mistakes goes where it may show them."""
    gone, other = home.add(1, "daisy", by(BOB)), home.add(2, "daisy", by(EVE))
    for run, sha256 in ((1, gone), (2, other)):
        report = {"requested_by": by(BOB), "mistakes": [{"sha256": sha256}]}
        write(home.settings.runs_dir / str(run) / "report.json", json.dumps(report).encode())
        write(home.settings.runs_dir / str(run) / "report.md", f"asked for by {by(BOB)}, not {by(BOB)}1".encode())
        write(home.settings.runs_dir / str(run) / "mistakes.jpg", b"a picture")
    forgetting(home).forget(Person(BOB))
    assert [path.parent.name for path in home.settings.runs_dir.glob("*/mistakes.jpg")] == ["2"]
    for path in home.settings.runs_dir.glob("*/report.*"):
        assert FORGOTTEN in path.read_text()
    assert (home.settings.runs_dir / "1" / "report.md").read_text() == f"asked for by {FORGOTTEN}, not {by(BOB)}1"


def test_who_is_meant(home: Home) -> None:
    """By id, or by a name in any case; an owner, nobody, and one of several are told so."""
    people = People(home.database, ())
    for number, name in ((BOB, NAME), (EVE, "Eve"), (EVE + 1, "eve")):
        people.let_in(number, name, Role.VIEWER, "test")
    assert forgetting(home).find(NAME.lower()).id == forgetting(home).find(str(BOB)).id == BOB
    for text, words in (("eve", f"Several.*{EVE}"), ("Carol", "Nobody is called"), (str(ADA), "owns the bot")):
        telegram = home.settings.telegram.model_copy(update={"users": (ADA,)})
        settings = home.settings.model_copy(update={"telegram": telegram})
        with pytest.raises(ForgetError, match=words):
            Forgetting(home.database, settings).find(text)
    with pytest.raises(ForgetError, match="Nothing is known of 5"):
        forgetting(home).look(Person(5))


KILLED = """
import os, signal, sys
from pathlib import Path
import storage.forgetting
from storage.database import Database
from storage.forgetting import Forgetting, Person
from storage.settings import Settings
def die(*_): os.kill(os.getpid(), signal.SIGKILL)
match sys.argv[3]:
    case "before the rows": storage.forgetting._Rows.forget = die
    case "amid the rows": storage.forgetting._Rows._anonymise = die
    case "amid the files": storage.forgetting.sync_folder = die
settings = Settings(data=Path(sys.argv[1]))
Forgetting(Database(settings.database_place), settings).forget(Person(int(sys.argv[2])))
"""


@both
@pytest.mark.parametrize("moment", ["before the rows", "amid the rows", "amid the files"])
def test_a_kill_is_made_up_for(home: Home, moment: str) -> None:
    """After kill -9 the photos may be gone and the rows not; forgetting again ends it, and no photo comes back."""
    for number in range(4):
        home.add(number, ["daisy", "rose"][number % 2], by(BOB))
    other = home.add(9, "rose", by(EVE))
    killed = [sys.executable, "-c", KILLED, str(home.settings.data), str(BOB), moment]
    assert subprocess.run(killed, check=False).returncode == -signal.SIGKILL
    reindex(home.photos)
    assert len(forgetting(home).forget(Person(BOB)).photos) == 4
    assert [item.sha256 for item in home.photos.all()] == [other]
    assert not reindex(home.photos).changed
    assert len(list(home.settings.data.rglob("*.jpg"))) == 1


# What training has made of the photos.


def stocked(home: Home) -> tuple[list[str], list[str], FeatureStore]:
    """Photos of two people in two classes, with their features."""
    mine = [home.add(number, ["daisy", "rose"][number % 2], by(BOB)) for number in range(6)]
    others = [home.add(100 + number, ["daisy", "rose"][number % 2], by(EVE)) for number in range(8)]
    store = FeatureStore(home.settings.features_dir, "network", "abc", 7)
    everybody = hashes_of([*mine, *others])
    store.append(everybody, np.ones((len(everybody), 7), np.float32))
    return mine, others, store


def tfrecords(home: Home) -> bytes:
    return b"".join(path.read_bytes() for path in home.settings.records_dir.rglob("*.tfrecord"))


def clean(home: Home) -> Any:
    return training.clean(home.photos, home.runs, home.settings)


def test_features_and_records_go_too(home: Home) -> None:
    """No feature and no record is left of the photos; the others' features stay, and only their shards are new."""
    from trainer.records import builder  # noqa: PLC0415  TensorFlow is slow to start.

    mine, others, store = stocked(home)
    contents = {sha256: home.path(sha256).read_bytes() for sha256 in (*mine, *others)}
    builder.build(snapshot.take(home.photos), home.settings.records_dir, shard_bytes=10_000)
    before = len(list(home.settings.records_dir.rglob("*.tfrecord")))
    forgetting(home).forget(Person(BOB))
    dropped, cleaned = clean(home)
    assert (dropped, cleaned.in_use) == (6, ())
    assert 0 < cleaned.shards <= before
    assert not any(contents[sha256] in tfrecords(home) for sha256 in mine)
    assert store.missing(hashes_of(mine)).all()
    assert not store.missing(hashes_of(others)).any()
    assert clean(home) == (0, Cleaned(0))
    built = builder.build(snapshot.take(home.photos), home.settings.records_dir, shard_bytes=10_000, check=True)
    assert built.photos == 8
    assert all(contents[sha256] in tfrecords(home) for sha256 in others)


def test_what_a_run_reads_waits_for_its_end(home: Home) -> None:
    """Records are left alone while a run is under way; it is named, if it began with the photos."""
    mine, _, _ = stocked(home)
    run = home.claim()
    snapshot.take(home.photos).write(home.settings.runs_dir / str(run.id))
    write(home.settings.records_dir / "abc" / "image.tfrecord", b"record")
    assert training.learning(home.runs, home.settings, set(mine)) == [run.id]
    assert training.learning(home.runs, home.settings, {"0" * 64}) == []
    assert clean(home)[1].in_use == (home.settings.records_dir,)
    assert tfrecords(home) == b"record"


def test_versions_that_learned_from_them_are_named(home: Home) -> None:
    """Each version that was made of any of the photos, and whether it is served; one whose photos are unknown, too."""
    stocked(home)
    first = home.publish()
    mine = {home.add(number, "tulip", by(BOB)) for number in range(50, 54)}
    second = home.publish()
    assert training.learned(home.models, home.settings, mine) == [training.Learned(second, 4, served=True)]
    assert training.learned(home.models, home.settings, set()) == []
    for path in home.settings.snapshots_dir.iterdir():
        path.unlink()
    unknown = [training.Learned(first, None, served=False), training.Learned(second, None, served=True)]
    assert training.learned(home.models, home.settings, mine) == unknown


def test_a_version_can_be_deleted(home: Home) -> None:
    """Not the served one, nor a pinned one; the way back may go, and then there is none."""
    stocked(home)
    one, two, three = home.publish(), home.publish(), home.publish(promote=False)
    retention = Retention(home.database, home.settings.models_dir, 10)
    home.models.pin(three, pinned=True)
    for number, words in ((two, "is served"), (three, "is pinned"), (77, "no version 77")):
        with pytest.raises(ModelError, match=words):
            retention.delete(number)
    with home.models.reading(one), pytest.raises(ModelError, match="being read"):
        retention.delete(one)
    retention.delete(one)
    assert home.models.numbers() == [two, three]
    assert not (home.settings.models_dir / str(one)).exists()
    with pytest.raises(ModelError, match="no earlier version"):
        home.models.rollback("ann")


def test_the_command_tells_what_is_left_to_do(home: Home) -> None:
    """It names the versions; without --yes and without a terminal it does nothing; then nobody is known any more."""
    mine, _, _ = stocked(home)
    version = home.publish()
    home.close()
    there = ("--data", home.settings.data)
    refused = call(*there, "forget", BOB)
    assert (refused.returncode, "Add --yes" in refused.stderr, "6 photos" in refused.stderr) == (2, True, True)
    done = document(*there, "forget", BOB, "--yes")
    assert (done["photos"], done["shared"], done["runs"], done["left"]) == (6, 0, [], [])
    assert done["versions"] == [{"version": version, "photos": 6, "served": True}]
    again = call(*there, "forget", BOB, "--yes")
    assert (again.returncode, "Nothing is known" in again.stderr) == (1, True)
    assert sum(row["photos"] for row in document(*there, "classes")) == 8
    assert f"version {version} is served" in call(*there, "delete", version).stderr.lower()
    said = call(*there, "forget", EVE, "--yes").stdout
    assert f"`retrainbot delete {version}`. It is served: train first." in said
    assert "Backups hold all of it" in said
    assert mine


def typed(words: bytes, *arguments: object) -> str:
    """What a command says on stderr to somebody who types these words on a terminal."""
    ours, theirs = pty.openpty()
    os.write(ours, words)
    done = subprocess.run(command(*arguments), stdin=theirs, stderr=subprocess.PIPE, env=ENVIRONMENT, check=False)
    os.close(ours)
    os.close(theirs)
    return done.stderr.decode()


def test_on_a_terminal_it_asks(home: Home) -> None:
    """Nothing is erased unless the answer is yes."""
    home.add(1, "daisy", by(BOB))
    there = ("--data", home.settings.data)
    for words in (b"n\n", b"\x04"):
        assert "Nothing is erased" in typed(words, *there, "forget", BOB)
    assert len(home.photos.all()) == 1
    assert "This erases 1 photos" in typed(b"y\n", *there, "forget", BOB)
    assert home.photos.all() == []
