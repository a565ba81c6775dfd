"""From a caption to a class name, and class names as folder names and in labels.txt."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from storage.errors import LabelError
from storage.texts import Text

MAX_CHARACTERS = 64
MAX_BYTES = 200  # Leaves room for a suffix within the 255 bytes that file systems allow a name.
MARKS = frozenset("_-.+&'‘’,()")
# Letters and marks that show nothing (Unicode's Default_Ignorable_Code_Point), so that no two names look the same.
INVISIBLE = frozenset(
    map(chr, (0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFFA0, *range(0x180B, 0x1810)))
) | frozenset(map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))
# Windows refuses these as file names, with any extension and in any case.
RESERVED = frozenset({"con", "prn", "aux", "nul", *(f"{p}{n}" for p in ("com", "lpt") for n in "0123456789¹²³")})
# Files that Windows puts into folders by itself, so that nobody looks at them.
CLUTTER = frozenset({"thumbs.db", "desktop.ini"})

MOST_TAGGED = 5  # Words of which a leading hashtag may be the first of a name.
MOST_WORDS = 7  # What is longer reads like a sentence; names of plants and parts have up to six.
MOST_CHOICES = 8
MOST_QUOTED = 1024  # Characters of a text that a problem repeats; a caption has no more.
ADDRESSED = re.compile(r"\A@\w+(?:\s+|\Z)|\s+@\w+\Z")
NAMED = re.compile(r"\A(?:label\s*:|/label(?:@\w+)?(?!\S))\s*", re.IGNORECASE)
COMMAND = re.compile(r"\A/\w+(?:@\w+)?(?!\S)")
LINK = re.compile(r"\w://|\Awww\.", re.IGNORECASE)
QUESTION = re.compile(r"[?¿؟՞፧]")
# What is left alone at the edge of a word that may be a class name: its own, or what makes it something else.
EDGES = (MARKS | frozenset("/\\@#<>")) - frozenset(".,-")


@dataclass(frozen=True)
class Caption:
    """The class that a caption names; or what is unclear about it in words, and at most 8 classes it may mean."""

    name: str | None
    choices: tuple[str, ...] = ()
    problem: str = ""
    asks: bool = False  # Whether it is a question.


class _UnclearError(LabelError):
    def __init__(self, problem: str, choices: Iterable[str] = (), *, asks: bool = False) -> None:
        super().__init__(problem)
        self.choices = _possible(choices)
        self.asks = asks


def read_caption(text: str) -> Caption:
    """The class that a caption, or a reply to a photo, names. Never raises and never guesses.

    Only the first line with something in it counts. A leading or final `@name` is dropped, then a leading `label:`
    or `/label`.
    The line's only hashtag is the class, wherever it stands; without one, the whole line is.

    Unclear are: several hashtags; more words after a leading hashtag, because they may belong to it; a question; a
    link; a command; more than seven words without `label:`; and whatever cannot be a class name.
    """
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    try:
        return Caption(_class_of(unicodedata.normalize("NFKC", line)))
    except LabelError as error:
        quoted = line[:MOST_QUOTED].encode(errors="replace").decode()  # Half a surrogate pair cannot be sent.
        problem = Text("{problem}\nYou wrote: {words}", problem=error.text, words=quoted) if line else error.text
        if isinstance(error, _UnclearError):
            return Caption(None, error.choices, problem, error.asks)
        return Caption(None, (), problem)


def _class_of(line: str) -> str:
    written = ADDRESSED.sub("", line)
    if line and not written:
        raise _UnclearError("That looks like a question.", asks=True)  # It only says whom it is for.
    rest = " ".join(NAMED.sub("", written).split())
    words, named = rest.split(), NAMED.match(written) is not None
    tags = [tag for word in words for tag in _tags(word)]
    if not all(map(_tags, words)):  # Among other words “#1” is a number.
        tags = [tag for tag in tags if not tag.isdecimal()]
    if any(QUESTION.search(word) for word in words if not LINK.search(word)):
        choices = tags or ([_bare(rest)] if len(words) == 1 else [])
        raise _UnclearError("That looks like a question.", choices, asks=len(words) > 1)
    if len(set(map(key, tags))) > 1:
        raise _UnclearError("There are several hashtags, but a photo has one class.", tags)
    long = len(words) > MOST_WORDS and not named
    if tags and (rest.startswith("#") or not named):
        return _tagged(tags[0], rest if 1 < len(words) <= MOST_TAGGED else "")
    if any(map(LINK.search, words)):
        raise _UnclearError("A link is not a class name, and I open none.")
    if COMMAND.match(rest):
        raise _UnclearError("A command works only as a message of its own.")
    if long:
        raise _UnclearError("That is rather long for a class name.", [rest])
    return _whole(rest, tags)


def _tagged(tag: str, rest: str) -> str:
    """The class of a line with one hashtag; `rest` is the line if all of it may be the name, too."""
    readings = _possible([tag, rest.removeprefix("#")])
    if len(readings) > 1:
        raise _UnclearError("Which words belong to the class?", readings)
    return readings[0] if readings else class_name(tag)


def _whole(rest: str, tags: Sequence[str]) -> str:
    try:
        return class_name(rest.removeprefix("#"))
    except LabelError as error:
        raise _UnclearError(error.text, tags or [_bare(rest)]) from error


def _tags(word: str) -> list[str]:
    """The hashtags in a word, which may stand in quotes or before a full stop."""
    inner = word.lstrip("(['\"“‘«„")
    inner = inner.rstrip(".,;:!?)]'\"”’»" if inner != word else ".,;:!?")
    return [tag for tag in inner.split("#") if tag] if inner.startswith("#") else []


def _bare(text: str) -> str:
    """The text without what decorates it: emoji, quotes, exclamation marks."""
    kept = [at for at, character in enumerate(text) if character in EDGES or _letter(character)]
    return text[kept[0] : kept[-1] + 1] if kept else ""


def _possible(texts: Iterable[str]) -> tuple[str, ...]:
    """Those that can be class names, made safe, each class once."""
    names: dict[str, str] = {}
    for text in texts:
        with suppress(LabelError):
            name = class_name(text)
            names.setdefault(key(name), name)
    return tuple(names.values())[:MOST_CHOICES]


def is_name(text: str) -> bool:
    """Whether the text can be a class name, made safe."""
    return bool(_possible([text]))


def class_name(text: str) -> str:
    """The safe name: NFKC, trimmed, inner white space to `_`; a name that is already safe comes back as it is.

    Raises LabelError naming what is wrong.
    """
    name = re.sub(r"\s+", "_", unicodedata.normalize("NFKC", text).strip())
    if not name:
        raise LabelError("A class name is needed: a word or two, such as “daisy”.")
    wrong = sorted({character for character in name if not _allowed(character)})
    if wrong:
        shown = " ".join(_show(character) for character in wrong[:5])
        raise LabelError("A class name cannot contain {shown}. Letters, digits and _-.+&'(), are fine.", shown=shown)
    if len(name) > MAX_CHARACTERS or len(name.encode()) > MAX_BYTES:
        raise LabelError("A class name has at most {most} characters; use a shorter one.", most=MAX_CHARACTERS)
    if name[0] == "." or name[-1] == ".":
        raise LabelError("A class name cannot begin or end with a dot.")
    if name.partition(".")[0].casefold() in RESERVED or name.casefold() in CLUTTER:
        raise LabelError("“{name}” is a name that Windows reserves; use another one.", name=name)
    if not any(unicodedata.category(character)[0] in "LN" for character in name):
        raise LabelError("A class name needs at least one letter or digit.")
    return name


def key(name: str) -> str:
    """What two spellings of one class have in common: case-folded, in NFKC."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def shown(name: str) -> str:
    """The name as people read it."""
    return name.replace("_", " ")


def write_lines(names: Sequence[str]) -> str:
    """The content of labels.txt: a line `index:name` for each class, in the order of a network's outputs."""
    return "".join(f"{index}:{name}\n" for index, name in enumerate(names))


def read_lines(text: str) -> list[str]:
    """The names in labels.txt. Raises LabelError where a line is not `index:name` or out of order."""
    names = []
    for index, line in enumerate(text.splitlines()):
        number, colon, name = line.partition(":")
        if not (colon and name and number == str(index)):
            raise LabelError(
                "labels.txt: line {number} should start with “{index}:”, but is “{line}”.",
                number=index + 1,
                index=index,
                line=line,
            )
        names.append(name)
    return names


def _allowed(character: str) -> bool:
    return character in MARKS or _letter(character)


def _letter(character: str) -> bool:
    # Marks (M) belong to letters in many scripts, such as Devanagari and Thai.
    return unicodedata.category(character)[0] in "LNM" and character not in INVISIBLE


def _show(character: str) -> str:
    visible = character.isprintable() and not character.isspace()
    return f"“{character}”" if visible else f"U+{ord(character):04X}"
