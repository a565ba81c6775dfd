"""What the web chat shows beside the chats: sample photos, people, and a tour. It is data; the page acts on it."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Step:
    """One step of a tour that the web chat shows. It is done when a message of the bot in `chat` (the tour's own
    person's private chat where None), new or edited, matches the regular expression `until` (JavaScript and Python
    read it alike; searched in text or caption); an empty one waits for the reader to go on.
    """

    title: str
    text: str
    samples: tuple[str, ...] = ()
    """Paths below the samples folder; the step's button sends them (2 to 10: as an album) ..."""
    caption: str | None = None
    """... with this caption."""
    say: str | None = None
    """Or the button sends this text."""
    until: str = ""
    chat: int | None = None
    """Whose private chat is watched; the page offers to open it."""


@dataclass(frozen=True)
class Guide:
    samples: Path | None = None
    """A folder with one sub-folder of .jpg, .png or .webp files a class: the page's tray of photos."""
    people: tuple[tuple[int, str], ...] = ((1001, "You"),)
    """(id, name) of people the page offers from the start, the reader's own first."""
    steps: tuple[Step, ...] = ()
