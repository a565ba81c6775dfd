"""Intake under kills, repeated updates, backlog, Telegram's faults, hostile images and hostile names.

The bot is the real one, a process of its own; the sandbox is in this process. `python -m benchmarks.intake --help`
tells how to run a part, or all at another size.
"""

import argparse
import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType

from benchmarks.intake_faults import faults
from benchmarks.intake_figures import Figures
from benchmarks.intake_hostile import images, names
from benchmarks.intake_kills import COPIES, backlog, kills

Part = Callable[[Figures, argparse.Namespace], Awaitable[None]]

PARTS: Mapping[str, Part] = MappingProxyType(
    {
        "kills": lambda figures, size: kills(figures, size.photos, size.kills, size.seed, webhook=size.webhook),
        "copies": lambda figures, size: kills(
            figures, size.photos, size.kills, size.seed, copies=COPIES, webhook=size.webhook
        ),
        "backlog": lambda figures, size: backlog(figures, size.photos, size.seed),
        "faults": lambda figures, size: faults(figures, size.seed),
        "images": lambda figures, size: images(figures, size.photos, size.seed),
        "names": lambda figures, size: names(figures, size.seed),
    }
)


def main() -> int:
    """The number of limits that were missed."""
    size = _sizes()
    logging.getLogger("httpx").setLevel(logging.WARNING)
    figures = Figures()
    for part in size.parts or PARTS:
        asyncio.run(_run(PARTS[part], figures, size))
    return figures.missed


async def _run(part: Part, figures: Figures, size: argparse.Namespace) -> None:
    await part(figures, size)


def _part(name: str) -> str:
    if name not in PARTS:
        raise argparse.ArgumentTypeError(f"there is no part {name!r}; there are {', '.join(PARTS)}")
    return name


def _sizes() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.intake", description=__doc__)
    parser.add_argument("parts", nargs="*", type=_part, metavar="PART", help=f"{', '.join(PARTS)}; without, all")
    parser.add_argument("--photos", type=int, default=1000, help="how many, in each part (default: %(default)s)")
    parser.add_argument("--kills", type=int, default=100, help="of the bot (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of pictures, captions and kills (default: %(default)s)")
    parser.add_argument("--webhook", action="store_true", help="kills and copies: by webhook in place of polling")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(min(main(), 1))
