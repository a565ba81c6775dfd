"""Every text that a person may read in the chat: it survives pipes and databases, and is there in each language."""

import ast
import copy
import pickle
import string
from collections.abc import Iterator
from pathlib import Path

import pytest
from babel.messages import Message
from catalogue import FOLDERS, ROOT, SPEAKERS, extracted, translated
from hypothesis import given
from hypothesis import strategies as st

from bot.language import ENGLISH, LANGUAGES, nearest, plural, say, speaking
from bot.markup import fill
from storage.errors import ModelError
from storage.texts import Text, read_text, write_text

SILENTLY = {ROOT / "bot" / name for name in ("metrics.py", "monitor.py", "polling.py")}  # They talk to programs alone.
TALKING = set((ROOT / "bot").glob("*.py")) - SILENTLY
OTHERS = [language for language in LANGUAGES if language != ENGLISH]
WORDS = st.text(max_size=20)
VALUES = st.one_of(st.integers(), WORDS, st.floats(allow_nan=False))
# Where words stand that nobody reads in the chat: a log, a name, a key, or a check of our own.
UNSAID = {
    "withdraw others", "put out",  # Acts.
    "not modified", "too big", "message to edit not found", "message can't be edited", "chat not found",
    "user is deactivated", "bot was kicked",  # What Telegram says.
    "lower left",  # What matplotlib is told.
}  # fmt: skip
SILENT = {"log", "Later", "Unheard", "ValueError", "TypeError", "AssertionError", "SettingsError", "NO_ERROR"}


@given(st.recursive(VALUES, lambda inner: st.builds(lambda value: Text("in {a}", a=value), inner), max_leaves=4))
def test_text_survives_pipes_and_databases(value: object) -> None:
    """What is written down reads the same, with all that is in it."""
    text = Text("{value}: {count} of {{", value=value, count=3)
    again = read_text(write_text(text))
    assert (again, again.template, dict(again.values)) == (text, text.template, dict(text.values))
    assert pickle.loads(pickle.dumps(text)).values == text.values  # noqa: S301  It is our own.


@given(WORDS)
def test_words_without_values_are_taken_as_they_are(words: str) -> None:
    """A sentence that was never a template, braces and all, stays what it is."""
    assert Text(words) == words
    assert str(ModelError(words)) == words
    assert copy.deepcopy(Text(words)) == words


def test_errors_keep_what_their_message_was_made_of() -> None:
    """An error is a plain English sentence in a log, and can be said in another language in the chat."""
    error = ModelError("There is no version {number}; `retrainbot models` lists them.", number=7)
    assert str(error) == "There is no version 7; `retrainbot models` lists them."
    with speaking("zh"):
        assert say(error.text) == "没有版本 7；`retrainbot models` 列出所有版本。"


def test_texts_within_texts_are_said_in_the_same_language() -> None:
    """A reason in a sentence is not left in English."""
    reason = Text("rolled back from version {number}", number=3)
    with speaking("zh"):
        assert fill("⚠ {reason}", reason=reason) == "⚠ 从版本 3 恢复"
        assert plural("{count} photo", "{count} photos", 1) == "1 张照片"


def test_values_are_escaped_once_and_templates_are_not() -> None:
    """A class name cannot bring HTML of its own into a message."""
    assert fill("<b>{name}</b>", name=Text("{a}", a="<i>&")) == "<b>&lt;i&gt;&amp;</b>"


@pytest.mark.parametrize(
    ("code", "language"), [("zh-hans", "zh"), ("zh_TW", "zh"), ("ZH", "zh"), ("de", "en"), ("", "en"), (None, "en")]
)
def test_the_nearest_language_is_spoken(code: str | None, language: str) -> None:
    """Telegram's tags are many; whoever speaks none of ours reads English."""
    assert nearest(code) == language


@pytest.mark.parametrize("language", OTHERS)
def test_every_text_is_translated(language: str) -> None:
    """The catalogue holds all that the code can say, and nothing else; `make texts` brings it up to date."""
    said, known = _messages(extracted()), _messages(translated(language))
    assert sorted(said - known.keys()) == []
    assert sorted(known.keys() - said) == []
    assert [key for key, message in known.items() if not all(_strings(message)) or message.fuzzy] == []


@pytest.mark.parametrize("language", OTHERS)
def test_translations_have_the_same_places_for_values_and_the_same_markup(language: str) -> None:
    """A value that is lost, a format that breaks, or a tag that is left open would show in the chat."""
    for message in _messages(translated(language)).values():
        (source, *_), strings = _sources(message), _strings(message)
        for text in strings:
            assert _places(text) == _places(source), source
            assert sorted(_tags(text)) == sorted(_tags(source)), source


def test_texts_are_written_where_the_catalogue_finds_them() -> None:
    """A sentence that is put together at run time could not be translated."""
    loose = [
        f"{file.relative_to(ROOT)}:{call.lineno}"
        for folder in FOLDERS
        for file in (ROOT / folder).rglob("*.py")
        for call in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(call, ast.Call)
        and _name(call) in SPEAKERS
        and call.args
        and isinstance(call.args[0], ast.JoinedStr)
    ]
    assert loose == []


@pytest.mark.parametrize("file", sorted(TALKING), ids=lambda file: file.stem)
def test_the_bot_has_no_sentence_outside_the_catalogue(file: Path) -> None:
    """Words with a space between them, or a capital at the start, are for people, and pass through the catalogue."""
    assert list(_sentences(ast.parse(file.read_text("utf-8")))) == []


def _sentences(tree: ast.Module) -> Iterator[str]:
    silent: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and (_name(node) in {*SPEAKERS, *SILENT} or _name(node).endswith("Error")):
            silent.update(id(inner) for argument in node.args for inner in ast.walk(argument))
        if isinstance(node, ast.Call) and _owner(node) in {"log", "re", "struct", "asyncio"}:
            silent.update(id(inner) for inner in ast.walk(node))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            silent.add(id(node.value))  # A docstring.
        if isinstance(node, ast.keyword) and node.arg in {"name", "reason"}:
            silent.update(id(inner) for inner in ast.walk(node))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in silent:
            words = node.value.strip().split()
            if node.value not in UNSAID and len(words) > 1 and sum(word.strip(",.").isalpha() for word in words) > 1:
                yield f"line {node.lineno}: {node.value}"


def _name(call: ast.Call) -> str:
    function = call.func
    return (
        function.id if isinstance(function, ast.Name) else function.attr if isinstance(function, ast.Attribute) else ""
    )


def _owner(call: ast.Call) -> str:
    function = call.func
    return function.value.id if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) else ""


def _messages(catalogue: object) -> dict[str, Message]:
    return {_sources(message)[0]: message for message in catalogue if message.id}  # type: ignore[attr-defined]


def _sources(message: Message) -> tuple[str, ...]:
    return (message.id,) if isinstance(message.id, str) else tuple(message.id)


def _strings(message: Message) -> tuple[str, ...]:
    return (message.string,) if isinstance(message.string, str) else tuple(message.string or ())


def _places(template: str) -> set[tuple[str, str]]:
    return {(name, spec or "") for _, name, spec, _ in string.Formatter().parse(template) if name is not None}


def _tags(template: str) -> list[str]:
    return [part.partition(">")[0] for part in template.split("<")[1:] if ">" in part]
