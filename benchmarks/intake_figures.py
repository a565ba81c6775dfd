"""What a part of the benchmark found, printed beside what was wanted."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.invariants import Findings

SHOWN = 5  # Of each kind of problem.


@dataclass
class Figures:
    """Prints line by line; `missed` counts those that are not as wanted."""

    missed: int = 0

    def title(self, text: str) -> None:
        print(text, flush=True)

    def line(self, name: str, value: object) -> None:
        print(f"  {name:<52} {value}", flush=True)

    def limit(self, name: str, value: float, wanted: float, unit: str = "") -> None:
        """A figure that may be at most so much."""
        good = value <= wanted
        self.missed += not good
        shown = f"{value:.2f}" if isinstance(value, float) else str(value)
        most = "" if wanted == 0 else "at most "
        print(f"  {name:<52} {shown}{unit}   ({'' if good else 'MISSED; '}wanted: {most}{wanted:g}{unit})", flush=True)

    def none(self, name: str, problems: Sequence[str]) -> None:
        """Problems of one kind, of which there should be none; the first of them are shown."""
        self.limit(name, len(problems), 0)
        for problem in problems[:SHOWN]:
            print(f"    {problem}", flush=True)

    def findings(self, found: Findings) -> None:
        self.none("photos lost", found.lost)
        self.none("photos stored twice", found.twice)
        self.none("photos under a wrong class, or under none", found.misfiled)
        self.none("albums in pieces", found.torn)
        self.none("folders and catalogue disagree", found.catalogue)
        self.none("updates not worked", found.inbox)
