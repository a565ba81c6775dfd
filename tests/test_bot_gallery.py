"""Looking at photos, versions and mistakes from the phone."""

import io
import json
from typing import Any

from conftest import Chat, Painter, PublishTiny, buttons, chatting
from PIL import Image

from bot.sheet import sheet
from storage.settings import Settings


async def ask(chat: Chat, words: str) -> dict[str, Any]:
    return await chat.person.reply_to((await chat.person.say(words))["message_id"])


async def test_a_class_is_shown_in_pages(chat: Chat, paint: Painter) -> None:
    """Nine photos a page, the newest first; buttons turn the page in place."""
    for _ in range(14):
        chat.service.stores.photos.add(paint("red"), "sea_daisy", "test")
    first = await ask(chat, "/show Sea Daisy")
    assert first["caption"] == "sea daisy: 14 photos, page 1 of 2"
    assert Image.open(io.BytesIO(await chat.person.file(first["photo"][-1]["file_id"]))).width >= 1000
    await chat.person.tap(first["message_id"], buttons(first)["›"])
    second = await chat.person.wait_for(lambda message: "page 2" in message.get("caption", ""))
    assert second["message_id"] == first["message_id"]
    assert list(buttons(second)) == ["‹"]
    assert (await ask(chat, "/show"))["text"].startswith("Say which class")
    assert (await ask(chat, "/show nothing"))["text"] == "There is no class “nothing”. /classes lists those there are."


def test_a_sheet_holds_every_photo(paint: Painter) -> None:
    """A photo that cannot be decoded leaves its place blank, and the others are where they were."""
    image = Image.open(io.BytesIO(sheet([paint("red"), b"no photo", paint("blue"), paint("green")])))
    assert image.size == (1080, 724)
    colours = [image.getpixel((x, y)) for x, y in ((180, 180), (540, 180), (900, 180), (180, 540))]
    strongest = [max(range(3), key=lambda channel, of=of: of[channel]) for of in colours]  # type: ignore[misc]
    assert (strongest[0], strongest[2], strongest[3]) == (0, 2, 1)


async def test_versions_are_listed_and_compared(settings: Settings, publish_tiny: PublishTiny) -> None:
    """The list marks what is served; a comparison names the classes that differ."""
    numbers = [publish_tiny(), publish_tiny()]
    async with chatting(settings) as chat:
        models = chat.service.stores.models
        for number, right in zip(numbers, (3, 9), strict=True):
            folder = settings.runs_dir / str(models.get(number).manifest.run)
            folder.mkdir(parents=True, exist_ok=True)
            classes = [{"name": "red", "right": right, "judged": 10}, {"name": "blue", "right": 5, "judged": 10}]
            report = {"classes": classes, "metrics": {"test_accuracy": right / 10, "test_photos": 20}}
            (folder / "report.json").write_text(json.dumps(report))
            text = (await ask(chat, "/models"))["text"]
        assert [line.split()[0] for line in text.splitlines()][-1].isdecimal()
        assert "✅" in text
        if models.get(numbers[0]).manifest.run != models.get(numbers[1]).manifest.run:
            compared = (await ask(chat, f"/compare {numbers[0]} {numbers[1]}"))["text"]
            assert "red: 3 of 10 → 9 of 10" in compared
            assert "blue" not in compared
        assert (await ask(chat, "/compare 1"))["text"].startswith("Say which versions")
        assert "There is no version 77" in (await ask(chat, "/compare 1 77"))["text"]


async def test_mistakes_are_shown(settings: Settings, publish_tiny: PublishTiny, paint: Painter) -> None:
    """The sheet of the served version's run comes as a picture; without one that is said."""
    number = publish_tiny()
    async with chatting(settings) as chat:
        assert (await ask(chat, "/mistakes"))["text"] == (
            f"No test photo that version {number} answers wrongly is on record."
        )
        folder = settings.runs_dir / str(chat.service.stores.models.get(number).manifest.run)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "mistakes.jpg").write_bytes(paint("red", size=(400, 300)))
        assert (await ask(chat, f"/mistakes {number}"))["caption"].startswith(f"Test photos that version {number}")
        assert "“x” is not the number of a version" in (await ask(chat, "/mistakes x"))["text"]
