"""Sentences for people: in English, and ready to be said in another language by whoever shows them."""

import json
from collections.abc import Mapping
from typing import Any, Self

_BEGIN = '{"text": '  # What is packed begins with this, and no sentence does.


class Text(str):
    """An English sentence that remembers its `template` and the `values` in it.

    Everywhere else it is an ordinary string. Values are strings, numbers and other texts; the template has places for
    them as `str.format` does. A template without values is taken as it is.
    """

    __slots__ = ("template", "values")

    template: str
    values: Mapping[str, object]

    def __new__(cls, template: str, **values: object) -> Self:
        kept = {name: _value(value) for name, value in values.items()}
        text = super().__new__(cls, template.format_map(kept) if kept else template)
        text.template, text.values = template, kept
        return text

    def __reduce__(self) -> tuple[Any, ...]:
        return read_text, (write_text(self),)


def write_text(text: str) -> str:
    """The text as a string for `read_text`: for a pipe, or a column."""
    return json.dumps(_document(text)) if isinstance(text, Text) and text.values else str(text)


def read_text(packed: str) -> Text:
    """What was packed. A string that was not is a sentence of its own."""
    return _read(json.loads(packed)) if packed.startswith(_BEGIN) else Text(packed)


def _value(value: object) -> object:
    return value if isinstance(value, str | int | float) else str(value)


def _document(text: Text) -> dict[str, Any]:
    values = {name: _document(value) if isinstance(value, Text) else value for name, value in text.values.items()}
    return {"text": text.template, "values": values}


def _read(document: Mapping[str, Any]) -> Text:
    template = document["text"]
    values = {name: _read(value) if isinstance(value, dict) else value for name, value in document["values"].items()}
    return Text(template, **values)
