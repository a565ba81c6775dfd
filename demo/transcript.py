"""The conversation as it is printed."""

from rich.console import Console
from rich.text import Text

INDENT = "       "


class Transcript:
    def __init__(self, console: Console) -> None:
        self._console = console

    def heading(self, text: str) -> None:
        self._console.print()
        self._line(f"— {text} —", "bold")

    def ada(self, text: str) -> None:
        self._speech("Ada", text, "cyan")

    def bot(self, text: str) -> None:
        self._speech("Bot", text, "green")

    def note(self, text: str) -> None:
        self._line(f"{INDENT}{text}", "dim")

    def plain(self, text: str) -> None:
        self._line(text, "")

    def _speech(self, who: str, text: str, style: str) -> None:
        first, *more = text.splitlines()
        self._line(f"{who}:   {first}", style)
        for line in more:
            self._line(f"{INDENT}{line}", style)

    def _line(self, text: str, style: str) -> None:
        self._console.print(Text(text, style), soft_wrap=True)
