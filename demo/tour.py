"""The tour that the web chat offers beside the conversation, and the photos that it hands out. It is data."""

from functools import partial
from pathlib import Path

from demo import samples
from demo.ahead import Ahead
from demo.conversation import FIRST, LATER
from demo.people import ADA
from sandbox.guide import Step

NEW = "bike path"  # A sign that Ada teaches nobody.
TRAY = {**dict.fromkeys((*FIRST, LATER), 4), NEW: 12}  # Photos of each class to play with.
TAUGHT = 10  # Of the new sign; the others are for asking.
_SEED = 1_000_000  # Far from the seeds of what Ada sends.

MADE = r"^Run \d+ made version \d+"
STEPS = (
    Step(
        title="Watch Ada teach the bot",
        text="The bot knows nothing yet. In her own chat Ada sends it photos of road signs, with the name of the sign"
        " as the caption. Then she says /train. Open her chat and watch: it takes less than a minute.",
        until=MADE,
        chat=ADA,
    ),
    Step(
        title="Ask it yourself",
        text="This is your own chat with the bot. Send it a photo without a word. It says which sign it sees, how sure"
        " it is, and which version of its knowledge said so.",
        samples=(f"{FIRST[0]}/1.jpg",),
        until=r"% [^\n]+\nVersion \d+",
    ),
    Step(
        title="Teach it something new",
        text=f"Nobody has shown it a “{NEW}” sign. Send ten photos of one, with its name as the caption. Nothing else"
        " is needed.",
        samples=tuple(f"{NEW}/{number}.jpg" for number in range(1, TAUGHT + 1)),
        caption=NEW,
        until=rf"learned as {NEW}",
    ),
    Step(
        title="Let it learn",
        text="Say /train. One message shows how far it is, and changes until the new version answers. Meanwhile you"
        " can go on asking. If Ada is training at the moment, the bot says so: then say it again when her run has"
        " ended.",
        say="/train",
        until=MADE,
    ),
    Step(
        title="Ask about the new sign",
        text=f"Send it a “{NEW}” sign that it has not seen. A version with a higher number answers, and no photo goes"
        " unanswered while the two change places. Does it still see another sign? The new version may be loading yet:"
        " ask again. Or Ada's run came before yours: say /train once more, and ask again.",
        samples=(f"{NEW}/{TAUGHT + 1}.jpg",),
        until=rf"^[^\n]*\n[^\n]*% {NEW}\n",
    ),
    Step(
        title="Your own photos",
        text="Now bring your own: drag photos into the chat, paste them, or use your camera. Ten of one thing with its"
        " name as the caption, ten of another, then /train. Whatever the bot gets wrong, its buttons put right; /help"
        " says what else it can do.",
        say="/help",
    ),
)


def draw(folder: Path, ahead: Ahead) -> None:
    """Have those photos of the tray drawn that are not there yet: `folder`/<class>/<n>.jpg, n from 1."""
    for name, count in TRAY.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(1, count + 1):
            path = folder / name / f"{number}.jpg"
            if not path.exists():
                ahead.run(partial(_draw, path, name, _SEED + number))


def _draw(path: Path, name: str, seed: int) -> None:
    """Whole or not at all, as the page may be looking."""
    beside = path.with_suffix(".part")
    beside.write_bytes(samples.photo(name, seed))
    beside.replace(path)
