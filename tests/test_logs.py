"""No token and no password in any line, whichever way it came."""

import io
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from storage.logs import configure_logs, hide, redact, relay, style_of

TOKEN = "123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw_-"
TOKENS = st.from_regex(r"[0-9]{3,12}:[A-Za-z0-9_-]{30,40}", fullmatch=True)


@pytest.fixture
def clean() -> Iterator[None]:
    """Everything is put back afterwards."""
    root, httpx_logger = logging.getLogger(), logging.getLogger("httpx")
    hooks = sys.excepthook, threading.excepthook, sys.unraisablehook
    handlers, level, httpx_level = root.handlers[:], root.level, httpx_logger.level
    yield
    root.handlers[:] = handlers
    sys.excepthook, threading.excepthook, sys.unraisablehook = hooks
    logging.captureWarnings(False)
    root.setLevel(level)
    httpx_logger.setLevel(httpx_level)
    structlog.reset_defaults()


@pytest.fixture(params=["console", "json"])
def lines(clean: None, request: pytest.FixtureRequest) -> io.StringIO:
    """What the logs say, at the most talkative level, in each style."""
    stream = io.StringIO()
    configure_logs("debug", stream, request.param)
    return stream


@pytest.fixture
def objects(clean: None) -> Callable[[], list[dict[str, Any]]]:
    """Reads what the logs say to programs."""
    stream = io.StringIO()
    configure_logs("debug", stream, "json", "bot")
    return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


def fail() -> None:
    raise ValueError(f"cannot reach https://api.telegram.org/bot{TOKEN}/getMe")


def test_messages_and_values_are_redacted(lines: io.StringIO) -> None:
    """Neither the message, nor its arguments, nor named values show a token."""
    logging.getLogger("library").warning("calling bot%s with %r", TOKEN, {"token": TOKEN})
    structlog.get_logger().info(f"token {TOKEN}", url=f"/bot{TOKEN}/getMe", nested={"a": [TOKEN]})
    assert TOKEN not in lines.getvalue()
    assert lines.getvalue().count("[token]") == 5


def test_tracebacks_are_redacted(lines: io.StringIO) -> None:
    """An exception's message is part of the log as well."""
    try:
        fail()
    except ValueError:
        logging.getLogger("library").exception("failed")
        structlog.get_logger().exception("failed")
    assert TOKEN not in lines.getvalue()
    assert lines.getvalue().count("ValueError: cannot reach") == 2


def test_uncaught_errors_are_redacted(lines: io.StringIO) -> None:
    """The last words of a process go through the log, not to the terminal as they are."""
    try:
        fail()
    except ValueError as error:
        sys.excepthook(type(error), error, error.__traceback__)
    assert TOKEN not in lines.getvalue()
    assert "stopped by an error" in lines.getvalue()


def test_percent_encoded_tokens_are_redacted(lines: io.StringIO) -> None:
    """In a file's address the token's colon is percent-encoded."""
    logging.getLogger("library").error("https://host/file/bot%s/photo.jpg", quote(TOKEN))
    logging.getLogger("library").error("https://host/file/bot%s/photo.jpg", quote(TOKEN).replace("%3A", "%3a"))
    assert TOKEN.partition(":")[2] not in lines.getvalue()


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("postgresql+psycopg://bot:{}@host/name: no", "postgresql+psycopg://bot:[password]@host/name: no"),
        ("'postgresql://:{}@/name?host=/run'", "'postgresql://:[password]@/name?host=/run'"),
        ("postgres://bot@host/name?password={}&a=1", "postgres://bot@host/name?password=[password]&a=1"),
        ("postgresql://host:5432/name", "postgresql://host:5432/name"),
    ],
)
def test_passwords_of_databases_are_redacted(lines: io.StringIO, text: str, redacted: str) -> None:
    """An address of a database keeps everything but its password."""
    logging.getLogger("library").warning(text.format("p%40ss-w0rd:/+"))
    assert redacted in lines.getvalue()
    assert "w0rd" not in lines.getvalue()


def test_addresses_are_not_logged(lines: io.StringIO) -> None:
    """The HTTP client, which tells every address it calls, is silent at its usual level."""
    transport = httpx.MockTransport(lambda _request: httpx.Response(200))
    with httpx.Client(transport=transport) as client:
        client.get(f"https://api.telegram.org/bot{TOKEN}/getMe")
    assert "telegram" not in lines.getvalue()
    logging.getLogger("httpx").warning("HTTP Request: GET https://api.telegram.org/bot%s/getMe", TOKEN)
    assert "[token]" in lines.getvalue()
    assert TOKEN not in lines.getvalue()


@given(st.text(max_size=20), TOKENS, st.text(max_size=20))
def test_token_is_found_anywhere(before: str, token: str, after: str) -> None:
    """Whatever stands around it, no token's secret part is left."""
    assert token.partition(":")[2] not in redact(f"{before} {token} {after}").replace(after, "").replace(before, "")


