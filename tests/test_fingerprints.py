"""Near duplicates are found, and nothing else is taken for one."""

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from conftest import NewPlace
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import encoded
from PIL import Image, ImageEnhance
from sqlalchemy import insert

from storage.database import Database
from storage.fingerprints import NEAR, TAIL, Fingerprints
from storage.photos import Photos
from storage.settings import Images
from storage.tables import FingerprintRow, PhotoRow

pytestmark = pytest.mark.both_databases

MOMENT = datetime(2026, 3, 1, tzinfo=UTC)
Change = Callable[[Image.Image], Image.Image]


def scene(seed: int) -> Image.Image:
    """A picture with large and small features, 640 × 480."""
    random = np.random.default_rng(seed)
    layers = [
        np.asarray(Image.fromarray(random.integers(0, 256, (side, side, 3), dtype=np.uint8)).resize((640, 480)), float)
        for side in (5, 24)
    ]
    return Image.fromarray((0.7 * layers[0] + 0.3 * layers[1]).astype(np.uint8))


@pytest.fixture
def photos(tmp_path: Path, database: Database) -> Photos:
    return Photos(database, tmp_path / "photos", tmp_path / "unlabelled", Images())


def group(photos: Photos, content: bytes) -> str:
    """The group that a photo belongs to once it is kept."""
    sha256 = photos.keep(photos.prepare(content), "ann")
    with photos.database.read() as session:
        return session.get_one(PhotoRow, sha256).duplicates


def put(database: Database, prints: list[str]) -> None:
    """Photos with these fingerprints; each is called by its number, in 64 digits."""
    rows = [
        {"sha256": f"{number:064}", "duplicates": f"{number:064}", "width": 1, "height": 1, "added_by": "ann"}
        for number in range(len(prints))
    ]
    with database.write() as session:
        session.execute(insert(PhotoRow), [{**row, "added_at": MOMENT} for row in rows])
        session.execute(
            insert(FingerprintRow), [{"photo": f"{number:064}", "bits": bits} for number, bits in enumerate(prints)]
        )


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "change",
    [
        lambda image: image,
        lambda image: image.resize((448, 336)),
        lambda image: ImageEnhance.Brightness(image).enhance(1.1),
        lambda image: ImageEnhance.Brightness(image).enhance(0.9),
        lambda image: image.crop((6, 5, 634, 475)),
    ],
    ids=["re-encoded", "smaller", "brighter", "darker", "cropped"],
)
def test_changed_copy_is_of_the_same_group(photos: Photos, change: Change, seed: int) -> None:
    """What a chat or a gallery does to a photo leaves it the same photo."""
    whole = group(photos, encoded(scene(seed), quality=90))
    assert group(photos, encoded(change(scene(seed)), quality=40)) == whole


def test_different_photos_are_in_groups_of_their_own(photos: Photos) -> None:
    """Sixty scenes are sixty groups."""
    assert len({group(photos, encoded(scene(seed))) for seed in range(60)}) == 60


def test_plain_pictures_are_not_taken_for_one_another(photos: Photos) -> None:
    """Where there is hardly anything to see, looking the same says nothing."""
    plain = [encoded(Image.new("RGB", (64, 48), colour)) for colour in ("red", "green", "white", "black")]
    ramps = [encoded(Image.linear_gradient("L").rotate(90).convert(mode)) for mode in ("L", "RGB")]
    assert len({group(photos, content) for content in plain + ramps}) == 6


def test_copy_of_a_copy_is_of_the_first_one_s_group(photos: Photos) -> None:
    """A group has one name however it grows."""
    first = group(photos, encoded(scene(1)))
    for left in range(2, 30, 4):
        assert group(photos, encoded(scene(1).crop((left, 0, 640, 480)))) == first


@pytest.mark.parametrize("taken_in", [10, TAIL + 10])
def test_nearest_of_many_is_found(database: Database, taken_in: int) -> None:
    """The nearest photo, new or long known, if it is near at all; and what came after it counts as well."""
    random = np.random.default_rng(1)
    prints = [random.bytes(32).hex() for _ in range(taken_in)]
    put(database, prints)
    index = Fingerprints(database)
    with database.write() as session:
        assert index.nearest(session, changed(prints[3], NEAR)) == f"{3:064}"
        assert index.nearest(session, changed(prints[3], NEAR + 1)) is None
        assert index.nearest(session, prints[-1]) == f"{taken_in - 1:064}"


@given(st.integers(0, 2**256 - 1), st.sets(st.integers(0, 255), max_size=NEAR))
@settings(max_examples=30, deadline=None)
def test_any_fingerprint_is_found_again(new_place: NewPlace, bits: int, flipped: set[int]) -> None:
    """With any bits flipped, as long as they are few for what the picture shows."""
    database = Database(new_place())
    put(database, [f"{bits:064x}"])
    other = bits
    for place in flipped:
        other ^= 1 << place
    lighter = min(other.bit_count(), 256 - other.bit_count())
    with database.write() as session:
        found = Fingerprints(database).nearest(session, f"{other:064x}")
    assert (found is not None) == (3 * len(flipped) < 2 * lighter)
    database.close()


def test_photo_that_was_not_committed_is_forgotten(database: Database) -> None:
    """What a failed transaction had read of its own is no photo for the next one."""
    prints = [np.random.default_rng(seed).bytes(32).hex() for seed in range(TAIL + 5)]
    index = Fingerprints(database)
    with suppress(ZeroDivisionError), database.write() as session:
        session.add(PhotoRow(sha256="f" * 64, duplicates="f" * 64, width=1, height=1, added_by="ann", added_at=MOMENT))
        session.flush()
        session.add(FingerprintRow(photo="f" * 64, bits=prints[0]))
        session.flush()
        assert index.nearest(session, prints[0]) == "f" * 64
        _ = 1 / 0
    put(database, prints[1:])
    with database.write() as session:
        assert index.nearest(session, prints[0]) is None
        assert index.nearest(session, prints[1]) == f"{0:064}"


def changed(bits: str, number: int) -> str:
    """With so many of its bits flipped."""
    return f"{int(bits, 16) ^ (2**number - 1):064x}"
