"""Every text that the bot can say, as the code has it; `make texts` brings the catalogues up to date with it."""

import sys
from io import BytesIO
from pathlib import Path

from babel.messages import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po

ROOT = Path(__file__).parents[1]
LOCALE = ROOT / "bot" / "locale"
FOLDERS = ("bot", "serving", "storage", "trainer")  # What happens in these is told in the chat.
ERRORS = [
    "BackboneError",
    "BusyError",
    "DatabaseError",
    "ImageError",
    "LabelError",
    "LeaseLostError",
    "ModelError",
    "NoModelYetError",
    "OutOfMemoryError",
    "PeopleError",
    "PhotoError",
    "RecordsError",
    "RunError",
    "ServerDied",
    "UnreadablePhotoError",
    "_UnclearError",
]
SPEAKERS = {**dict.fromkeys(["Text", "fill", "say", *ERRORS]), "plural": (1, 2)}


def extracted() -> Catalog:
    catalogue = Catalog(project="Retrainbot", version="1")
    for folder in FOLDERS:
        for file, _, message, _, _ in extract_from_dir(ROOT / folder, [("**.py", "python")], keywords=SPEAKERS):
            catalogue.add(message, locations=[(f"{folder}/{file}", 0)])
    return catalogue


def translated(language: str) -> Catalog:
    with (LOCALE / f"{language}.po").open("rb") as file:
        return read_po(file, locale=language, abort_invalid=True)


def update(language: str) -> None:
    """Bring a catalogue up to date: texts that are new lack a translation, those that are gone are dropped."""
    catalogue = translated(language)
    catalogue.update(extracted(), no_fuzzy_matching=True)
    catalogue.obsolete.clear()
    content = BytesIO()
    write_po(content, catalogue, width=120, sort_by_file=True, omit_header=False, include_lineno=False)
    (LOCALE / f"{language}.po").write_bytes(content.getvalue())


if __name__ == "__main__":
    for each in sys.argv[1:]:
        update(each)
