"""In which language we speak: that of the person, in texts from one catalogue for each language, in bot/locale."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from gettext import GNUTranslations, NullTranslations
from io import BytesIO
from pathlib import Path

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

from storage.texts import Text

ENGLISH = "en"  # In which all texts are written.
LANGUAGES = (ENGLISH, "zh")
LOCALE = Path(__file__).parent / "locale"

_language: ContextVar[str] = ContextVar("language", default=ENGLISH)


def nearest(code: str | None) -> str:
    """The one of our languages that a code of Telegram's, such as “zh-hans”, comes closest to."""
    language = (code or "").lower().replace("_", "-").partition("-")[0]
    return language if language in LANGUAGES else ENGLISH


@contextmanager
def speaking(language: str) -> Iterator[None]:
    """Within the block, and in what is started there, everything is said in this language."""
    token = _language.set(language)
    try:
        yield
    finally:
        _language.reset(token)


def say(text: str, **values: object) -> str:
    """A text with its values, or one that has them already, in the present language; plain text."""
    whole = text if isinstance(text, Text) and not values else Text(str.__str__(text), **values)
    template = translated(whole.template)
    said = {name: say(value) if isinstance(value, Text) else value for name, value in whole.values.items()}
    return template.format_map(said) if said else template


def translated(template: str) -> str:
    """The template in the present language; in English where the catalogue lacks it."""
    return _catalogue(_language.get()).gettext(template) if template else ""


def plural(one: str, many: str, count: int) -> str:
    """`one` or `many`, as the present language has it, with the `count` in its place."""
    return _catalogue(_language.get()).ngettext(one, many, count).format(count=count)


@cache
def _catalogue(language: str) -> NullTranslations:
    if language == ENGLISH:
        return NullTranslations()
    with (LOCALE / f"{language}.po").open("rb") as file:
        catalogue = read_po(file, locale=language, abort_invalid=True)
    compiled = BytesIO()
    write_mo(compiled, catalogue)
    compiled.seek(0)
    return GNUTranslations(compiled)
