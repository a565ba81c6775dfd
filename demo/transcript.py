"""The conversation as it is printed."""

from collections.abc import Callable

from rich.console import Console
from rich.text import Text

INDENT = "       "


class Transcript:
    """`elapsed` tells the seconds since the demo's start."""

    def __init__(self, console: Console, elapsed: Callable[[], float]) -> None:
        self._console = console
        self._elapsed = elapsed

    def heading(self, text: str) -> None:
        self._console.print()
        self._line(f"— {text} — {self._elapsed():.0f} s", "bold")

    def ada(self, text: str) -> None:
        self._speech("Ada", text, "cyan")

    def bot(self, text: str) -> None:
        self._speech("Bot", text, "green")

    def note(self, text: str) -> None:
        self._line(f"{INDENT}{text}", "dim")

    def timed(self, text: str) -> None:
        """A note that says when it was written."""
        self.note(f"{text}, {self._elapsed():.0f} seconds after the start.")

    def plain(self, text: str) -> None:
        self._line(text, "")

    def _speech(self, who: str, text: str, style: str) -> None:
        first, *more = text.splitlines()
        self._line(f"{who}:   {first}", style)
        for line in more:
            self._line(f"{INDENT}{line}", style)

    def _line(self, text: str, style: str) -> None:
        self._console.print(Text(text, style), soft_wrap=True)