@given(st.text(st.characters(codec="ascii"), max_size=30))
def test_other_text_is_left(text: str) -> None:
    """What is too short to hold a token stays as it is."""
    assert redact(text) == text


def test_secrets_that_were_named_are_redacted(lines: io.StringIO) -> None:
    """A key or a password that was made known is nowhere shown, even within something else."""
    hide("a key of thirty-two characters!!")
    structlog.get_logger().error("sealed", url="http://host/?key=a key of thirty-two characters!!")
    assert "thirty-two" not in lines.getvalue()
    hide("short")
    assert redact("a short text") == "a short text"


@pytest.mark.parametrize(
    "address",
    [
        "postgresql+psycopg://retrainbot:se@cr:et/@db.example.org:5432/retrainbot",
        "postgresql://retrainbot:secret@localhost/retrainbot?sslmode=require",
        "http://me:secret@proxy:3128",
    ],
)
def test_passwords_in_addresses_are_redacted(address: str) -> None:
    """Who and where is told, the password is not."""
    shown = redact(f"cannot reach {address}: refused")
    assert "cr" not in shown
    assert "[password]@" in shown
    assert redact("http://127.0.0.1:8081/path and a@b") == "http://127.0.0.1:8081/path and a@b"


def test_programs_get_an_object_a_line(objects: Callable[[], list[dict[str, Any]]]) -> None:
    """With time, level, process, what is bound, values of any kind, and tracebacks in a field of their own."""
    with structlog.contextvars.bound_contextvars(update=7, photo="ab"):
        structlog.get_logger().info("日本", path=Path("/x"), lines="a\nb")
        logging.getLogger("library").warning("careful")
    try:
        fail()
    except ValueError:
        structlog.get_logger().exception("failed")
    said, library, failed = objects()
    assert said.pop("timestamp").endswith("Z")
    assert said == {
        "level": "info",
        "event": "日本",
        "update": 7,
        "photo": "ab",
        "process": "bot",
        "path": "PosixPath('/x')",
        "lines": "a\nb",
    }
    assert (library["event"], library["logger"], library["update"]) == ("careful", "library", 7)
    assert failed["exception"].endswith("ValueError: cannot reach https://api.telegram.org/bot[token]/getMe")


def test_the_style_is_that_of_the_reader() -> None:
    """A terminal is read by people, anything else by programs, unless it is said."""
    parent, child = os.openpty()
    with os.fdopen(child, "w") as terminal, os.fdopen(parent, "rb"):
        assert style_of("auto", terminal) == "console"
        assert style_of("json", terminal) == "json"
    assert style_of("auto", io.StringIO()) == "json"


def test_what_threads_and_warnings_say_is_logged(objects: Callable[[], list[dict[str, Any]]]) -> None:
    """An error that ends a thread, one that nobody can catch, and a warning of Python's, all without tokens."""
    thread = threading.Thread(target=fail, name="worker")
    thread.start()
    thread.join()
    sys.unraisablehook(SimpleNamespace(exc_type=ValueError, exc_value=ValueError(TOKEN), exc_traceback=None, object=7))
    logging.getLogger("py.warnings").warning("old")
    ended, unraisable, warned = objects()
    assert (ended["event"], ended["thread"]) == ("a thread ended by an error", "worker")
    assert unraisable["exception"].endswith("[token]")
    assert warned["event"] == "old"


def written(program: str) -> None:
    """Pass on what a child process writes."""
    child = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE)
    assert child.stderr
    relay(child.stderr, "training run").join()
    child.wait()


OURS = {"event": "run started", "level": "info", "timestamp": "2026-05-04T12:00:00Z", "run": 3, "token": TOKEN}


def test_what_a_child_writes_is_passed_on(objects: Callable[[], list[dict[str, Any]]]) -> None:
    """Its log lines stay what they are; anything else becomes a line of the log; both without tokens."""
    said = [json.dumps(OURS), f"E0000 cuda {TOKEN}", "I0000 as always", "[1]"]
    written(f"import sys; print(*{said!r}, sep='\\n', file=sys.stderr)")
    ours, *others = objects()
    assert ours == {**OURS, "token": "[token]"}
    assert [(other["line"], other["process"], other["level"]) for other in others] == [
        ("E0000 cuda [token]", "training run", "info"),
        ("I0000 as always", "training run", "debug"),
        ("[1]", "training run", "info"),
    ]


def test_people_see_what_a_child_writes_as_it_is(clean: None) -> None:
    """Nothing is put around it."""
    stream = io.StringIO()
    configure_logs("warning", stream, "console")
    written(f"import sys; print('one', 'two {TOKEN}', sep='\\n', file=sys.stderr)")
    assert stream.getvalue() == "one\ntwo [token]\n"


def test_a_program_without_a_log_passes_on_all_the_same(clean: None, capsys: pytest.CaptureFixture[str]) -> None:
    """To its own standard error."""
    written(f"import sys; print('two {TOKEN}', file=sys.stderr)")
    assert capsys.readouterr().err == "two [token]\n"
