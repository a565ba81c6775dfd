"""From a caption to a class name, and class names as folder names and in labels.txt."""

import re
import unicodedata
from collections.abc import Sequence

from storage.errors import LabelError

MAX_CHARACTERS = 64
MAX_BYTES = 200  # Leaves room for a suffix within the 255 bytes that file systems allow a name.
MARKS = frozenset("_-.+&'‘’,()")
# Letters and marks that show nothing (Unicode's Default_Ignorable_Code_Point), so that no two names look the same.
INVISIBLE = frozenset(
    map(chr, (0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFFA0, *range(0x180B, 0x1810)))
) | frozenset(map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))
# Windows refuses these as file names, with any extension and in any case.
RESERVED = frozenset({"con", "prn", "aux", "nul", *(f"{p}{n}" for p in ("com", "lpt") for n in "0123456789¹²³")})


def from_caption(caption: str) -> str:
    """The class a caption names: its first line, without a leading `#` or `label:`.

    Raises LabelError where that line cannot be a class name.
    """
    line = caption.strip().partition("\n")[0].strip()
    line = re.sub(r"^label\s*:\s*", "", line, flags=re.IGNORECASE)
    if len(re.findall(r"(?:^|\s)#\w", line)) > 1:
        raise LabelError("There are several hashtags; send the photo again with one class only.")
    return class_name(line.removeprefix("#"))


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
        raise LabelError(f"A class name cannot contain {shown}. Letters, digits and _-.+&'(), are fine.")
    if len(name) > MAX_CHARACTERS or len(name.encode()) > MAX_BYTES:
        raise LabelError(f"A class name has at most {MAX_CHARACTERS} characters; use a shorter one.")
    if name[0] == "." or name[-1] == ".":
        raise LabelError("A class name cannot begin or end with a dot.")
    if name.partition(".")[0].casefold() in RESERVED:
        raise LabelError(f"“{name}” is a name that Windows reserves; use another one.")
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
            raise LabelError(f"labels.txt: line {index + 1} should start with “{index}:”, but is “{line}”.")
        names.append(name)
    return names


def _allowed(character: str) -> bool:
    # Marks (M) belong to letters in many scripts, such as Devanagari and Thai.
    return character in MARKS or (unicodedata.category(character)[0] in "LNM" and character not in INVISIBLE)


def _show(character: str) -> str:
    visible = character.isprintable() and not character.isspace()
    return f"“{character}”" if visible else f"U+{ord(character):04X}"
