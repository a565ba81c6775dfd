"""A disk that fills: plain words, nothing half-written, and all goes on by itself when there is room again."""

import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from conftest import Painter, chatting, until
from home import Home
from pictures import encoded, noise, photo, write
from smalldisk import SmallDisk, small_disk
from sqlalchemy import select, text
from test_cli import call, document
from test_faults import Shop, at, children, stocked

from bot import reports
from storage.database import Database
from storage.disk import MB, Reserve
from storage.errors import DatabaseError
from storage.inbox import Inbox
from storage.reindex import reindex
from storage.runs import RunOptions, RunState
from storage.settings import Disk, Settings, Training
from storage.tables import PhotoRow
from trainer import snapshot
from trainer.features.store import FeatureStore
from trainer.service import Trainer
from trainer.tidying import hashes_of

__all__ = ["stocked"]
LARGE = 600, 600  # Pixels of noise: half a megabyte.
HALF_WRITTEN = ".new-*"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk", 60_000) as disk:
        yield disk


@pytest.fixture
def there(disk: SmallDisk, settings: Settings) -> Settings:
    """A data folder on the small disk, of which nothing is kept free."""
    return settings.model_copy(update={"data": disk.folder / "data", "disk": Disk(reserve_mb=0)})


def reserving(settings: Settings, megabytes: int) -> Settings:
    return settings.model_copy(update={"disk": Disk(reserve_mb=megabytes)})


def large(seed: int) -> bytes:
    return encoded(noise(seed, LARGE), quality=95)


def leftovers(settings: Settings) -> list[Path]:
    return list(settings.data.rglob(HALF_WRITTEN))


# What is kept free.


def test_the_reserve_is_what_is_to_stay_free(tmp_path: Path) -> None:
    """Below it there is a reason, from it on none; with 0 there never is, and the folder need not be there yet."""
    free = 500 * MB
    reserve = Reserve(tmp_path / "not" / "there", 500, lambda _: free)
    assert reserve.short() is None
    free -= 1
    assert "disk.reserve_mb keeps free, 500 MB" in (reserve.short() or "")
    free = 0
    assert Reserve(tmp_path, 0, lambda _: free).short() is None
    assert Reserve(tmp_path / "not" / "there", 0).short() is None


