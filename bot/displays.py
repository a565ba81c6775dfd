"""What is said beside pictures and lists: of classes, versions and mistakes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bot.language import say
from bot.markup import fill, photos
from bot.replies import percent
from storage.labels import shown
from storage.texts import Text

MOST_NAMED = 5  # Classes in a comparison, better and worse.

HOW_TO_SHOW = Text("Say which class: <b>/show daisy</b>. /classes lists those there are.")
HOW_TO_COMPARE = Text("Say which versions: <b>/compare 3 5</b>. /models lists them.")
NO_VERSION = Text("There is no version yet: send photos with captions, then /train.")


@dataclass(frozen=True)
class Judged:
    """A version on its test photos: `tested` has for each class how many were right, and of how many."""

    version: int
    accuracy: float | None
    photos: int
    tested: Mapping[str, tuple[int, int]]


def sheet(name: str, total: int, page: int, last: int) -> str:
    if last == 1:
        return fill("<b>{name}</b>: {count}", name=shown(name), count=photos(total))
    return fill(
        "<b>{name}</b>: {count}, page {page} of {last}", name=shown(name), count=photos(total), page=page, last=last
    )


def models(versions: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line for each version, the newest first."""
    return [_version(version) for version in versions] or [say(NO_VERSION)]


def _version(version: Mapping[str, Any]) -> str:
    marks = ("✅ " if version["served"] else "") + ("📌 " if version["pinned"] else "")
    facts = {
        "number": version["version"],
        "day": str(version["created_at"])[:10],
        "mode": version["mode"],
        "photos": photos(version["photos"]),
        "classes": version["classes"],
    }
    accuracy = version["metrics"].get("test_accuracy")
    if accuracy is None:
        return marks + fill("<b>{number}</b> ({day}, {mode}): {photos} in {classes} classes", **facts)
    return marks + fill(
        "<b>{number}</b> ({day}, {mode}): {share} right, {photos} in {classes} classes",
        share=percent(accuracy),
        **facts,
    )


def mistakes(version: int) -> str:
    return fill("Test photos that <b>version {number}</b> answers wrongly, the surest first", number=version)


def no_mistakes(version: int) -> str:
    return fill("No test photo that version {number} answers wrongly is on record.", number=version)


def comparison(one: Judged, other: Judged) -> str:
    """Both on the classes that both were tested on, the classes that differ most, and a word of caution."""
    shared = [name for name in one.tested if name in other.tested]
    change = {name: _share(other.tested[name]) - _share(one.tested[name]) for name in shared}
    better = sorted((name for name in shared if change[name] > 0), key=lambda name: -change[name])
    worse = sorted((name for name in shared if change[name] < 0), key=lambda name: change[name])
    lines = [_summary(one), _summary(other)]
    for title, names in ((BETTER, better), (WORSE, worse)):
        if names:
            lines.append(fill(title, version=other.version))
            lines += [_change(name, one.tested[name], other.tested[name]) for name in names[:MOST_NAMED]]
            if len(names) > MOST_NAMED:
                lines.append(fill("and {count} more", count=len(names) - MOST_NAMED))
    if not better and not worse:
        lines.append(say("No class differs."))
    return "\n".join([*lines, say(CAUTION)])


BETTER = Text("Better in version {version}:")
WORSE = Text("Worse in version {version}:")
CAUTION = Text("Each was tested when it was made; a few photos more or less are chance.")


def _summary(judged: Judged) -> str:
    if judged.accuracy is None:
        return fill("<b>Version {number}</b>: untested", number=judged.version)
    return fill(
        "<b>Version {number}</b>: {share} of {photos} right",
        number=judged.version,
        share=percent(judged.accuracy),
        photos=photos(judged.photos),
    )


def _change(name: str, before: tuple[int, int], after: tuple[int, int]) -> str:
    return fill(
        "<b>{name}</b>: {before} of {of_before} → {after} of {of_after}",
        name=shown(name),
        before=before[0],
        of_before=before[1],
        after=after[0],
        of_after=after[1],
    )


def _share(counts: tuple[int, int]) -> float:
    return counts[0] / counts[1]
