"""What a command prints: for people on stdout and a progress bar on stderr, or one JSON document on stdout."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text


@dataclass
class Output:
    as_json: bool = False

    def document(self, content: Any) -> bool:
        """Print `content` if JSON was asked for, and say whether it was."""
        if self.as_json:
            print(json.dumps(content, ensure_ascii=False, indent=2, default=str))  # noqa: T201
        return self.as_json

    def say(self, text: str) -> None:
        """A line for people; it stands on stderr where stdout is for JSON."""
        print(text, file=sys.stderr if self.as_json else sys.stdout, flush=True)

    def warn(self, text: str) -> None:
        """A line on stderr, whatever stdout is for."""
        print(text, file=sys.stderr, flush=True)  # noqa: T201

    def table(self, headings: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Rows for people; user text is shown verbatim, numbers to the right."""
        table = Table(box=None, pad_edge=False, header_style="bold")
        for number, heading in enumerate(headings):
            right = bool(rows) and all(isinstance(row[number], int | float) for row in rows)
            table.add_column(heading, justify="right" if right else "left", overflow="fold")
        for row in rows:
            table.add_row(*(Text("" if cell is None else str(cell)) for cell in row))
        console = Console()
        if not console.is_terminal:  # A pipe has no width; do not wrap for it.
            console = Console(width=200)
        console.print(table)

    @contextmanager
    def progress(self) -> Iterator["Bar"]:
        """A bar on a terminal, plain lines elsewhere; both on stderr."""
        console = Console(stderr=True)
        if not console.is_terminal:
            yield Bar(None)
            return
        columns = (TextColumn("{task.description:<10}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console, transient=False) as bars:
            yield Bar(bars)


class Bar:
    """Shows steps one after the other: `show("features", 10, 852)`."""

    def __init__(self, bars: Progress | None) -> None:
        self._bars = bars
        self._step = ""
        self._tenth = 0
        self._task: Any = None

    def show(self, step: str, done: int, total: int) -> None:
        if self._bars is None:
            self._line(step, done, total)
            return
        if step != self._step:
            self._finish()
            self._step, self._task = step, self._bars.add_task(step, total=None)
        self._bars.update(self._task, completed=done, total=total or None)

    def _finish(self) -> None:
        if self._bars is not None and self._task is not None:
            total = self._bars.tasks[self._task].total or 1
            self._bars.update(self._task, completed=total, total=total)

    def _line(self, step: str, done: int, total: int) -> None:
        """At most ten lines a step."""
        tenth = done * 10 // total if total else 0
        if step != self._step or tenth > self._tenth:
            counted = f" {done}/{total}" if total else ""
            print(f"{step}{counted}", file=sys.stderr, flush=True)  # noqa: T201
            self._step, self._tenth = step, tenth


def percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"
