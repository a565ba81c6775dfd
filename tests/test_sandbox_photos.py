import contextlib
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sandbox.errors import BadRequestError
from sandbox.files import FileStore, Upload, as_photo, file_id, read_file_id

FORMS = ["JPEG", "PNG", "WEBP"]


def picture(size: tuple[int, int], form: str = "JPEG", mode: str = "RGB", **options: object) -> bytes:
    image = Image.radial_gradient("L").resize(size).convert(mode)
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path)


def test_a_large_photo_comes_in_four_sizes(store: FileStore) -> None:
    """A large photo is offered at about 100, 320, 800 and 1280 pixels, largest last."""
    family = store.add_photo(picture((2000, 1000)))
    assert [(size.width, size.height) for size in family] == [(100, 50), (320, 160), (800, 400), (1280, 640)]
    for size in family:
        with Image.open(io.BytesIO(store.read(size))) as image:
            assert (image.format, image.size) == ("JPEG", (size.width, size.height))


def test_a_small_photo_is_never_enlarged(store: FileStore) -> None:
    """No size is larger than what was sent."""
    assert [size.width for size in store.add_photo(picture((150, 120)))] == [100, 150]
    assert [size.width for size in store.add_photo(picture((100, 60)))] == [100]


def test_a_clean_jpeg_stays_byte_for_byte(store: FileStore) -> None:
    """A JPEG within 1280 pixels that holds no metadata is passed on as it came."""
    content = picture((1280, 900), quality=70)
    assert store.read(store.add_photo(content)[-1]) == content


def test_orientation_is_applied_and_metadata_dropped(store: FileStore) -> None:
    """A photo that a phone turned by EXIF arrives upright and without EXIF, comment or profile."""
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "Camera"
    content = picture((300, 200), exif=exif.tobytes(), comment=b"here", icc_profile=b"profile")
    largest = store.add_photo(content)[-1]
    stored = store.read(largest)
    with Image.open(io.BytesIO(stored)) as image:
        assert image.size == (largest.width, largest.height) == (200, 300)
        assert not image.getexif()
        assert not {"comment", "icc_profile", "exif"} & image.info.keys()
    assert b"Camera" not in stored


@pytest.mark.parametrize(
    ("form", "mode"), [("PNG", "RGBA"), ("PNG", "P"), ("WEBP", "RGB"), ("JPEG", "CMYK"), ("JPEG", "L")]
)
def test_other_images_become_jpegs(store: FileStore, form: str, mode: str) -> None:
    """PNG, WebP, palette, alpha, grey and CMYK images can be sent as photos; bots receive JPEG."""
    stored = store.read(store.add_photo(picture((90, 90), form, mode))[-1])
    with Image.open(io.BytesIO(stored)) as image:
        assert image.format == "JPEG"
        assert image.mode in {"RGB", "L"}


def test_transparent_parts_become_white(store: FileStore) -> None:
    """What is transparent in a PNG is white in the photo."""
    out = io.BytesIO()
    Image.new("RGBA", (80, 80), (255, 0, 0, 0)).save(out, "PNG")
    with Image.open(io.BytesIO(store.read(store.add_photo(out.getvalue())[-1]))) as image:
        assert image.getpixel((40, 40)) == (255, 255, 255)


@pytest.mark.parametrize("content", [b"", b"no image", picture((400, 400))[:2000], picture((60, 60), "GIF", "L")])
def test_what_is_no_photo_is_refused(store: FileStore, content: bytes) -> None:
    """Empty, foreign and truncated files are refused as Telegram refuses them."""
    with pytest.raises(BadRequestError, match="IMAGE_PROCESS_FAILED"):
        store.add_photo(content)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 1500), st.integers(0, 255)), min_size=1, max_size=6), st.sampled_from(FORMS))
def test_damaged_files_become_a_photo_or_are_refused(damage: list[tuple[int, int]], form: str) -> None:
    """Whatever bytes of an image are overwritten, the answer is a JPEG or a refusal."""
    content = bytearray(picture((120, 90), form))
    for place, value in damage:
        content[place % len(content)] = value
    with contextlib.suppress(BadRequestError):
        stored, width, height = as_photo(bytes(content))
        with Image.open(io.BytesIO(stored)) as image:
            assert (image.format, image.size) == ("JPEG", (width, height))


def test_extreme_shapes_are_refused(store: FileStore) -> None:
    """A photo 20 times longer than wide, or with sides over 10,000 pixels in sum, is refused."""
    for size in [(500, 20), (6000, 4100)]:
        with pytest.raises(BadRequestError, match="PHOTO_INVALID_DIMENSIONS"):
            store.add_photo(picture(size, "PNG", "L"))


def test_the_same_photo_has_the_same_unique_id(store: FileStore) -> None:
    """Unique ids depend on the bytes alone, so they are stable."""
    content = picture((900, 500))
    first, second = store.add_photo(content), store.add_photo(content)
    assert [size.unique_id for size in first] == [size.unique_id for size in second]
    assert len({size.unique_id for size in first}) == 4


def test_a_document_keeps_bytes_name_and_type(store: FileStore) -> None:
    """A document is kept as it is; a folder in its name is dropped, an unknown type is guessed."""
    file = store.add_document(Upload("../a\\b/Katze 猫.png", b"\0\1", None))
    assert (file.name, file.mime_type, store.read(file)) == ("Katze 猫.png", "image/png", b"\0\1")
    assert store.at(file.path) == file
    assert file.path.endswith(".png")


def test_file_ids_name_their_bot() -> None:
    """A file id carries the bot it was made for, and nonsense is no file id."""
    assert read_file_id(file_id(77, "abc-100")) == (77, "abc-100")
    assert [read_file_id(value) for value in ["", "x", "AAAA", "ä"]] == [None] * 4