async def test_runs_wait_for_room(disk: SmallDisk, there: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is asked for while the disk is short of room says so, and begins by itself when there is some."""
    monkeypatch.setenv("RETRAINBOT_DATA", str(there.data))  # For the child.
    settings = reserving(there, 30).model_copy(update={"training": Training(standby=False)})
    home, stop = Home(settings), threading.Event()
    run, _ = home.runs.enqueue(RunOptions.from_settings(settings.training), "ann")
    disk.fill(20_000)
    trainer = Trainer(settings, home.database, stop)
    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(trainer.work)
        await until(lambda: home.runs.get(run.id).message is not None)
        waiting = home.runs.get(run.id)
        assert waiting.state is RunState.QUEUED
        assert "the disk has less room left" in (waiting.message or "")
        assert f"Run {run.id} waits: the disk has less room left" in reports.run(waiting)
        assert "It waits: the disk" in call("--data", settings.data, "status").stdout
        disk.empty()
        await until(lambda: home.runs.get(run.id).final)
        stop.set()
        working.result()
    assert "two classes" in (home.runs.get(run.id).message or "")  # There is nothing to learn from, but it began.
    home.close()


def test_commands_say_that_the_disk_is_short(disk: SmallDisk, there: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """`train` and `import` begin nothing, and `status` tells why."""
    home = Home(there)
    home.add(1, "daisy")
    home.close()
    more = write(disk.folder / "more" / "rose" / "1.jpg", photo(2)).parent.parent
    disk.fill(20_000)
    config = disk.folder / "config.toml"
    config.write_text("[disk]\nreserve_mb = 30\n")
    where = ("--config", config, "--data", there.data)
    for command, words in ((("train",), "Nothing is trained"), (("import", more), "Nothing is imported")):
        done = call(*where, *command)
        assert (done.returncode, words in done.stderr, "make room" in done.stderr) == (1, True, True)
    assert document(*where, "status")["disk_short"] is True
    assert document(*where, "runs") == []
    disk.empty()
    assert document(*where, "status")["disk_short"] is False
    assert document(*where, "import", more)["added"] == 1


async def test_photos_wait_for_room(disk: SmallDisk, there: Settings, paint: Painter) -> None:
    """What is sent while the disk is short is told once, and neither stored nor lost; with room it is answered."""
    async with chatting(reserving(there, 30)) as chat:
        disk.fill(20_000)
        sent = await chat.person.photo(paint("red"), "rose")
        excuse = await chat.person.reply_to(sent["message_id"])
        assert excuse["text"].startswith("The disk of the computer that I run on is full")
        album = await chat.person.album([paint("red"), paint("red")], "rose")
        asked = await chat.person.say("/status")
        assert "I take no photos and train nothing" in (await chat.person.reply_to(asked["message_id"]))["text"]
        assert chat.service.stores.photos.hashes() == []
        assert not there.unlabelled_dir.exists()
        disk.empty()
        receipt = await chat.person.reply_to(sent["message_id"], where=lambda message: "Learned" in message["text"])
        assert "rose" in receipt["text"]
        learned = await chat.person.reply_to(album[0]["message_id"])
        assert "2 photos learned as rose." in learned["text"]
        assert [item.photos for item in chat.service.stores.photos.classes()] == [3]


# A disk that is full in truth, at each kind of write.


async def test_a_photo_that_does_not_fit_waits(disk: SmallDisk, there: Settings, paint: Painter) -> None:
    """Room for rows, but for no photo: told, nothing half-written, and learned when there is room."""
    async with chatting(there) as chat:
        await chat.person.reply_to((await chat.person.photo(paint("red"), "rose"))["message_id"])
        disk.fill(200)
        sent = await chat.person.photo(large(1), "daisy")
        excuse = await chat.person.reply_to(sent["message_id"])
        assert excuse["text"].startswith("The disk of the computer that I run on is full")
        assert leftovers(there) == []
        assert [item.name for item in chat.service.stores.photos.classes()] == ["rose"]
        disk.empty()
        await chat.person.reply_to(sent["message_id"], where=lambda message: "Learned" in message["text"])
        assert [item.name for item in chat.service.stores.photos.classes()] == ["daisy", "rose"]
        assert list(there.quarantine_dir.glob("*")) == []


async def test_a_message_that_cannot_be_kept_is_not_lost(disk: SmallDisk, there: Settings, paint: Painter) -> None:
    """No room for a row: Telegram is not told that the message came, and with room it is answered."""
    async with chatting(there) as chat:
        await chat.person.reply_to((await chat.person.photo(paint("red"), "rose"))["message_id"])
        disk.fill(0)
        sent = [await chat.person.photo(paint("red"), "rose") for _ in range(3)]
        await until(lambda: disk_is_full(there))
        disk.empty()
        for message in sent:
            await chat.person.reply_to(message["message_id"], 60)
        assert [item.photos for item in chat.service.stores.photos.classes()] == [4]
        inbox = Inbox(chat.service.stores.database, chat.service.application.bot.id)
        await until(lambda: not inbox.lanes())


def disk_is_full(settings: Settings) -> bool:
    """Whether the database takes nothing more."""
    database = Database(settings.database_file)
    try:
        fill(database)
    except DatabaseError:
        return True
    finally:
        database.close()
    return False


def fill(database: Database) -> None:
    """More than fits where nothing is left."""
    with database.write() as session:
        session.execute(text("CREATE TABLE IF NOT EXISTS filler (content BLOB)"))
        session.execute(text("INSERT INTO filler VALUES (zeroblob(3000000))"))


def test_a_commit_that_does_not_fit_changes_nothing(disk: SmallDisk, there: Settings) -> None:
    """The error says what to do, nothing of the transaction is there, and the next one works."""
    home = Home(there)
    sha256 = home.add(1, "daisy")
    disk.fill(8)
    with pytest.raises(DatabaseError, match="Free some space on its disk"):
        fill(home.database)
    disk.empty()
    home.add(2, "rose")
    with home.database.read() as session:
        assert len(session.scalars(select(PhotoRow.sha256)).all()) == 2
    assert home.path(sha256).exists()
    home.close()


def test_a_photo_that_does_not_fit_is_not_half_there(disk: SmallDisk, there: Settings) -> None:
    """A photo is written beside and moved: where there is no room, neither a file nor a row is left."""
    home = Home(there)
    home.add(1, "daisy")
    disk.fill(100)
    with pytest.raises(OSError, match="No space left"):
        home.photos.add(large(1), "rose", "ann")
    assert leftovers(there) == []
    assert home.photos.class_names() == ["daisy"]
    assert not reindex(home.photos).changed
    disk.empty()
    home.photos.add(large(1), "rose", "ann")
    assert home.photos.class_names() == ["daisy", "rose"]
    home.close()


def test_an_import_stops_at_a_full_disk(disk: SmallDisk, there: Settings, tmp_path: Path) -> None:
    """It ends with plain words, leaves nothing half-written, and goes on from there the next time."""
    for number in range(60):
        write(tmp_path / "mine" / "daisy" / f"{number}.jpg", large(number))
    Home(there).database.close()
    disk.fill(15_000)
    config = tmp_path / "config.toml"
    config.write_text("[disk]\nreserve_mb = 0\n")
    done = call("--config", config, "--data", there.data, "import", tmp_path / "mine")
    assert done.returncode == 1
    assert "no room left on the disk" in done.stderr
    assert leftovers(there) == []
    disk.empty()
    home = Home(there)
    before = len(home.photos.hashes())
    again = document("--config", config, "--data", there.data, "import", tmp_path / "mine")
    assert (again["added"], again["refused"]) == (60 - before, [])
    home.close()


def test_features_that_do_not_fit_lose_nothing(disk: SmallDisk) -> None:
    """What was kept before is there, what was cut short does not count, and with room it is appended."""
    store = FeatureStore(disk.folder / "features", "network", "abc", 2048)
    hashes = hashes_of([f"{number:064x}" for number in range(300)])
    store.append(hashes[:100], np.ones((100, 2048), np.float32))
    disk.fill(500)
    with pytest.raises(OSError, match="No space left"):
        store.append(hashes[100:], np.ones((200, 2048), np.float32))
    assert not store.missing(hashes[:100]).any()
    disk.empty()
    store.append(hashes[store.missing(hashes)], np.ones((int(store.missing(hashes).sum()), 2048), np.float32))
    assert not store.missing(hashes).any()


def test_records_that_do_not_fit_leave_those_before(disk: SmallDisk, there: Settings) -> None:
    """What was begun is gone, the records before are whole, and the next build works."""
    from trainer.records import builder, manifest  # noqa: PLC0415  TensorFlow is slow to start.

    home = Home(there)
    for number in range(6):
        home.photos.add(large(number), ["daisy", "rose"][number % 2], "ann")
    before = builder.build(snapshot.take(home.photos), there.records_dir).dir
    for number in range(6, 12):
        home.photos.add(large(number), ["daisy", "rose"][number % 2], "ann")
    disk.fill(700)
    with pytest.raises(OSError, match="No space left"):
        builder.build(snapshot.take(home.photos), there.records_dir)
    assert leftovers(there) == []
    manifest.verify(before)
    disk.empty()
    assert builder.build(snapshot.take(home.photos), there.records_dir).photos == 12
    home.close()


def test_a_version_that_does_not_fit_is_not_published(disk: SmallDisk, there: Settings) -> None:
    """Neither a folder nor a row is left of it, the served version is whole, and the next one has its number."""
    home = Home(there)
    for number in range(6):
        home.add(number, ["daisy", "rose"][number % 2])
    first = home.publish()
    disk.fill(30)
    with pytest.raises((OSError, DatabaseError)):
        home.publish(size=200_000)
    disk.empty()
    for left in there.models_dir.glob(HALF_WRITTEN):  # Which the run whose folder it is removes at its end.
        shutil.rmtree(left)
    assert home.models.numbers() == [first]
    assert home.models.verified(first).number == first
    (run,) = [run for run in home.runs.newest() if not run.final]
    home.runs.finish(run.id, run.token, RunState.FAILED, "no")
    assert home.publish() == first + 1
    home.close()


@pytest.fixture
def shop(stocked: Path, disk: SmallDisk, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    """The shop of the other faults, on the small disk."""
    data = disk.folder / "data"
    shutil.copytree(stocked, data)
    monkeypatch.setenv("RETRAINBOT_DATA", str(data))  # For the children.
    monkeypatch.setenv("RETRAINBOT_DISK__RESERVE_MB", "0")
    database = Database(data / "retrainbot.db")
    training = Training(backbone="efficientnet_lite0", standby=False, lease_seconds=2)
    yield Shop(Settings(data=data, training=training, disk=Disk(reserve_mb=0)), database)
    database.close()


@pytest.mark.parametrize(
    ("step", "left"),
    [("records", 60), ("features", 60), ("export", 1000), ("evaluate", 60), ("report", 100), ("publish", 0)],
)
async def test_a_disk_that_fills_amid_a_run(shop: Shop, disk: SmallDisk, step: str, left: int) -> None:
    """Whatever step has no room, the run ends in words, or is taken up again where not even those found room.

    Nothing is published or left over by it, and the next one works.
    """
    run, stop = shop.enqueue(), threading.Event()
    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(Trainer(shop.settings, shop.database, stop).work)
        holder = await at(shop, run, step)
        disk.fill(left)
        holder.close()
        await until(lambda: not children())
        disk.empty()
        await until(lambda: shop.runs.get(run).final, 120)
        ended = shop.runs.get(run)
        if ended.state is RunState.FAILED:
            assert "room" in (ended.message or "") or "full" in (ended.message or "")
            assert shop.models.numbers() == []
            shop.enqueue()
            await until(lambda: shop.runs.newest(1)[0].final, 120)
        stop.set()
        working.result()
    assert shop.runs.newest(1)[0].state is RunState.SUCCEEDED, shop.runs.newest(1)[0].message
    assert [shop.models.verified(number).number for number in shop.models.numbers()] == [1]
    assert shop.leftovers() == []
